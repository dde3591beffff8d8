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
from predella.image.fit import Box, cut_box, fit_square
from predella.losses.likelihood import bits_per_dim, importance_weighted, quantized
from predella.metrics.density import bounds
from predella.models.coverage_quality import CoverageQuality

BATCH = 64
GROUPS = 8  # of draws, each at its own dequantisation, whose spread is the error


@dataclass(frozen=True)
class Score:
    """Bits per dimension of one picture.

    Attributes:
        elbo: upper bound by the mean over draws of z.
        elbo_error: its standard error, of z and of the dequantisation; None with one draw.
        tighter: upper bound by importance weighting of the same draws; None with one draw.
        error: standard error of the mean of bounds by an eighth of the draws each (or by one, of fewer than eight).
        dims: numbers that bits are counted over.
    """

    elbo: float
    elbo_error: float | None
    tighter: float | None
    error: float | None
    dims: int


def prepared(picture: Picture, model: CoverageQuality, name: str, box: Box | None = None) -> tuple[Tensor, tuple[int, int], list[str]]:
    """(1, C, size, size) at 8-bit levels, height and width of the middle that is the picture's own, and what a user should know of it.

    A picture that fits in is padded with black; a larger one has its central square resampled, to the size that the model's own
    pictures have before they are padded.

    Raises:
        UserError: a box outside the picture.
    """
    channels, size, notes = model.config.channels, model.config.size, []
    if picture.pixels.shape[1] != channels:
        taken = "grey; its three equal channels all count" if channels == 3 else "stored in colour; only its brightness is seen"
        notes.append(f"{name} is {taken}")
    notes += picture.notes_on_white(name)
    pixels = picture.on_white() if channels == 3 else picture.grey_on_white()
    if picture.bits > 8:
        notes.append(f"{name} has {picture.bits} bits a channel; it is rounded to 8")
    if box is not None:
        try:
            pixels = cut_box(pixels, box)
        except ValueError as error:
            raise UserError(f"{name}: {error}") from None
        name = f"the box of {name}"
    height, width = pixels.shape[-2:]
    if max(height, width) > size:
        edge = model.config.counted or size
        pixels = fit_square(pixels, edge)
        notes.append(f"{name} has {width}×{height} pixels; its central square is made {edge}×{edge}")
        height = width = edge
    if (height, width) not in ((size, size), (model.config.counted,) * 2):
        notes.append(
            f"{name} has {width}×{height} pixels; it is padded with black to {size}×{size}"
            + (", whose bits count as its own (a bound)" if model.flow is not None else "")
            + (": too few for its bits to say anything" if 2 * max(height, width) < (model.config.counted or size) else "")
        )
    if channels == 1 and pixels.mean() > 0:
        notes.append(
            f"{name} is bright nearly everywhere; if the model knows digits, they are bright on dark: turn ink on paper round first"
        )
    return quantize(fit_square(pixels, size, surround=True)), (height, width), notes


@torch.no_grad()
def score(model: CoverageQuality, x: Tensor, own: tuple[int, int], samples: int, generator: torch.Generator) -> Score:
    """Of one picture (1, C, size, size) at 8-bit levels, by `samples` draws of z, in up to `GROUPS` groups that dequantise anew.

    Args:
        own: height and width of the middle that is no padding.
    """
    device = device_of(model)
    weigh = lambda v, noise: model.log_weights(v.to(device), noise.to(device), own).cpu()  # noqa: E731
    dims = model.dims(own)
    each = math.ceil(samples / GROUPS)
    whole, left = divmod(samples, each)
    draw = lambda n, k: next(bounds([x.expand(n, -1, -1, -1)], weigh, model.config.latent, k, generator))  # noqa: E731
    groups = draw(whole, each)  # (draws of a group, groups)
    rows = torch.cat([groups.flatten(), draw(1, left).flatten()]) if left else groups.flatten()
    elbo = bits_per_dim(rows.mean(), *dims).item()
    if samples == 1:
        return Score(elbo, None, None, None, dims[1])
    spread = [v.std().item() / math.sqrt(whole) / (dims[1] * math.log(2)) for v in (groups.mean(0), importance_weighted(groups))]
    tighter = bits_per_dim(importance_weighted(rows[:, None]), *dims).item()
    return Score(elbo, spread[0], tighter, spread[1], dims[1])


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
