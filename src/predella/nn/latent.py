"""Between an image and one vector: strided convolutions and their mirror (Radford et al. 2016), or residual blocks (Miyato et al. 2018).

Normalisation is by groups within an item, so that no item's numbers depend on the others; a decoder that an adversary trains may take
the batch's statistics instead, without which small ones give the same image for every vector (measured in docs/density.md).
"""

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

Norm = Literal["group", "batch"]

LEAST = 4  # pixels of an edge, next to the vector; fewer than twice as many


def halvings(size: int, least: int = LEAST) -> int:
    """How often an edge is halved until fewer than 2 · `least` pixels are left, at least once.

    Raises:
        ValueError: fewer than 2 · `least` pixels, or an edge that 2 does not divide so often.
    """
    times = size.bit_length() - least.bit_length()
    if times < 1 or size % 2**times:
        small = ", ".join(map(str, range(least, 2 * least)))
        raise ValueError(f"size must be {small} times a power of two, and at least {2 * least}, got {size}")
    return times


def widths(size: int, width: int) -> list[int]:
    """Channels at each of the `halvings`, from the largest size down: `width` after the first, doubled up to 8 · width."""
    return [width * min(2**i, 8) for i in range(halvings(size))]


class Rescaled(nn.Module):
    """A residual block that halves or doubles the edges on the way: shortcut + conv(relu(norm(conv(relu(norm(x))))))."""

    def __init__(self, a: int, b: int, up: bool, norm: Norm = "group"):
        super().__init__()
        self.up = up
        self.first, self.second = normed_conv(a, b, norm), normed_conv(b, b, norm)
        self.short = nn.Conv2d(a, b, 1)

    def forward(self, x: Tensor) -> Tensor:
        if self.up:
            x = F.interpolate(x, scale_factor=2)
        h = self.short(x) + self.second(self.first(x))
        return h if self.up else F.avg_pool2d(h, 2)


def normed_conv(a: int, b: int, norm: Norm = "group") -> nn.Sequential:
    """Norm, ReLU, conv 3×3."""
    return nn.Sequential(normalised(a, norm), nn.ReLU(), nn.Conv2d(a, b, 3, padding=1))


def normalised(channels: int, norm: Norm = "group") -> nn.Module:
    """By at most 8 groups of channels, that divide them, within an item; or by the batch."""
    if norm == "batch":
        return nn.BatchNorm2d(channels)
    return nn.GroupNorm(max(g for g in range(1, 9) if channels % g == 0), channels)


class LatentEncoder(nn.Module):
    """(B, C, size, size) → (B, out)."""

    def __init__(self, channels: int, size: int, width: int, out: int, residual: bool = False):
        super().__init__()
        wide = widths(size, width)
        layers: list[nn.Module] = []
        for a, b in zip([channels, *wide], wide):
            if not layers:
                layers += [nn.Conv2d(a, b, 4, stride=2, padding=1)]
            elif residual:
                layers += [Rescaled(a, b, up=False)]
            else:
                layers += [normalised(a), nn.ReLU(), nn.Conv2d(a, b, 4, stride=2, padding=1)]
        self.body = nn.Sequential(*layers, normalised(wide[-1]), nn.ReLU())
        self.out = nn.Linear(wide[-1] * (size >> len(wide)) ** 2, out)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.body(x).flatten(1))


class LatentDecoder(nn.Module):
    """(B, latent) → (B, width, size, size), to which heads are put."""

    def __init__(self, latent: int, size: int, width: int, residual: bool = False, norm: Norm = "group"):
        super().__init__()
        wide = [*reversed(widths(size, width)), width]
        self.wide, self.least = wide[0], size >> halvings(size)
        self.into = nn.Linear(latent, wide[0] * self.least**2)
        layers: list[nn.Module] = []
        for a, b in zip(wide, wide[1:]):
            plain = (normalised(a, norm), nn.ReLU(), nn.ConvTranspose2d(a, b, 4, stride=2, padding=1))
            layers += [Rescaled(a, b, up=True, norm=norm)] if residual else plain
        self.body = nn.Sequential(*layers, normalised(width, norm), nn.ReLU())

    def forward(self, z: Tensor) -> Tensor:
        return self.body(self.into(z).view(len(z), self.wide, self.least, self.least))
