"""A shape as one closed line: points of its curve, and pictures and drawings of it."""

import io
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from predella.apps.device import device_of
from predella.errors import UserError, not_found
from predella.image.files import FORMATS, Picture, read
from predella.image.fit import cut_square, fit_square
from predella.models.functional_points import FunctionalPoints, framed
from predella.nn.hyper import Weights, first_layers, interpolate_weights

POINT_FILES = (".npy", ".csv")
ENDINGS = (".npy", ".csv", ".png", ".svg")
SMOOTH = 4  # lines are drawn so many times as large, and made smaller
MOST = 1_000_000  # points of a file
CHUNK = 65_536  # points whose layers are in memory at once
LINE = 0.008  # width of the line, of a picture's edge


@dataclass(frozen=True)
class Shape:
    """A point set as the model sees it.

    Attributes:
        density: (1, 1, grid, grid), not negative.
        scale, middle: a place (x, y) of the input's own units is `inside` · scale + middle.
        upward: whether y grows upward, as in point files; in pictures it grows downward.
        size: (width, height) of the input in its own units, for drawings; its corner is `corner`.
    """

    density: Tensor
    scale: Tensor
    middle: Tensor
    upward: bool
    size: tuple[float, float]
    corner: tuple[float, float]

    def places(self, curve: Tensor) -> Tensor:
        """(N, 2) as (y, x) in [-1, 1] → (N, 2) float64 as (x, y) in the input's own units."""
        x, y = curve.double().flip(1).unbind(1)
        return torch.stack([x, -y if self.upward else y], 1) * self.scale + self.middle

    def frame(self, places: Tensor) -> tuple[tuple[float, float], tuple[float, float]]:
        """Size and corner of a drawing: a picture's own, or what holds the points and the whole line through the places."""
        if not self.upward:
            return self.size, self.corner
        low = torch.minimum(torch.tensor(self.corner, dtype=torch.float64), places.amin(0))
        high = torch.maximum(torch.tensor([c + s for c, s in zip(self.corner, self.size)], dtype=torch.float64), places.amax(0))
        margin = LINE * (high - low).max()
        (left, bottom), (width, height) = (low - margin).tolist(), (high - low + 2 * margin).tolist()
        return (width, height), (left, bottom)


def shape_of(file: Path, model: FunctionalPoints, invert: bool = False) -> Shape:
    """An image, read as a distribution by its brightness, or a file of points (.npy, .csv).

    Args:
        invert: of an image: dark is probable.

    Raises:
        UserError: no such file, or nothing in it that is a set of points in the plane.
    """
    file = Path(file)
    if file.suffix.lower() in POINT_FILES:
        inside, middle, scale = framed(_points(file))
        size = (inside.amax(0) - inside.amin(0)) * scale
        if not (inside.isfinite().all() and scale.isfinite()):
            raise UserError(f"{file} holds points too far apart for float64; scale them down")
        downward = (inside * torch.tensor([1.0, -1.0], dtype=torch.float64)).flip(1)
        seen = model.see(downward[None].float().to(device_of(model)))
        low = inside.amin(0) * scale + middle
        return Shape(seen, scale, middle, True, (size[0].item(), size[1].item()), (low[0].item(), low[1].item()))
    grey = read(file).grey_on_white()
    if invert and cut_square(grey, min(grey.shape[-2:])).min() >= 1 - 1 / 255:
        where = "" if grey.shape[-2] == grey.shape[-1] else " in its central square"
        raise UserError(f"{file} is white{where} (what is transparent is seen as white); --invert needs a dark shape on white")
    return shape_of_picture(-grey if invert else grey, model, str(file))


def shape_of_picture(grey: Tensor, model: FunctionalPoints, name: str) -> Shape:
    """The central square of (1, 1, H, W) in [-1, 1], its brightness read as a distribution; `name` is for messages.

    Raises:
        UserError: it is black.
    """
    height, width = grey.shape[-2:]
    edge = min(height, width)
    density = ((fit_square(grey, model.config.grid) + 1) / 2).to(device_of(model))
    if density.max() <= 0.5 / 255:
        raise UserError(f"{name} is black; brightness is read as probability, so give a bright shape on black, or --invert a dark one")
    middle = torch.tensor([width / 2, height / 2], dtype=torch.float64)
    return Shape(density, torch.tensor(edge / 2, dtype=torch.float64), middle, False, (float(width), float(height)), (0.0, 0.0))


def _points(file: Path) -> Tensor:
    """(N, 2) float64."""
    if not file.is_file():
        raise not_found(file)
    try:
        if file.suffix.lower() == ".npy":
            array = np.load(file, allow_pickle=False)
            if not isinstance(array, np.ndarray):
                raise ValueError("several arrays")
        else:
            lines = [line.replace(";", ",").split(",") for line in file.read_text("utf-8-sig").splitlines() if line.strip()]
            header = bool(lines) and not any(_is_number(v) for v in lines[0])
            rows = [[float(v) for v in line] for line in lines[header:]]
            for i, row in enumerate(rows, 1):
                if len(row) != len(rows[0]):
                    raise ValueError(f"row {i} has {len(row)} numbers, the first {len(rows[0])}")
            array = np.array(rows)
    except (ValueError, OSError, EOFError, BadZipFile) as error:
        why = "Python objects are not read" if "allow_pickle" in str(error) else error
        raise UserError(f"{file} can't be read as points ({why}); give N rows of x,y") from None
    if not array.size:
        raise UserError(f"{file} holds no points; 2 to {MOST:,} make a shape")
    if array.ndim != 2 or array.shape[1] != 2 or array.dtype.kind not in "iuf":
        raise UserError(f"{file} holds {array.dtype} numbers of shape {array.shape}; points in the plane are (N, 2): keep x and y")
    if not 2 <= len(array) <= MOST:
        raise UserError(f"{file} holds {len(array)} point{'s' * (len(array) > 1)}; 2 to {MOST:,} make a shape")
    if not np.isfinite(array).all():
        raise UserError(f"{file}: not finite: {int((~np.isfinite(array)).any(1).sum())} of {len(array)} points; remove them")
    points = torch.from_numpy(array.astype(np.float64))
    if (points.amax(0) == points.amin(0)).all():
        raise UserError(f"{file} holds one place only, {points[0].tolist()}; a shape needs several")
    return points


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


@torch.no_grad()
def weights_of(model: FunctionalPoints, shape: Shape) -> Weights:
    """The shape's own map of the circle."""
    return model.weights(shape.density)


@torch.no_grad()
def curve(model: FunctionalPoints, weights: Weights, count: int) -> Tensor:
    """(count, 2) as (y, x) in [-1, 1]: points of the closed curve, in order."""
    return torch.cat([model.query(weights, z)[0].cpu() for z in model.circle(count).to(device_of(model)).split(CHUNK)])


def between(model: FunctionalPoints, a: Shape, b: Shape, steps: int, layers: int | None = None) -> list[Weights]:
    """Weights on the line from one shape's to the other's, ends included; with `layers` only those of the first layers go over."""
    first, last = weights_of(model, a), weights_of(model, b)
    names = None if layers is None else first_layers(first, layers)
    return [interpolate_weights(first, last, t, names) for t in torch.linspace(0, 1, steps).tolist()]


def drawing(places: Tensor, size: tuple[float, float], corner: tuple[float, float], upward: bool, edge: int) -> Picture:
    """The closed line through (N, 2) places (x, y), white on black, its longer edge `edge` pixels."""
    times, (left, low) = edge / max(size), corner
    width, height = (max(1, round(s * times)) for s in size)
    canvas = Image.new("L", (width * SMOOTH, height * SMOOTH))
    x = (places[:, 0] - left) * (times * SMOOTH)
    y = (places[:, 1] - low) * (times * SMOOTH)
    y = height * SMOOTH - y if upward else y
    line = [(a, b) for a, b in zip(x.tolist(), y.tolist())]
    ImageDraw.Draw(canvas).line([*line, line[0]], fill=255, width=max(1, round(LINE * edge * SMOOTH)), joint="curve")
    small = np.asarray(canvas.resize((width, height), Image.Resampling.BOX), dtype=np.float32)
    return Picture(torch.from_numpy(small / 127.5 - 1)[None, None])


def encoded(shape: Shape, places: Tensor, ending: str, edge: int) -> bytes | Picture:
    """What a file of that ending holds; .npy and .csv the points (N, 2) as x, y in the input's own units."""
    if ending == ".npy":
        with io.BytesIO() as stream:
            np.save(stream, places.numpy(), allow_pickle=False)
            return stream.getvalue()
    if ending == ".csv":
        return ("x,y\n" + "".join(f"{x:.10g},{y:.10g}\n" for x, y in places.tolist())).encode()
    if ending in FORMATS:
        return drawing(places, *shape.frame(places), shape.upward, edge)
    (width, height), (left, low) = shape.frame(places)
    flip = -1 if shape.upward else 1
    top = -(low + height) if shape.upward else low
    path = "M" + "L".join(f"{x:.10g} {flip * y:.10g}" for x, y in places.tolist()) + "Z"
    stroke = LINE * max(width, height)
    box = f'viewBox="{left:.10g} {top:.10g} {width:.10g} {height:.10g}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {box}>'
        f'<path d="{path}" fill="none" stroke="black" stroke-width="{stroke:.6g}" stroke-linejoin="round"/></svg>\n'
    ).encode()
