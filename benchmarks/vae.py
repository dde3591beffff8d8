"""The baseline of the reversible faces: a variational autoencoder (Kingma and Welling 2014) with an optimal output deviation.

The Gaussian decoder's deviation is the one that maximises the likelihood of the batch (Rybkin et al. 2021, Eq. 5), which spares
the baseline a badly chosen weight between its two terms.
"""

import math

import torch
from torch import Tensor, nn


class VAE(nn.Module):
    """(B, C, size, size) in [-1, 1] ↔ (B, dims).

    Args:
        width: channels after the first convolution; doubled at each halving down to 4 pixels.
    """

    def __init__(self, channels: int, size: int, dims: int, width: int):
        super().__init__()
        halvings = size.bit_length() - 3
        wide = [width * 2**i for i in range(halvings)]
        down: list[nn.Module] = []
        up: list[nn.Module] = []
        for i, w in enumerate(wide):
            before = channels if i == 0 else wide[i - 1]
            down += [nn.Conv2d(before, w, 4, stride=2, padding=1), nn.BatchNorm2d(w), nn.ReLU()]
            tail = [] if i == 0 else [nn.BatchNorm2d(before), nn.ReLU()]
            up = [nn.ConvTranspose2d(w, before, 4, stride=2, padding=1), *tail, *up]
        self.down, self.top = nn.Sequential(*down), wide[-1]
        self.posterior = nn.Linear(self.top * 16, 2 * dims)
        self.start = nn.Sequential(nn.Linear(dims, self.top * 16), nn.Unflatten(1, (self.top, 4, 4)), nn.BatchNorm2d(self.top), nn.ReLU())
        self.up = nn.Sequential(*up)
        self.dims = dims

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of q(z|x), (B, dims) each."""
        mean, log_variance = self.posterior(self.down(x).flatten(1)).chunk(2, 1)
        return mean, log_variance

    def decode(self, z: Tensor) -> Tensor:
        """The mean of p(x|z)."""
        return self.up(self.start(z))

    def loss(self, x: Tensor) -> Tensor:
        """Minus the ELBO a pixel value, in nats, with the output deviation at its optimum."""
        mean, log_variance = self.encode(x)
        z = mean + (log_variance / 2).exp() * torch.randn_like(mean)
        mse = (self.decode(z) - x).square().mean()
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1).mean()
        return 0.5 * (mse.clamp(min=1e-8).log() + 1 + math.log(2 * math.pi)) + divergence / x[0].numel()

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Decoded draws of N(0, 1)."""
        return self.decode(torch.randn(count, self.dims, generator=generator)).clamp(-1, 1)


def of_size(parameters: int, channels: int, size: int, dims: int) -> VAE:
    """The VAE whose number of parameters is nearest to `parameters`."""
    with torch.device("meta"):
        counts = {w: sum(p.numel() for p in VAE(channels, size, dims, w).parameters()) for w in range(4, 257)}
    return VAE(channels, size, dims, min(counts, key=lambda w: abs(counts[w] - parameters)))
