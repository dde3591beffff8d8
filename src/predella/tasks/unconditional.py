"""Unconditional: nothing is given; the picture itself is all there is to learn."""

from typing import Literal

import torch
from torch import Tensor

from predella.config import config
from predella.tasks.base import Batch


@config
class Unconditional:
    """Pictures of one size.

    Args:
        edge: in pixels; larger pictures are cut, smaller ones enlarged (see also `Source.edge`).
    """

    kind: Literal["unconditional"] = "unconditional"
    edge: int = 64

    def __post_init__(self):
        if self.edge < 2:
            raise ValueError(f"edge must be at least 2 pixels, got {self.edge}")

    def crop(self, generator: torch.Generator) -> int:
        return self.edge

    def __call__(self, image: Tensor, seeds: Tensor | None = None) -> Batch:
        """image (B, C, edge, edge) → no condition."""
        return Batch(target=image)

    def residual(self, condition: Tensor, sample: Tensor) -> Tensor:
        """(B,): 0, because any sample keeps to no condition."""
        return sample.new_zeros(len(sample))
