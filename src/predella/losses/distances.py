"""Distances between images: (B, …), (B, …) → (B,)."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from predella.weights import LEAST, load_classic, load_lpips_heads

Distance = Callable[[Tensor, Tensor], Tensor]


def l1(x: Tensor, y: Tensor) -> Tensor:
    """(B,): mean absolute difference of each item."""
    return (x - y).abs().flatten(1).mean(1)


def l2(x: Tensor, y: Tensor) -> Tensor:
    """(B,): mean squared difference of each item."""
    return (x - y).square().flatten(1).mean(1)


DISTANCES: dict[str, Distance] = {"l1": l1, "l2": l2}


class Pixels(nn.Module):
    """Mean squared difference of pixels, with the same methods as `Perceptual`."""

    def embed(self, x: Tensor) -> Tensor:
        """(B, …) → (B, D) whose squared Euclidean distances are these distances."""
        return x.flatten(1) / x[0].numel() ** 0.5

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return l2(x, y)


class Perceptual(nn.Module):
    """Distance between the features of images, in the form of LPIPS (Zhang et al. 2018, Eq. 1).

    Each map's features are brought to unit length over the channels; squared differences are weighed by channel, averaged over
    positions and added up over maps. With the standard network and its published weights this is LPIPS itself.

    Args:
        maps: (x, count) → the network's first `count` maps.
        weights: one (C,) a map, 0 or more.
        least: the smallest edge that gives the first map, the first two, …; smaller images are compared by fewer maps.
        pixels: weight of the mean squared difference of the images themselves, besides; LPIPS has none.
    """

    def __init__(self, maps: nn.Module, weights: Sequence[Tensor], least: Sequence[int], pixels: float = 0.0):
        super().__init__()
        if len(weights) != len(least) or any((w < 0).any() for w in weights):
            raise ValueError("perceptual distances need weights of 0 or more and a least edge for each map")
        self.maps = maps.requires_grad_(False).eval()
        for i, w in enumerate(weights):
            self.register_buffer(f"root_{i}", w.sqrt().view(1, -1, 1, 1))
        self.least, self.pixels = tuple(least), pixels

    def train(self, mode: bool = True) -> "Perceptual":
        """Always in evaluation mode."""
        return super().train(False)

    def embed(self, x: Tensor) -> Tensor:
        """(B, C, H, W) in [-1, 1], C 1 or 3 → (B, D) whose squared Euclidean distances are these distances.

        Raises:
            ValueError: images too small for the first map.
        """
        x = x.expand(-1, 3, -1, -1) if x.shape[1] == 1 else x
        out = [x.flatten(1) * (self.pixels / x[0].numel()) ** 0.5] if self.pixels else []
        for i, f in enumerate(self.seen(x)):
            unit = f / (f.square().sum(1, keepdim=True).sqrt() + 1e-10)
            out.append((unit * getattr(self, f"root_{i}") / (f.shape[-2] * f.shape[-1]) ** 0.5).flatten(1))
        return torch.cat(out, 1)

    def seen(self, x: Tensor) -> list[Tensor]:
        """(B, 3, H, W) in [-1, 1] → the maps, one (B, C, h, w) each, that the images are large enough for.

        Raises:
            ValueError: images too small for the first map.
        """
        count = sum(min(x.shape[-2:]) >= edge for edge in self.least)
        if not count:
            raise ValueError(f"images must have edges of at least {self.least[0]} pixels, got {x.shape[-1]}×{x.shape[-2]}")
        return self.maps(x, count)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return (self.embed(x) - self.embed(y)).square().sum(1)


def projected(x: Tensor, dims: int) -> Tensor:
    """(B, D) → (B, dims): squared distances are kept in expectation, with a deviation of about √(2 / dims) of themselves.

    A sparse random projection, the same at each call: every number is added to one of `dims` sums with a random sign (count
    sketch; Weinberger et al. 2009, Eq. 1).
    """
    place, sign = _sketch(x.shape[1], dims, x.device)
    return x.new_zeros(len(x), dims).index_add_(1, place, x * sign)


@lru_cache(maxsize=16)
def _sketch(old: int, new: int, device: torch.device) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(old)
    place, sign = torch.randint(new, (old,), generator=generator), torch.randint(2, (old,), generator=generator) * 2 - 1
    return place.to(device), sign.to(device, torch.int8)


def lpips(which: Literal["vgg16", "alexnet"], weights: Path | None = None) -> Perceptual:
    """LPIPS 0.1 (Zhang et al. 2018) with the published weights.

    Args:
        weights: a folder that holds them; None: $PREDELLA_WEIGHTS, the cache, the official address.

    Raises:
        UserError: weights that can't be had; the line names the file and its address.
    """
    return Perceptual(load_classic(which, weights), load_lpips_heads(which, weights), LEAST[which])
