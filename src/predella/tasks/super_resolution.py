"""Super-resolution: the condition is the image made smaller by MATLAB's bicubic and rounded to 8 bits."""

from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor

from predella.config import config
from predella.image.contract import quantize
from predella.image.resize import matrix, resize
from predella.tasks.base import Batch


@config
class SuperResolution:
    """Any scale in a range, one scale a batch.

    Args:
        patch: edge of the low-resolution training patch, in pixels.
        scales: smallest and largest scale drawn (uniformly); equal numbers fix it. "Scale" is high ÷ low edge length.
        choices: if not empty, draw from these scales instead (the paper trains on 2, 3, 4).
    """

    kind: Literal["super_resolution"] = "super_resolution"
    patch: int = 32
    scales: tuple[float, float] = (1.2, 4.0)
    choices: tuple[float, ...] = ()

    def __post_init__(self):
        low, high = self.scales
        if not 1 <= low <= high:
            raise ValueError(f"scales must satisfy 1 ≤ low ≤ high, got {self.scales}")
        if self.patch < 4:
            raise ValueError(f"patch must be at least 4 pixels, got {self.patch}")

    def crop(self, generator: torch.Generator) -> int:
        """The high-resolution edge: patch × a scale drawn with `generator`."""
        if self.choices:
            scale = self.choices[int(torch.randint(len(self.choices), (), generator=generator))]
        else:
            low, high = self.scales
            scale = low + (high - low) * torch.rand((), generator=generator, dtype=torch.float64).item()
        return max(self.patch, round(self.patch * scale))

    def __call__(self, image: Tensor, seeds: Tensor | None = None) -> Batch:
        """image (B, C, H, W) → condition (B, C, patch, patch)."""
        return Batch(target=image, condition=degrade(image, (self.patch, self.patch)))

    def residual(self, condition: Tensor, sample: Tensor) -> Tensor:
        """(B,): RMS difference after making the sample small again; at most 8-bit rounding for a perfect answer."""
        again = degrade(sample, (condition.shape[-2], condition.shape[-1]))
        return (again - condition).square().flatten(1).mean(1).sqrt()

    def project(self, condition: Tensor, sample: Tensor) -> Tensor:
        """The nearest to `sample` whose bicubic reduction is `condition`, before rounding; values may leave [-1, 1]."""
        (rows, up), (columns, across) = (_reduction(a, b) for a, b in zip(sample.shape[-2:], condition.shape[-2:]))
        missing = condition - rows.to(sample) @ sample @ columns.to(sample).T
        return sample + up.to(sample) @ missing @ across.to(sample).T


@lru_cache(maxsize=4)
def _reduction(high: int, low: int) -> tuple[Tensor, Tensor]:
    """Of one axis: the matrix that makes it small, and its pseudo-inverse."""
    down = matrix(high, low)
    return down, torch.linalg.pinv(down)


def degrade(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Antialiased bicubic to `size` = (h, w), rounded to 8 bits: the usual low-resolution image."""
    return quantize(resize(image, size))


def evaluation_pair(image: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """(low, high) for a table: low is ⌊H / scale⌋ × ⌊W / scale⌋, high is cropped to round(low · scale).

    For an integer scale this is the usual crop to a multiple of the scale.
    """
    low = max(1, int(image.shape[-2] / scale)), max(1, int(image.shape[-1] / scale))
    high = image[..., : round(low[0] * scale), : round(low[1] * scale)]
    return degrade(high, low), high
