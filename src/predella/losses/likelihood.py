"""Densities and bounds on them, in nats; bits per dimension of 8-bit pictures.

A picture's pixels are 256 levels on [-1, 1]; a density sees them spread evenly over their level's own interval (`dequantized`), so
that its mean logarithm bounds that of the levels' probability (Theis et al. 2016, Eq. 3–6).
"""

import math

import torch
from torch import Tensor

LEVELS = 256
INTERVAL = 2 / LEVELS  # a level's, on [-1, 1]


def gaussian_log_density(x: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
    """(B,): log N(x; mean, diag(exp(log_std)²)) of each item (B, …)."""
    off = (x - mean) * (-log_std).exp()
    return -(0.5 * off.square() + log_std + 0.5 * math.log(2 * math.pi)).flatten(1).sum(1)


def gaussian_kl(mean: Tensor, log_std: Tensor) -> Tensor:
    """(B,): KL(N(mean, diag(exp(log_std)²)) ‖ N(0, 1)) of each item (B, D) (Kingma and Welling 2014, App. B)."""
    return (0.5 * (mean.square() + (2 * log_std).exp() - 1) - log_std).flatten(1).sum(1)


def importance_weighted(log_weights: Tensor) -> Tensor:
    """(K, B) log p(x, z_k) - log q(z_k | x) → (B,): log of their mean, which bounds log p(x) from below in expectation; with K = 1
    it is the ELBO (Burda et al. 2016, Eq. 8)."""
    return torch.logsumexp(log_weights, 0) - math.log(len(log_weights))


def bits_per_dim(log_density: Tensor, dims: int, counted: int | None = None) -> Tensor:
    """Log density of dequantised pixels on [-1, 1]^dims → bits a dimension of their 8-bit levels; 8 if it is uniform.

    Args:
        counted: dimensions among which the bits of all are shared, where the others are padding: a bound on the bits of those counted,
            as no level costs less than nothing.
    """
    return -(log_density + dims * math.log(INTERVAL)) / ((counted or dims) * math.log(2))


def dequantized(x: Tensor, noise: Tensor) -> Tensor:
    """Pixels in [-1, 1] at 8-bit levels → anywhere in their level's interval, by `noise` in [0, 1) of the same shape."""
    level = ((x + 1) * (LEVELS - 1) / 2).round()
    return (level + noise) * INTERVAL - 1


def quantized(x: Tensor) -> Tensor:
    """The levels (in [-1, 1]) in whose intervals dequantised pixels lie."""
    level = ((x + 1) / INTERVAL).floor().clamp(0, LEVELS - 1)
    return level * 2 / (LEVELS - 1) - 1
