"""The one image contract of the house: float32 or float64, (B, C, H, W), range [-1, 1]; checked with a message."""

import torch
from torch import Tensor

# Bicubic resampling and exact arithmetic overshoot a little; a tensor still in [0, 255] or [0, 1] × 255 does not pass.
TOLERANCE = 0.5


def check_image(x: Tensor, channels: int | None = None) -> Tensor:
    """Return `x` if it keeps the contract: floating, (B, C, H, W), values in [-1, 1] (overshoot up to 0.5 allowed).

    Raises:
        TypeError: not a floating tensor.
        ValueError: wrong rank, wrong number of channels, values out of range or not finite.
    """
    if not isinstance(x, Tensor) or not x.is_floating_point():
        kind = str(x.dtype) if isinstance(x, Tensor) else type(x).__name__
        raise TypeError(f"image must be a float tensor, got {kind}; use predella.image.from_uint8 for 8-bit data")
    if x.ndim != 4:
        raise ValueError(f"image must have shape (B, C, H, W), got {tuple(x.shape)}; add the missing dimension with x[None]")
    if channels is not None and x.shape[1] != channels:
        raise ValueError(f"image must have {channels} channels, got {x.shape[1]}")
    if x.numel() == 0:
        raise ValueError(f"image must not be empty, got shape {tuple(x.shape)}")
    low, high = (v.item() for v in x.detach().aminmax())
    if not (low >= -1 - TOLERANCE and high <= 1 + TOLERANCE):
        remedy = "is it still in [0, 255]? use predella.image.from_uint8" if high > 2 else "find the step that made it so"
        raise ValueError(f"image must lie in [-1, 1], got [{low:.4g}, {high:.4g}]; {remedy}")
    return x


def from_uint8(x: Tensor) -> Tensor:
    """uint8 in [0, 255], any shape → float32 in [-1, 1]: x / 127.5 - 1."""
    if x.dtype != torch.uint8:
        raise TypeError(f"from_uint8 takes a uint8 tensor, got {x.dtype}")
    return x.to(torch.float32) / 127.5 - 1


def to_uint8(x: Tensor) -> Tensor:
    """Float in [-1, 1] (clamped) → uint8 in [0, 255], rounded half up."""
    return ((x.clamp(-1, 1) + 1) * 127.5 + 0.5).floor().to(torch.uint8)


def quantize(x: Tensor) -> Tensor:
    """Clamp to [-1, 1] and round to the 256 values an 8-bit file can hold; same dtype and shape."""
    return ((x.clamp(-1, 1) + 1) * 127.5 + 0.5).floor() / 127.5 - 1
