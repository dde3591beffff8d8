"""The protocol of the table of filled holes, for any function that fills."""

import math
from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor

from predella.data.images import Images
from predella.errors import UserError
from predella.image.contract import from_uint8, quantize
from predella.metrics.fidelity import mean
from predella.tasks.masking import KINDS, Kind, holes

COVER = 0.15
PROTOCOL = (
    f"holes of one kind over {COVER:.0%} of the picture (tasks.masking.holes, seed = index of the picture); PSNR over R, G and B "
    "inside the holes of the 8-bit output, mean over the pictures"
)
Fill = Callable[[Tensor, Tensor], Tensor]  # image (1, 3, H, W) with holes at 0, known (1, 1, H, W) → (1, 3, H, W)


def psnr_holes(sample: Tensor, target: Tensor, known: Tensor) -> float:
    """dB over the pixels where `known` is 0, 8-bit output, peak 255."""
    hole = (known < 0.5).expand_as(target)
    error = ((quantize(sample) - quantize(target))[hole].double() * 127.5).square().mean().item()
    return 10 * math.log10(255**2 / error) if error else math.inf


def measure(fill: Fill, images: Images, kinds: Iterable[Kind] = KINDS) -> Iterator[dict]:
    """One row a kind of hole: {"ask", "measure", "value", "images", "protocol"}."""
    for kind in kinds:
        values = []
        for i in range(len(images)):
            image = from_uint8(images[i])[None]
            known = holes((image.shape[-2], image.shape[-1]), kind, COVER, i)[None]
            with torch.inference_mode():
                sample = fill(image * known, known)
            values.append(psnr_holes(torch.where(known > 0, image, sample), image, known))
        yield {"ask": kind, "measure": "psnr_holes", "value": mean(values), "images": len(images), "protocol": PROTOCOL}


def biharmonic(image: Tensor, known: Tensor) -> Tensor:
    """scikit-image's classical inpainting: the biharmonic equation inside each hole (Damelin & Hoang 2018)."""
    from skimage.restoration import inpaint_biharmonic

    array = ((image[0] + 1) / 2).permute(1, 2, 0).double().numpy()
    out = inpaint_biharmonic(array, known[0, 0].numpy() < 0.5, split_into_regions=True, channel_axis=-1)
    return torch.from_numpy(out).permute(2, 0, 1)[None].to(image) * 2 - 1


def _opencv(flag: str) -> Fill:
    def run(image: Tensor, known: Tensor) -> Tensor:
        try:
            import cv2
        except ImportError:
            raise UserError("OpenCV's inpainting needs opencv-python-headless; run: pip install opencv-python-headless") from None

        array = ((image[0] + 1) * 127.5).round().permute(1, 2, 0).byte().numpy()
        mask = (known[0, 0].numpy() < 0.5).astype("uint8")
        return from_uint8(torch.from_numpy(cv2.inpaint(array, mask, 3, getattr(cv2, flag))).permute(2, 0, 1)[None])

    return run


CLASSICAL: dict[str, Fill] = {"biharmonic": biharmonic, "telea": _opencv("INPAINT_TELEA"), "navier_stokes": _opencv("INPAINT_NS")}
