"""Make a picture fit a network: pad its edges to a multiple, or cut and resample it to one size."""

import torch.nn.functional as F
from torch import Tensor

from predella.image.resize import resize

Box = tuple[int, int, int, int]


def pad_to(x: Tensor, multiple: int) -> Tensor:
    """(B, C, H, W) with its right and bottom border repeated until both edges are divisible by `multiple`."""
    right, bottom = -x.shape[-1] % multiple, -x.shape[-2] % multiple
    return F.pad(x, (0, right, 0, bottom), mode="replicate") if right or bottom else x


def cut_square(x: Tensor, edge: int) -> Tensor:
    """The central edge × edge of (B, C, H, W), not resampled.

    Raises:
        ValueError: a smaller picture.
    """
    height, width = x.shape[-2:]
    if min(height, width) < edge:
        raise ValueError(f"{width}×{height} is smaller than {edge} pixels")
    top, left = (height - edge) // 2, (width - edge) // 2
    return x[..., top : top + edge, left : left + edge]


def cut_box(x: Tensor, box: Box) -> Tensor:
    """The part (left, top, right, bottom) of (B, C, H, W).

    Raises:
        ValueError: a box outside the picture.
    """
    left, top, right, bottom = box
    height, width = x.shape[-2:]
    if not (0 <= left < right <= width and 0 <= top < bottom <= height):
        rule = f"give left < right in 0…{width} and top < bottom in 0…{height}"
        raise ValueError(f"the box {box} does not lie inside the picture of {width}×{height} as left, top, right, bottom; {rule}")
    return x[..., top:bottom, left:right]


def fit_square(x: Tensor, edge: int, box: Box | None = None, surround: bool = False) -> Tensor:
    """The central square (of `box` = left, top, right, bottom, if given) of (B, C, H, W), resampled to edge × edge.

    With `surround` a picture smaller than that is put in the middle of black instead.

    Raises:
        ValueError: a box outside the picture.
    """
    if box is not None:
        x = cut_box(x, box)
    height, width = x.shape[-2:]
    if surround and max(height, width) <= edge:
        top, left = (edge - height) // 2, (edge - width) // 2
        return F.pad(x, (left, edge - width - left, top, edge - height - top), value=-1.0)
    short = min(height, width)
    x = cut_square(x, short)
    return x if short == edge else resize(x, (edge, edge)).clamp(-1, 1)
