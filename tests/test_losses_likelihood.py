"""Densities, bounds and bits against closed forms."""

import math

import pytest
import torch
from torch.distributions import Independent, MultivariateNormal, Normal, kl_divergence

from predella.losses.adversarial import LOG_RATIO
from predella.losses.likelihood import (
    INTERVAL,
    bits_per_dim,
    dequantized,
    gaussian_kl,
    gaussian_log_density,
    importance_weighted,
    quantized,
)


def test_gaussians_are_those_of_torch():
    x, mean, log_std = (torch.randn(3, 2, 4) for _ in range(3))
    torch_one = Independent(Normal(mean, log_std.exp()), 2)
    torch.testing.assert_close(gaussian_log_density(x, mean, log_std), torch_one.log_prob(x))
    standard = Independent(Normal(torch.zeros_like(mean), torch.ones_like(mean)), 2)
    torch.testing.assert_close(gaussian_kl(mean, log_std), kl_divergence(torch_one, standard))


def test_a_uniform_density_has_eight_bits():
    """log p = -D log 2 on [-1, 1]^D."""
    for dims in (1, 3072):
        assert bits_per_dim(torch.tensor([-dims * math.log(2)]), dims).item() == pytest.approx(8, abs=1e-12)
    certain, uniform = -math.log(INTERVAL), -math.log(2)  # of padding, whose level is known, and of a picture's own number
    assert bits_per_dim(torch.tensor([9 * certain + 4 * uniform]), 13, 4).item() == pytest.approx(8, abs=1e-12)
    assert bits_per_dim(torch.tensor([-10 * math.log(INTERVAL)]), 10).item() == pytest.approx(0, abs=1e-12)  # all in one level


def test_dequantised_pixels_stay_in_their_level():
    levels = torch.arange(256.0) / 127.5 - 1
    for noise in (0.0, 0.5, 1 - 1e-6):
        spread = dequantized(levels, torch.full_like(levels, noise))
        assert spread.min() >= -1 and spread.max() < 1
        torch.testing.assert_close(quantized(spread), levels)
    assert dequantized(levels, torch.zeros(256)).diff().allclose(torch.tensor(INTERVAL))


def test_importance_weighting_tightens_a_known_bound():
    """z ~ N(0, 1), x | z ~ N(z, s²): log p(x) is known; q is a poor Gaussian."""
    torch.manual_seed(0)
    x, s = torch.tensor(1.3), 0.5
    z = torch.randn(20_000, 64) * 0.9
    log_p = Normal(0.0, 1.0).log_prob(z) + Normal(z, s).log_prob(x)
    weights = log_p - Normal(0.0, 0.9).log_prob(z)
    truth = MultivariateNormal(torch.zeros(1), torch.tensor([[1 + s * s]])).log_prob(x[None]).item()
    bounds = [importance_weighted(weights[:, :k].T).mean().item() for k in (1, 2, 8, 64)]
    assert bounds == sorted(bounds) and bounds[0] < truth - 0.5 and abs(bounds[-1] - truth) < 0.05
    assert importance_weighted(weights[:, :1].T)[0] == weights[0, 0]


def test_the_generators_loss_is_the_log_ratio():
    logits = torch.randn(7)
    d = torch.sigmoid(logits)
    torch.testing.assert_close(LOG_RATIO.real(logits), -d.log().mean())
    torch.testing.assert_close(LOG_RATIO.fake(logits), -(1 - d).log().mean())
    torch.testing.assert_close(LOG_RATIO.generator(logits), -(d / (1 - d)).log().mean())
