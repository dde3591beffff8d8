"""Colour spaces: luma for measurements, CIELAB for colourisation."""

import torch
from torch import Tensor

LUMA = (0.299, 0.587, 0.114)  # of R, G, B (ITU-R BT.601)


def luma(x: Tensor) -> Tensor:
    """(B, 3, H, W) → (B, 1, H, W), by BT.601."""
    return (x * x.new_tensor(LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)


def studio_y(x: Tensor) -> Tensor:
    """Luma of ITU-R BT.601 in studio range, the Y of every super-resolution table.

    Args:
        x: (B, 3, H, W) RGB or (B, 1, H, W) grey, in [-1, 1].

    Returns:
        (B, 1, H, W) in [16, 235], equal to MATLAB's `rgb2ycbcr` before rounding.
    """
    unit = (x + 1) / 2
    if x.shape[1] == 1:
        return unit * 219 + 16
    if x.shape[1] != 3:
        raise ValueError(f"studio_y takes 1 or 3 channels, got {x.shape[1]}")
    return luma(unit) * 219 + 16


# sRGB primaries to CIE XYZ, and the white point D65 of two degrees (IEC 61966-2-1)
_TO_XYZ = ((0.4124564, 0.3575761, 0.1804375), (0.2126729, 0.7151522, 0.0721750), (0.0193339, 0.1191920, 0.9503041))
_WHITE = (0.9504700, 1.0, 1.0888300)
_EPSILON, _KAPPA = 216 / 24389, 24389 / 27  # of CIE 15


def rgb_to_lab(x: Tensor) -> Tensor:
    """(B, 3, H, W) sRGB in [-1, 1] → CIELAB: L in [0, 100], a and b about [-110, 110]; differentiable."""
    _check_rgb(x, "rgb_to_lab")
    unit = ((x + 1) / 2).clamp(0, 1)
    linear = torch.where(unit <= 0.04045, unit / 12.92, ((unit.clamp(min=0.04045) + 0.055) / 1.055) ** 2.4)
    xyz = mixed(torch.tensor(_TO_XYZ), linear) / _white(x)
    f = torch.where(xyz > _EPSILON, xyz.clamp(min=_EPSILON) ** (1 / 3), (_KAPPA * xyz + 16) / 116)
    fx, fy, fz = f.unbind(1)
    return torch.stack([116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)], 1)


def lab_to_rgb(x: Tensor) -> Tensor:
    """(B, 3, H, W) CIELAB → sRGB in [-1, 1]; colours that sRGB lacks are clamped; differentiable."""
    _check_rgb(x, "lab_to_rgb")
    linear = _linear(x).clamp(0, 1)
    unit = torch.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear.clamp(min=0.0031308) ** (1 / 2.4) - 0.055)
    return unit * 2 - 1


def paled(x: Tensor) -> Tensor:
    """(B, 3, H, W) CIELAB → the same lightness and hue, chroma no larger than sRGB has it (found by halving)."""
    _check_rgb(x, "paled")
    places = x.movedim(1, -1)
    outside = ~_in_reach(x)
    if not outside.any():
        return x
    lightness, colour = places[outside].T[None, :, :, None].split((1, 2), 1)  # of those alone: (1, C, N, 1)
    low, high = torch.zeros_like(lightness), torch.ones_like(lightness)
    for _ in range(20):
        middle = (low + high) / 2
        good = _in_reach(torch.cat([lightness, colour * middle], 1))[:, None]
        low, high = torch.where(good, middle, low), torch.where(good, high, middle)
    paler = places.clone()
    paler[outside] = torch.cat([lightness, colour * low], 1)[0, :, :, 0].T
    return paler.movedim(-1, 1)


def _in_reach(x: Tensor) -> Tensor:
    """(B, 3, H, W) CIELAB → (B, H, W): whether sRGB has the colour."""
    linear = _linear(x)
    return ((linear >= -1e-6) & (linear <= 1 + 1e-6)).all(1)


def _linear(x: Tensor) -> Tensor:
    """CIELAB → linear RGB, outside [0, 1] for colours that sRGB lacks."""
    lightness, a, b = x.unbind(1)
    fy = (lightness + 16) / 116
    f = torch.stack([fy + a / 500, fy, fy - b / 200], 1)
    xyz = torch.where(f**3 > _EPSILON, f.clamp(min=0) ** 3, (116 * f - 16) / _KAPPA) * _white(x)
    return mixed(torch.linalg.inv(torch.tensor(_TO_XYZ, dtype=torch.float64)), xyz)


def mixed(matrix: Tensor, x: Tensor) -> Tensor:
    """The channels of x (B, 3, H, W), each new one by a row of the matrix (3, 3)."""
    with torch.autocast(x.device.type, enabled=False):  # 16 bits would round colours to several levels of 8 bits
        return torch.einsum("ij,bjhw->bihw", matrix.to(x), x)


def _white(x: Tensor) -> Tensor:
    return torch.tensor(_WHITE, dtype=x.dtype, device=x.device).view(1, 3, 1, 1)


def _check_rgb(x: Tensor, name: str) -> None:
    if x.ndim != 4 or x.shape[1] != 3:
        raise ValueError(f"{name} takes (B, 3, H, W), got {tuple(x.shape)}")
