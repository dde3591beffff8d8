"""Internal learning: the whole picture, of any size and aspect, is all there is to learn."""

from typing import Literal

import torch
from torch import Tensor

from predella.config import config
from predella.errors import UserError
from predella.image.pyramid import aspect_fault
from predella.tasks.base import Batch, Pictures


@config
class Internal:
    """Whole pictures; `Source.longest` or `Source.stretch` gives them their size.

    Args:
        most: pictures that one training may have; 0 = any number.
    """

    kind: Literal["internal"] = "internal"
    most: int = 0

    def check_pictures(self, pictures: Pictures) -> None:
        """Raise UserError for more pictures than `most`, or one that is too long for its width."""
        if self.most and len(pictures) > self.most:
            what = "one picture" if self.most == 1 else f"at most {self.most} pictures"
            raise UserError(
                f"this recipe learns {what}, got {len(pictures)}; choose with --data or --data.part, or take meta_internal_dataset"
            )
        for i in range(len(pictures)):
            if fault := aspect_fault((pictures[i].shape[-2], pictures[i].shape[-1])):
                raise UserError(f"picture {i} has {fault}")

    def crop(self, generator: torch.Generator) -> int:
        return 0

    def __call__(self, image: Tensor, seeds: Tensor | None = None) -> Batch:
        """image (B, C, H, W) → no condition."""
        return Batch(target=image)

    def residual(self, condition: Tensor, sample: Tensor) -> Tensor:
        """(B,): 0, because any sample keeps to no condition."""
        return sample.new_zeros(len(sample))
