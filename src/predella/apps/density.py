"""What a density is good for: bits of a picture, samples, and pictures through the posterior."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from predella.apps.device import device_of
from predella.errors import UserError
from predella.image.contract import quantize
from predella.image.files import Picture
from predella.image.fit import Box, fit_square
from predella.losses.likelihood import bits_per_dim, importance_weighted, quantized
from predella.metrics.density import bounds
from predella.models.coverage_quality import CoverageQuality

BATCH = 64


@dataclass(frozen=True)
class Score:
    """Bits per dimension of one picture.

    Attributes:
        elbo: upper bound by the mean over draws of z.
        tighter: upper bound by importance weighting of the same draws; None with one draw.
        error: standard error of `tighter` from the draws (of `elbo` with one draw: None).
        dims: numbers that bits are counted over.
    """

    elbo: float
    tighter: float | None
    error: float | None
    dims: int


def prepared(picture: Picture, model: CoverageQuality, name: str, box: Box | None = None) -> tuple[Tensor, int, list[str]]:
    """(1, C, size, size) at 8-bit levels, the dimensions that are the picture's own, and what a user should know of it.

    A picture that fits in is padded with black; a larger one has its central square resampled.

    Raises:
        UserError: a box outside the picture.
    """
    channels, size, notes = model.config.channels, model.config.size, []
    pixels = picture.pixels
    if pixels.shape[1] != channels:
        taken = "its three equal channels are all counted" if channels == 3 else "only its brightness is scored"
        notes.append(f"{name} is {'grey' if channels == 3 else 'in colour'}; {taken}")
        pixels = pixels.expand(-1, 3, -1, -1) if channels == 3 else pixels.mean(1, keepdim=True)
    if picture.bits > 8:
        notes.append(f"{name} has {picture.bits} bits a channel; it is rounded to 8, whose bits are counted")
    height, width = picture.size if box is None else (box[3] - box[1], box[2] - box[0])
    try:
        x = fit_square(pixels, size, box, surround=True)
    except ValueError as error:
        raise UserError(f"{name}: {error}") from None
    dims = model.config.counted_dims
    if max(height, width) <= size and (height, width) != (size, size):
        dims = channels * height * width
        if (height, width) != (model.config.counted,) * 2:
            notes.append(f"{name} has {width}×{height} pixels; it is padded to {size}×{size}, and bits are counted on its own pixels")
    elif (height, width) != (size, size):
        notes.append(f"{name} has {width}×{height} pixels; its central square is made {size}×{size}, whose bits are counted")
    return quantize(x), dims, notes


@torch.no_grad()
def score(model: CoverageQuality, x: Tensor, dims: int, samples: int, generator: torch.Generator) -> Score:
    """Of one picture (1, C, size, size) at 8-bit levels, by `samples` draws of z."""
    device = device_of(model)
    weigh = lambda v, noise: model.log_weights(v.to(device), noise.to(device)).cpu()  # noqa: E731
    (rows,) = bounds([x], weigh, model.config.latent, samples, generator)
    elbo = bits_per_dim(rows.mean(0), model.config.dims, dims).item()
    if samples == 1:
        return Score(elbo, None, None, dims)
    weights = (rows - rows.max()).exp()
    error = (weights.std() / weights.mean()).item() / math.sqrt(samples) / (dims * math.log(2))
    return Score(elbo, bits_per_dim(importance_weighted(rows), model.config.dims, dims).item(), error, dims)


@torch.no_grad()
def samples(model: CoverageQuality, count: int, generator: torch.Generator, mean: bool = False) -> Iterator[Tensor]:
    """`count` samples at 8-bit levels in batches (B, C, size, size); `mean` leaves out the noise of p(x | z)."""
    device = device_of(model)
    for first in range(0, count, BATCH):
        here = min(BATCH, count - first)
        z, noise = torch.randn(here, model.config.latent, generator=generator), torch.randn(here, *model.shape, generator=generator)
        yield quantized(model.sample(z.to(device), None if mean or model.config.noiseless else noise.to(device))).cpu()


@torch.no_grad()
def code(model: CoverageQuality, x: Tensor) -> Tensor:
    """(B, latent): what the middle of the posterior of (B, C, size, size) becomes."""
    q = model.posterior(x.to(device_of(model)))
    return model.drawn(q, torch.zeros_like(q.mean))[0].cpu()


@torch.no_grad()
def decoded(model: CoverageQuality, z: Tensor) -> Tensor:
    """f⁻¹(μ(z)) at 8-bit levels, (B, C, size, size)."""
    return quantized(model.sample(z.to(device_of(model)))).cpu()


def between(model: CoverageQuality, a: Tensor, b: Tensor, steps: int) -> Tensor:
    """(steps, C, size, size): along the line between the codes of two pictures (1, C, size, size), ends included."""
    return decoded(model, torch.lerp(code(model, a), code(model, b), torch.linspace(0, 1, steps)[:, None]))
