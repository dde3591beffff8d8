"""Real-NVP for images, from the maps of `nn.bijections` (Dinh et al. 2017)."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from predella.nn.bijections import ActNorm, AffineCoupling, Bijection, Chain, Inverse, MaskedCoupling, Split, Squeeze
from predella.nn.encoders import ResidualBlock


class Logit(Bijection):
    """Pixels in [-1, 1] → all numbers: the logit of α / 2 + (1 - α) (x + 1) / 2 (Dinh et al. 2017, Sec. 4.1, symmetric at both ends)."""

    def __init__(self, alpha: float = 0.05):
        super().__init__()
        if not 0 < alpha < 1:
            raise ValueError(f"alpha must lie between 0 and 1, got {alpha}")
        self.alpha = alpha

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = torch.logit(self.alpha / 2 + (1 - self.alpha) * (x + 1) / 2)
        return y, self._slope(y)

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        x = (torch.sigmoid(y) - self.alpha / 2) * 2 / (1 - self.alpha) - 1
        return x, -self._slope(y)

    def _slope(self, y: Tensor) -> Tensor:
        """(B,): Σ log dy/dx, with p (1 - p) = exp(-softplus(y) - softplus(-y))."""
        return (F.softplus(y) + F.softplus(-y) + math.log((1 - self.alpha) / 2)).flatten(1).sum(1)


class ResidualNet(nn.Sequential):
    """(B, C, H, W) → (B, out, H, W): the network of a coupling; it begins as 0, so that the coupling begins as the identity."""

    def __init__(self, channels: int, width: int, blocks: int, out: int):
        last = nn.Conv2d(width, out, 3, padding=1)
        nn.init.zeros_(last.weight)
        assert last.bias is not None
        nn.init.zeros_(last.bias)
        body = [ResidualBlock(width) for _ in range(blocks)]
        super().__init__(nn.Conv2d(channels, width, 3, padding=1), *body, nn.ReLU(), last)


def real_nvp(channels: int, scales: int, couplings: int, width: int, blocks: int) -> Chain:
    """Pixels (B, C, H, W) in [-1, 1] → features of the same shape.

    A scale squeezes; couples the two colours of the fine checkerboard, which the squeeze made halves of the channels; couples the
    coarse checkerboard; and gives half of the channels to the next scale (Dinh et al. 2017, Sec. 3.4–3.6). The squeeze is undone
    behind it, so that a feature stands where its pixel does.

    Args:
        scales: each needs edges that 2 divides once more.
        couplings: of either kind a scale; of the first kind each changes both halves.
        width, blocks: of the residual networks that give scale and shift.
    """
    return Chain(Logit(), _scale(channels, scales, couplings, width, blocks))


def _scale(channels: int, scales: int, couplings: int, width: int, blocks: int) -> Chain:
    many, half = 4 * channels, 2 * channels
    maps: list[Bijection] = [Squeeze()]
    for _ in range(couplings):
        f, g = (ResidualNet(half, width, blocks, 2 * half) for _ in "fg")
        maps += [ActNorm(many), AffineCoupling(f, g)]
    for i in range(couplings):
        maps += [ActNorm(many), MaskedCoupling(ResidualNet(many, width, blocks, 2 * many), "checkerboard", swap=bool(i % 2))]
    if scales > 1:
        maps.append(Split(_scale(half, scales - 1, couplings, width, blocks)))
    return Chain(*maps, Inverse(Squeeze()))
