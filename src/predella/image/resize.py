"""Antialiased separable resampling, equal to MATLAB's `imresize` (Keys 1981, cubic convolution with a = -0.5)."""

import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from predella.image.coords import WHOLE, Region, check_inside


def cubic(x: Tensor) -> Tensor:
    """Keys' cubic convolution kernel with a = -0.5, support [-2, 2]."""
    x = x.abs()
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return torch.where(x <= 1, near, torch.where(x < 2, far, torch.zeros_like(x)))


def triangle(x: Tensor) -> Tensor:
    """Linear interpolation kernel, support [-1, 1]."""
    return (1 - x.abs()).clamp(min=0)


KERNELS = {"bicubic": (cubic, 2.0), "bilinear": (triangle, 1.0)}


def taps(old: int, new: int, kernel: str = "bicubic", low: float = -1.0, high: float = 1.0) -> tuple[Tensor, Tensor]:
    """Source indices and weights of each of `new` output samples over `old` input samples, of [low, high] of their [-1, 1].

    The kernel is widened by the ratio of their sizes when that shrinks (antialiasing); outside the image is its mirror.

    Returns:
        index (new, T) int64 in [0, old), weight (new, T) float64 with rows summing to 1.
    """
    shape, support = KERNELS[kernel]
    ratio = old * (high - low) / 2 / new
    wide = max(1.0, ratio)
    centre = (low + 1) / 2 * old + (torch.arange(new, dtype=torch.float64) + 0.5) * ratio - 0.5
    first = torch.floor(centre - support * wide) + 1
    count = math.ceil(2 * support * wide)
    position = first[:, None] + torch.arange(count, dtype=torch.float64)
    weight = shape((centre[:, None] - position) / wide)
    weight = weight / weight.sum(1, keepdim=True)
    index = position.long() % (2 * old)
    index = torch.where(index >= old, 2 * old - 1 - index, index)
    return index, weight


def matrix(old: int, new: int, kernel: str = "bicubic") -> Tensor:
    """(new, old) float64 that does to one axis what `resize` does; the identity if both are equal."""
    if old == new:
        return torch.eye(old, dtype=torch.float64)
    index, weight = taps(old, new, kernel)
    return torch.zeros(new, old, dtype=torch.float64).scatter_add_(1, index, weight)


@lru_cache(maxsize=64)
def _used_taps(old: int, new: int, kernel: str, low: float, high: float) -> tuple[Tensor, Tensor]:
    """`taps` without the columns that no output uses; kept, for many pictures of a set have one size."""
    with torch.inference_mode(False):  # what is kept may be needed where gradients are
        index, weight = taps(old, new, kernel, low, high)
        used = weight.abs().amax(0) > 1e-12
        return index[:, used], weight[:, used]


def _resize_axis(x: Tensor, new: int, dim: int, kernel: str, low: float, high: float) -> Tensor:
    index, weight = (t.to(x.device) for t in _used_taps(x.shape[dim], new, kernel, low, high))
    weight = weight.to(x)
    shape = [1] * x.ndim
    shape[dim] = new
    out = None
    for t in range(weight.shape[1]):
        term = x.index_select(dim, index[:, t]) * weight[:, t].view(shape)
        out = term if out is None else out.add_(term) if not x.requires_grad else out + term
    assert out is not None
    return out


def resize(x: Tensor, size: tuple[int, int], kernel: str = "bicubic", region: Region = WHOLE) -> Tensor:
    """Resample the last two axes, or a region of them, to `size` = (height, width); any ratio, each axis its own; differentiable.

    Equal to MATLAB's `imresize(x, size, kernel)` with antialiasing, before MATLAB's rounding to 8 bits. Values are
    not clamped: cubic interpolation overshoots at edges.

    Args:
        x: (..., H, W) floating, any range.
        size: target (height, width), both ≥ 1.
        kernel: "bicubic" or "bilinear".
        region: (top, left, bottom, right) in [-1, 1], see image.coords.

    Raises:
        ValueError: if a size is below 1, the kernel is unknown or the region empty or not inside.

    Example:
        >>> resize(torch.tensor([[[[0., 1., 2., 3.]]]]), (1, 2))
        tensor([[[[0.4180, 2.5820]]]])
    """
    if not x.is_floating_point():
        raise TypeError(f"resize takes a floating tensor, got {x.dtype}; use predella.image.from_uint8 for 8-bit data")
    if kernel not in KERNELS:
        raise ValueError(f"kernel must be one of {sorted(KERNELS)}, got {kernel!r}")
    height, width = size
    if height < 1 or width < 1:
        raise ValueError(f"size must be at least 1×1, got {height}×{width}")
    top, left, bottom, right = region
    check_inside(*region)
    if not (bottom > top and right > left):
        raise ValueError(f"region must be (top, left, bottom, right) with top < bottom and left < right, got {region}")
    axes = [(height / x.shape[-2], height, -2, top, bottom), (width / x.shape[-1], width, -1, left, right)]
    for ratio, new, dim, low, high in sorted(axes):  # the axis that shrinks the most first
        if (ratio, low, high) != (1, -1, 1):
            x = _resize_axis(x, new, dim % x.ndim, kernel, low, high)
    return x


def fitted(x: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, C, h, w) → (B, C, *size): means over areas going down, repeated pixels going up."""
    if tuple(x.shape[-2:]) == tuple(size):
        return x
    down = x.shape[-2] >= size[0] and x.shape[-1] >= size[1]
    return F.interpolate(x, size, mode="area" if down else "nearest")
