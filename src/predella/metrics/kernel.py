"""Kernel distance of two sets of features: unbiased MMD² with a cubic kernel (Bińkowski et al. 2018, Sec. 3)."""

import torch
from torch import Tensor


def kernel_distance(real: Tensor, generated: Tensor, subsets: int = 100, subset_size: int = 1000, seed: int = 0) -> tuple[float, float]:
    """Mean and standard deviation over random subsets of MMD² with k(x, y) = (x·y / D + 1)³.

    Args:
        real: (N, D). generated: (M, D).
        subset_size: drawn without replacement from either; at most the smaller set.

    Raises:
        ValueError: fewer than two items, or different dimensions.
    """
    if real.ndim != 2 or generated.ndim != 2 or real.shape[1] != generated.shape[1] or min(len(real), len(generated)) < 2:
        raise ValueError(f"features must be (N ≥ 2, D) and (M ≥ 2, D), got {tuple(real.shape)} and {tuple(generated.shape)}")
    generator = torch.Generator().manual_seed(seed)
    n = min(subset_size, len(real), len(generated))
    if n == len(real) == len(generated):
        subsets = 1  # all subsets are the whole
    values = []
    for _ in range(subsets):
        x = real[torch.randperm(len(real), generator=generator)[:n]].double()
        y = generated[torch.randperm(len(generated), generator=generator)[:n]].double()
        values.append(polynomial_mmd(x, y))
    found = torch.tensor(values, dtype=torch.float64)
    return found.mean().item(), found.std(correction=0).item()


def polynomial_mmd(x: Tensor, y: Tensor) -> float:
    """Unbiased MMD² of (n, D) and (n, D)."""
    xx, yy, xy = ((a @ b.T / a.shape[1] + 1) ** 3 for a, b in ((x, x), (y, y), (x, y)))
    n = len(x)
    inside = (xx.sum() - xx.trace() + yy.sum() - yy.trace()) / (n * (n - 1))
    return (inside - 2 * xy.mean()).item()
