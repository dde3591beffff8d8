"""Several answers to one picture: colourings, restorations, enlargements, digits from a few numbers, photos of a layout."""

from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import torch
from torch import Tensor

from predella.apps.device import device_of
from predella.apps.sheet import sheet
from predella.errors import UserError
from predella.image.contract import quantize
from predella.image.files import Picture
from predella.image.fit import fit_square, pad_to
from predella.image.jpeg import coarseness, encode, read_coefficients
from predella.models.tower import Tower, fitted
from predella.tasks.base import Exact
from predella.tasks.colorization import Colorization, lightness
from predella.tasks.decompression import Decompression
from predella.tasks.layout import Layout
from predella.tasks.pca import PrincipalComponents
from predella.tasks.super_resolution import SuperResolution

MODELS = {  # what restores by default
    "colorization": "tower_color", "decompression": "tower_jpeg", "super_resolution": "tower_sr16",
    "pca": "tower_mnist_pca", "layout": "tower_layout",
}  # fmt: skip
LARGEST = 4_000_000  # pixels of an answer; features of the whole are in memory at once
TOGETHER = 200_000_000  # pixels of all answers to one picture
SMALLEST = 4  # pixels of an edge that is enlarged
ROUNDS = 50  # of moving an answer to its input's data and back into the range of pixels
Restoration = Colorization | Decompression | SuperResolution | PrincipalComponents | Layout
Keep = Callable[[Tensor], Tensor]  # answers → answers that keep to the input


def condition_of(task: Restoration, picture: Picture, model: Tower, name: str, count: int = 1) -> Tensor:
    """(1, C, H, W) that a tower for `task` answers to `count` times; grey and colour are taken by either.

    Raises:
        UserError: a picture too large to be restored as a whole, too small to be enlarged, a label map with unknown classes.
    """
    x = picture.pixels
    times = times_of(task, model)
    if not isinstance(task, PrincipalComponents):
        height, width = (times * n for n in picture.size)
        if height * width > LARGEST:
            raise UserError(f"{name} would have {width}×{height} pixels, {LARGEST:,} can be restored at once; make it smaller or cut it")
        if count * height * width > TOGETHER:
            most = TOGETHER // (height * width)
            raise UserError(f"{count} answers of {width}×{height} pixels for {name} are too many at once; ask for at most {most}")
    match task:
        case SuperResolution():
            if min(picture.size) < SMALLEST:
                raise UserError(f"{name} has {picture.size[1]}×{picture.size[0]} pixels; at least {SMALLEST} an edge can be enlarged")
        case Colorization():
            return lightness(picture.rgb())
        case PrincipalComponents():
            return task.known(fit_square(x.mean(1, keepdim=True), task.size[0]))
        case Layout():
            task.check(picture.rgb(), name)
            size = picture.size[0] // task.shrink, picture.size[1] // task.shrink
            if min(size) < 1:
                raise UserError(f"{name} has {picture.size[1]}×{picture.size[0]} pixels; its photo is {task.shrink} times smaller")
            return task.encode(picture.rgb(), size)
    return x.expand(-1, model.config.condition, -1, -1) if x.shape[1] == 1 else x


def times_of(task: Restoration, model: Tower) -> int:
    """Edge of an answer over that of the condition."""
    return model.config.factor if isinstance(task, SuperResolution) else 1


def keeper(task: Restoration, condition: Tensor, path: Path) -> Keep:
    """What moves answers (B, C, H, W) in [-1, 1] until they keep to the condition's own data and to the range of pixels.

    The JPEG of a decompression is read again: its quantised coefficients say what to keep.

    Raises:
        UserError: a task without such data, or a file that is no JPEG.
    """
    if not isinstance(task, Exact):
        raise UserError(f"--exact is for tasks whose input fixes numbers of the answer, {task.kind} fixes none; leave it out")
    if isinstance(task, Decompression):
        project = read_coefficients(path).project
    else:
        project = lambda x: task.project(condition, x)  # noqa: E731

    def keep(answers: Tensor) -> Tensor:
        for _ in range(ROUNDS):
            answers = project(answers).clamp(-1, 1)
        return answers

    return keep


def departure(task: Restoration, condition: Tensor, answer: Tensor) -> float | None:
    """Root mean square of how far an 8-bit answer is from the condition's data, in 8-bit steps; None where nothing is fixed."""
    if isinstance(task, Layout):
        return None
    return task.residual(condition, quantize(answer)).item() * 127.5


def notes(task: Restoration, picture: Picture, path: Path) -> Iterator[str]:
    """What a user should know of how the picture is taken."""
    if isinstance(task, (Colorization, PrincipalComponents)) and picture.pixels.shape[1] == 3:
        yield f"{path} is in colour; only its lightness is used"
    if isinstance(task, PrincipalComponents) and picture.size != task.size:
        yield f"{path} has {picture.size[1]}×{picture.size[0]} pixels; its central square is made {task.size[1]}×{task.size[0]}"
    if isinstance(task, Decompression):
        found, usual = coarseness(path), coarseness(BytesIO(encode(torch.zeros(1, 8, 8), task.quality)))
        if found is not None and usual is not None and not usual / 1.6 <= found <= usual * 1.6:
            yield f"{path} has quantisation steps of {found:.0f} on average, the model knows {usual:.0f} (quality {task.quality})"


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


def overview(task: Restoration, picture: Picture, condition: Tensor, found: Tensor) -> Tensor:
    """(1, 3, H, W): the input, all answers, and how much they differ, in rows of at most 12."""
    shown = fitted(picture.rgb() if isinstance(task, Layout) else condition, (found.shape[-2], found.shape[-1]))
    three = [x.expand(-1, 3, -1, -1) if x.shape[1] == 1 else x for x in (shown, found, spread(found))]
    return sheet(list(torch.cat(three).split(12)))
