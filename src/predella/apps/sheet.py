"""Many pictures on one: contact sheets."""

import torch
import torch.nn.functional as F
from torch import Tensor


def sheet(rows: list[Tensor] | Tensor, gap: int = 2, zoom: int = 1) -> Tensor:
    """Rows of pictures (N, C, H, W) each, of one size → (1, C, …, …) with `gap` white pixels between them.

    Args:
        zoom: each pixel of a picture becomes zoom × zoom.
    """
    rows = [r.repeat_interleave(zoom, -2).repeat_interleave(zoom, -1) for r in rows]
    columns = max(len(r) for r in rows)
    channels, height, width = rows[0].shape[1:]
    out = torch.ones(1, channels, len(rows) * (height + gap) - gap, columns * (width + gap) - gap)
    for i, row in enumerate(rows):
        for j, picture in enumerate(row):
            top, left = i * (height + gap), j * (width + gap)
            out[0, :, top : top + height, left : left + width] = picture.clamp(-1, 1)
    return out


def near_square(pictures: Tensor) -> list[Tensor]:
    """(N, C, H, W) cut into rows so that the sheet is about as wide as high."""
    columns = max(1, round(len(pictures) ** 0.5 * (pictures.shape[-2] / pictures.shape[-1]) ** 0.5))
    return list(pictures.split(columns))


def framed(pictures: list[Tensor], columns: int) -> list[Tensor]:
    """(1, C, H, W) each, of any sizes → rows of `columns` for a sheet; smaller ones stand at the top left of white."""
    height, width = max(p.shape[-2] for p in pictures), max(p.shape[-1] for p in pictures)
    same = [F.pad(p, (0, width - p.shape[-1], 0, height - p.shape[-2]), value=1.0) for p in pictures]
    return list(torch.cat(same).split(columns))
