"""Internal learning: the whole picture, of any size and aspect, is all there is to learn."""

from typing import Literal

import torch
from torch import Tensor

from predella.config import config
from predella.tasks.base import Batch


@config
class Internal:
    """Whole pictures; `Source.longest` or `Source.stretch` gives them their size."""

    kind: Literal["internal"] = "internal"

    def crop(self, generator: torch.Generator) -> int:
        return 0

    def __call__(self, image: Tensor, seeds: Tensor | None = None) -> Batch:
        """image (B, C, H, W) → no condition."""
        return Batch(target=image)

    def residual(self, condition: Tensor, sample: Tensor) -> Tensor:
        """(B,): 0, because any sample keeps to no condition."""
        return sample.new_zeros(len(sample))
