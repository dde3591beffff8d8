"""Coverage- and quality-driven training (Lucas et al. 2018): a likelihood bound, an adversary, or both.

L_C = -E[log p(x)], bounded by the ELBO (Eq. 3; Eq. 4 of the slides drops the sign), counted in bits per dimension;
L_Q = -E[ln D / (1 - D)] of the model's samples (Eq. 2), against a critic trained by cross-entropy (Eq. 1).
"""

from collections.abc import Iterator, Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from predella.config import config
from predella.losses.adversarial import LOG_RATIO
from predella.losses.likelihood import bits_per_dim, dequantized, quantized
from predella.models.coverage_quality import CoverageQuality
from predella.nn.critics import ImageCritic, ResidualCritic
from predella.objectives.base import Objective, Phase
from predella.tasks.base import Batch


@config
class CoverageQualityObjectiveConfig:
    """Args:
    coverage: λ of L_C, in bits per dimension; 0 = the likelihood is not trained (a GAN).
    quality: λ of L_Q; 0 = there is no critic (a VAE).
    free: nats of KL(q ‖ p), mean over the batch, that cost nothing (free bits, Kingma et al. 2016, Sec. 4.2, on the whole latent):
        without them a flow learns first what pixels have in common with their neighbours, and z is never used.
    critic: "plain" strided convolutions or "residual", both with spectral normalisation.
    critic_width: of its channels.
    held: leave the flow as it is, for a first stage: a flow learns within some hundred steps what pixels have in common with their
        neighbours, after which too little is left for z to begin with (measured in docs/density.md).
    frozen: train the posterior and the deviations of p(x | z) only, on what an earlier stage has made of the rest: a GAN's bits.
    """

    kind: Literal["coverage_quality"] = "coverage_quality"
    coverage: float = 1.0
    quality: float = 1.0
    free: float = 0.0
    critic: Literal["plain", "residual"] = "plain"
    critic_width: int = 32
    held: bool = False
    frozen: bool = False

    def __post_init__(self):
        if min(self.coverage, self.quality, self.free) < 0 or self.coverage + self.quality == 0 or self.critic_width < 1:
            raise ValueError(
                "coverage, quality and free must be 0 or more, one of the first two positive, and critic_width positive, got "
                f"{self.coverage}, {self.quality}, {self.free}, {self.critic_width}"
            )
        if self.frozen and self.quality:
            raise ValueError(f"a frozen generator has no adversary; set quality to 0, got {self.quality}")

    def build(self, model: nn.Module) -> "CoverageQualityObjective":
        """The objective that trains `model`.

        Raises:
            ValueError: another model.
        """
        if not isinstance(model, CoverageQuality):
            raise ValueError(f"{self.kind} trains a CoverageQuality, got a {type(model).__name__}")
        return CoverageQualityObjective(model, self)


class CoverageQualityObjective(Objective):
    """Phases: critic, if there is one; model."""

    def __init__(self, model: CoverageQuality, config: CoverageQualityObjectiveConfig):
        self.model, self.config, self.later = model, config, False
        self.averaged = config.frozen  # the generator that is kept is the averaged one
        self.parts: Mapping[str, nn.Module] = {"model": model}
        if config.quality:
            build = ResidualCritic if config.critic == "residual" else ImageCritic
            self.critic = build(model.config.channels, model.config.size, config.critic_width)
            self.parts = {"model": model, "critic": self.critic}

    def phases(self) -> tuple[Phase, ...]:
        weights = {"coverage": self.config.coverage, "quality": self.config.quality}
        weights = {k: v for k, v in weights.items() if v}
        model = Phase("model", self.losses, weights, self._trained())
        if not self.config.quality:
            return (model,)
        return Phase("critic", self.critic_losses, {"real": 1.0, "fake": 1.0}, [self.critic]), model

    def _trained(self) -> list[nn.Module]:
        """What of the model the losses reach: all, the posterior and the deviations (frozen), or the generator (no coverage)."""
        model, decoder = self.model, self.model.decoder
        if self.config.frozen:
            return [m for m in (model.encoder, model.iaf, decoder.scale) if m is not None]
        if self.config.coverage:
            held = (model.encoder, model.iaf, decoder)
            return [m for m in held if m is not None] if self.config.held else [model]
        scale = None if model.config.noiseless else decoder.scale
        return [m for m in (decoder.body, decoder.mean, scale, model.flow) if m is not None]

    def check(self, batch: Batch, labels: Tensor | None) -> None:
        """Raise ValueError for images of another size than the model's."""
        if tuple(batch.target.shape[1:]) != self.model.shape:
            channels, height, width = batch.target.shape[1:]
            edge = self.model.config.size
            raise ValueError(
                f"the model takes {self.model.config.channels} channels of {edge}×{edge}, the data give {channels} of {width}×{height}; "
                "set data.edge, task.edge and model.size to one number"
            )

    def follow(self, before: Objective) -> None:
        """The flow has its scales from the first stage, or from the run that this one starts from."""
        self.later = True

    def begin(self, batches: Iterator[Batch]) -> None:
        """Activation normalisation by the first batch."""
        if self.model.flow is not None and not self.later and not self.started:
            self.model.flow.initialize(self._seen(next(batches))[0])

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """L_C and L_Q, each if it has a weight."""
        out = {}
        if self.config.frozen:
            self.model.decoder.body.eval()  # keeps the statistics of the batches that it was trained with
        if self.config.coverage:
            x, noise = self._seen(batch)
            likelihood, kl = self.model.elbo_terms(x, noise)
            elbo = likelihood.mean() - batch.gather(kl).mean().clamp(min=self.config.free)  # of the batch of all processes
            out["coverage"] = bits_per_dim(elbo, self.model.config.dims, self.model.config.counted_dims)
        if self.config.quality:
            out["quality"] = LOG_RATIO.generator(self.critic(self.generated(batch)))
        return out

    def critic_losses(self, batch: Batch) -> dict[str, Tensor]:
        """Eq. 1: pictures are real, the model's samples fake."""
        with torch.no_grad():
            fake = self.generated(batch)
        return {"real": LOG_RATIO.real(self.critic(self._seen(batch)[0])), "fake": LOG_RATIO.fake(self.critic(fake))}

    def generated(self, batch: Batch) -> Tensor:
        """As many samples as the batch has images."""
        generator = batch.generator(1)  # apart from what the likelihood draws
        z = batch.share(torch.randn(batch.whole, self.model.config.latent, generator=generator)).to(batch.target)
        noise = None
        if not self.model.config.noiseless:
            noise = batch.share(torch.randn(batch.whole, *self.model.shape, generator=generator)).to(batch.target)
        return self.model.sample(z, noise)

    def _seen(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Dequantised images, and the posterior's noise (B, latent)."""
        generator = batch.generator()
        spread = batch.share(torch.rand(batch.whole, *self.model.shape, generator=generator)).to(batch.target)
        noise = batch.share(torch.randn(batch.whole, self.model.config.latent, generator=generator)).to(batch.target)
        return dequantized(batch.target, spread), noise

    @torch.no_grad()
    def samples(self, batch: Batch) -> Tensor:
        """(B, C, H, 4W): image | from its posterior | two samples."""
        x, noise = self._seen(batch)
        again = self.model.sample(self.model.drawn(self.model.posterior(x), noise)[0])
        two = [self.generated(Batch(batch.target, seed=batch.seed ^ s)) for s in (2, 3)]
        return torch.cat([batch.target, *(quantized(v) for v in (again, *two))], -1)
