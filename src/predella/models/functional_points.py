"""Functional point sets: a hypernetwork turns a set of points into a map of the circle onto it (Klocek et al. 2019, Sec. 2.2, 3.4).

A set is seen as its density on a grid, so that the order of points does not matter and an image, read as a distribution, is one, too.
The generated network T: circle → plane is a generative model of the set, and a closed curve: how many points are asked for is free.
"""

import math
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from predella.config import config
from predella.models.base import Model
from predella.nn.coordinate import CosineMLP
from predella.nn.heads import DenseHeads
from predella.nn.hyper import Weights, apply_weights
from predella.nn.precision import outside_autocast

MARGIN = 0.9  # of the window [-1, 1]²: how far a point set that is not an image is brought to its border


@config
class FunctionalPointsConfig:
    """Args:
    grid: edge of the grid that a density is seen on, divisible by 4.
    width: channels of the encoder.
    embedding: numbers that the weights are made from.
    target: widths of the target network between its two inputs and two outputs.
    omega: factor on its first layer: how many windings it starts with.
    """

    kind: Literal["functional_points"] = "functional_points"
    grid: int = 28
    width: int = 16
    embedding: int = 96
    target: tuple[int, ...] = (48, 64, 64, 48)
    omega: float = 3.0

    def __post_init__(self):
        if self.grid < 8 or self.grid % 4:
            raise ValueError(f"grid must be a multiple of 4 of at least 8, got {self.grid}")
        if min(self.width, self.embedding, *self.target) < 1 or not self.target or not self.omega > 0:
            raise ValueError("width, embedding, target and omega must be positive")


class FunctionalPoints(Model):
    """`weights(density)` is H_φ, `query(weights, z)` is T(z; θ)."""

    Config: ClassVar[type] = FunctionalPointsConfig
    name: ClassVar[str] = "functional_points"
    verbs = ("trace", "interpolate")

    def __init__(self, config: FunctionalPointsConfig | None = None):
        super().__init__()
        self.config = c = config or FunctionalPointsConfig()
        with torch.device("meta"):  # its own parameters are never used
            self._target = (CosineMLP(2, c.target, 2),)  # in a tuple: it is no part of the state
        self.encoder = nn.Sequential(
            nn.Conv2d(1, c.width, 3, padding=1), nn.ReLU(),
            nn.Conv2d(c.width, 2 * c.width, 4, stride=2, padding=1), nn.ReLU(),
            nn.Conv2d(2 * c.width, 4 * c.width, 4, stride=2, padding=1), nn.ReLU(),
            nn.Flatten(), nn.Linear(4 * c.width * (c.grid // 4) ** 2, c.embedding), nn.LayerNorm(c.embedding), nn.ReLU(),
        )  # fmt: skip
        self.heads = DenseHeads(c.embedding, {k: p.shape for k, p in self._target[0].named_parameters()})
        with torch.no_grad():  # at the start all sets share one well-scaled random network
            for head in self.heads.values():
                assert isinstance(head, nn.Linear)
                head.weight.mul_(0.1)
                head.bias.normal_()

    def weights(self, density: Tensor) -> Weights:
        """θ = H_φ(x).

        Args:
            density: (B, 1, grid, grid), 0 or more; only the shares of its cells count.

        Raises:
            ValueError: another shape, negative or non-finite values, or nothing in it.
        """
        edge = self.config.grid
        if density.ndim != 4 or tuple(density.shape[1:]) != (1, edge, edge):
            raise ValueError(f"a density must have shape (B, 1, {edge}, {edge}), got {tuple(density.shape)}")
        total = density.sum((1, 2, 3), keepdim=True)
        if not torch.compiler.is_compiling() and not ((density >= 0).all() and torch.isfinite(density).all() and (total > 0).all()):
            raise ValueError("a density must be finite, nowhere negative, and not empty")
        raw = self.heads(self.encoder(density * (edge**2 / 8 / total)))
        gains = {k: self.config.omega if k == "layers.0.weight" else 1.0 for k in raw}
        return {k: v * (gains[k] / math.sqrt(v.shape[2])) if v.ndim == 3 else v for k, v in raw.items()}

    @outside_autocast
    def query(self, weights: Weights, z: Tensor) -> Tensor:
        """T(z; θ): z (Q, 2) or (B, Q, 2) on the unit circle → (B, Q, 2) as (y, x) in (-1, 1)."""
        batch = len(next(iter(weights.values())))
        return apply_weights(self._target[0], weights, z.expand(batch, -1, -1) if z.ndim == 2 else z)

    @staticmethod
    def circle(count: int, generator: torch.Generator | None = None) -> Tensor:
        """(count, 2) on the unit circle: in order and evenly spaced, or drawn uniformly if a generator is given."""
        angle = torch.rand(count, generator=generator) if generator is not None else torch.arange(count) / count
        return torch.stack([(2 * math.pi * angle).cos(), (2 * math.pi * angle).sin()], 1)

    def forward(self, density: Tensor, count: int) -> Tensor:
        """(B, count, 2): the curve of each density, in order."""
        return self.query(self.weights(density), self.circle(count).to(density))

    def see(self, points: Tensor, weights: Tensor | None = None) -> Tensor:
        """Points (B, N, 2) as (y, x) in [-1, 1] → their density (B, 1, grid, grid): each gives bilinear shares to its four cells.

        Args:
            weights: (B, N), 0 or more; None: all the same.
        """
        edge, (batch, count, _) = self.config.grid, points.shape
        weights = points.new_ones(batch, count) if weights is None else weights
        place = ((points + 1) / 2 * edge - 0.5).clamp(0, edge - 1)
        low = place.floor().clamp(max=edge - 2)
        part = place - low
        out = points.new_zeros(batch, edge * edge)
        for down in (0, 1):
            for right in (0, 1):
                share = (part[..., 0] if down else 1 - part[..., 0]) * (part[..., 1] if right else 1 - part[..., 1])
                cell = (low[..., 0] + down).long() * edge + (low[..., 1] + right).long()
                out.scatter_add_(1, cell, share * weights)
        return out.view(batch, 1, edge, edge)


def pixel_points(images: Tensor) -> tuple[Tensor, Tensor]:
    """Images (B, 1, H, W) in [-1, 1] as distributions: pixel centres (B, H · W, 2) as (y, x) in [-1, 1], and shares (B, H · W) that are
    proportional to brightness (Sec. 3.4)."""
    height, width = images.shape[-2:]
    y, x = ((torch.arange(n, dtype=images.dtype, device=images.device) + 0.5) * 2 / n - 1 for n in (height, width))
    places = torch.stack(torch.meshgrid(y, x, indexing="ij"), -1).view(1, -1, 2)
    bright = (images[:, 0].flatten(1) + 1) / 2
    return places.expand(len(images), -1, -1), bright / bright.sum(1, keepdim=True).clamp(min=1e-12)


def bright_points(images: Tensor) -> tuple[Tensor, Tensor]:
    """The same for the N brightest pixels of each, as many as all that are not black in any: (B, N, 2), (B, N)."""
    points, shares = pixel_points(images)
    shares, order = shares.topk(int((shares > 0).sum(1).max()), 1)
    return points.gather(1, order[..., None].expand(-1, -1, 2)), shares


def framed(points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(N, 2) of any units → the same in the window, the middle (2,) and the scale () that undo it: points = inside · scale + middle.

    Both axes have one scale; a single place stays in the middle.
    """
    low, high = points.amin(0), points.amax(0)
    middle, scale = (low + high) / 2, ((high - low).max() / 2 / MARGIN).clamp(min=torch.finfo(points.dtype).tiny)
    return (points - middle) / scale, middle, scale


def resampled(density: Tensor, grid: int) -> Tensor:
    """(B, 1, H, W) → (B, 1, grid, grid) by means over areas (or nearest cells where it is smaller)."""
    return density if density.shape[-2:] == (grid, grid) else F.interpolate(density, (grid, grid), mode="area")
