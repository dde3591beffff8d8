"""Critics: networks from a sample to a logit (B,), every layer spectrally normalised (Miyato et al. 2018)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from predella.nn.latent import halvings, widths


class ConcatenatedReLU(nn.Module):
    """(max(x, 0), max(-x, 0)): twice the channels (Shang et al. 2016)."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([F.relu(x), F.relu(-x)], 1)


class VectorCritic(nn.Sequential):
    """(B, dims) → (B,): two hidden layers, the first with concatenated ReLU (Schirrmeister et al. 2018, Sec. 3.1)."""

    def __init__(self, dims: int, hidden: tuple[int, int] = (400, 800)):
        first, second = hidden
        super().__init__(
            spectral_norm(nn.Linear(dims, first)), ConcatenatedReLU(), spectral_norm(nn.Linear(2 * first, second)), nn.ReLU(),
            spectral_norm(nn.Linear(second, 1)), nn.Flatten(0),
        )  # fmt: skip


class ImageCritic(nn.Module):
    """(B, C, H, W) → (B,): strided convolutions to 4 pixels, then a linear layer (Radford et al. 2016; Miyato et al. 2018, Tab. 3).

    Args:
        size: edge of the images: 4, 5, 6 or 7 times a power of two, at least 8.
        width: channels after the first convolution, doubled at each halving up to 8 · width.
    """

    def __init__(self, channels: int, size: int, width: int = 64):
        super().__init__()
        wide = [channels, *widths(size, width)]
        layers: list[nn.Module] = []
        for a, b in zip(wide, wide[1:]):
            layers += [spectral_norm(nn.Conv2d(a, b, 4, stride=2, padding=1)), nn.LeakyReLU(0.1)]
        self.body = nn.Sequential(*layers)
        self.out = spectral_norm(nn.Linear(wide[-1] * (size >> halvings(size)) ** 2, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.body(x).flatten(1)).flatten()


class FeatureCritic(nn.Module):
    """Maps [(B, C, h, w), …] of another network, which does not learn, → (B,): a small critic for each, the mean over maps and places.

    Source: Sauer et al. 2021 (projected GANs), without their random mixing of channels and scales.

    Args:
        maps: (channels, edge) of each.
        width: channels of the hidden layers.
    """

    def __init__(self, maps: Sequence[tuple[int, int]], width: int = 64):
        super().__init__()
        self.heads = nn.ModuleList(self._head(*m, width) for m in maps)

    @staticmethod
    def _head(channels: int, edge: int, width: int) -> nn.Sequential:
        layers: list[nn.Module] = []
        for a in (channels, width):
            kernel, stride = (4, 2) if edge >= 4 else (3, 1)  # what is too small to be halved keeps its size
            layers += [spectral_norm(nn.Conv2d(a, width, kernel, stride, padding=1)), nn.LeakyReLU(0.1)]
            edge //= stride
        return nn.Sequential(*layers, spectral_norm(nn.Conv2d(width, 1, 1)))

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        return torch.stack([head(x).mean((1, 2, 3)) for head, x in zip(self.heads, maps, strict=True)]).mean(0)


class ResidualCritic(nn.Module):
    """(B, C, H, W) → (B,): residual blocks that halve the edges to fewer than 16 pixels, two more, a sum over positions.

    Source: Miyato et al. 2018, Tab. 4.

    Args:
        size: edge of the images: 8 to 15 times a power of two, at least 16.
    """

    def __init__(self, channels: int, size: int, width: int = 128):
        super().__init__()
        wide = [channels, *[width] * halvings(size, 8)]
        down = [_CriticBlock(a, b, True, i == 0) for i, (a, b) in enumerate(zip(wide, wide[1:]))]
        self.body = nn.Sequential(*down, _CriticBlock(width, width, False), _CriticBlock(width, width, False))
        self.out = spectral_norm(nn.Linear(width, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.out(F.relu(self.body(x)).sum((2, 3))).flatten()


class _CriticBlock(nn.Module):
    """Shortcut + conv(relu(conv(relu(x)))), then the mean of 2×2 if `down`; the first has no ReLU before its image."""

    def __init__(self, a: int, b: int, down: bool, first: bool = False):
        super().__init__()
        self.down, self.first = down, first
        self.conv1, self.conv2 = (spectral_norm(nn.Conv2d(c, b, 3, padding=1)) for c in (a, b))
        self.short = spectral_norm(nn.Conv2d(a, b, 1)) if down or a != b else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv2(F.relu(self.conv1(x if self.first else F.relu(x)))) + self.short(x)
        return F.avg_pool2d(h, 2) if self.down else h
