"""Coordinates of an image taken as a function: (y, x) in [-1, 1]², the image's border at ±1, pixel centres inside."""

import torch
from torch import Tensor

Region = tuple[float, float, float, float]
WHOLE: Region = (-1.0, -1.0, 1.0, 1.0)


def check_inside(*values: float | Tensor) -> None:
    """Raise ValueError if a coordinate lies outside [-1, 1], where no function is defined."""
    for v in values:
        if not -1 - 1e-6 <= float(v) <= 1 + 1e-6:
            raise ValueError(f"coordinates must lie in [-1, 1], got {float(v):.4g}; make them with predella.image.coords.grid")


def centres(n: int, low: float = -1.0, high: float = 1.0, dtype: torch.dtype = torch.float32, device=None) -> Tensor:
    """(n,) centres of n equal cells of [low, high].

    Example:
        >>> centres(2)
        tensor([-0.5000,  0.5000])
    """
    step = (high - low) / n
    return (torch.arange(n, dtype=torch.float64, device=device) * step + (low + step / 2)).to(dtype)


def grid(height: int, width: int, region: Region = WHOLE, dtype: torch.dtype = torch.float32, device=None) -> Tensor:
    """(height · width, 2) pixel centres as (y, x), row by row, over `region` = (top, left, bottom, right)."""
    top, left, bottom, right = region
    y = centres(height, top, bottom, dtype, device)
    x = centres(width, left, right, dtype, device)
    return torch.stack(torch.meshgrid(y, x, indexing="ij"), -1).view(-1, 2)
