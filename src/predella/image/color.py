"""Colour spaces that measurements need."""

import torch
from torch import Tensor


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
    weight = torch.tensor([65.481, 128.553, 24.966], dtype=x.dtype, device=x.device).view(1, 3, 1, 1)
    return (unit * weight).sum(1, keepdim=True) + 16
