"""Decompression: the condition is the image after JPEG, by Pillow's codec."""

from io import BytesIO
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from predella.config import config
from predella.image.contract import from_uint8
from predella.image.jpeg import coefficients_of, encode
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

    def project(self, condition: Tensor, sample: Tensor) -> Tensor:
        """`sample` with its coefficients moved into the quantisation intervals of `condition`, as compressed again."""
        pairs = zip(condition.split(1), sample.split(1))
        return torch.cat([coefficients_of(encode(c[0], self.quality)).project(x) for c, x in pairs])


def compress(image: Tensor, quality: int) -> Tensor:
    """(B, C, H, W) in [-1, 1] → what a JPEG file of that quality shows of each item."""
    return torch.stack([_decoded(encode(x, quality)) for x in image]).to(image)


def _decoded(data: bytes) -> Tensor:
    with Image.open(BytesIO(data)) as coded:
        array = np.asarray(coded).copy()
    return from_uint8(torch.from_numpy(array if array.ndim == 3 else array[..., None]).permute(2, 0, 1))
