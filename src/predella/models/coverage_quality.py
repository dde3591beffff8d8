"""Coverage- and quality-driven model: a variational autoencoder whose decoder may be a density over a flow's features (Lucas et al. 2018).

p(x | z) = N(f(x); μ(z), diag(σ(z)²)) · |det ∂f/∂x| (Eq. 6–8), with f a Real-NVP, or f(x) = x (Eq. 5). Which losses train it decides
whether it is a VAE, a GAN or both. Pixels are dequantised: anywhere in the interval of their 8-bit level.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from predella.config import config
from predella.image.contract import check_image
from predella.losses.likelihood import bits_per_dim, gaussian_kl, gaussian_log_density, importance_weighted
from predella.models.base import Model
from predella.nn.autoregressive import InverseAutoregressive
from predella.nn.latent import LatentDecoder, LatentEncoder, Norm, widths
from predella.nn.precision import in_32_bits
from predella.nn.real_nvp import real_nvp

NARROWEST = 0.003  # least deviation of a feature given z, a third of a level's interval on [-1, 1]
START = 0.3, 1.0  # deviation that an untrained decoder gives, about: of pixels, of a flow's features, which begin with deviation 1;
# with less, the first steps only widen it, and the posterior collapses meanwhile (measured in docs/density.md)
STEEPEST = 5.0  # of a posterior's log deviation, either way


@config
class Flow:
    """f, a Real-NVP.

    Args:
        scales: of a checkerboard at full and one at half resolution each; half of the channels go on to the next.
        couplings: of either kind a scale.
        width, blocks: of the residual networks inside couplings.
    """

    scales: int = 1
    couplings: int = 2
    width: int = 32
    blocks: int = 2

    def __post_init__(self):
        if min(self.scales, self.couplings, self.width, self.blocks) < 1:
            raise ValueError(f"a flow needs positive numbers, got {self.scales}, {self.couplings}, {self.width}, {self.blocks}")


@config
class CoverageQualityConfig:
    """Args:
    channels, size: of the images; the edge is 4, 5, 6 or 7 times a power of two, at least 8.
    counted: edge of the central square whose pixels count in bits per dimension, where images were padded; 0 = all.
    latent: dimensions of z.
    width: channels of encoder and decoder at the image's size.
    residual: residual encoder and decoder, instead of plain ones.
    flow: None = Gaussian pixels.
    norm: of the decoder, within an item by groups of channels or by the batch.
    noiseless: samples are f⁻¹(μ(z)), as a GAN's pictures are; the deviations serve the likelihood alone.
    iaf: steps of an inverse autoregressive flow on the posterior; 0 = a Gaussian.
    """

    kind: Literal["coverage_quality"] = "coverage_quality"
    channels: int = 3
    size: int = 32
    counted: int = 0
    latent: int = 64
    width: int = 32
    residual: bool = False
    flow: Flow | None = Flow()
    norm: Norm = "group"
    noiseless: bool = False
    iaf: int = 0

    def __post_init__(self):
        if min(self.channels, self.latent, self.width) < 1 or not 0 <= self.counted <= self.size or self.iaf < 0:
            raise ValueError(
                "channels, latent and width must be positive, counted at most size and iaf 0 or more, got "
                f"{self.channels}, {self.latent}, {self.width}, {self.counted}, {self.iaf}"
            )
        widths(self.size, self.width)
        if self.flow is not None and (self.size % 2**self.flow.scales or self.size < 2 ** (self.flow.scales + 1)):
            scales, factor = self.flow.scales, 2**self.flow.scales
            raise ValueError(f"a flow of {scales} scales needs a multiple of {factor} from {2 * factor} on as size, got {self.size}")

    @property
    def dims(self) -> int:
        """Numbers of an image, padding and all."""
        return self.channels * self.size**2

    @property
    def own(self) -> tuple[int, int]:
        """Height and width of what is not padding."""
        edge = self.counted or self.size
        return edge, edge

    @property
    def counted_dims(self) -> int:
        """Numbers that bits are counted over."""
        return self.channels * self.own[0] * self.own[1]


@dataclass(frozen=True)
class Posterior:
    """q(z | x): (B, latent) mean and logarithm of the deviation, and (B, latent) what further steps depend on, if there are any."""

    mean: Tensor
    log_std: Tensor
    context: Tensor | None = None


class Decoder(nn.Module):
    """z → μ(z) and log σ(z), (B, C, H, W) each; `body` and `mean` are a GAN's generator."""

    def __init__(self, config: CoverageQualityConfig):
        super().__init__()
        self.body = LatentDecoder(config.latent, config.size, config.width, config.residual, config.norm)
        self.mean, self.scale = (nn.Conv2d(config.width, config.channels, 3, padding=1) for _ in range(2))
        self.squash = config.flow is None
        assert self.scale.bias is not None
        nn.init.constant_(self.scale.bias, math.log(math.expm1(START[config.flow is not None])))

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        h = self.body(z)
        mean, scale = in_32_bits(self.mean(h)), in_32_bits(self.scale(h))  # near ±1 numbers of 16 bits lie farther apart than NARROWEST
        return mean.tanh() if self.squash else mean, (F.softplus(scale) + NARROWEST).log()


class CoverageQuality(Model):
    """Every random number is an argument: z or the noise it is made of."""

    Config: ClassVar[type] = CoverageQualityConfig
    name: ClassVar[str] = "coverage_quality"
    verbs = ("sample", "score", "encode", "decode", "interpolate")

    def __init__(self, config: CoverageQualityConfig):
        super().__init__()
        self.config = config
        self.encoder = LatentEncoder(config.channels, config.size, config.width, (3 if config.iaf else 2) * config.latent, config.residual)
        self.decoder = Decoder(config)
        f = config.flow
        self.flow = real_nvp(config.channels, f.scales, f.couplings, f.width, f.blocks) if f is not None else None
        self.iaf = InverseAutoregressive(config.latent, config.iaf, 4 * config.latent, config.latent) if config.iaf else None

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return self.config.channels, self.config.size, self.config.size

    def features(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Dequantised pixels (B, C, H, W) in [-1, 1] → (f(x), log |det ∂f/∂x| (B,))."""
        check_image(x)
        if tuple(x.shape[1:]) != self.shape:
            raise ValueError(f"this model takes images of {self.shape}, got {tuple(x.shape[1:])}")
        return (x, x.new_zeros(len(x))) if self.flow is None else self.flow(x)

    def pixels(self, y: Tensor) -> Tensor:
        """f⁻¹."""
        return y if self.flow is None else self.flow.inverse(y)[0]

    def posterior(self, x: Tensor) -> Posterior:
        """q(z | x), before the autoregressive steps if there are any."""
        mean, log_std, *context = self.encoder(x).split(self.config.latent, 1)
        return Posterior(mean, STEEPEST * torch.tanh(log_std / STEEPEST), *context)

    def drawn(self, q: Posterior, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Standard normal noise (B, latent) → (z, log q(z | x) (B,))."""
        z = q.mean + q.log_std.exp() * noise
        log_q = gaussian_log_density(z, q.mean, q.log_std)
        if self.iaf is None:
            return z, log_q
        assert q.context is not None
        z, ladj = self.iaf(z, q.context)
        return z, log_q - ladj

    def log_likelihood(self, x: Tensor, z: Tensor) -> Tensor:
        """(B,): log p(x | z), Eq. 8."""
        y, ladj = self.features(x)
        return gaussian_log_density(y, *self.decoder(z)) + ladj

    def elbo(self, x: Tensor, noise: Tensor) -> Tensor:
        """(B,): E[log p(x | z)] - KL(q ‖ p) from one z an item."""
        likelihood, kl = self.elbo_terms(x, noise)
        return likelihood - kl

    def elbo_terms(self, x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """log p(x | z) and KL(q ‖ p), (B,) each, from one z an item; the divergence in closed form where there is one."""
        q = self.posterior(x)
        z, log_q = self.drawn(q, noise)
        prior = gaussian_log_density(z, torch.zeros_like(z), torch.zeros_like(z))
        kl = gaussian_kl(q.mean, q.log_std) if self.iaf is None else log_q - prior
        return self.log_likelihood(x, z), kl

    def log_weights(self, x: Tensor, noise: Tensor, own: tuple[int, int] | None = None) -> Tensor:
        """(K, B): log p(x, z_k) - log q(z_k | x) for noise (K, B, latent); `importance_weighted` makes a bound of them.

        Args:
            own: height and width of the middle of x that is no padding, None = `config.own`. Without a flow p(x | z) is of these
                pixels alone; the density of a flow's features has no such part, and is of all.
        """
        q, (y, ladj) = self.posterior(x), self.features(x)
        cut = self._middle(own) if self.flow is None else ...
        rows = []
        for one in noise:
            z, log_q = self.drawn(q, one)
            prior = gaussian_log_density(z, torch.zeros_like(z), torch.zeros_like(z))
            mean, log_std = self.decoder(z)
            rows.append(gaussian_log_density(y[cut], mean[cut], log_std[cut]) + ladj + prior - log_q)
        return torch.stack(rows)

    def _middle(self, own: tuple[int, int] | None) -> tuple:
        starts = [((self.config.size - n) // 2, n) for n in own or self.config.own]
        return ..., *(slice(start, start + n) for start, n in starts)

    def dims(self, own: tuple[int, int] | None = None) -> tuple[int, int]:
        """How many numbers `log_weights` is a density of, and how many of them are the picture's own, over which bits are counted."""
        height, width = own or self.config.own
        counted = self.config.channels * height * width
        return counted if self.flow is None else self.config.dims, counted

    def bits(self, x: Tensor, noise: Tensor, own: tuple[int, int] | None = None) -> Tensor:
        """(B,): bits per dimension of dequantised pixels, at most, by K importance-weighted draws, noise (K, B, latent)."""
        return bits_per_dim(importance_weighted(self.log_weights(x, noise, own)), *self.dims(own))

    def sample(self, z: Tensor, noise: Tensor | None = None) -> Tensor:
        """(B, latent) → (B, C, H, W): f⁻¹(μ(z) + σ(z) · noise); None = f⁻¹(μ(z)). Values may leave [-1, 1] a little."""
        mean, log_std = self.decoder(z)
        return self.pixels(mean if noise is None else mean + log_std.exp() * noise)
