"""Several answers to one picture: colourings, restorations, enlargements, digits from a few numbers, photos of a layout."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from io import BytesIO
from pathlib import Path
from zlib import crc32

import torch
from torch import Tensor

from predella.apps.device import device_of, free_memory
from predella.apps.sheet import sheet
from predella.errors import UserError
from predella.image.color import lab_to_rgb, luma, paled, rgb_to_lab
from predella.image.contract import quantize, to_uint8
from predella.image.files import Picture
from predella.image.fit import fit_square, pad_to
from predella.image.jpeg import coarseness, encode, has_jpeglib, read_coefficients
from predella.image.resize import fitted, resize
from predella.models.tower import Tower
from predella.tasks.base import Exact
from predella.tasks.colorization import Colorization, lightness
from predella.tasks.decompression import Decompression
from predella.tasks.layout import Layout
from predella.tasks.pca import PrincipalComponents
from predella.tasks.super_resolution import SuperResolution, degrade

MODELS = {  # what restores by default
    "colorization": "tower_color", "decompression": "tower_jpeg", "super_resolution": "tower_sr16",
    "pca": "tower_mnist_pca", "layout": "tower_layout",
}  # fmt: skip
LARGEST, MEMORY = 16_000_000, 8e9  # pixels of an answer, whose features are in memory at once, and bytes that these may take
LONGEST = 1000  # times the shorter edge, of pictures that are coloured
LARGEST_COLORED, COLORED = 40_000_000, 200  # where only the lightness is as large, and bytes that a pixel takes (measured: 135 to 175)
LEAST = 0.01  # share of a class in a drawing that is worth a word
STRANGE = 0.001  # share of colours of no class that is
PLAIN = 4 / 255  # in [-1, 1]: a picture that spans no more, two values of 8 bits, has one colour
FEW = 8  # pixels of an edge below which nothing is to be recognised
SMALLEST = 4  # pixels of an edge that is enlarged
ROUNDS, WORK = 50, 10_000_000  # of moving an answer to its input's data and back into the range of pixels: at least, and numbers in all
SETTLED = 1e-3  # of [-1, 1]: a round whose way back moves no pixel by more is the last
EPSILON = 1e-3  # variance of the lightness (0 … 1) above which colours follow it
SHOWN, EDGE, WIDEST = 22, 512, 2048  # answers on a sheet, the largest edge of each in pixels, and once enlarged
Restoration = Colorization | Decompression | SuperResolution | PrincipalComponents | Layout


@dataclass(frozen=True)
class OwnData:
    """What of an answer the input fixes.

    Attributes:
        project: (B, C, H, W) → the same with the input's own data; values may leave [-1, 1].
        departure: (B, C, H, W) → (B,): root mean square of how far answers are from them, in steps of 8 bits.
    """

    project: Callable[[Tensor], Tensor]
    departure: Callable[[Tensor], Tensor]

    def keep(self, answers: Tensor) -> Tensor:
        """`answers`, moved to the input's data and back into the range of pixels until they settle."""
        for _ in range(max(ROUNDS, WORK // answers.numel())):
            moved = self.project(answers)
            answers = moved.clamp(-1, 1)
            if (answers - moved).abs().max() < SETTLED:
                break
        return answers


def shrunk(task: SuperResolution, picture: Picture, model: Tower, name: str) -> tuple[Picture, Tensor]:
    """The central square of a picture as small as the model was trained on, and as large as its answer (1, C, H, W).

    Raises:
        UserError: a picture that is smaller than that.
    """
    if min(picture.size) < task.patch:
        width, height = picture.size[1], picture.size[0]
        raise UserError(f"{name} has {width}×{height} pixels; --shrink wants at least {task.patch} an edge; take a larger picture")
    whole = fit_square(picture.on_white(), task.patch * model.config.factor)
    return picture.with_pixels(degrade(whole, (task.patch, task.patch))), whole


def condition_of(task: Restoration, picture: Picture, model: Tower, name: str) -> Tensor:
    """(1, C, H, W) that a tower for `task` answers to; grey and colour are taken by either.

    Raises:
        UserError: a picture too large to be restored as a whole, too small to be enlarged, a label map with unknown classes.
    """
    height, width = size_of(task, picture, model)
    colours = isinstance(task, Colorization)
    each = COLORED if colours else _bytes(model) + (12 * task.shrink**2 if isinstance(task, Layout) else 0)  # the map itself, too
    memory = min(MEMORY, free_memory(torch.device("cpu") if colours else device_of(model)))
    most = min(LARGEST_COLORED if colours else LARGEST, int(memory / each))
    if colours and max(height, width) > LONGEST * min(height, width):
        raise UserError(f"{name} has {width}×{height} pixels; colours want an edge at most {LONGEST} times the other: cut it")
    if height * width > most:
        part = (most / (height * width)) ** 0.5
        least = f"{int(picture.size[1] * part)}×{int(picture.size[0] * part)}"
        needed = f" ({most * each / 1e9:.1f} GB)"
        rule = f"the answer to {name} would have {width}×{height} pixels, {most:,} can be made at once{needed}"
        how = "cut it without storing it anew (jpegtran -crop)" if isinstance(task, Decompression) else "cut it"
        raise UserError(f"{rule}; {how}, or make it at most {least}")
    match task:
        case SuperResolution():
            if min(picture.size) < SMALLEST:
                raise UserError(f"{name} has {picture.size[1]}×{picture.size[0]} pixels; at least {SMALLEST} an edge can be enlarged")
            return _with_channels(picture.on_white(), model.config.condition)
        case Colorization():
            return lightness(picture.rgb())
        case PrincipalComponents():
            return task.known(fit_square(_as_trained(picture, model.config.channels), task.size[0]))
        case Layout():
            task.check(picture.rgb(), name)
            if min(height, width) < 1:
                raise UserError(f"{name} has {picture.size[1]}×{picture.size[0]} pixels; its photo is {task.shrink} times smaller")
            return task.encode(picture.rgb(), (height, width))
    return _with_channels(picture.pixels, model.config.condition)


def _bytes(model: Tower) -> int:
    """That a pixel of an answer takes, at most: what was measured of the shipped towers and the paper's finest level, as a line."""
    top = len(model.config.levels) - 1
    channels = sum((level.width + 4 * level.growth) / 4 ** (top - i) for i, level in enumerate(model.config.levels))
    return 250 + int(3 * channels)


def size_of(task: Restoration, picture: Picture, model: Tower) -> tuple[int, int]:
    """(height, width) of an answer."""
    height, width = picture.size
    match task:
        case SuperResolution():
            return model.config.factor * height, model.config.factor * width
        case PrincipalComponents():
            return task.size
        case Layout():
            return height // task.shrink, width // task.shrink
    return height, width


def _as_trained(picture: Picture, channels: int) -> Tensor:
    """(1, C, H, W): as pictures to train on are read; white ink on nothing, of which nothing would be left, on black."""
    if _is_white_ink(picture):
        assert picture.alpha is not None
        picture = picture.with_pixels(picture.alpha)
    return picture.grey_on_white() if channels == 1 else picture.on_white()


def _is_white_ink(picture: Picture) -> bool:
    return picture.alpha is not None and _span(picture.on_white()) <= PLAIN < _span(picture.alpha)


def _span(x: Tensor) -> float:
    """(1, C, H, W) in [-1, 1] → how far apart a channel's values are at most."""
    return (x.amax((2, 3)) - x.amin((2, 3))).max().item()


def _with_channels(x: Tensor, channels: int) -> Tensor:
    """Grey is repeated, colours become their luma."""
    return x if x.shape[1] == channels else (luma(x) if x.shape[1] == 3 else x).expand(-1, channels, -1, -1)


def own_data(task: Restoration, condition: Tensor, path: Path | None) -> OwnData:
    """The condition's own data; of a JPEG the quantised coefficients of the file `path`.

    Raises:
        UserError: a task without such data, or a file that is no JPEG.
        ValueError: no file of a JPEG.
    """
    if not isinstance(task, Exact):
        raise UserError(f"--exact is for tasks whose input fixes numbers of the answer, {task.kind} fixes none; leave it out")
    if isinstance(task, Decompression):
        if path is None:
            raise ValueError("a JPEG's own data are in its file; give its path")
        known = read_coefficients(path)
        return OwnData(known.project, lambda x: known.departure(quantize(x)))
    return OwnData(lambda x: task.project(condition, x), lambda x: task.residual(condition, quantize(x)) * 127.5)


def notes(task: Restoration, picture: Picture, path: Path, model: Tower, inverted: bool = False) -> Iterator[str]:
    """What a user should know of how the picture is taken."""
    spread = (picture.pixels.amax(1) - picture.pixels.amin(1)).max() * 127.5
    if spread > 2 and (isinstance(task, Colorization) or model.config.condition == 1):
        yield f"{path} is in colour; only its lightness is used"
    if isinstance(task, PrincipalComponents) and picture.size != task.size:
        yield f"{path} has {picture.size[1]}×{picture.size[0]} pixels; its central square is made {task.size[1]}×{task.size[0]}"
    if not isinstance(task, Layout) and _span(picture.on_white()) <= PLAIN and not _is_white_ink(picture):
        yield f"{path} has one colour only; what its answers show beyond that is made up"
    if isinstance(task, PrincipalComponents) and picture.on_white().mean() > 0 and not _is_white_ink(picture):
        remedy = "leave out --invert" if inverted else "--invert"
        yield f"{path} looks dark on bright; the model knows digits bright on dark: {remedy}"
    if isinstance(task, Colorization) and _span(picture.on_white()) > PLAIN and (picture.on_white().abs() >= 1 - PLAIN).all():
        yield f"{path} is black and white without a grey between, which leave no room for colours"
    if not isinstance(task, (PrincipalComponents, Layout)) and min(picture.size) < FEW and not isinstance(task, SuperResolution):
        yield f"{path} has {picture.size[1]}×{picture.size[0]} pixels; too few to show what the model could know"
    if isinstance(task, SuperResolution) and picture.size != (task.patch, task.patch):
        width, height = picture.size[1], picture.size[0]
        known = f"{path} has {width}×{height} pixels, the model knows pictures of {task.patch}×{task.patch}"
        more = "; in more it sees several things, such as faces in parts of a face; --shrink makes it as small"
        yield known + more * (max(height, width) > task.patch)
    if isinstance(task, SuperResolution):
        yield from picture.notes_on_white(str(path))
    if picture.bits > 8:
        yield f"{path} has {picture.bits} bits a channel; its answers have 8"
    if isinstance(task, (Colorization, Decompression)) and picture.alpha is not None and picture.alpha.max() <= -1:
        yield f"{path} is wholly transparent, and so are its answers; what its pixels hide is used"
    if isinstance(task, Layout) and task.encoding == "one_hot":
        found, strange = task.shares(picture.rgb())
        shares = ", ".join(f"{name} {share:.0%}" for name, share in found if share >= LEAST)
        smeared = f"; {strange:.1%} has colours of no class and is taken for the nearest" if strange >= STRANGE else ""
        yield f"{path} is taken for {shares}{smeared}"
    if isinstance(task, Layout) and task.encoding == "colors":
        yield f"{path} is taken by its colours as they are; this model knows no classes that they could be checked against"
    if isinstance(task, Decompression):
        if coarseness(path) is None:
            yield f"{path} is no JPEG; it is taken for one of quality {task.quality} that was stored again"
        elif not has_jpeglib():
            yield "how far answers are from the file's own data is not known without jpeglib (pip install jpeglib)"
        found, usual = coarseness(path), coarseness(BytesIO(encode(torch.zeros(1, 8, 8), task.quality)))
        if found is not None and usual is not None and not usual / 1.6 <= found <= usual * 1.6:
            off = f"{path} has quantisation steps of {found:.0f} on average, the model knows {usual:.0f} (quality {task.quality})"
            yield off + "; a file that is no worse than this is best left as it is" * (found < usual)


@torch.no_grad()
def answers(task: Restoration, model: Tower, condition: Tensor, size: tuple[int, int], count: int, generator: torch.Generator,
            from_level: int = 0, between: bool = False) -> Iterator[Tensor]:  # fmt: skip
    """`count` answers (1, C, *size) to one condition of any size, each from codes of its own (`codes`).

    Colours are found for the picture made as small as those of the training, where a scene is coherent, and laid over its lightness.
    """
    drawn = partial(codes, model, count, generator=generator, from_level=from_level, between=between)
    if isinstance(task, Colorization) and min(size) > task.edge:
        part = task.edge / min(size)
        small = resize(condition, (round(size[0] * part), round(size[1] * part))).clamp(-1, 1)
        for answer in _whole(model, small, (small.shape[-2], small.shape[-1]), drawn):
            yield _laid_over(condition, rgb_to_lab(answer)[:, 1:])
    else:
        yield from _whole(model, condition, size, drawn)


def draws(picture: Picture, seed: int) -> torch.Generator:
    """What the codes of a picture are drawn with: another picture has others, asked with the same seed, too."""
    return torch.Generator().manual_seed(seed ^ crc32(to_uint8(picture.rgb()).contiguous().numpy().tobytes()))


def codes(model: Tower, count: int, size: tuple[int, int], generator: torch.Generator,
          from_level: int = 0, between: bool = False) -> Iterator[list[Tensor]]:  # fmt: skip
    """Codes of `count` answers of `size`, one (1, D) a level each: independent of each other (Peng et al., Sec. 4.2).

    Args:
        from_level: levels below it have the first answer's codes, so that what they decide stays.
        between: the codes lie on an arc from one draw to another, cos(φ) · a + sin(φ) · b with φ = 0 … π/2; each is distributed as a
            draw is.
    """
    first = model.draw(1, size, generator)
    other = model.draw(1, size, generator) if between else []
    for k in range(count):
        if between:
            angle = torch.tensor(k / max(1, count - 1) * torch.pi / 2)
            own = [a * angle.cos() + b * angle.sin() for a, b in zip(first, other)]
        else:
            own = model.draw(1, size, generator) if k else first
        yield [*first[:from_level], *own[from_level:]]


def _whole(model: Tower, condition: Tensor, size: tuple[int, int], drawn: Callable[..., Iterator[list[Tensor]]]) -> Iterator[Tensor]:
    """A condition as large as its answers has its border repeated to a size that divides, and cut off again."""
    condition, factor, whole = condition.to(device_of(model)), model.config.factor, size
    if tuple(condition.shape[-2:]) == tuple(size):
        condition = pad_to(condition, factor)
        if condition.shape[-2:] == (factor, factor):  # a base of one position has no deviation to normalise by
            condition = torch.cat([condition, condition.flip(-1)], -1)
        whole = condition.shape[-2], condition.shape[-1]
    for each in drawn(size=whole):
        yield model(condition, [c.to(condition) for c in each], whole)[-1][..., : size[0], : size[1]].clamp(-1, 1).cpu()


def _laid_over(condition: Tensor, colours: Tensor) -> Tensor:
    """Lightness (1, 1, H, W) and smaller a, b (1, 2, h, w) → (1, 3, H, W); colours follow the edges of the lightness (He et al. 2010)."""
    from kornia.filters import guided_blur

    times = condition.shape[-1] / colours.shape[-1]
    large = resize(colours, (condition.shape[-2], condition.shape[-1]), "bilinear")
    coarser = max(1, round(times / 2))  # the filter's means are of many pixels: a few of them say as much (He and Sun 2015)
    followed = guided_blur((condition + 1) / 2, large, 4 * round(times) + 1, EPSILON, "replicate", coarser)
    return lab_to_rgb(paled(torch.cat([(condition + 1) * 50, followed], 1)))


def restore(picture: Picture, model: Tower, task: Restoration, count: int = 8, seed: int = 0, *, exact: bool = False,
            file: Path | None = None, from_level: int = 0, between: bool = False) -> list[Picture]:  # fmt: skip
    """`count` plausible answers to a picture; the same seed gives the same answers to the same picture.

    Args:
        exact: move each answer until it has the input's own data (`OwnData.keep`).
        file: the JPEG that `picture` was read from, whose coefficients are kept; for `exact` decompression alone.
        from_level, between: see `codes`.

    Raises:
        TypeError: something else than a Picture or a tower.
        ValueError: fewer answers than one (`between`: than two), a seed below 0, a level that the model lacks, a model for conditions of
            other channels, or `exact` decompression without a file.
        UserError: see `condition_of`, and for `exact` `own_data`.
    """
    if not isinstance(picture, Picture):
        raise TypeError(
            f"picture must be a Picture, got {type(picture).__name__}; predella.image.files.read(path) gives one, Picture(pixels) "
            "makes one of a tensor (1, C, H, W) in [-1, 1]"
        )
    if not isinstance(model, Tower):
        raise TypeError(f"model must be a Tower, got {type(model).__name__}; predella.load('{MODELS.get(task.kind, 'RUN')}') gives one")
    if not isinstance(count, int) or count < 1 + between:
        raise ValueError(f"count must be a whole number of at least {1 + between}, got {count!r}")
    if not isinstance(seed, int) or seed < 0:
        raise ValueError(f"seed must be a whole number of at least 0, got {seed!r}")
    if not 0 <= from_level < len(model.levels):
        raise ValueError(f"from_level must lie in 0…{len(model.levels) - 1}, the model's levels, got {from_level}")
    if (model.config.answer == "ab") != isinstance(task, Colorization):
        raise ValueError(f"the model answers with {model.config.answer}, which is not what {task.kind} wants; load one trained for it")
    condition, size = condition_of(task, picture, model, "the picture"), size_of(task, picture, model)
    keep = own_data(task, condition, file).keep if exact else lambda answer: answer
    drawn = answers(task, model, condition, size, count, draws(picture, seed), from_level, between)
    return [as_file(task, picture, keep(answer)) for answer in drawn]


def as_file(task: Restoration, picture: Picture, answer: Tensor) -> Picture:
    """The answer with what of the input's file still holds: profile, resolution, transparency."""
    if isinstance(task, (PrincipalComponents, Layout)):
        return Picture(answer)
    same = picture.size == tuple(answer.shape[-2:])
    profile = picture.icc if picture.pixels.shape[1] == answer.shape[1] else None
    return replace(picture, pixels=answer, alpha=picture.alpha if same else None, bits=8, icc=profile)


class Overview:
    """The sheet of one picture: its input, the first answers, where all differ, and the truth (1, C, H, W) where it is known.

    What is transparent in the answers' files is white here.
    """

    def __init__(self, task: Restoration, picture: Picture, condition: Tensor, truth: Tensor | None = None):
        self.seen = lambda x: as_file(task, picture, x).on_white()
        whole = isinstance(task, SuperResolution)  # a condition that is on white already
        self.input = picture.on_white() if isinstance(task, Layout) else condition if whole else self.seen(condition)
        self.truth = [] if truth is None else [truth]
        self.first: list[Tensor] = []
        self.count, self.sum, self.squares = 0, torch.zeros(()), torch.zeros(())

    def add(self, answer: Tensor) -> None:
        """(1, C, H, W)."""
        shown = _reduced(self.seen(answer))
        self.count, self.sum, self.squares = self.count + 1, self.sum + shown.double(), self.squares + shown.double().square()
        if len(self.first) < SHOWN:
            self.first.append(shown)

    def deviation(self) -> Tensor:
        """(1, 1, H, W): the answers' standard deviation at each pixel as shown, mean over channels."""
        mean = self.sum / self.count
        return (self.squares / self.count - mean.square()).clamp(min=0).sqrt().mean(1, keepdim=True)

    def spread(self) -> Tensor:
        """(1, 1, H, W) in [-1, 1]: the same, white = the largest, and a step of 8 bits at least: answers that agree leave it dark."""
        deviation = self.deviation()
        return (deviation / deviation.max().clamp(min=2 / 255) * 2 - 1).float()

    def picture(self, zoom: int = 1) -> Tensor:
        """(1, 3, H, W), in even rows of 12 at most, about 2048 pixels long if it may be; each pixel zoom × zoom, as far as an answer stays
        within those."""
        edges = self.first[0].shape[-2], self.first[0].shape[-1]
        zoom = max(1, min(zoom, WIDEST // max(edges)))
        spread = [self.spread()] if self.count > 1 else []
        parts = [fitted(self.input, edges), *self.first, *(fitted(t, edges) for t in (*spread, *self.truth))]
        rows = -(-len(parts) // min(12, max(4, WIDEST // (edges[1] * zoom))))
        columns = -(-len(parts) // rows)  # rows of one length, as near as may be
        return sheet(list(torch.cat([_with_channels(x, 3) for x in parts]).split(columns)), zoom=zoom)


def _reduced(x: Tensor) -> Tensor:
    """No edge longer than EDGE."""
    height, width = x.shape[-2:]
    part = EDGE / max(height, width)
    return x if part >= 1 else resize(x, (max(1, round(height * part)), max(1, round(width * part)))).clamp(-1, 1)
