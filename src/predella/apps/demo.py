"""Every system at work on shipped weights and photos: one page, one panel a system."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from predella.apps.demo_density import densities
from predella.apps.demo_functions import functions
from predella.apps.demo_internal import internal_learning
from predella.apps.demo_page import Figure, Panel, Row, overview, page
from predella.apps.demo_reversible import reversible_networks
from predella.apps.demo_tower import towers
from predella.apps.fill import fill
from predella.apps.upscale import enlarge_bands
from predella.atomic import write_text
from predella.data.images import Source
from predella.image.contract import from_uint8, quantize
from predella.image.files import Picture, write
from predella.image.resize import resize
from predella.metrics.fidelity import psnr_y
from predella.metrics.filling import biharmonic, psnr_holes
from predella.models.functional_image import FunctionalImage
from predella.tasks.masking import holes
from predella.tasks.super_resolution import degrade, evaluation_pair


def _enlarge(model: FunctionalImage, image: Tensor, size: tuple[int, int]) -> Tensor:
    return quantize(torch.cat([band for _, band in enlarge_bands(model, image, size)], 2))


def _compare(name: str, low: Tensor, high: Tensor, model: FunctionalImage, crop: tuple[int, int, int, int]) -> tuple[Figure, ...]:
    """Input, bicubic, ours and the true picture: the same crop (top, left, bottom, right of `high`), with PSNR-Y of the whole."""
    top, left, bottom, right = crop
    size = (high.shape[-2], high.shape[-1])
    scale = size[0] / low.shape[-2], size[1] / low.shape[-1]
    cut = low[..., round(top / scale[0]) : round(bottom / scale[0]), round(left / scale[1]) : round(right / scale[1])]
    seen = torch.nn.functional.interpolate(cut, (bottom - top, right - left))
    bicubic, ours = quantize(resize(low, size)), _enlarge(model, low, size)
    before, after = (psnr_y(x, high, 3).item() for x in (bicubic, ours))
    part = (..., slice(top, bottom), slice(left, right))
    return (
        Figure(f"{name}-input", seen, f"input, {low.shape[-1]}×{low.shape[-2]}"),
        Figure(f"{name}-bicubic", bicubic[part], f"bicubic, {before:.2f} dB"),
        Figure(f"{name}-predella", ours[part], f"predella, {after:.2f} dB"),
        Figure(f"{name}-true", high[part], f"the photo, {size[1]}×{size[0]}"),
    )


def functional_images(photos: dict[str, Tensor]) -> Panel:
    """System 1: any size, two axes apart, holes."""
    model, filler = FunctionalImage.from_pretrained("functional_sr"), FunctionalImage.from_pretrained("functional_fill")
    cat, astronaut = photos["chelsea"], photos["astronaut"]
    low, high = evaluation_pair(cat, 2.5)
    both = Row("A photo enlarged 2.5× on both axes.", _compare("both", low, high, model, (60, 130, 210, 330)))
    high = astronaut[..., :500, :500]
    low = degrade(high, (500, 200))
    one = Row("Enlarged 2.5×1: only the width was lost.", _compare("width", low, high, model, (20, 130, 170, 330)))
    china = photos["china"][..., :300, 120:520]
    known = holes((300, 400), "strokes", 0.12, 7)[None]
    torn = china * known + (1 - known)
    ours = fill(Picture(china * known), known, filler).pixels
    classical = torch.where(known > 0, china, biharmonic(china * known, known))
    before, after = (psnr_holes(x, china, known) for x in (classical, ours))
    filled = Row(
        "Holes filled: what is known is kept exactly.",
        (
            Figure("fill-input", torn, "torn"),
            Figure("fill-biharmonic", quantize(classical), f"biharmonic, {before:.2f} dB in the holes"),
            Figure("fill-predella", quantize(ours), f"predella, {after:.2f} dB in the holes"),
            Figure("fill-true", china, "the photo"),
        ),
    )
    count = sum(p.numel() for p in model.parameters())
    text = (
        f"A hypernetwork of {count:,} parameters turns the photo into one small function a pixel; the function is then asked at any size."
    )
    return Panel("Functional images", text, (both, one, filled))


PANELS: tuple[Callable[[dict[str, Tensor]], Panel], ...] = (
    functional_images,
    towers,
    internal_learning,
    reversible_networks,
    functions,
    densities,
)


def demo(folder: Path, force: bool = False, say: Callable[[str], None] = lambda line: None) -> Path:
    """Write index.html, demo.png and the figures into `folder`; returns the page.

    Raises:
        UserError: the folder's files exist and `force` is off.
    """
    images = Source(paths=("photos",)).open()
    photos = {name: from_uint8(images[i])[None] for i, name in enumerate(images.names)}
    panels = []
    for make in PANELS:
        panels.append(make(photos))
        for row in panels[-1].rows:
            say(f"{panels[-1].title}: {row.text} {' · '.join(f.caption for f in row.figures)}")
    for panel in panels:
        for row in panel.rows:
            for figure in row.figures:
                write(Picture(figure.image), folder / f"{figure.name}.png", force)
    write(Picture(overview(panels)), folder / "demo.png", force)
    write_text(folder / "index.html", page(panels), force)
    return folder / "index.html"
