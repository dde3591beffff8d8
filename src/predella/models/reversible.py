"""Generative reversible network: one invertible network is the encoder, its inverse the decoder (Schirrmeister et al. 2018).

`encode` is R (additive couplings and subsampling, Fig. 4), `decode` its exact inverse. The prior lives on few of the latent's
dimensions: `restrict` sets the others to zero, `code` and `place` go between the latent and its kept dimensions, which a linear
map (`whiten`) may have given mean 0 and covariance 1.
"""

from dataclasses import field as default
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from predella.config import config
from predella.errors import did_you_mean
from predella.image.contract import check_image
from predella.models.base import Model
from predella.nn.bijections import AdditiveCoupling, Bijection, Chain, ConvNet, Squeeze
from predella.nn.gaussian import GaussianMixture
from predella.nn.reversible_memory import MemoryFree

Density = Literal["prior", "gaussian", "mixture"]
Space = Literal["restricted", "full", "pixels"]
SPACES: tuple[Space, ...] = ("restricted", "full", "pixels")
DENSITIES: tuple[Density, ...] = ("prior", "gaussian", "mixture")
COMPONENTS = 10  # of the ex-post mixture (Ghosh et al. 2020, Sec. 4)
DESCRIBED = 1024  # more dimensions have no fitted density: its covariances would fill the memory


@config
class Level:
    """A subsampling and the couplings after it.

    Args:
        hidden: channels inside F and G.
        blocks: couplings.
        kernel: of their convolutions, odd.
    """

    hidden: int
    blocks: int = 2
    kernel: int = 3

    def __post_init__(self):
        if self.hidden < 1 or self.blocks < 1 or self.kernel < 1 or self.kernel % 2 == 0:
            raise ValueError(f"a level needs hidden ≥ 1, blocks ≥ 1 and an odd kernel, got {self.hidden}, {self.blocks}, {self.kernel}")


@config
class StandardNormal:
    """N(0, 1) in `dims` dimensions of the latent, zero in all others; which, the untrained network's deviations on the data say."""

    kind: Literal["standard_normal"] = "standard_normal"
    dims: int = 64


@config
class ClassNormals:
    """One uncorrelated Gaussian a class over all dimensions, with learned means and deviations (Sec. 3.2).

    Args:
        classes: how many.
        epsilon: deviation of the perturbation of Eq. 6, on images in [-1, 1]. A dimension that deviates less is lost under it and
            counts as unused. N(0, 0.01) may mean 0.1 (a variance) or 0.01 (docs/deviations.md).
    """

    kind: Literal["class_normals"] = "class_normals"
    classes: int = 10
    epsilon: float = 0.1

    def __post_init__(self):
        if self.classes < 1 or not self.epsilon > 0:
            raise ValueError(f"classes must be at least 1 and epsilon positive, got {self.classes} and {self.epsilon}")


@config
class ReversibleConfig:
    """Args:
    channels: of the images.
    size: edge of the images whose latents the prior describes; encode and decode take any size.
    levels: fine to coarse; each halves the edge.
    prior: what samples are decoded from.
    surround: pictures smaller than `size` belong in the middle of black, instead of being enlarged (MNIST).
    memory: "flat": activations are recomputed by inversion, so that training memory does not grow with depth;
        "stored": kept, a quarter faster.
    """

    kind: Literal["reversible"] = "reversible"
    channels: int = 3
    size: int = 64
    levels: tuple[Level, ...] = (
        Level(hidden=25), Level(hidden=50), Level(hidden=100), Level(hidden=200), Level(hidden=400),
        Level(hidden=400, blocks=1, kernel=1),
    )  # fmt: skip
    prior: StandardNormal | ClassNormals = default(default_factory=StandardNormal)
    surround: bool = False
    memory: Literal["flat", "stored"] = "flat"

    def __post_init__(self):
        if self.channels < 1:
            raise ValueError(f"channels must be at least 1, got {self.channels}")
        if not self.levels or self.size < 1 or self.size % 2 ** len(self.levels):
            raise ValueError(f"size must be positive and divisible by 2^levels = {2 ** len(self.levels)}, got {self.size}")
        if isinstance(self.prior, StandardNormal) and not 1 <= self.prior.dims <= self.dims:
            raise ValueError(f"prior.dims must be from 1 to the latent's {self.dims} dimensions, got {self.prior.dims}")

    @property
    def dims(self) -> int:
        """Numbers in an image, and in its latent."""
        return self.channels * self.size**2


class Reversible(Model):
    """An exact code for every image, its exact inverse, and samples from a few of the code's dimensions."""

    Config: ClassVar[type] = ReversibleConfig
    name: ClassVar[str] = "reversible"
    verbs = ("sample", "encode", "decode", "interpolate", "vary")
    kept: Tensor
    centre: Tensor
    colour: Tensor
    white: Tensor

    def __init__(self, config: ReversibleConfig | None = None):
        super().__init__()
        self.config = config or ReversibleConfig()
        channels = self.config.channels
        maps: list[Bijection] = []
        for i, level in enumerate(self.config.levels):
            maps.append(Squeeze(streams=1 if i == 0 else 2))  # from the second on, each stream by itself
            channels *= 4
            net = lambda c=channels // 2, e=level: ConvNet(c, e.hidden, kernel=e.kernel)  # noqa: E731
            maps += [AdditiveCoupling(net(), net()) for _ in range(level.blocks)]
        self.chain = Chain(*maps)
        prior = self.config.prior
        if isinstance(prior, StandardNormal):
            self.register_buffer("kept", torch.full((prior.dims,), -1, dtype=torch.int64))
            if prior.dims <= DESCRIBED:
                self.register_buffer("centre", torch.zeros(prior.dims))
                self.register_buffer("colour", torch.eye(prior.dims))  # Σ^½ of the kept dimensions
                self.register_buffer("white", torch.eye(prior.dims))  # Σ^-½
                self.gaussian = GaussianMixture(1, prior.dims)
                self.mixture = GaussianMixture(COMPONENTS, prior.dims)
        else:
            self.mean = nn.Parameter(torch.zeros(prior.classes, self.config.dims))
            self.log_deviation = nn.Parameter(torch.zeros(prior.classes, self.config.dims))

    @property
    def factor(self) -> int:
        """Edges must be divisible by it."""
        return 2 ** len(self.config.levels)

    @property
    def network(self) -> Bijection:
        """R, with activations stored or recomputed as the config says."""
        return MemoryFree(self.chain) if self.config.memory == "flat" else self.chain

    def latent_shape(self, height: int, width: int) -> tuple[int, int, int]:
        """(C, h, w) of the latent of an image of that size."""
        return self.config.channels * self.factor**2, height // self.factor, width // self.factor

    def encode(self, image: Tensor) -> Tensor:
        """z = R(x).

        Args:
            image: (B, C, H, W) in [-1, 1], H and W divisible by `factor`.

        Returns:
            (B, C · factor², H / factor, W / factor), of as many numbers as the image.

        Raises:
            ValueError: another number of channels, a size that does not divide, or a broken image contract.
        """
        if not torch.compiler.is_compiling():
            check_image(image, channels=self.config.channels)
        if image.shape[-2] % self.factor or image.shape[-1] % self.factor:
            raise ValueError(
                f"image edges must be divisible by {self.factor}, got {image.shape[-1]}×{image.shape[-2]}; pad the image (image.pad_to)"
            )
        return self.network(image)[0]

    def decode(self, latent: Tensor) -> Tensor:
        """x = R⁻¹(z); values may overshoot [-1, 1] where z is no encoding of an image.

        Raises:
            ValueError: not a latent of this network.
        """
        channels = self.config.channels * self.factor**2
        if latent.ndim != 4 or latent.shape[1] != channels:
            raise ValueError(f"a latent of this network is (B, {channels}, h, w), got {tuple(latent.shape)}; who encoded it?")
        return self.network.inverse(latent)[0]

    def code(self, latent: Tensor) -> Tensor:
        """(B, dims): the kept dimensions of latents of `size` × `size` images, white if `whiten` was called."""
        self._check_size(latent)
        self._check_kept()
        kept = latent.flatten(1)[:, self.kept]
        with torch.autocast(latent.device.type, enabled=False):  # 16 bits would round the codes, which are compared
            return (kept - self.centre) @ self.white if self.described else kept

    def place(self, code: Tensor) -> Tensor:
        """(B, dims) → the latent that has this code, and zeros in all dimensions that are not kept."""
        self._check_kept()
        if code.ndim != 2 or code.shape[1] != len(self.kept):
            raise ValueError(f"a code of this model has {len(self.kept)} numbers, (B, {len(self.kept)}), got {tuple(code.shape)}")
        flat = code.new_zeros(len(code), self.config.dims)
        with torch.autocast(code.device.type, enabled=False):
            flat = flat.index_copy(1, self.kept, code @ self.colour + self.centre if self.described else code)
        return flat.view(len(code), *self.latent_shape(self.config.size, self.config.size))

    def restrict(self, latent: Tensor, clamp: float = 0.0) -> Tensor:
        """The latent on the prior's support: other dimensions zero, kept ones within ±clamp (0 = as they are).

        For a prior by class: dimensions that the latent's likeliest class does not use take that class's mean; there is no clamp.
        """
        self._check_size(latent)
        if clamp < 0 or (clamp and isinstance(self.config.prior, ClassNormals)):
            raise ValueError(f"clamp must be 0 or more, and 0 for a prior by class; got {clamp}")
        if isinstance(self.config.prior, ClassNormals):
            label, flat = self.likeliest(latent), latent.flatten(1)
            return torch.where(self.used()[label], flat, self.mean[label].to(flat)).view_as(latent)
        code = self.code(latent)
        return self.place(code.clamp(-clamp, clamp) if clamp else code)

    def used(self) -> Tensor:
        """(classes, D) bool: dimensions whose learned deviation exceeds `epsilon`, for a prior by class."""
        assert isinstance(self.config.prior, ClassNormals)
        return self.log_deviation.exp() > self.config.prior.epsilon

    def likeliest(self, latent: Tensor) -> Tensor:
        """(B,) int64: the class whose Gaussian, widened by the perturbation `epsilon`, gives each latent the highest density."""
        assert isinstance(self.config.prior, ClassNormals)
        self._check_size(latent)
        variance = (2 * self.log_deviation).exp() + self.config.prior.epsilon**2  # (classes, D)
        distance = (latent.flatten(1)[:, None] - self.mean).square() / variance
        return (distance + variance.log()).sum(-1).argmin(1)

    def sample_code(self, count: int, generator: torch.Generator, density: Density = "prior") -> Tensor:
        """(count, dims) from the prior, or from the ex-post Gaussian or mixture of the training images' codes."""
        if density not in DENSITIES:
            raise ValueError(f"density can't be '{density}'{did_you_mean(density, DENSITIES)}")
        if density == "prior":
            return torch.randn(count, len(self.kept), generator=generator).to(self.kept.device)
        if not self.described:
            raise ValueError(f"densities are fitted to at most {DESCRIBED} dimensions, this prior has {len(self.kept)}; sample the prior")
        if not self.fitted:
            raise ValueError(f"the density '{density}' is fitted when training ends; finish it with --resume, or sample the prior")
        return (self.gaussian if density == "gaussian" else self.mixture).sample(count, generator)

    @property
    def fitted(self) -> bool:
        """Whether the ex-post densities are there."""
        return self.described and bool(self.gaussian.fitted)

    @property
    def described(self) -> bool:
        """Whether the prior is one that ex-post densities are fitted to: standard normal, in at most 1024 dimensions."""
        return isinstance(self.config.prior, StandardNormal) and self.config.prior.dims <= DESCRIBED

    def sample_latent(self, label: Tensor, noise: Tensor) -> Tensor:
        """(B, D) from the Gaussians of the classes `label` (B,) int64 and standard normal `noise` (B, D).

        Differentiable in the means and deviations.
        """
        return self.mean[label] + self.log_deviation[label].exp() * noise

    def sample(self, count: int, generator: torch.Generator, density: Density = "prior", label: Tensor | None = None) -> Tensor:
        """(count, C, size, size): decoded draws, clamped to [-1, 1].

        Args:
            generator: a CPU generator.
            density: see `sample_code`; for a prior by class only "prior".
            label: (count,) int64, for a prior by class; None takes the classes in turn.
        """
        if count < 1:
            raise ValueError(f"count must be at least 1, got {count}")
        prior = self.config.prior
        if isinstance(prior, ClassNormals):
            if density != "prior":
                raise ValueError(f"a prior by class has no '{density}' density; use 'prior'")
            label = torch.arange(count) % prior.classes if label is None else label.long()
            if len(label) != count or label.min() < 0 or label.max() >= prior.classes:
                given = ", ".join(map(str, label.unique().tolist()[:5]))
                raise ValueError(f"labels must be {count} classes from 0 to {prior.classes - 1}, got {len(label)}: {given}")
            noise = torch.randn(count, self.config.dims, generator=generator).to(self.mean)
            z = self.sample_latent(label.to(self.mean.device), noise)
            return self.decode(z.view(count, *self.latent_shape(self.config.size, self.config.size))).clamp(-1, 1)
        if label is not None:
            raise ValueError("this model knows no classes; leave labels out")
        return self.decode(self.place(self.sample_code(count, generator, density))).clamp(-1, 1)

    def interpolate(self, a: Tensor, b: Tensor, steps: int, space: Space = "restricted") -> Tensor:
        """(steps, C, H, W): a straight line between the latents of two images (1, C, H, W), ends included (Fig. 7, 8).

        Args:
            space: "restricted" decodes from the prior's dimensions alone, "full" from all; "pixels" blends the images.
        """
        if steps < 2:
            raise ValueError(f"steps must be at least 2, got {steps}")
        if space not in SPACES:
            raise ValueError(f"space must be one of {SPACES}, got '{space}'")
        if a.shape != b.shape or len(a) != 1:
            raise ValueError(f"both must be one image (1, C, H, W) of one shape, got {tuple(a.shape)} and {tuple(b.shape)}")
        t = torch.linspace(0, 1, steps).view(-1, 1, 1, 1).to(a)
        if space == "pixels":
            return torch.lerp(a, b, t)
        first, last = self.encode(a), self.encode(b)
        if space == "restricted":
            first, last = self.restrict(first), self.restrict(last)
        return self.decode(torch.lerp(first, last, t))

    def traverse(self, image: Tensor | None, dims: list[int], steps: int = 7, reach: float = 3.0, label: int | None = None) -> Tensor:
        """(len(dims), steps, C, size, size): one dimension at a time from -reach to +reach deviations around its mean (Fig. 9, 12).

        Args:
            image: (1, C, size, size) whose other dimensions are kept, or None for the prior's mean.
            dims: numbers among the kept dimensions; for a prior by class, among all, by falling deviation averaged over the
                classes (0 = the largest, the same for every class).
            label: the class of a prior by class; None takes the image's likeliest.

        Raises:
            ValueError: a number beyond the dimensions or classes there are, or neither image nor label for a prior by class.
        """
        if not dims or steps < 1 or (image is not None and len(image) != 1):
            raise ValueError(f"traversals need dims, at least 1 step and one image or none, got {dims} and {steps} steps")
        start, mean, deviation = self._start(image, label)
        by_class = isinstance(self.config.prior, ClassNormals)
        order = self.log_deviation.exp().mean(0).argsort(descending=True) if by_class else range(len(mean))
        rows = []
        for dim in dims:
            if not 0 <= dim < len(order):
                raise ValueError(f"dims must lie in 0…{len(order) - 1}, got {dim}")
            d, flat = order[dim], start.repeat(steps, 1)
            flat[:, d] = mean[d] + torch.linspace(-reach, reach, steps).to(flat) * deviation[d]
            shape = self.latent_shape(self.config.size, self.config.size)
            rows.append(self.decode(flat.view(steps, *shape) if by_class else self.place(flat)))
        return torch.stack(rows)

    def _start(self, image: Tensor | None, label: int | None) -> tuple[Tensor, Tensor, Tensor]:
        """Where traversals begin (1, D), and mean and deviation (D,) of their dimensions."""
        prior = self.config.prior
        if isinstance(prior, StandardNormal):
            if label is not None:
                raise ValueError("this model knows no classes; leave the label out")
            zeros = torch.zeros(1, len(self.kept), device=self.kept.device)
            return zeros if image is None else self.code(self.encode(image)), zeros[0], torch.ones_like(zeros[0])
        z = None if image is None else self.encode(image)
        if label is None and z is None:
            raise ValueError(f"this model has classes from 0 to {prior.classes - 1}: give a picture or a label")
        k = int(self.likeliest(z)) if label is None and z is not None else label
        if k is None or not 0 <= k < prior.classes:
            raise ValueError(f"label must be a class from 0 to {prior.classes - 1}, got {k}")
        return self.mean[k][None] if z is None else z.flatten(1), self.mean[k], self.log_deviation[k].exp()

    def forward(self, image: Tensor) -> Tensor:
        """The reconstruction from the prior's dimensions alone."""
        return self.decode(self.restrict(self.encode(image)))

    def _check_size(self, latent: Tensor) -> None:
        shape, edge = self.latent_shape(self.config.size, self.config.size), self.config.size
        if tuple(latent.shape[1:]) != shape:
            raise ValueError(f"the prior describes {edge}×{edge} images, latents {shape}, got {tuple(latent.shape[1:])}")

    def _check_kept(self) -> None:
        if isinstance(self.config.prior, ClassNormals):
            raise ValueError("a prior by class describes all dimensions, there is no shorter code; encode the full latent")
        if (self.kept < 0).any():
            raise ValueError("the kept dimensions are not chosen yet; train the model, or call choose()")

    @torch.no_grad()
    def choose(self, deviation: Tensor) -> None:
        """Keep the dimensions of highest `deviation` (D,), in their order (Sec. 3.1: of the untrained network, on the data)."""
        if deviation.shape != (self.config.dims,):
            raise ValueError(f"deviations must have shape ({self.config.dims},), got {tuple(deviation.shape)}")
        self.kept.copy_(deviation.topk(len(self.kept)).indices.sort().values)

    @torch.no_grad()
    def whiten(self, latent: Tensor) -> None:
        """ZCA: from here on, the codes of images with these latents (N, C, h, w) have mean 0 and covariance 1.

        The map Σ^-½ (k - μ) is symmetric: each number of a code stays with its dimension as far as the covariance lets it. Draws of
        N(0, 1) then are draws of the best Gaussian for the codes. The full latent does not change.

        Raises:
            ValueError: fewer images than dimensions, or so many dimensions that there is no map.
        """
        self._check_size(latent)
        self._check_kept()
        kept = latent.flatten(1)[:, self.kept].double()
        if not self.described or len(kept) <= len(self.kept):
            raise ValueError(f"whitening {len(self.kept)} dimensions (at most {DESCRIBED}) needs more images than that, got {len(kept)}")
        values, vectors = torch.linalg.eigh(kept.T.cov())
        deviation = values.clamp(min=1e-4 * values[-1]).sqrt()
        self.centre.copy_(kept.mean(0))
        self.colour.copy_((vectors * deviation) @ vectors.T)
        self.white.copy_((vectors / deviation) @ vectors.T)
