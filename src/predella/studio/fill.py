"""Holes of a photo, painted on it: `predella fill`."""

from collections.abc import Mapping
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

from predella.errors import UserError
from predella.studio.line import OUT, OWN, Lines
from predella.studio.parts import LineButton, examples, whole


def asked(lines: Lines, painted: dict[str, Any] | None):
    """Words and files of the line; the photo as the editor has it, in 8 bits and without a colour profile.

    Args:
        painted: of an image editor: background and layers, RGBA arrays.
    """
    if not painted or painted.get("background") is None:
        raise UserError("choose a photo first")
    photo = painted["background"]
    covered = [layer[..., 3] > 0 for layer in painted["layers"] if layer is not None]
    if strange := [c.shape for c in covered if c.shape != photo.shape[:2]]:
        raise UserError(
            f"what was painted has {strange[0][1]}×{strange[0][0]} pixels, the photo {photo.shape[1]}×{photo.shape[0]}; choose it again"
        )
    mask = np.any(covered, axis=0) if covered else np.zeros(photo.shape[:2], bool)
    if not mask.any():
        raise UserError("paint over what is to be filled, with the brush on the left of the picture")
    folder = Path(mkdtemp(prefix=OWN, dir=lines.root))
    given = {"photo.png": folder / "photo.png", "mask.png": folder / "mask.png"}
    opaque = photo.shape[-1] == 4 and bool((photo[..., 3] == 255).all())
    Image.fromarray(photo[..., :3] if opaque else photo).save(given["photo.png"])
    Image.fromarray(mask.astype(np.uint8) * 255).save(given["mask.png"])
    return ["fill", "photo.png", "--mask", "mask.png", "--out", f"{OUT}/filled.png"], given


def tab(lines: Lines, files: Mapping[str, str]) -> None:
    """The tab's components; `files`: of the examples."""
    gr.Markdown("Choose a photo, then paint over scratches, captions, thin things that should not be there.")
    with gr.Row():
        with gr.Column():
            brush = gr.Brush(default_size=5, colors=["#ff0040"], color_mode="fixed")
            photo = gr.ImageEditor(
                label="Photo", type="numpy", image_mode="RGBA", format="png", sources=["upload", "clipboard"], brush=brush,
                transforms=(), layers=False, height=440, placeholder="Drop a photo here, then paint on it",
            )  # fmt: skip
            button = LineButton("Fill")
            examples([files["photo"]], photo)
        with gr.Column():
            made = whole("Filled (8 bits a channel, without profile and EXIF: the command line keeps them)")
            button.runs(lines, lambda v: asked(lines, v), [photo], made, lambda files, _: str(files[0]), "fill")
