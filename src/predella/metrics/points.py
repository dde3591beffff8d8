"""How well maps of the circle describe sets of points: cross-entropies in nats, beside a circle and a Gaussian."""

import math
from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor

from predella.losses.transport import kernel_cross_entropy
from predella.metrics.fidelity import mean


def gaussian_cross_entropy(points: Tensor, weights: Tensor) -> Tensor:
    """(B,): cross-entropy of weighted points (B, m, 2), (B, m) with the Gaussian of their own mean and covariance."""
    middle = (weights[..., None] * points).sum(1, keepdim=True)
    off = points - middle
    covariance = torch.einsum("bm,bmi,bmj->bij", weights, off, off)
    fitted = covariance + 1e-6 * torch.eye(2, dtype=points.dtype, device=points.device)  # points on a line have none across
    return 0.5 * (torch.logdet(fitted) + (torch.linalg.inv(fitted) * covariance).sum((1, 2))) + math.log(2 * math.pi)


@torch.inference_mode()
def measure(
    sets: Iterable[tuple[Tensor, Tensor]], draw: Callable[[Tensor, Tensor], Tensor], circle: Tensor, sigma: float
) -> Iterator[dict]:
    """Rows of the mean over sets: of `draw`, of the untransformed circle, of a Gaussian.

    Args:
        sets: (points (B, m, 2), shares (B, m)).
        draw: the same → (B, n, 2), the model's points.
        circle: (n, 2).
    """
    found: dict[str, list[float]] = {}
    for points, shares in sets:
        still = circle.to(points).expand(len(points), -1, -1)
        for name, made in (("hypernetwork", draw(points, shares)), ("circle", still)):
            found.setdefault(name, []).extend(kernel_cross_entropy(made, points, shares, sigma).tolist())
        found.setdefault("gaussian", []).extend(gaussian_cross_entropy(points, shares).tolist())
    how = f"kernel density of {len(circle)} points, deviation {sigma:g} in [-1, 1]²; the Gaussian's in closed form"
    protocol = f"mean over sets of the cross-entropy in nats, {how}"
    for name, values in found.items():
        yield {"ask": name, "measure": "cross_entropy", "value": mean(values), "images": len(values), "protocol": protocol}
