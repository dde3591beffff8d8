"""Distances between two sets of points: transport (exact, sliced, of their Gaussians), maximum mean discrepancy, cross-entropy."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.autograd import Function

from predella.nn.precision import in_32_bits

INVERSE_MULTIQUADRIC_SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
PAIRS = 2**20  # of points whose distances are in memory at once
LEAST_ROOT = 1e-6  # of a variance, below which a root of an eigenvalue keeps a finite slope
LEAST_EXPONENT = -87.0  # below it a kernel is nothing beside the nearest one, and its exponential a slow denormal number


def exact_transport(x: Tensor, y: Tensor) -> Tensor:
    """Eq. 5 of Schirrmeister et al. 2018 for two sets of n points: min over pairings π of 1/n Σ ‖x_i - y_π(i)‖₂.

    The pairing is found exactly (Jonker–Volgenant) and held fixed; gradients flow through the paired distances to both sets.

    Args:
        x, y: (n, D).

    Raises:
        ValueError: sets of different size or dimension.
    """
    from scipy.optimize import linear_sum_assignment  # here, for it takes half a second to load

    _check(x, y)
    if x.shape != y.shape:
        raise ValueError(f"exact transport pairs sets of equal size, got {tuple(x.shape)} and {tuple(y.shape)}")
    with torch.no_grad():
        cost = torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist").cpu()
        if not torch.isfinite(cost).all():
            return torch.linalg.vector_norm(x - y, dim=1).mean()  # not finite either: the trainer says where
        rows, columns = linear_sum_assignment(cost.numpy())
    return torch.linalg.vector_norm(x[torch.from_numpy(rows)] - y[torch.from_numpy(columns)], dim=1).mean()


def random_directions(dims: int, count: int, generator: torch.Generator) -> Tensor:
    """(dims, count): columns uniform on the sphere, by a CPU generator."""
    drawn = torch.randn(dims, count, generator=generator)
    return drawn / torch.linalg.vector_norm(drawn, dim=0)


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
    x, y = _exact(x, y)
    directions = random_directions(x.shape[1], projections, generator).to(x)
    with torch.autocast(x.device.type, enabled=False):
        return ((x @ directions).sort(0).values - (y @ directions).sort(0).values).square().mean()


def symmetric_root(matrix: Tensor) -> Tensor:
    """(D, D), symmetric and without negative eigenvalues but by rounding → the matrix of that kind whose square it is."""
    values, vectors = torch.linalg.eigh(matrix)
    return (vectors * values.clamp(min=0).sqrt()) @ vectors.T


class GaussianTransport:
    """Squared 2-Wasserstein distance between the Gaussians that two sets of points have the mean and covariance of.

    ‖μ' - μ‖² + tr Σ' + tr Σ - 2 tr (Σ^½ Σ' Σ^½)^½ (Dowson and Landau 1982), the Fréchet distance of `metrics.frechet` with a
    gradient, for the second set. Directions in which points hardly deviate count by their deviation, where in a difference of
    covariances they would by its square. In single precision roots of eigenvalues are off by √ε = 3e-4 of the largest: values near 0
    may be slightly negative there, and their gradients noise. Call it outside autocast.

    Args:
        points: (n, D), n ≥ 1.

    Attributes:
        variance: tr Σ, a scalar.
    """

    def __init__(self, points: Tensor):
        self._mean, centred = points.mean(0), points - points.mean(0)
        self._root = symmetric_root(centred.T @ centred / len(points))
        self.variance = centred.square().sum() / len(points)

    def __call__(self, x: Tensor) -> Tensor:
        """(m, D), m ≥ 1 → a scalar; 0 but for rounding where mean and covariance are the same."""
        mean, centred = x.mean(0), x - x.mean(0)
        if len(x) > x.shape[1]:
            gram = self._root @ (centred.T @ centred) @ self._root / len(x)
        else:  # smaller, and the same eigenvalues but those of 0
            rotated = centred @ self._root
            gram = rotated @ rotated.T / len(x)
        if not torch.isfinite(gram).all():
            return gram.sum()  # not finite either: the trainer says where
        least = (LEAST_ROOT * self.variance).square().clamp(min=torch.finfo(gram.dtype).tiny)  # the root's slope stays finite
        shared = (torch.linalg.eigvalsh(gram).clamp(min=0) + least).sqrt().sum()
        return (mean - self._mean).square().sum() + centred.square().sum() / len(x) + self.variance - 2 * shared


def maximum_mean_discrepancy(x: Tensor, y: Tensor, spread: float = 1.0) -> Tensor:
    """Unbiased MMD² with a sum of inverse multiquadric kernels C / (C + ‖x - y‖²), C = 2 D σ² · scale (Tolstikhin et al. 2018, Sec. 4).

    Args:
        x: (n, D), n ≥ 2. y: (m, D), m ≥ 2.
        spread: σ, the deviation of the prior in each dimension.

    Returns:
        A scalar, which may be slightly negative: its expectation is 0 when both sets come from one distribution.
    """
    scales = [2 * x.shape[1] * spread**2 * scale for scale in INVERSE_MULTIQUADRIC_SCALES]
    return _discrepancy(x, y, [lambda d, c=c: c / (c + d) for c in scales])


def gaussian_mmd(x: Tensor, y: Tensor, bandwidths: Sequence[float]) -> Tensor:
    """Unbiased MMD² with the sum of Gaussian kernels exp(-‖x - y‖² / 2h²) (Gretton et al. 2012, Eq. 3).

    Args:
        x: (n, D), n ≥ 2. y: (m, D), m ≥ 2.
        bandwidths: h, in the points' units.

    Returns:
        A scalar, which may be slightly negative.
    """
    return _discrepancy(x, y, [lambda d, h=h: (-d / (2 * h * h)).exp() for h in bandwidths])


def _discrepancy(x: Tensor, y: Tensor, kernels: Sequence[Callable[[Tensor], Tensor]]) -> Tensor:
    """Unbiased, of the sum of kernels of squared distances that are 1 at 0."""
    _check(x, y)
    if min(len(x), len(y)) < 2:
        raise ValueError(f"MMD needs at least 2 points a set, got {len(x)} and {len(y)}")
    xx, yy, xy = (squared_distances(a, b) for a, b in ((x, x), (y, y), (x, y)))
    total = x.new_zeros(())
    for kernel in kernels:
        kx, ky, kxy = kernel(xx), kernel(yy), kernel(xy)
        total = total + (kx.sum() - len(x)) / (len(x) * (len(x) - 1)) + (ky.sum() - len(y)) / (len(y) * (len(y) - 1)) - 2 * kxy.mean()
    return total


def kernel_cross_entropy(samples: Tensor, points: Tensor, weights: Tensor, sigma: float) -> Tensor:
    """-Σ_l P(x_l) log 1/n Σ_i N(x_l; μ_i, σ² I), in nats (Klocek et al. 2019, Eq. 1): (B,).

    Memory does not grow with n · m: distances are taken a chunk of points at a time. The gradients are exact; they have none of their own.
    Half precision is raised to single.

    Args:
        samples: μ (B, n, D).
        points: x (B, m, D).
        weights: P (B, m), 0 or more, with sum 1 an item.
        sigma: deviation of a kernel, in the points' units.
    """
    if samples.ndim != 3 or points.ndim != 3 or samples.shape[::2] != points.shape[::2] or weights.shape != points.shape[:2]:
        shapes = [tuple(t.shape) for t in (samples, points, weights)]
        raise ValueError(f"samples (B, n, D), points (B, m, D) and weights (B, m) are needed, got {', '.join(map(str, shapes))}")
    if not sigma > 0:
        raise ValueError(f"sigma must be positive, got {sigma}")
    if min(samples.shape) < 1:
        raise ValueError(f"a batch, samples and dimensions of at least 1 are needed, got samples {tuple(samples.shape)}")
    kind = torch.promote_types(torch.promote_types(samples.dtype, points.dtype), torch.float32)
    samples, points, weights = samples.to(kind), points.to(kind), weights.to(kind)
    middle = points.mean(1, keepdim=True).detach() if points.shape[1] else 0.0  # far from the origin digits would be lost
    if not torch.is_grad_enabled():
        samples, points, weights = samples.detach(), points.detach(), weights.detach()
    with torch.autocast(samples.device.type, enabled=False):
        return _KernelCrossEntropy.apply(samples - middle, points - middle, weights, sigma)


class _KernelCrossEntropy(Function):
    """The gradients are taken with the value, while a chunk's distances are at hand: each kernel is evaluated once."""

    @staticmethod
    def forward(ctx, samples: Tensor, points: Tensor, weights: Tensor, sigma: float) -> Tensor:
        of_samples, of_points, *_ = ctx.needs_input_grad
        batch, n, dimensions = samples.shape
        scale = sigma * math.sqrt(2)
        centres = (samples / scale).transpose(1, 2).contiguous()  # (B, D, n): an axis at a time, no (B, m, n, D) in memory
        constant = math.log(n) + dimensions * math.log(sigma * math.sqrt(2 * math.pi))
        masses, pulls = torch.zeros_like(samples[..., :1]), torch.zeros_like(samples)
        logs, means = [], []
        rows = max(1, PAIRS // (batch * n))
        for some, share in zip((points / scale).split(rows, 1), weights.split(rows, 1), strict=True):
            squared = samples.new_zeros(batch, some.shape[1], n)
            for d in range(dimensions):
                offset = some[..., d, None] - centres[:, d, None]
                squared.addcmul_(offset, offset)
            nearest = squared.amin(2, keepdim=True)
            kernels = squared.neg_().add_(nearest).clamp_(min=LEAST_EXPONENT).exp_()
            total = kernels.sum(2, keepdim=True)
            logs.append((total.log() - nearest)[..., 0] - constant)
            if of_samples:
                pull = share[..., None] / total
                masses.baddbmm_(kernels.transpose(1, 2), pull)
                pulls.baddbmm_(kernels.transpose(1, 2), pull * some)
            if of_points:
                means.append(torch.bmm(kernels, centres.transpose(1, 2)) / total)
        log = torch.cat(logs, 1)
        to_samples = (masses * samples - pulls * scale) / sigma**2 if of_samples else None
        to_points = weights[..., None] * (points - torch.cat(means, 1) * scale) / sigma**2 if of_points else None
        ctx.save_for_backward(to_samples, to_points, -log)
        return -(weights * log).sum(1)

    @staticmethod
    def backward(ctx, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():  # asked for a graph of the gradients, which would lack its own part
            raise RuntimeError("the kernel cross-entropy has first derivatives only; leave out create_graph")
        needed = zip(ctx.needs_input_grad, ctx.saved_tensors, strict=False)
        return *(g * upstream[0].view(-1, *[1] * (g.ndim - 1)) if need else None for need, g in needed), None


def squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """(n, D), (m, D) → (n, m) of ‖x_i - y_j‖²; exactly 0 on the diagonal when x is y."""
    return (x[:, None] - y[None]).square().sum(-1) if x.shape[1] <= 4 else _by_products(x, y)


def _by_products(x: Tensor, y: Tensor) -> Tensor:
    same = x is y
    x, y = _exact(x, y)
    with torch.autocast(x.device.type, enabled=False):  # a difference of large numbers
        d = (x.square().sum(1)[:, None] + y.square().sum(1)[None] - 2 * x @ y.T).clamp(min=0)
    if same:
        d = d * (1 - torch.eye(len(x), dtype=d.dtype, device=d.device))
    return d


def _exact(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Under autocast both in 32 bits."""
    return (in_32_bits(x), in_32_bits(y)) if torch.is_autocast_enabled(x.device.type) else (x, y)


def _check(x: Tensor, y: Tensor) -> None:
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1]:
        raise ValueError(f"two sets of points (n, D) and (m, D) are needed, got {tuple(x.shape)} and {tuple(y.shape)}")
