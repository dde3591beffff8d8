"""Large images by overlapping tiles with a blending window; equal to the whole image when the halo is wide enough."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

Box = tuple[int, int, int, int]  # top, left, bottom, right
Paint = Callable[[Box, Box], Tensor]


def spans(length: int, tile: int, blend: int) -> list[tuple[int, int]]:
    """Pieces (start, stop) of at most `tile` that cover 0…length, neighbours sharing `blend`.

    Example:
        >>> spans(10, 6, 2)
        [(0, 6), (4, 10)]
    """
    if not 0 <= 2 * blend <= tile:
        raise ValueError(f"blend must lie in 0…tile / 2 = {tile / 2:g}, got {blend}")
    out = [(0, min(tile, length))]
    while out[-1][1] < length:
        start = out[-1][1] - blend
        out.append((start, min(start + tile, length)))
    return out


def ramp(start: int, stop: int, length: int, blend: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """(stop - start,): 1, rising over the `blend` samples shared with the piece before and falling with the one after.

    The ramps of all pieces of `spans` add up to 1 everywhere.
    """
    out = torch.ones(stop - start, dtype=dtype)
    rise = (torch.arange(blend, dtype=dtype) + 0.5) / max(1, blend)
    if start > 0 and blend:
        out[:blend] *= rise
    if stop < length and blend:
        out[-blend:] *= 1 - rise
    return out


def source_crop(piece: tuple[int, int], scale: float, length: int, halo: int, align: int) -> tuple[int, int]:
    """Source samples that output samples `piece` depend on: start on a multiple of `align`, `halo` more on both sides."""
    start = max(0, int(piece[0] / scale) - halo) // align * align
    stop = min(length, -int(-piece[1] / scale // 1) + halo)
    return start, min(length, -(-stop // align) * align)


def tiled(paint: Paint, source: tuple[int, int], size: tuple[int, int], *, tile: int = 512, halo: int = 32, blend: int = 16,
          align: int = 1) -> Iterator[tuple[int, Tensor]]:  # fmt: skip
    """Bands of a large output, top to bottom, in bounded memory.

    Args:
        paint: (crop, piece) → (B, C, h, w): the output pixels of box `piece`, computed from the source pixels of box `crop`.
        source, size: (height, width) of the source and of the output.
        tile: largest edge of a piece, in output pixels.
        halo: source pixels around what a piece covers. At least the reach of `paint`, and the result is that of one call.
        blend: output pixels that neighbours share, weighted by ramps that add up to 1.
        align: crops start on multiples of this many source pixels.

    Yields:
        (first row, (B, C, rows, width)).
    """
    scale = size[0] / source[0], size[1] / source[1]
    rows, columns = spans(size[0], tile, blend), spans(size[1], tile, blend)
    carry: Tensor | None = None
    for i, (top, bottom) in enumerate(rows):
        band: Tensor | None = None
        first_y, last_y = source_crop((top, bottom), scale[0], source[0], halo, align)
        for left, right in columns:
            first_x, last_x = source_crop((left, right), scale[1], source[1], halo, align)
            value = paint((first_y, first_x, last_y, last_x), (top, left, bottom, right))
            if band is None:
                band = value.new_zeros(*value.shape[:2], bottom - top, size[1])
            window = ramp(top, bottom, size[0], blend, value.dtype)[:, None] * ramp(left, right, size[1], blend, value.dtype)
            band[..., left:right] += value * window.to(value.device)
        assert band is not None
        if carry is not None:
            band[:, :, : carry.shape[2]] += carry
        done = bottom - top if i == len(rows) - 1 else rows[i + 1][0] - top
        carry = band[:, :, done:]
        yield top, band[:, :, :done]
