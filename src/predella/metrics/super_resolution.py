"""The protocol of the super-resolution tables, for any function that enlarges."""

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor

from predella.data.images import Images
from predella.errors import UserError
from predella.image.contract import from_uint8, quantize
from predella.image.resize import resize
from predella.metrics.fidelity import mean, psnr_y, ssim_y
from predella.tasks.super_resolution import evaluation_pair

PROTOCOL = (
    "low resolution by MATLAB bicubic (antialiased) of the image cropped to a multiple of the scale, rounded to 8 bits; "
    "PSNR and SSIM on the studio-range Y of the 8-bit output, ⌈scale⌉ border pixels shaved; SSIM 11×11, σ 1.5, valid window"
)
SCALES = (2.0, 3.0, 4.0, 1.5, 2.5, 3.5, 6.0, 8.0)
Enlarge = Callable[[Tensor, tuple[int, int]], Tensor]  # (1, 3, h, w), (H, W) → (1, 3, H, W)


def bicubic(image: Tensor, size: tuple[int, int]) -> Tensor:
    """The baseline of every table."""
    return resize(image, size)


def ensemble(enlarge: Enlarge) -> Enlarge:
    """The mean over the four rotations of the input: the 4-rotation self-ensemble, reported apart."""

    def turned(image: Tensor, size: tuple[int, int]) -> Tensor:
        total = torch.zeros(())
        for k in range(4):
            there = size if k % 2 == 0 else (size[1], size[0])
            total = total + torch.rot90(enlarge(torch.rot90(image, k, (-2, -1)), there), -k, (-2, -1))
        return total / 4

    return turned


@torch.inference_mode()
def measure(enlarge: Enlarge, images: Images, scales: Iterable[float] = SCALES) -> Iterator[dict]:
    """One row a scale and measure: {"ask", "measure", "value", "images", "protocol"}."""
    for scale in scales:
        psnr, ssim = [], []
        for i in range(len(images)):
            low, high = evaluation_pair(from_uint8(images[i])[None], scale)
            sample = quantize(enlarge(low, (high.shape[-2], high.shape[-1])))
            border = -int(-scale // 1)
            if min(high.shape[-2:]) < 2 * border + 11 or min(low.shape[-2:]) < 1:
                size = f"{images[i].shape[-1]}×{images[i].shape[-2]}"
                raise UserError(f"{images.names[i]} ({size}) is too small to be measured at ×{scale:g}; leave out that scale with --scales")
            psnr.append(psnr_y(sample, high, border).item())
            ssim.append(ssim_y(sample, high, border).item())
        for name, values in (("psnr_y", psnr), ("ssim_y", ssim)):
            yield {"ask": f"x{scale:g}", "measure": name, "value": mean(values), "images": len(images), "protocol": PROTOCOL}
