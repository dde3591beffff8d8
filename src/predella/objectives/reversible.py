"""Generative reversible networks (Schirrmeister et al. 2018): what R is trained by, in its flavours.

* `ReversibleMatch`: reconstruction from the restricted latent (Sec. 2.2), and matching of the kept dimensions to the prior by an
  adversary (Eq. 3), by MMD or by sliced Wasserstein distance (Sec. 4); "none" is the paper's first stage.
* `ReversibleTransport`: classes as Gaussians, exact optimal transport (Eq. 5) and the perturbation loss (Eq. 6), no adversary.
* `ReversibleGAN`: the network as the generator of a plain GAN, with the encoder for free (Sec. 4).
"""

import logging
import warnings
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Literal

import torch
from torch import Tensor, nn

from predella.config import config
from predella.losses.adversarial import ADVERSARIAL
from predella.losses.distances import l1, l2
from predella.losses.transport import exact_transport, maximum_mean_discrepancy, sliced_wasserstein
from predella.models.reversible import COMPONENTS, ClassNormals, Reversible, StandardNormal
from predella.nn.critics import ImageCritic, VectorCritic
from predella.objectives.base import Objective, Phase, check_labels
from predella.tasks.base import Batch

log = logging.getLogger(__name__)


def _reversible(model: nn.Module, kind: str, prior: type) -> Reversible:
    if not isinstance(model, Reversible) or not isinstance(model.config.prior, prior):
        raise ValueError(f"{kind} trains a Reversible with the prior {prior.__name__}, got a {type(model).__name__}")
    return model


def _check_survey(survey: int) -> None:
    if survey < 2 * COMPONENTS:
        raise ValueError(f"survey must be at least {2 * COMPONENTS} images, got {survey}")


@config
class ReversibleMatchConfig:
    """Args:
    match: how the codes of images are drawn to the prior; "hinge_literal" is Eq. 3 as printed, whose gradient vanishes where
        the critic wins (docs/deviations.md).
    l1, l2: λ of the mean absolute error of the images decoded from restricted latents, and of the mean square of what the
        restriction took away.
    weight: λ of the matching term.
    clamp: kept dimensions are cut at ±clamp for l1 and l2; 0 = not.
    whiten: begin the match with codes of mean 0 and covariance 1 (`Reversible.whiten`), so that only their shape is left to
        change; False as in the paper. Not done for more than 1024 kept dimensions.
    critic: hidden units of the latent critic.
    projections: directions of the sliced distance.
    survey: images whose encodings choose the kept dimensions, and are fitted by the ex-post densities.
    """

    kind: Literal["reversible_match"] = "reversible_match"
    match: Literal["none", "hinge", "hinge_literal", "mmd", "swd"] = "hinge"
    l1: float = 10.0
    l2: float = 10.0
    weight: float = 1.0
    clamp: float = 2.0
    whiten: bool = True
    critic: tuple[int, int] = (400, 800)
    projections: int = 256
    survey: int = 10_000

    def __post_init__(self):
        _check_survey(self.survey)
        if min(self.l1, self.l2, self.weight, self.clamp) < 0:
            raise ValueError(f"l1, l2, weight and clamp must be 0 or more, got {self.l1}, {self.l2}, {self.weight}, {self.clamp}")
        if self.projections < 1 or min(self.critic) < 1:
            raise ValueError(f"projections and critic must be at least 1, got {self.projections} and {self.critic}")

    def build(self, model: nn.Module) -> "ReversibleMatch":
        """The objective that trains `model`."""
        return ReversibleMatch(_reversible(model, self.kind, StandardNormal), self)


class _StandardNormalObjective(Objective):
    """What objectives of a standard normal prior share: the kept dimensions, the ex-post densities, the samples."""

    model: Reversible
    survey: int

    def begin(self, batches: Iterator[Batch]) -> None:
        """Choose the kept dimensions, unless an earlier stage has."""
        choose_kept(self.model, batches, self.survey)

    def go_on(self) -> None:
        """Densities fitted to former weights are void."""
        forget_densities(self.model)

    def end(self, batches: Iterator[Batch]) -> None:
        """Fit the ex-post densities (Ghosh et al. 2020) to the codes of the training images."""
        fit_densities(self.model, batches, self.survey)

    @torch.no_grad()
    def samples(self, batch: Batch) -> Tensor:
        """(B, C, H, 4W): image | from the full latent | from the restricted latent | a sample."""
        return reconstructions(self.model, batch)


class ReversibleMatch(_StandardNormalObjective):
    """Phases: critic (with an adversary), encoder."""

    def __init__(self, model: Reversible, config: ReversibleMatchConfig):
        self.model, self.config, self.survey = model, config, config.survey
        self.whitens = config.whiten and config.match != "none" and model.described
        if self.whitens and config.survey <= len(model.kept):
            raise ValueError(f"survey must exceed prior.dims = {len(model.kept)} to whiten the codes, got {config.survey}")
        self.parts: Mapping[str, nn.Module] = {"model": model}
        if config.match in ADVERSARIAL:
            self.critic = VectorCritic(len(model.kept), config.critic)
            self.parts = {"model": model, "critic": self.critic}

    def phases(self) -> tuple[Phase, ...]:
        weights = {"l1": self.config.l1, "l2": self.config.l2}
        if self.config.match == "none":
            return (Phase("encoder", self.encoder_losses, weights, [self.model]),)
        encoder = Phase("encoder", self.encoder_losses, {**weights, self.config.match: self.config.weight}, [self.model])
        if self.config.match not in ADVERSARIAL:
            return (encoder,)
        return Phase("critic", self.critic_losses, {"real": 1.0, "fake": 1.0}, [self.critic]), encoder

    def critic_losses(self, batch: Batch) -> dict[str, Tensor]:
        """Eq. 3, L_D: draws of the prior are real, codes of images are fake."""
        loss = ADVERSARIAL[self.config.match]
        with torch.no_grad():
            code = self.model.code(self.model.encode(batch.target))
        return {"real": loss.real(self.critic(self._prior(batch))), "fake": loss.fake(self.critic(code))}

    def encoder_losses(self, batch: Batch) -> dict[str, Tensor]:
        """10 · |x - R⁻¹(clip(R(x)))| + 10 · (R(x) - clip(R(x)))² + matching (Sec. 2.2, Eq. 3)."""
        z = self.model.encode(batch.target)
        clipped = self.model.restrict(z, self.config.clamp)
        losses = {"l1": l1(self.model.decode(clipped), batch.target).mean(), "l2": l2(z, clipped).mean()}
        code = self.model.code(z)
        match self.config.match:
            case "hinge" | "hinge_literal" as name:
                losses[name] = ADVERSARIAL[name].generator(self.critic(code))
            case "mmd":
                losses["mmd"] = maximum_mean_discrepancy(batch.gather(code), self._prior(batch, whole=True))
            case "swd":
                prior, codes = self._prior(batch, whole=True), batch.gather(code)
                losses["swd"] = sliced_wasserstein(codes, prior, self.config.projections, batch.generator())
        return losses

    def _prior(self, batch: Batch, whole: bool = False) -> Tensor:
        """One draw of the prior for each image of this process, or of the whole batch."""
        generator = batch.generator(1)  # apart from the sliced distance's directions
        draws = self.model.sample_code(batch.whole, generator)
        return draws if whole else batch.share(draws)

    def begin(self, batches: Iterator[Batch]) -> None:
        """Choose the kept dimensions, unless an earlier stage has; whiten the codes before a match."""
        super().begin(batches)
        if self.whitens:
            self.model.whiten(_encodings(self.model, batches, self.survey))


@config
class ReversibleTransportConfig:
    """Args:
    perturbation: λ of both distances of Eq. 6.
    survey: encodings that the classes' first means and deviations are taken from.
    """

    kind: Literal["reversible_transport"] = "reversible_transport"
    perturbation: float = 15.0
    survey: int = 10_000

    def __post_init__(self):
        _check_survey(self.survey)
        if self.perturbation < 0:
            raise ValueError(f"perturbation must be 0 or more, got {self.perturbation}")

    def build(self, model: nn.Module) -> "ReversibleTransport":
        """The objective that trains `model`."""
        return ReversibleTransport(_reversible(model, self.kind, ClassNormals), self)


class ReversibleTransport(Objective):
    """One phase: R and the classes' Gaussians together (Sec. 3.2)."""

    def __init__(self, model: Reversible, config: ReversibleTransportConfig):
        self.model, self.config = model, config
        assert isinstance(model.config.prior, ClassNormals)
        self.epsilon = model.config.prior.epsilon
        self.parts: Mapping[str, nn.Module] = {"model": model}

    def phases(self) -> tuple[Phase, ...]:
        weights = {"transport": 1.0, "l1": self.config.perturbation, "l2": self.config.perturbation}
        return (Phase("encoder", self.losses, weights, [self.model]),)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Eq. 5 for each class's encodings against as many draws of its Gaussian; Eq. 6 with c = L1 and L2."""
        label, generator = batch.labels(), batch.generator()
        z = self.model.encode(batch.target)
        flat = z.flatten(1)
        noise, epsilon = (batch.share(torch.randn(batch.whole, flat.shape[1], generator=generator)).to(z) for _ in "zε")
        draws = self.model.sample_latent(label, noise)
        transport = flat.new_zeros(())
        flat, draws, label = batch.gather(flat), batch.gather(draws), batch.gather(label)
        for k in label.unique():
            here = label == k
            transport = transport + here.float().mean() * exact_transport(flat[here], draws[here])
        again = self.model.decode(z + self.epsilon * epsilon.view_as(z))
        return {"transport": transport, "l1": l1(again, batch.target).mean(), "l2": l2(again, batch.target).mean()}

    def check(self, batch: Batch, labels: Tensor | None) -> None:
        check_labels(labels, len(self.model.mean), least=2)

    def begin(self, batches: Iterator[Batch]) -> None:
        """Means and deviations of the untrained network's encodings, by class."""
        if (self.model.mean != 0).any():
            return
        seen: list[tuple[Tensor, Tensor]] = []
        while sum(len(k) for _, k in seen) < self.config.survey:
            batch = next(batches)
            with torch.no_grad():
                seen.append((self.model.encode(batch.target).flatten(1), batch.labels()))
        z, label = torch.cat([s[0] for s in seen]), torch.cat([s[1] for s in seen])
        with torch.no_grad():
            for k in range(len(self.model.mean)):
                if (label == k).sum() < 2:
                    raise ValueError(f"class {k} has {int((label == k).sum())} of the first {len(label)} pictures; raise survey")
                self.model.mean[k] = z[label == k].mean(0)
                self.model.log_deviation[k] = z[label == k].std(0).clamp(min=1e-3).log()

    @torch.no_grad()
    def samples(self, batch: Batch) -> Tensor:
        """(B, C, H, 4W): image | from the full latent | from a perturbed latent | a sample of its class."""
        z = self.model.encode(batch.target)
        epsilon = self.epsilon * torch.randn(z.shape, generator=batch.generator()).to(z)
        return _sheet(self.model, batch, [self.model.decode(z), self.model.decode(z + epsilon)])


@config
class ReversibleGANConfig:
    """Args:
    width: of the image critic.
    survey: see `ReversibleMatchConfig`.
    """

    kind: Literal["reversible_gan"] = "reversible_gan"
    width: int = 64
    survey: int = 10_000

    def __post_init__(self):
        _check_survey(self.survey)
        if self.width < 1:
            raise ValueError(f"width must be at least 1, got {self.width}")

    def build(self, model: nn.Module) -> "ReversibleGAN":
        """The objective that trains `model`."""
        return ReversibleGAN(_reversible(model, self.kind, StandardNormal), self)


class ReversibleGAN(_StandardNormalObjective):
    """Phases: critic, generator; R⁻¹ of the placed prior is the generator, so R encodes its samples exactly."""

    def __init__(self, model: Reversible, config: ReversibleGANConfig):
        self.model, self.config, self.survey = model, config, config.survey
        self.critic = ImageCritic(model.config.channels, model.config.size, config.width)
        self.parts: Mapping[str, nn.Module] = {"model": model, "critic": self.critic}

    def phases(self) -> tuple[Phase, ...]:
        return (
            Phase("critic", self.critic_losses, {"real": 1.0, "fake": 1.0}, [self.critic]),
            Phase("generator", self.generator_losses, {"hinge": 1.0}, [self.model]),
        )

    def generated(self, batch: Batch) -> Tensor:
        """R⁻¹(z) of as many draws as the batch has images."""
        return self.model.decode(self.model.place(batch.share(self.model.sample_code(batch.whole, batch.generator()))))

    def critic_losses(self, batch: Batch) -> dict[str, Tensor]:
        """Images of the data are real, decoded draws are fake."""
        loss = ADVERSARIAL["hinge"]
        with torch.no_grad():
            fake = self.generated(batch)
        return {"real": loss.real(self.critic(batch.target)), "fake": loss.fake(self.critic(fake))}

    def generator_losses(self, batch: Batch) -> dict[str, Tensor]:
        """-E[D(R⁻¹(z))]."""
        return {"hinge": ADVERSARIAL["hinge"].generator(self.critic(self.generated(batch)))}


def choose_kept(model: Reversible, batches: Iterator[Batch], survey: int) -> None:
    """Keep the dimensions in which the encodings of about `survey` images deviate most, unless an earlier stage has chosen."""
    if (model.kept < 0).any():
        model.choose(_encodings(model, batches, survey).flatten(1).std(0))


def reconstructions(model: Reversible, batch: Batch) -> Tensor:
    """(B, C, H, 4W): image | from the full latent | from the restricted latent | a sample."""
    z = model.encode(batch.target)
    return _sheet(model, batch, [model.decode(z), model.decode(model.restrict(z))])


def fit_densities(model: Reversible, batches: Iterator[Batch], survey: int) -> None:
    """One Gaussian and a mixture of ten with full covariances, on the codes of about `survey` images; none for very many dims."""
    if not model.described:
        return
    from sklearn.exceptions import ConvergenceWarning  # here, for it takes more than a second to load
    from sklearn.mixture import GaussianMixture

    log.info("fitting densities to the codes of %d pictures", survey)
    code = model.code(_encodings(model, batches, survey)).double().cpu()
    for mixture, components in ((model.gaussian, 1), (model.mixture, COMPONENTS)):
        with warnings.catch_warnings():  # few codes for many components: a poor fit, but a fit
            warnings.simplefilter("ignore", ConvergenceWarning)
            fitted = GaussianMixture(components, covariance_type="full", reg_covar=1e-4, random_state=0).fit(code.numpy())
        if not fitted.converged_:
            log.warning("the density of %d components has not settled on %d codes; more pictures fit it better", components, len(code))
        mixture.set_(*(torch.from_numpy(a) for a in (fitted.weights_, fitted.means_, fitted.covariances_)))


def forget_densities(model: Reversible) -> None:
    """Unset both, if there are any."""
    if model.described:
        model.gaussian.unset_()
        model.mixture.unset_()


@torch.no_grad()
def _encodings(model: Reversible, batches: Iterator[Batch], count: int) -> Tensor:
    """(≥ count, C, h, w): encodings of the next images."""
    first = next(batches)
    needed = -(-count // len(first.target))
    rest = islice(batches, needed - 1)
    return torch.cat([model.encode(b.target) for b in (first, *rest)])


def _sheet(model: Reversible, batch: Batch, answers: list[Tensor]) -> Tensor:
    label = batch.label.cpu() if batch.label is not None and isinstance(model.config.prior, ClassNormals) else None
    sample = model.sample(len(batch.target), batch.generator(), label=label)
    wide = torch.cat([batch.target, *answers, sample], -1).clamp(-1, 1)
    return wide.expand(-1, 3, -1, -1) if wide.shape[1] == 1 else wide
