"""Colourisation: the condition is the lightness of CIELAB; colours are to be found."""

from typing import Literal

import torch
from torch import Tensor

from predella.config import config
from predella.errors import UserError
from predella.image.color import lab_to_rgb, paled, rgb_to_lab
from predella.tasks.base import Batch, Pictures

LOOKED_AT = 64  # pictures, before a training
GREY = 8  # of 255: a picture whose channels differ by no more is grey


@config
class Colorization:
    """Args:
    edge: of the training crop, in pixels.
    """

    kind: Literal["colorization"] = "colorization"
    edge: int = 64

    def __post_init__(self):
        if self.edge < 2:
            raise ValueError(f"edge must be at least 2 pixels, got {self.edge}")

    def crop(self, generator: torch.Generator) -> int:
        return self.edge

    def __call__(self, image: Tensor, seeds: Tensor | None = None) -> Batch:
        """image (B, 3, H, W) → condition (B, 1, H, W): L / 50 - 1."""
        return Batch(target=image, condition=lightness(image))

    def check_pictures(self, pictures: Pictures) -> None:
        """Refuse pictures (3, H, W) in 8 bits that teach and test no colours; some of them are looked at.

        Raises:
            UserError: all are grey.
        """
        every = max(1, len(pictures) // LOOKED_AT)
        spreads = (p.amax(0).int() - p.amin(0).int() for p in (pictures[i] for i in range(0, len(pictures), every)))
        if all(s.max() <= GREY for s in spreads):
            raise UserError("the pictures are all grey, so they teach and test no colours; give photos in colour by --data")

    def residual(self, condition: Tensor, sample: Tensor) -> Tensor:
        """(B,): RMS difference of the lightness."""
        return (lightness(sample) - condition).square().flatten(1).mean(1).sqrt()

    def project(self, condition: Tensor, sample: Tensor) -> Tensor:
        """The colours of `sample` on the lightness of `condition`; those that no sRGB colour of that lightness has become paler."""
        lab = rgb_to_lab(sample)
        return lab_to_rgb(paled(torch.cat([(condition + 1) * 50, lab[:, 1:]], 1)))


def lightness(image: Tensor) -> Tensor:
    """(B, 3, H, W) in [-1, 1] → (B, 1, H, W): L of CIELAB, as L / 50 - 1 in [-1, 1]."""
    return rgb_to_lab(image)[:, :1] / 50 - 1
