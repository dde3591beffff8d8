"""How far an image is from the true one: PSNR and SSIM, by the protocols of the super-resolution tables."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from predella.image.color import studio_y
from predella.image.contract import check_image, quantize
from predella.losses.distances import lpips

Fidelity = Callable[[Tensor, Tensor, int], Tensor]  # sample, target, border → (B,)


def _pair(sample: Tensor, target: Tensor, border: int) -> tuple[Tensor, Tensor]:
    check_image(sample), check_image(target)
    if sample.shape != target.shape:
        raise ValueError(f"sample and target must have one shape, got {tuple(sample.shape)} and {tuple(target.shape)}")
    if min(sample.shape[-2:]) <= 2 * border:
        raise ValueError(f"a border of {border} leaves nothing of {sample.shape[-1]}×{sample.shape[-2]} pixels; take a smaller one")
    inside = (..., slice(border, sample.shape[-2] - border), slice(border, sample.shape[-1] - border))
    return quantize(sample)[inside].double(), quantize(target)[inside].double()


def _psnr(x: Tensor, y: Tensor) -> Tensor:
    return 10 * torch.log10(255**2 / (x - y).square().flatten(1).mean(1))


def psnr_y(sample: Tensor, target: Tensor, border: int = 0) -> Tensor:
    """(B,) dB: PSNR of the studio-range Y of both images rounded to 8 bits, `border` pixels shaved; peak 255.

    Args:
        sample, target: (B, 1 or 3, H, W) in [-1, 1].
    """
    x, y = _pair(sample, target, border)
    return _psnr(studio_y(x), studio_y(y))


def psnr_rgb(sample: Tensor, target: Tensor, border: int = 0) -> Tensor:
    """(B,) dB: PSNR over all channels of both images rounded to 8 bits, `border` pixels shaved; peak 255."""
    x, y = _pair(sample, target, border)
    return _psnr((x + 1) * 127.5, (y + 1) * 127.5)


def ssim_y(sample: Tensor, target: Tensor, border: int = 0) -> Tensor:
    """(B,) in [-1, 1]: structural similarity (Wang et al. 2004) of the studio-range Y; 11×11 Gaussian, σ = 1.5, valid window only."""
    from kornia.metrics import ssim

    x, y = (studio_y(v) for v in _pair(sample, target, border))
    if min(x.shape[-2:]) < 11:
        raise ValueError(f"SSIM needs at least 11×11 pixels inside the border, got {x.shape[-1]}×{x.shape[-2]}")
    return ssim(x, y, window_size=11, max_val=255.0, padding="valid").flatten(1).mean(1)


METRICS: dict[str, Fidelity] = {"psnr_y": psnr_y, "ssim_y": ssim_y, "psnr_rgb": psnr_rgb}
LPIPS: dict[str, Literal["vgg16", "alexnet"]] = {"lpips_vgg16": "vgg16", "lpips_alexnet": "alexnet"}  # whose weights are foreign


def fidelity(name: str, weights: Path | None = None) -> Fidelity:
    """A metric of pairs by its name: of METRICS, or LPIPS 0.1 (Zhang et al. 2018), 0 or more, of images rounded to 8 bits.

    Args:
        weights: a folder that holds those of LPIPS; None: $PREDELLA_WEIGHTS, the cache, the official address.

    Raises:
        KeyError: no metric of this name.
        UserError: weights that can't be had.
    """
    if name in METRICS:
        return METRICS[name]
    distance = lpips(LPIPS[name], weights)

    @torch.no_grad()
    def measured(sample: Tensor, target: Tensor, border: int = 0) -> Tensor:
        x, y = (v.float() for v in _pair(sample, target, border))
        return distance(x, y)

    return measured


def mean(values: list[float]) -> float:
    """Arithmetic mean; infinite if one value is."""
    return math.fsum(values) / len(values)
