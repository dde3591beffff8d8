"""Variations of a picture from its own patches, without a network (Granot et al. 2022, GPNN).

From coarse to fine, each patch of the guess is replaced by the patch of the picture that is nearest to it, patches that nothing else
took being nearer; overlapping values are averaged. The guess at the coarsest scale is the picture with noise.
"""

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from predella.errors import UserError
from predella.image.contract import quantize
from predella.image.pyramid import Size, pyramid, scale_edges, scale_sizes
from predella.image.resize import resize
from predella.metrics.internal import PATCH as COPY_PATCH
from predella.metrics.internal import copy_score

PATCH = 7  # pixels of an edge
RATIO = 0.75  # between scales
COARSEST = 21  # shortest edge at the first, in pixels
ROUNDS = 10  # of replacing at most, at all scales but the first
NOISE = 0.75  # deviation, in units of [-1, 1], at the first
LONGEST = 160  # edge of a picture that is varied, in pixels; the search grows with its fourth power
COMPONENTS = 32  # of patches, that are compared
STILL = 0.002  # mean change of a value at which a scale is done
SPARE = 0.005  # α: how little being unused counts; small = every patch is used


def replaced(guess: Tensor, keys: Tensor, values: Tensor, patch: int = PATCH, spare: float = SPARE) -> Tensor:
    """The patches of `guess` replaced by those of `values` whose places in `keys` are nearest, overlaps averaged.

    The distance to key j is |q - k_j|² / (α + min over q of |q - k_j|²) (Granot et al. 2022, Eq. 2), of mean squares over a patch;
    patches are compared by their first COMPONENTS principal components, a fifth of the work.

    Args:
        guess: (1, C, H, W).
        keys, values: (1, C, h, w), the same picture at lower and full sharpness.
    """
    asked, known = _components(*(F.unfold(x, patch)[0].T for x in (guess, keys)))
    taken = F.unfold(values, patch)[0]  # (D, N)
    own, least = known.square().sum(1), torch.full((len(known),), torch.inf).to(asked)
    for part in asked.split(1024):
        least = torch.minimum(least, _squares(part, known, own).amin(0))
    weight = 1 / (spare + least.clamp(min=0) / len(taken))
    index = torch.cat([_squares(a, known, own).mul_(weight).argmin(1) for a in asked.split(1024)])
    size = tuple(guess.shape[-2:])
    total = F.fold(taken[None, :, index], size, patch)
    return total / F.fold(torch.ones_like(taken[None, :, index]), size, patch)


def _components(asked: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Rows of both in the principal axes of `known`'s."""
    middle = known.mean(0)
    _, axes = torch.linalg.eigh((known - middle).T @ (known - middle))
    axes = axes[:, -COMPONENTS:]
    return (asked - middle) @ axes, (known - middle) @ axes


def _squares(asked: Tensor, known: Tensor, own: Tensor) -> Tensor:
    """(A, N): squared distances; `own` are the squares of `known`."""
    return torch.addmm(own, asked, known.T, alpha=-2).add_(asked.square().sum(1, keepdim=True))


@torch.no_grad()
def patch_variation(picture: Tensor, size: Size, generator: torch.Generator, noise: float = NOISE,
                    tell: Callable[[float], None] | None = None) -> Tensor:  # fmt: skip
    """(1, C, H, W) in [-1, 1] → one variation (1, C, *size).

    Args:
        tell: hears the fraction of the work that is done, as if no scale were done early.

    Raises:
        ValueError: a picture that is smaller than the coarsest scale.
    """
    height, width = picture.shape[-2:]
    if min(height, width) < COARSEST:
        raise ValueError(f"{width}×{height} is smaller than {COARSEST} pixels")
    scales = 1
    while min(height, width) * RATIO**scales >= COARSEST:
        scales += 1
    edges = (
        scale_edges(round(max(height, width) * RATIO ** (scales - 1)), max(height, width), scales) if scales > 1 else [max(height, width)]
    )
    own, asked = (
        scale_sizes((height, width), edges),
        [(max(PATCH, round(size[0] * e / edges[-1])), max(PATCH, round(size[1] * e / edges[-1]))) for e in edges],
    )
    real = pyramid(picture, own)
    guess = resize(real[0], asked[0]) + noise * torch.randn(1, picture.shape[1], *asked[0], generator=generator).to(picture)
    guess = replaced(guess, real[0], real[0])
    work = [own[i][0] * own[i][1] * asked[i][0] * asked[i][1] * (ROUNDS if i else 1) for i in range(scales)]
    for i in range(1, scales):
        guess, blurred = resize(guess, asked[i]), resize(real[i - 1], own[i])
        for k in range(ROUNDS):
            last, guess = guess, replaced(guess, blurred if k == 0 else real[i], real[i])
            if tell is not None:
                tell((sum(work[:i]) + work[i] * (k + 1) / ROUNDS) / sum(work))
            if k and (guess - last).abs().mean() < STILL:
                break
    return guess.clamp(-1, 1)


def check(picture: Tensor, name: str) -> None:
    """Refuse a picture that has too few patches.

    Raises:
        UserError: says how many pixels are needed.
    """
    height, width = _worked_on((picture.shape[-2], picture.shape[-1]))
    if min(height, width) < COARSEST:
        seen = f", {width}×{height} as it is worked on" if max(picture.shape[-2:]) > LONGEST else ""
        raise UserError(
            f"{name} has {picture.shape[-1]}×{picture.shape[-2]} pixels{seen}; patches need {COARSEST} an edge, "
            + ("cut it to less than 7:1" if seen else "take a larger picture")
        )


def check_size(size: Size | None) -> None:
    """Refuse answers that are smaller than a patch.

    Raises:
        UserError: says how small they may be.
    """
    if size is not None and min(size) < PATCH:
        raise UserError(f"--size must be at least {PATCH}x{PATCH} with --method patch, got {size[1]}x{size[0]}")


def _worked_on(size: Size) -> Size:
    part = min(1.0, LONGEST / max(size))
    return round(size[0] * part), round(size[1] * part)


def variations(picture: Tensor, size: Size | None, count: int, generator: torch.Generator,
               tell: Callable[[float], None] = lambda fraction: None) -> tuple[Tensor, Iterator[Tensor]]:  # fmt: skip
    """The picture, no longer than LONGEST, and `count` variations of it; `size` None = as large as that.

    Args:
        tell: hears the fraction of all of them that is done.
    """
    own = picture.shape[-2], picture.shape[-1]
    small = resize(picture, _worked_on(own)).clamp(-1, 1) if max(own) > LONGEST else picture
    asked = size or (small.shape[-2], small.shape[-1])
    return small, (patch_variation(small, asked, generator, tell=lambda part, k=k: tell((k + part) / count)) for k in range(count))


def copied(variation: Tensor, picture: Tensor) -> float | None:
    """`metrics.internal.copy_score` of a variation in 8 bits, None where it or the picture is too small for one."""
    small = min(*variation.shape[-2:], *picture.shape[-2:]) < 2 * COPY_PATCH
    return None if small else copy_score(quantize(variation), picture)
