"""Distances between images: (B, …), (B, …) → (B,)."""

from collections.abc import Callable

from torch import Tensor

Distance = Callable[[Tensor, Tensor], Tensor]


def l1(x: Tensor, y: Tensor) -> Tensor:
    """(B,): mean absolute difference of each item."""
    return (x - y).abs().flatten(1).mean(1)


def l2(x: Tensor, y: Tensor) -> Tensor:
    """(B,): mean squared difference of each item."""
    return (x - y).square().flatten(1).mean(1)


DISTANCES: dict[str, Distance] = {"l1": l1, "l2": l2}
