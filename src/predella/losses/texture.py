"""How far the texture of one picture is from another's: what a critic of patches would say, without training one."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

PATCH = 7  # edge of the patches, in pixels
SMALLEST = 16  # edge from which on a network's features are compared
FLOOR = 1e-3  # of the largest variance of patches: directions of less are not enlarged further
Maps = Callable[[Tensor], Sequence[Tensor]]  # (B, 3, H, W) → feature maps (B, D, h, w)


class Texture:
    """Sliced Wasserstein distance to one picture's patches (Elnekave and Weiss 2022), whitened, and to its features.

    Random directions of raw patches mostly tell of their mean colour; whitened by the picture's own covariance, coarse and fine patterns
    count alike. Patches are linear and know no edges; a network's features do.

    Args:
        real: (1, 3, H, W) in [-1, 1].
        maps: of features; None = patches alone.
        directions: so many random ones a call.
    """

    def __init__(self, real: Tensor, maps: Maps | None = None, directions: int = 64):
        self._size, self._directions = real.shape[-2:], directions
        self._maps = maps if maps is not None and min(self._size) >= SMALLEST else None
        with torch.no_grad():
            self._real = _framed(real)
            patches = F.unfold(self._real, PATCH)[0]
            values, vectors = torch.linalg.eigh(torch.cov(patches))
            self._whitening = vectors * (values.clamp(min=0) + FLOOR * values[-1].clamp(min=1e-8)).rsqrt()
            known = list(self._maps(real)) if self._maps else []
            self._features = [(x, x.flatten(2).std(-1).clamp(min=1e-2)) for x in known]

    def __call__(self, made: Tensor, generator: torch.Generator) -> Tensor:
        """(1, 3, H, W) → a scalar, 0 for the picture itself.

        Args:
            generator: a CPU generator, of the directions.

        Raises:
            ValueError: `made` is of another size than the picture.
        """
        if made.shape[-2:] != self._size:
            sizes = [f"{s[1]}×{s[0]}" for s in (made.shape[-2:], self._size)]
            raise ValueError(f"textures are compared at one size, got {sizes[0]} pixels for {sizes[1]}")
        directions = (self._whitening @ self._draw(len(self._whitening), generator)).T.reshape(-1, 3, PATCH, PATCH)
        total = _transport(F.conv2d(_framed(made), directions), F.conv2d(self._real, directions))
        for x, (real, deviation) in zip(self._maps(made) if self._maps else (), self._features):
            directions = (self._draw(real.shape[1], generator) / deviation.T).T[..., None, None]
            total = total + _transport(F.conv2d(x, directions), F.conv2d(real, directions))
        return total

    def _draw(self, dimensions: int, generator: torch.Generator) -> Tensor:
        """(dimensions, directions), of length 1."""
        return F.normalize(torch.randn(dimensions, self._directions, generator=generator).to(self._real), dim=0)


def _framed(x: Tensor) -> Tensor:
    return F.pad(x, (PATCH // 2,) * 4, mode="replicate")


def _transport(a: Tensor, b: Tensor) -> Tensor:
    """Mean squared 2-Wasserstein distance of (1, K, h, w) along each of K directions."""
    return (a.flatten(2).sort().values - b.flatten(2).sort().values).square().mean()
