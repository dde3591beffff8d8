"""Several answers to one picture: colourings of a grey photo, restorations of a JPEG."""

from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor

from predella.apps.device import device_of
from predella.apps.sheet import sheet
from predella.errors import UserError
from predella.image.files import Picture
from predella.image.fit import pad_to
from predella.models.tower import Tower
from predella.tasks.colorization import lightness

Restoration = Literal["colorization", "decompression", "super_resolution"]
RESTORATIONS: tuple[Restoration, ...] = ("colorization", "decompression", "super_resolution")
LARGEST = 4_000_000  # pixels of an answer; features of the whole are in memory at once
SMALLEST = 4  # pixels of an edge that is enlarged


def condition_of(task: Restoration, picture: Picture, model: Tower, name: str) -> Tensor:
    """(1, C, H, W) that a tower for `task` answers to; grey and colour are taken by either.

    Raises:
        UserError: a picture too large to be restored as a whole, too small to be enlarged, or a tower for another task.
    """
    times = times_of(task, model)
    height, width = (times * n for n in picture.size)
    if height * width > LARGEST:
        raise UserError(f"{name} would have {width}×{height} pixels, {LARGEST:,} can be restored at once; make it smaller or cut it")
    if times > 1 and min(picture.size) < SMALLEST:
        raise UserError(f"{name} has {picture.size[1]}×{picture.size[0]} pixels; at least {SMALLEST} an edge can be enlarged")
    if (model.config.answer == "ab") != (task == "colorization"):
        raise UserError(f"this model was not trained for {task}; name one that was with --model")
    x = picture.pixels
    if task == "colorization":
        return lightness(x.expand(-1, 3, -1, -1) if x.shape[1] == 1 else x)
    return x.expand(-1, model.config.condition, -1, -1) if x.shape[1] == 1 else x


def times_of(task: Restoration, model: Tower) -> int:
    """Edge of an answer over that of what is given."""
    return model.config.factor if task == "super_resolution" else 1


@torch.no_grad()
def answers(model: Tower, condition: Tensor, count: int, generator: torch.Generator, times: int = 1) -> Iterator[Tensor]:
    """`count` answers (1, C, H, W) to one condition of any size, each from independent codes of all levels (Peng et al., Sec. 4.2).

    The condition's border is repeated to a size that divides, and cut off again.

    Args:
        times: edge of the answer over that of the condition; 1, or the tower's factor.
    """
    height, width = (times * n for n in condition.shape[-2:])
    padded = (pad_to(condition, model.config.factor) if times == 1 else condition).to(device_of(model))
    size = (times * padded.shape[-2], times * padded.shape[-1])
    for _ in range(count):
        codes = [c.to(padded) for c in model.draw(1, size, generator)]
        yield model(padded, codes, size)[-1][..., :height, :width].clamp(-1, 1).cpu()


def spread(found: Tensor) -> Tensor:
    """(K, C, H, W) answers → (1, 1, H, W) in [-1, 1]: their deviation at each pixel, mean over channels; white = the largest."""
    deviation = found.std(0, correction=0).mean(0)[None, None]
    return deviation / deviation.max().clamp(min=1e-6) * 2 - 1


def overview(shown: Tensor, found: Tensor) -> Tensor:
    """(1, 3, H, …): the input, all answers, and how much they differ, side by side."""
    shown = shown.repeat_interleave(found.shape[-2] // shown.shape[-2], -2).repeat_interleave(found.shape[-1] // shown.shape[-1], -1)
    three = [x.expand(-1, 3, -1, -1) if x.shape[1] == 1 else x for x in (shown, found, spread(found))]
    return sheet([torch.cat(three)])
