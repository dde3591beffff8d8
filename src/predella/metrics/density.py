"""Bits per dimension of held-out images, by bounds whose names say how tight they are."""

import math
from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor

from predella.losses.likelihood import bits_per_dim, dequantized, importance_weighted

SEVERAL = 16  # draws of z that a model weighs at once

LogWeights = Callable[[Tensor, Tensor], Tensor]  # dequantised (B, C, H, W), noise (K, B, latent) → (K, B)


@torch.inference_mode()
def bounds(images: Iterable[Tensor], log_weights: LogWeights, latent: int, samples: int, generator: torch.Generator) -> Iterator[Tensor]:
    """For each batch of 8-bit images (B, C, H, W) in [-1, 1]: (samples, B) log weights at one dequantisation of each image.

    Args:
        latent: dimensions of z.
    """
    for x in images:
        x = dequantized(x, torch.rand(x.shape, generator=generator))
        rows = []
        for first in range(0, samples, SEVERAL):
            noise = torch.randn(min(SEVERAL, samples - first), len(x), latent, generator=generator)
            rows.append(log_weights(x, noise).double())
        yield torch.cat(rows)


def measure(
    images: Iterable[Tensor], log_weights: LogWeights, latent: int, dims: tuple[int, int], samples: int, generator: torch.Generator
) -> Iterator[dict]:
    """Rows of the mean over images: the ELBO's bits (`bpd_elbo`) and, with K > 1, those of K importance-weighted draws (`bpd_iwK`).

    Args:
        dims: numbers that the weights are a density of, and those of them that bits are counted over.
        samples: K, draws of z an image.
    """
    found: dict[str, list[Tensor]] = {}
    for rows in bounds(images, log_weights, latent, samples, generator):
        found.setdefault("bpd_elbo", []).append(bits_per_dim(rows.mean(0), *dims))
        if samples > 1:
            found.setdefault(f"bpd_iw{samples}", []).append(bits_per_dim(importance_weighted(rows), *dims))
    for name, values in found.items():
        bits = torch.cat(values)
        protocol = f"upper bound from {samples} draws of z at one uniform dequantisation an image, {dims[1]} dimensions"
        error = (bits.std() / math.sqrt(len(bits))).item() if len(bits) > 1 else None
        yield {"ask": "pictures", "measure": name, "value": bits.mean().item(), "error": error, "images": len(bits), "protocol": protocol}
