"""What a demo shows, and how it becomes one page and one picture."""

import html
from dataclasses import dataclass

import torch
from torch import Tensor

from predella.image.contract import from_uint8


@dataclass(frozen=True)
class Figure:
    """One picture of a panel: (1, 3, H, W) in [-1, 1], with its caption."""

    name: str
    image: Tensor
    caption: str


@dataclass(frozen=True)
class Row:
    """Figures side by side under a sentence."""

    text: str
    figures: tuple[Figure, ...]


@dataclass(frozen=True)
class Panel:
    """What one system shows."""

    title: str
    text: str
    rows: tuple[Row, ...]


def overview(panels: list[Panel], width: int = 1240) -> Tensor:
    """All rows with their captions as one picture (1, 3, H, W)."""
    import numpy as np
    from PIL import Image, ImageDraw, ImageFont

    font, pad = ImageFont.load_default(size=15), 12
    blocks = []
    for panel in panels:
        for row in panel.rows:
            each = (width - pad * (len(row.figures) + 1)) // len(row.figures)
            tall = max(round(each * f.image.shape[-2] / f.image.shape[-1]) for f in row.figures)
            block = Image.new("RGB", (width, tall + 64), "white")
            draw = ImageDraw.Draw(block)
            draw.text((pad, 6), row.text.replace("×", "x"), "black", font)  # the font has no ×
            for k, f in enumerate(row.figures):
                array = ((f.image[0].clamp(-1, 1) + 1) * 127.5).round().permute(1, 2, 0).byte().numpy()
                left = pad + k * (each + pad)
                block.paste(
                    Image.fromarray(array).resize((each, round(each * array.shape[0] / array.shape[1])), Image.Resampling.BICUBIC),
                    (left, 30),
                )
                draw.text((left, tall + 36), f.caption.replace("×", "x"), "#333333", font)
            blocks.append(np.asarray(block))
    return from_uint8(torch.from_numpy(np.concatenate(blocks)).permute(2, 0, 1)[None])


STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; margin: auto; max-width: 1240px; padding: 2rem 1.5rem 4rem; }
h1, h2 { font-weight: 600; margin: 0 0 .25rem; } h2 { margin-top: 2.5rem; } p { margin: .25rem 0 1rem; max-width: 48rem; }
.row { display: grid; grid-template-columns: repeat(auto-fit, minmax(220px, 1fr)); gap: 12px; margin-bottom: 1.5rem; }
figure { margin: 0; } img { width: 100%; height: auto; display: block; border-radius: 4px; }
figcaption { font-size: .9rem; opacity: .8; margin-top: .25rem; }
"""


def page(panels: list[Panel]) -> str:
    """The HTML page; it loads nothing from elsewhere."""
    parts = [f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
             f"<title>predella</title><style>{STYLE}</style><h1>predella</h1>"
             "<p>From one picture, a row of others. Made on this machine, by shipped weights, without a connection.</p>"]  # fmt: skip
    for panel in panels:
        parts.append(f"<section><h2>{html.escape(panel.title)}</h2><p>{html.escape(panel.text)}</p>")
        for row in panel.rows:
            parts.append(f'<p>{html.escape(row.text)}</p><div class="row">')
            for f in row.figures:
                caption = html.escape(f.caption)
                picture = f'<a href="{f.name}.png"><img src="{f.name}.png" alt="{caption}"></a>'
                parts.append(f"<figure>{picture}<figcaption>{caption}</figcaption></figure>")
            parts.append("</div>")
        parts.append("</section>")
    return "\n".join(parts) + "\n</html>\n"
