"""Fréchet distance of two sets of features, under the assumption that each is Gaussian (Heusel et al. 2017, Eq. 6)."""

import torch
from torch import Tensor

from predella.losses.transport import symmetric_root


def frechet_distance(real: Tensor, generated: Tensor) -> float:
    """‖μ_r - μ_g‖² + tr(Σ_r + Σ_g - 2 (Σ_r Σ_g)^½), in float64; symmetric in its arguments.

    Args:
        real: (N, D) features. generated: (M, D).

    Raises:
        ValueError: fewer than two items, or different dimensions.
    """
    (m1, s1), (m2, s2) = _moments(real), _moments(generated)
    if len(m1) != len(m2):
        raise ValueError(f"features must have one dimension, got {len(m1)} and {len(m2)}")
    return frechet_gaussians(m1, s1, m2, s2)


def frechet_gaussians(m1: Tensor, s1: Tensor, m2: Tensor, s2: Tensor) -> float:
    """The same of two Gaussians: means (D,), covariances (D, D).

    tr (S1 S2)^½ is the sum of the roots of the eigenvalues of S1^½ S2 S1^½, which is symmetric: two calls of `eigh`, no complex
    numbers, half the time of the eigenvalues of the product.
    """
    m1, s1, m2, s2 = (t.double() for t in (m1, s1, m2, s2))
    root = symmetric_root(s1)
    product = torch.linalg.eigvalsh(root @ s2 @ root).clamp(min=0)
    return ((m1 - m2).square().sum() + s1.trace() + s2.trace() - 2 * product.sqrt().sum()).clamp(min=0).item()


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    if x.ndim != 2 or len(x) < 2:
        raise ValueError(f"features must have shape (N ≥ 2, D), got {tuple(x.shape)}")
    x = x.double()
    return x.mean(0), torch.cov(x.T).view(x.shape[1], x.shape[1])
