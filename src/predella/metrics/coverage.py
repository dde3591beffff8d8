"""Quality and coverage apart: precision and recall by nearest neighbours (Kynkäänniemi et al. 2019, Eq. 1, 2)."""

import torch
from torch import Tensor

ROWS = 1000  # of distances at a time


def precision_recall(real: Tensor, generated: Tensor, neighbours: int = 3) -> tuple[float, float]:
    """(precision, recall).

    Precision: the share of generated items that lie in the union of balls round the real ones, each ball reaching to its
    `neighbours`-th nearest real item. Recall: the same with the sets exchanged.

    Args:
        real: (N, D) features, N > neighbours. generated: (M, D), M > neighbours.

    Raises:
        ValueError: too few items, or different dimensions.
    """
    if real.ndim != 2 or generated.ndim != 2 or real.shape[1] != generated.shape[1]:
        raise ValueError(f"features must be (N, D) and (M, D), got {tuple(real.shape)} and {tuple(generated.shape)}")
    if min(len(real), len(generated)) <= neighbours:
        raise ValueError(f"precision and recall with {neighbours} neighbours need more items, got {len(real)} and {len(generated)}")
    real, generated = real.double(), generated.double()
    return _inside(generated, real, radii(real, neighbours)), _inside(real, generated, radii(generated, neighbours))


def radii(x: Tensor, neighbours: int) -> Tensor:
    """(N,): distance of each item to its `neighbours`-th nearest other one."""
    parts = [torch.cdist(rows, x).kthvalue(neighbours + 1, 1).values for rows in x.split(ROWS)]
    return torch.cat(parts)


def _inside(points: Tensor, centres: Tensor, radius: Tensor) -> float:
    hits = [(torch.cdist(rows, centres) <= radius).any(1) for rows in points.split(ROWS)]
    return torch.cat(hits).double().mean().item()
