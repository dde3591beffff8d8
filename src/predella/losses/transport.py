"""Distances between two sets of points: exact transport, sliced Wasserstein, maximum mean discrepancy."""

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

INVERSE_MULTIQUADRIC_SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


def exact_transport(x: Tensor, y: Tensor) -> Tensor:
    """Eq. 5 of Schirrmeister et al. 2018 for two sets of n points: min over pairings π of 1/n Σ ‖x_i - y_π(i)‖₂.

    The pairing is found exactly (Jonker–Volgenant) and held fixed; gradients flow through the paired distances to both sets.

    Args:
        x, y: (n, D).

    Raises:
        ValueError: sets of different size or dimension.
    """
    _check(x, y)
    if x.shape != y.shape:
        raise ValueError(f"exact transport pairs sets of equal size, got {tuple(x.shape)} and {tuple(y.shape)}")
    with torch.no_grad():
        cost = torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist").cpu()
        if not torch.isfinite(cost).all():
            return torch.linalg.vector_norm(x - y, dim=1).mean()  # not finite either: the trainer says where
        rows, columns = linear_sum_assignment(cost.numpy())
    return torch.linalg.vector_norm(x[torch.from_numpy(rows)] - y[torch.from_numpy(columns)], dim=1).mean()


def sliced_wasserstein(x: Tensor, y: Tensor, projections: int, generator: torch.Generator) -> Tensor:
    """Mean over random directions of the squared 2-Wasserstein distance of the projections (Kolouri et al. 2018, Eq. 15).

    Args:
        x, y: (n, D).
        projections: directions, uniform on the sphere.
        generator: a CPU generator.
    """
    _check(x, y)
    if x.shape != y.shape:
        raise ValueError(f"sliced transport sorts sets of equal size, got {tuple(x.shape)} and {tuple(y.shape)}")
    directions = torch.randn(x.shape[1], projections, generator=generator).to(x)
    directions = directions / torch.linalg.vector_norm(directions, dim=0)
    return ((x @ directions).sort(0).values - (y @ directions).sort(0).values).square().mean()


def maximum_mean_discrepancy(x: Tensor, y: Tensor, spread: float = 1.0) -> Tensor:
    """Unbiased MMD² with a sum of inverse multiquadric kernels C / (C + ‖x - y‖²), C = 2 D σ² · scale (Tolstikhin et al. 2018, Sec. 4).

    Args:
        x: (n, D), n ≥ 2. y: (m, D), m ≥ 2.
        spread: σ, the deviation of the prior in each dimension.

    Returns:
        A scalar, which may be slightly negative: its expectation is 0 when both sets come from one distribution.
    """
    _check(x, y)
    if min(len(x), len(y)) < 2:
        raise ValueError(f"MMD needs at least 2 points a set, got {len(x)} and {len(y)}")
    xx, yy, xy = (squared_distances(a, b) for a, b in ((x, x), (y, y), (x, y)))
    total = x.new_zeros(())
    for scale in INVERSE_MULTIQUADRIC_SCALES:
        c = 2 * x.shape[1] * spread**2 * scale
        kx, ky, kxy = (c / (c + d) for d in (xx, yy, xy))
        total = total + (kx.sum() - len(x)) / (len(x) * (len(x) - 1)) + (ky.sum() - len(y)) / (len(y) * (len(y) - 1)) - 2 * kxy.mean()
    return total


def squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """(n, D), (m, D) → (n, m) of ‖x_i - y_j‖²; exactly 0 on the diagonal when x is y."""
    return (x[:, None] - y[None]).square().sum(-1) if x.shape[1] <= 4 else _by_products(x, y)


def _by_products(x: Tensor, y: Tensor) -> Tensor:
    d = (x.square().sum(1)[:, None] + y.square().sum(1)[None] - 2 * x @ y.T).clamp(min=0)
    if x is y:
        d = d * (1 - torch.eye(len(x), dtype=d.dtype, device=d.device))
    return d


def _check(x: Tensor, y: Tensor) -> None:
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1]:
        raise ValueError(f"two sets of points (n, D) and (m, D) are needed, got {tuple(x.shape)} and {tuple(y.shape)}")
