"""How far the texture of one picture is from another's: what a critic of patches would say, without training one."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from predella.losses.transport import GaussianTransport, random_directions
from predella.nn.precision import in_32_bits

PATCH = 7  # edge of the patches, in pixels
SMALLEST = 16  # edge from which on a network's features are compared
FEATURES = 8.0  # weight of their distance: at first both parts are about as large
FLOOR = 1e-3  # of the largest variance of patches: directions of less are enlarged no further
ROUNDING = 1e-5  # nor those of less than what rounding to 8 bits makes
TINY = 1e-4  # the least variance that features are told apart by
Maps = Callable[[Tensor], Sequence[Tensor]]  # (B, 3, H, W) → feature maps (B, D, h, w)


class Texture:
    """How far the texture of pictures is from one picture's, by its patches and by its features.

    Patches: sliced Wasserstein distance, squared (Elnekave and Weiss 2022), after whitening. Random directions of raw patches mostly
    tell of their mean colour; whitened by the picture's own covariance, coarse and fine patterns count alike. Patches are linear and
    know no edges, corners or things; a network's features do: 8 · sum over maps of the Fréchet distance of the features at all places
    over their variance in the picture (`GaussianTransport`). Autocast is left out: sorted values and covariances differ by little.

    Args:
        real: (1, 3, H, W) in [-1, 1].
        maps: of features, which count from 16 pixels on; None = patches alone.
        directions: so many random ones a call.
    """

    def __init__(self, real: Tensor, maps: Maps | None = None, directions: int = 16):
        self._size, self._directions = real.shape[-2:], directions
        self._maps = maps if maps is not None and min(self._size) >= SMALLEST else None
        with torch.no_grad(), torch.autocast(real.device.type, enabled=False):
            real = in_32_bits(real)
            values, vectors = torch.linalg.eigh(torch.cov(F.unfold(_framed(real), PATCH)[0]))
            self._whitening = vectors * torch.maximum(values, (FLOOR * values[-1]).clamp(min=ROUNDING)).rsqrt()
            self._features = [GaussianTransport(x) for x in self._of(real)]
            self._real = _framed(real)

    def __call__(self, made: Tensor, generator: torch.Generator) -> Tensor:
        """(1, 3, H, W) → a scalar, 0 but for rounding for the picture itself.

        Args:
            generator: a CPU generator, of the directions.

        Raises:
            ValueError: `made` is of another size than the picture.
        """
        if made.shape[-2:] != self._size:
            sizes = [f"{s[1]}×{s[0]}" for s in (made.shape[-2:], self._size)]
            raise ValueError(f"textures are compared at one size, got {sizes[0]} pixels for {sizes[1]}")
        with torch.autocast(made.device.type, enabled=False):
            made = in_32_bits(made)
            directions = random_directions(len(self._whitening), self._directions, generator).to(made)
            kernels = (self._whitening @ directions).T.view(-1, 3, PATCH, PATCH)  # a patch's projection is a convolution
            total = _apart(_framed(made), self._real, kernels)
            for features, own in zip(self._of(made), self._features):
                total = total + FEATURES * own(features) / own.variance.clamp(min=TINY)
        return total

    def _of(self, picture: Tensor) -> list[Tensor]:
        """(1, 3, H, W) → the features (places, D) of each map."""
        return [x[0].flatten(1).T for x in self._maps(picture)] if self._maps is not None else []


def _framed(x: Tensor) -> Tensor:
    """So large that each pixel has a patch around it."""
    return F.pad(x, (PATCH // 2,) * 4, mode="replicate")


def _apart(made: Tensor, real: Tensor, kernels: Tensor) -> Tensor:
    """Mean over the kernels of the squared 2-Wasserstein distance of what they give."""
    with torch.no_grad():
        wanted = F.conv2d(real, kernels).flatten(1).view(len(kernels), -1).sort(1).values
    return (F.conv2d(made, kernels).flatten(1).view(len(kernels), -1).sort(1).values - wanted).square().mean()
