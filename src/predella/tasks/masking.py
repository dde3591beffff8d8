"""Masking: the condition is the image with holes, and the mask of what is known."""

from typing import Literal

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from predella.config import config
from predella.tasks.base import Batch

Kind = Literal["strokes", "boxes", "text"]
KINDS: tuple[Kind, ...] = ("strokes", "boxes", "text")


@config
class Masking:
    """Random holes.

    Args:
        edge: of the training crop, in pixels.
        kinds: drawn with equal chance: brush strokes, boxes, text-like rows of thin marks.
        cover: fraction of the picture that holes cover at least and at most.
    """

    kind: Literal["masking"] = "masking"
    edge: int = 64
    kinds: tuple[Kind, ...] = KINDS
    cover: tuple[float, float] = (0.05, 0.25)

    def __post_init__(self):
        if not self.kinds:
            raise ValueError(f"kinds must name at least one of {KINDS}")
        if not 0 < self.cover[0] <= self.cover[1] < 1:
            raise ValueError(f"cover must satisfy 0 < low ≤ high < 1, got {self.cover}")

    def crop(self, generator: torch.Generator) -> int:
        return self.edge

    def __call__(self, image: Tensor, seeds: Tensor | None = None) -> Batch:
        """image (B, 3, H, W) → condition (B, 4, H, W): image × known, and known (1 = known, 0 = hole)."""
        if seeds is None:
            raise ValueError("masking draws holes: give seeds (B,), one an item")
        size = (image.shape[-2], image.shape[-1])
        known = torch.stack([self._draw(size, int(seed)) for seed in seeds]).to(image)
        return Batch(target=image, condition=torch.cat([image * known, known], 1))

    def _draw(self, size: tuple[int, int], seed: int) -> Tensor:
        rng = np.random.default_rng(seed)
        kind = self.kinds[rng.integers(len(self.kinds))]
        return holes(size, kind, rng.uniform(*self.cover), seed)

    def residual(self, condition: Tensor, sample: Tensor) -> Tensor:
        """(B,): RMS difference at the known pixels."""
        image, known = condition[:, :3], condition[:, 3:]
        error = ((sample - image) * known).square().flatten(1).sum(1)
        return (error / (3 * known.flatten(1).sum(1)).clamp(min=1)).sqrt()


def holes(size: tuple[int, int], kind: Kind, cover: float, seed: int) -> Tensor:
    """(1, H, W) float32: 1 where the picture is known, 0 in holes that cover at least `cover` of it.

    Shapes have absolute sizes, as scratches and captions have; a function of its arguments alone.
    """
    rng = np.random.default_rng([seed, KINDS.index(kind)])
    height, width = size
    image = Image.new("L", (width, height), 255)
    draw = ImageDraw.Draw(image)
    for _ in range(100_000):
        if kind == "strokes":
            _stroke(draw, rng, height, width)
        elif kind == "boxes":
            _box(draw, rng, height, width)
        else:
            _line_of_text(draw, rng, height, width)
        if (np.asarray(image) == 0).mean() >= cover:
            break
    return torch.from_numpy((np.asarray(image) > 0).astype(np.float32))[None]


def _stroke(draw: ImageDraw.ImageDraw, rng: np.random.Generator, height: int, width: int) -> None:
    at = np.array([rng.uniform(0, width), rng.uniform(0, height)])
    angle, brush = rng.uniform(0, 2 * np.pi), int(rng.integers(2, 7))
    for _ in range(int(rng.integers(2, 8))):
        angle += rng.normal(0, 0.7)
        to = at + rng.uniform(6, 20) * np.array([np.cos(angle), np.sin(angle)])
        draw.line([*at, *to], fill=0, width=brush)
        r = brush / 2
        draw.ellipse([to[0] - r, to[1] - r, to[0] + r, to[1] + r], fill=0)
        at = to


def _box(draw: ImageDraw.ImageDraw, rng: np.random.Generator, height: int, width: int) -> None:
    h, w = (int(rng.integers(4, 17)) for _ in "hw")
    top, left = int(rng.integers(0, max(1, height - h + 1))), int(rng.integers(0, max(1, width - w + 1)))
    draw.rectangle([left, top, left + w - 1, top + h - 1], fill=0)


def _line_of_text(draw: ImageDraw.ImageDraw, rng: np.random.Generator, height: int, width: int) -> None:
    """A row of glyph-like marks: each a few straight or round strokes of one thin pen."""
    tall = int(rng.integers(7, 15))
    pen = max(1, tall // 7)
    x, y = rng.uniform(0, width / 2), rng.uniform(0, max(1, height - tall))
    for _ in range(int(rng.integers(3, 14))):
        wide = tall * rng.uniform(0.4, 0.7)
        for _ in range(int(rng.integers(2, 4))):
            ends = [x + wide * rng.choice([0, 0.5, 1]), y + tall * rng.choice([0, 0.5, 1]),
                    x + wide * rng.choice([0, 0.5, 1]), y + tall * rng.choice([0, 0.5, 1])]  # fmt: skip
            if rng.random() < 0.3:
                draw.arc([x, y + tall / 2 * int(rng.integers(2)), x + wide, y + tall], rng.uniform(0, 360), rng.uniform(360, 600), 0, pen)
            else:
                draw.line(ends, fill=0, width=pen)
        x += wide + tall * 0.2
