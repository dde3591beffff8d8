"""How far the texture of one picture is from another's: what a critic of patches would say, without training one."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from predella.losses.transport import sliced_wasserstein

PATCH = 7  # edge of the patches, in pixels
SMALLEST = 16  # edge from which on a network's features are compared
FLOOR = 1e-3  # of the largest variance of patches: directions of less are enlarged no further
ROUNDING = 1e-5  # nor those of less than what rounding to 8 bits makes
Maps = Callable[[Tensor], Sequence[Tensor]]  # (B, 3, H, W) → feature maps (B, D, h, w)


class Texture:
    """Sliced Wasserstein distance to one picture's patches (Elnekave and Weiss 2022), whitened, and to its features.

    Random directions of raw patches mostly tell of their mean colour; whitened by the picture's own covariance, coarse and fine patterns
    count alike. Patches are linear and know no edges; a network's features do.

    Args:
        real: (1, 3, H, W) in [-1, 1].
        maps: of features, which count from 16 pixels on; None = patches alone.
        directions: so many random ones a call.
    """

    def __init__(self, real: Tensor, maps: Maps | None = None, directions: int = 16):
        self._size, self._directions = real.shape[-2:], directions
        self._maps = maps if maps is not None and min(self._size) >= SMALLEST else None
        with torch.no_grad():
            patches = _patches(real)
            values, vectors = torch.linalg.eigh(torch.cov(patches.T))
            self._whitening = vectors * values.clamp(min=max(ROUNDING, FLOOR * values[-1].item())).rsqrt()
            self._deviations = [_places(x).std(0).clamp(min=1e-2) for x in self._features(real)]
            self._real = self._sets(real)

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
        pairs = zip(self._sets(made), self._real)
        return torch.stack([sliced_wasserstein(a, b, self._directions, generator) for a, b in pairs]).sum()

    def _features(self, x: Tensor) -> Sequence[Tensor]:
        return self._maps(x) if self._maps is not None else ()

    def _sets(self, x: Tensor) -> list[Tensor]:
        """Of whitened patches, and of features at all places, each of unit deviation: (N, D) each."""
        features = (_places(f) / d for f, d in zip(self._features(x), self._deviations))
        return [_patches(x) @ self._whitening, *features]


def _patches(x: Tensor) -> Tensor:
    """(1, 3, H, W) → (H · W, 3 · PATCH²)."""
    return F.unfold(F.pad(x, (PATCH // 2,) * 4, mode="replicate"), PATCH)[0].T


def _places(x: Tensor) -> Tensor:
    """(1, D, h, w) → (h · w, D)."""
    return x[0].flatten(1).T
