"""Decompression: the condition is the image after JPEG, by Pillow's codec."""

from io import BytesIO
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from predella.config import config
from predella.image.contract import from_uint8, to_uint8
from predella.tasks.base import Batch


@config
class Decompression:
    """JPEG of one quality.

    Args:
        quality: of libjpeg, 1 (worst) … 95; colour at half the size (4:2:0), as cameras and web pages have it.
        edge: of the training crop, in pixels.
    """

    kind: Literal["decompression"] = "decompression"
    quality: int = 5
    edge: int = 64

    def __post_init__(self):
        if not 1 <= self.quality <= 95:
            raise ValueError(f"quality must lie in 1…95, got {self.quality}")
        if self.edge < 8:
            raise ValueError(f"edge must be at least 8 pixels, got {self.edge}")

    def crop(self, generator: torch.Generator) -> int:
        return self.edge

    def __call__(self, image: Tensor, seeds: Tensor | None = None) -> Batch:
        """image (B, C, H, W), C 1 or 3 → condition of the same shape."""
        return Batch(target=image, condition=compress(image, self.quality))

    def residual(self, condition: Tensor, sample: Tensor) -> Tensor:
        """(B,): RMS difference after compressing the sample, too."""
        return (compress(sample, self.quality) - condition).square().flatten(1).mean(1).sqrt()


def compress(image: Tensor, quality: int) -> Tensor:
    """(B, C, H, W) in [-1, 1] → what a JPEG file of that quality shows of each item."""
    return torch.stack([_coded(x, quality) for x in to_uint8(image).cpu()]).to(image)


def _coded(pixels: Tensor, quality: int) -> Tensor:
    picture = Image.fromarray(pixels[0].numpy() if len(pixels) == 1 else pixels.permute(1, 2, 0).numpy())
    with BytesIO() as file:
        picture.save(file, "JPEG", quality=quality, subsampling="4:2:0")
        with Image.open(file) as coded:
            array = np.asarray(coded).copy()
    return from_uint8(torch.from_numpy(array if array.ndim == 3 else array[..., None]).permute(2, 0, 1))
