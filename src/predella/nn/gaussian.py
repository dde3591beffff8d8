"""Gaussian densities over latents."""

import math

import torch
from torch import Tensor, nn


class GaussianMixture(nn.Module):
    """Σ_k π_k N(μ_k, L_k L_kᵀ) over vectors of `dims` numbers; parameters are buffers, set by `set_`.

    Unset (`fitted` false), it is the standard normal.
    """

    fitted: Tensor
    weight: Tensor
    mean: Tensor
    factor: Tensor

    def __init__(self, components: int, dims: int):
        super().__init__()
        self.register_buffer("fitted", torch.tensor(False))
        self.register_buffer("weight", torch.full((components,), 1 / components))
        self.register_buffer("mean", torch.zeros(components, dims))
        self.register_buffer("factor", torch.eye(dims).repeat(components, 1, 1))

    @torch.no_grad()
    def set_(self, weight: Tensor, mean: Tensor, covariance: Tensor) -> None:
        """Weights (K,) that sum to 1, means (K, D), covariances (K, D, D), positive definite."""
        if weight.shape != self.weight.shape:
            raise ValueError(f"a mixture of {len(self.weight)} needs as many weights, got {tuple(weight.shape)}")
        factor = torch.linalg.cholesky(covariance.double())  # may refuse, before anything is changed
        self.weight.copy_(weight / weight.sum())
        self.mean.copy_(mean)
        self.factor.copy_(factor)
        self.fitted.fill_(True)

    @torch.no_grad()
    def unset_(self) -> None:
        """The standard normal again."""
        self.weight.fill_(1 / len(self.weight))
        self.mean.zero_()
        self.factor.copy_(torch.eye(self.mean.shape[1]))
        self.fitted.fill_(False)

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """(count, D), drawn with a CPU generator."""
        which = torch.multinomial(self.weight.cpu(), count, replacement=True, generator=generator).to(self.mean.device)
        noise = torch.randn(count, self.mean.shape[1], generator=generator).to(self.mean)
        return self.mean[which] + (self.factor[which] @ noise[:, :, None])[:, :, 0]

    def log_prob(self, x: Tensor) -> Tensor:
        """(N, D) → (N,), nats."""
        offset = x[:, None] - self.mean  # (N, K, D)
        white = torch.linalg.solve_triangular(self.factor, offset.permute(1, 2, 0), upper=False)  # (K, D, N)
        volume = self.factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        each = -0.5 * white.square().sum(1).T - volume - 0.5 * x.shape[1] * math.log(2 * math.pi)
        return torch.logsumexp(each + self.weight.log(), 1)
