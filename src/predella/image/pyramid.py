"""One picture at several sizes, by a ratio between neighbours: the scales of internal learning, coarse to fine."""

from math import ceil

from torch import Tensor

from predella.image.resize import resize

Size = tuple[int, int]
ASPECT = 8.0  # of the longest edge to the shortest, at most


def scale_edges(coarsest: int, finest: int, scales: int) -> list[int]:
    """Longest edges of a geometric sequence: 25 → 250 in seven scales is 25, 37, 54, 80, 117, 171, 250.

    Raises:
        ValueError: no scale, or edges that do not grow.
    """
    if scales < 1 or coarsest < 1 or finest < coarsest + scales - 1:
        raise ValueError(f"{scales} scales from {coarsest} to {finest} pixels: there must be one, and each longer than the one before")
    if scales == 1:
        return [finest]
    return [ceil(coarsest * (finest / coarsest) ** (i / (scales - 1)) - 1e-6) for i in range(scales)]


def scale_sizes(size: Size, edges: list[int]) -> list[Size]:
    """(height, width) at each scale of a picture of `size`: its aspect is kept, its longest edge is the scale's."""
    longest = max(size)
    return [(max(1, round(size[0] * e / longest)), max(1, round(size[1] * e / longest))) for e in edges]


def aspect_fault(size: Size) -> str:
    """What is wrong with a picture of (height, width) that is too long for its width, and what helps; "" if it is not."""
    fault = f"{size[1]}×{size[0]} pixels; the longest edge may be {ASPECT:g} times the shortest, cut it"
    return fault if max(size) > ASPECT * min(size) else ""


def pyramid(x: Tensor, sizes: list[Size]) -> list[Tensor]:
    """(B, C, H, W) at each of `sizes`, made from `x` itself by antialiased cubic resampling; values stay in [-1, 1]."""
    return [x if tuple(x.shape[-2:]) == s else resize(x, s).clamp(-1, 1) for s in sizes]
