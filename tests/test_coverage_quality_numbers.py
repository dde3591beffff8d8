"""Coverage and quality: losses, bits and samples in numbers, with critics, judges and weights that are known by heart."""

import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from predella import protocols
from predella.data.images import Source
from predella.losses.likelihood import bits_per_dim, dequantized
from predella.metrics import density
from predella.models.classifier import Classifier, ClassifierConfig
from predella.models.coverage_quality import CoverageQuality, CoverageQualityConfig, Flow
from predella.nn.bijections import MaskedCoupling
from predella.nn.real_nvp import real_nvp
from predella.objectives.classifier import ClassifierObjectiveConfig
from predella.objectives.coverage_quality import CoverageQualityObjectiveConfig
from predella.tasks.base import Batch

PADDED = CoverageQualityConfig(channels=1, size=16, counted=8, latent=2, width=4, flow=Flow(couplings=1, width=4))


def made(weight=1.0):
    torch.manual_seed(0)
    model = CoverageQuality(PADDED)
    objective = CoverageQualityObjectiveConfig(quality=weight, critic_width=4).build(model)
    objective.critic = lambda x: x.flatten(1).sum(1) / 10
    return model, objective, Batch(torch.rand(3, 1, 16, 16).mul(255).round() / 127.5 - 1, seed=7)


def test_losses_in_numbers():
    """L_C: all bits shared among the pixels that count; L_Q: log(1 + exp(-D)) or -D of samples, as the log ratio has it."""
    model, objective, batch = made()
    losses = objective.losses(batch)
    x, noise = objective._seen(batch)
    torch.testing.assert_close(losses["coverage"], (bits_per_dim(model.elbo(x, noise), 256) * 256 / 64).mean())
    torch.testing.assert_close(losses["quality"], -objective.critic(objective.generated(batch)).mean())


def test_the_critics_losses_in_numbers():
    """Eq. 1: dequantised pictures are real, the model's samples fake."""
    _, objective, batch = made()
    losses = objective.critic_losses(batch)
    real = dequantized(batch.target, torch.rand(3, 1, 16, 16, generator=batch.generator()))
    torch.testing.assert_close(losses["real"], F.softplus(-objective.critic(real)).mean())
    torch.testing.assert_close(losses["fake"], F.softplus(objective.critic(objective.generated(batch))).mean())
    assert (losses["real"] - F.softplus(-objective.critic(batch.target)).mean()).abs() > 1e-6


def test_masked_couplings_take_turns():
    """Two of them change every number, one changes half."""
    torch.manual_seed(0)
    flow, changed = real_nvp(1, 1, 2, 5, 1), []
    for p in flow.parameters():
        p.data += 0.1 * torch.randn_like(p)
    for coupling in [m for m in flow.modules() if isinstance(m, MaskedCoupling)]:
        h = torch.randn(2, 4, 4, 4)
        changed.append((coupling(h)[0] != h).any(0))
    first, second = changed
    assert (first ^ second).all() and first.float().mean() == 0.5


def test_bits_and_their_error_in_numbers():
    """The standard error of the mean over images; bits of eight dimensions' density, counted over four."""
    logs = torch.tensor([[0.5, 2.0, -1.0], [1.5, 0.0, -3.0]])  # two draws of z, three images

    def weigh(x, noise):
        return logs[: len(noise)]

    rows = {r["measure"]: r for r in density.measure([torch.zeros(3, 1, 2, 4)], weigh, 2, (8, 4), 2, torch.Generator())}
    for name, log in (("bpd_elbo", logs.mean(0)), ("bpd_iw2", logs.exp().mean(0).log())):
        bits = -(log + 8 * math.log(2 / 256)) / (4 * math.log(2))
        assert rows[name]["value"] == pytest.approx(bits.mean().item())
        assert rows[name]["error"] == pytest.approx(bits.std().item() / math.sqrt(3))
        assert rows[name]["images"] == 3 and "4 dimensions" in rows[name]["protocol"]


def test_means_are_samples_without_noise(monkeypatch):
    torch.set_default_dtype(torch.float32)
    model, noisy = CoverageQuality(CoverageQualityConfig(channels=1, size=8, latent=2, width=4, flow=None)), {}
    sample = model.sample

    def told(z, noise=None):
        asked.append(noise)
        return sample(z, noise)

    def drawn(real, draws, features, name):
        for ask, draw in draws.items():
            asked.clear()
            assert (draw(2) * 127.5 + 127.5).frac().abs().max() < 1e-3
            noisy[ask] = asked[0] is not None
        yield from ()

    asked: list = []
    monkeypatch.setattr(model, "sample", told)
    monkeypatch.setattr(protocols, "_judge", lambda model, asked: ("none", lambda x: x.flatten(1), None))
    monkeypatch.setattr(protocols.generation, "distances", drawn)
    images = Source(paths=("digits",), channels=1, smallest=8, part=(0, 5)).open()
    list(protocols._density(model, protocols.Asked(samples=2, weights=Path()), images))
    assert noisy == {"samples": True, "means": False}


def test_labels_are_smoothed():
    torch.manual_seed(0)
    model = Classifier(ClassifierConfig(size=8, classes=3, width=2)).eval()
    batch = Batch(torch.rand(4, 1, 8, 8) * 2 - 1, label=torch.tensor([0, 2, 1, 1]))
    log_p = model(batch.target).log_softmax(1)
    wanted = F.one_hot(batch.label, 3) * 0.7 + 0.3 / 3
    found = ClassifierObjectiveConfig(smoothing=0.3).build(model).losses(batch)["cross_entropy"]
    torch.testing.assert_close(found, -(wanted * log_p).sum(1).mean())
