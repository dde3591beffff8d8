"""The demo's panel of the tower: colours of a grey photo, a JPEG restored, faces of 16 pixels, houses of a drawing, digits."""

from pathlib import Path

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor

from predella.apps import restore
from predella.apps.demo_page import Figure, Panel, Row
from predella.apps.demo_reversible import FACE
from predella.apps.sheet import sheet
from predella.image.contract import quantize
from predella.image.files import Picture
from predella.image.fit import fit_square
from predella.image.resize import resize
from predella.models.tower import Tower
from predella.tasks.colorization import Colorization, lightness
from predella.tasks.decompression import Decompression, compress
from predella.tasks.layout import FACADES, Layout
from predella.tasks.pca import PrincipalComponents
from predella.tasks.super_resolution import SuperResolution, degrade

PAINTED = 32  # pixels of an edge that the shipped painter was trained at
DIGITS = (0, 4, 15)  # of scikit-learn's handwritten digits: a zero, a four, a five


def towers(photos: dict[str, Tensor]) -> Panel:
    """System 2: many right answers."""
    names = ("color", "jpeg", "sr16", "layout", "mnist_pca")
    painter, mender, enlarger, builder, writer = (Tower.from_pretrained(f"tower_{name}") for name in names)
    painting = Colorization(edge=PAINTED)
    grey = lightness(photos["china"][..., 40:400, 100:580])
    colours = _answers(painter, painting, grey, 5)
    part = photos["astronaut"][..., :160, 140:300]
    task = Decompression()
    ruined = compress(part, task.quality)
    mended = list(restore.answers(task, mender, ruined, (ruined.shape[-2], ruined.shape[-1]), 3, torch.Generator().manual_seed(0)))
    face = fit_square(photos["astronaut"], 64, FACE)
    few = degrade(face, (4, 4))
    faces = restore.restore(Picture(few), enlarger, SuperResolution(patch=4, scales=(16.0, 16.0)), 6)
    drawing = house()
    houses = restore.restore(Picture(drawing), builder, Layout(), 5)
    components = PrincipalComponents()
    known = [components.known(digit(i)) for i in DIGITS]
    digits = sheet([torch.cat([d, *_answers(writer, components, d, 12)]) for d in known], gap=1).expand(-1, 3, -1, -1)
    away = [127.5 * painting.residual(grey, quantize(c)).item() for c in colours]
    painted = [Figure(f"tower-colours-{i}", c, f"answer {i}") for i, c in enumerate(colours, 1)]
    rows = (
        Row(
            f"A grey photo in several plausible colours, its lightness kept up to {max(away):.1f} of 255.",
            (Figure("tower-grey", grey.expand(-1, 3, -1, -1), "the lightness of a photo"), *painted),
        ),
        Row(
            f"A JPEG of quality {task.quality} restored several times.",
            (
                Figure("tower-jpeg", _twice(ruined), "the JPEG"),
                *(Figure(f"tower-jpeg-{i}", _twice(m), f"answer {i}") for i, m in enumerate(mended, 1)),
                Figure("tower-jpeg-true", _twice(part), "the photo"),
            ),
        ),
        Row(
            "A face of 4×4 pixels, and faces that it may have been.",
            (
                Figure("tower-few", F.interpolate(few, scale_factor=32), "16 pixels"),
                *(Figure(f"tower-face-{i}", _twice(f.pixels), f"answer {i}") for i, f in enumerate(faces, 1)),
                Figure("tower-face-true", _twice(face), "the photo"),
            ),
        ),
        Row(
            "A drawing of where the parts of a house are, and houses that look so from the street.",
            (
                Figure("tower-drawing", drawing, "the drawing"),
                *(Figure(f"tower-house-{i}", F.interpolate(h.pixels, scale_factor=4), f"answer {i}") for i, h in enumerate(houses, 1)),
            ),
        ),
        Row(
            "Digits from ten numbers: the first principal components of one, and what they may be of.",
            (Figure("tower-digits", F.interpolate(digits, scale_factor=3), "left: what the ten numbers say"),),
        ),
    )
    count = sum(p.numel() for p in painter.parameters())
    return Panel("Tower implicit model", f"One input, many answers: {count:,} parameters for colours, random codes for each.", rows)


def house(edge: int = 256) -> Tensor:
    """(1, 3, edge, edge): a label map of three floors, as `tasks.layout` knows its classes."""
    colours = {name: torch.tensor([int(c[i : i + 2], 16) for i in (0, 2, 4)]) / 127.5 - 1 for name, c in FACADES}
    out, unit = colours["background"].view(1, 3, 1, 1).repeat(1, 1, edge, edge), edge / 256

    def box(name: str, left: int, top: int, right: int, bottom: int) -> None:
        rows, columns = (slice(round(a * unit), round(b * unit)) for a, b in ((top, bottom), (left, right)))
        out[..., rows, columns] = colours[name].view(3, 1, 1)

    box("facade", 16, 40, 240, 256)
    for left, top in [(30 + 43 * c, 66 + 52 * f) for f in range(3) for c in range(5)]:
        box("window", left, top, left + 24, top + 34)
        box("sill", left - 2, top + 36, left + 26, top + 40)
    box("cornice", 12, 40, 244, 52)
    box("cornice", 16, 212, 240, 216)
    for name, left, right in (("shop", 24, 110), ("door", 118, 140), ("shop", 148, 232)):
        box(name, left, 222, right, 256)
    return out


def _answers(model: Tower, task: restore.Restoration, condition: Tensor, count: int) -> list[Tensor]:
    own, size = restore.own_data(task, condition, Path()), (condition.shape[-2], condition.shape[-1])
    return [own.keep(a) for a in restore.answers(task, model, condition, size, count, torch.Generator().manual_seed(0))]


def digit(index: int) -> Tensor:
    """(1, 1, 28, 28): one of scikit-learn's digits of 8×8 pixels as MNIST shows them, 20×20 in the middle of black."""
    pixels = torch.from_numpy(load_digits().images[index]).float()[None, None] / 8 - 1
    return F.pad(resize(pixels, (20, 20)).clamp(-1, 1), (4, 4, 4, 4), value=-1.0)


def _twice(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2)
