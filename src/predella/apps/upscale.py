"""Enlarge photos to any size with a functional image (Klocek et al. 2019, Sec. 3.2), by tiles in bounded memory."""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from predella.apps.device import device_of, free_memory
from predella.errors import UserError
from predella.image.coords import Region
from predella.image.files import Picture, to_array
from predella.image.resize import resize
from predella.image.tiles import Box, tiled
from predella.models.functional_image import CellPaint, FunctionalImage

MAX_SCALE = 64.0


def target_size(size: tuple[int, int], scale: tuple[float, float] | None, wanted: tuple[int, int] | None,
                larger: bool = True) -> tuple[int, int]:  # fmt: skip
    """(H, W) of the output for an input of `size` = (h, w); `scale` is (vertical, horizontal), `wanted` is (H, W).

    Args:
        larger: no edge may shrink.

    Raises:
        UserError: a scale that is not a number in [1, 64] (without `larger` from 1/64 on), or both or neither given.
    """
    least = 1 if larger else 1 / MAX_SCALE
    if (scale is None) == (wanted is None):
        raise UserError("give --scale or --size, one of the two")
    if wanted is None:
        assert scale is not None
        for s in scale:
            if not (math.isfinite(s) and least <= s <= MAX_SCALE):
                why = "; this verb enlarges" if larger else ""
                raise UserError(f"scale must be a number from {least:g} to {MAX_SCALE:g}, got {s:g}{why}")
        return max(1, round(size[0] * scale[0])), max(1, round(size[1] * scale[1]))
    for name, new, old in (("height", wanted[0], size[0]), ("width", wanted[1], size[1])):
        low = math.ceil(old * least)
        if not low <= new <= old * MAX_SCALE:
            of = " (the input's)" if larger else ""
            raise UserError(f"{name} must be from {low}{of} to {int(old * MAX_SCALE)} (×{MAX_SCALE:g}), got {new}")
    return wanted


def check_memory(size: tuple[int, int], channels: int, bits: int) -> None:
    """Refuse an output that does not fit.

    Raises:
        UserError: naming the memory needed and available.
    """
    need = size[0] * size[1] * (channels * (bits // 8) * 2.5 + (12 if channels in (2, 4) else 0))  # array, encoder's copies, alpha
    need += 5e8 * min(1.0, size[0] * size[1] / 512**2)  # one tile's work
    have = free_memory(torch.device("cpu"))
    if need > have:
        raise UserError(f"{size[1]}×{size[0]} pixels need {need / 1e9:.1f} GB of memory, {have / 1e9:.1f} GB are free; ask for less")


def enlarge_bands(model: FunctionalImage, image: Tensor, size: tuple[int, int], *, tile: int = 512, self_ensemble: bool = False):
    """(first row, (1, 3, rows, W)) of `image` (1, 3, h, w) in [-1, 1] enlarged to `size`, band by band.

    The tiles' halo is the model's reach, so the result is that of one call, to rounding.
    """
    h, w = image.shape[-2:]
    if self_ensemble and not isinstance(model.paint, CellPaint):
        raise UserError("--ensemble is for models with cell fields; patches of a rotated picture stand elsewhere")
    device = device_of(model)
    align = math.lcm(4, getattr(getattr(model.paint, "grain", None), "stride", 1))

    def paint(crop: Box, piece: Box) -> Tensor:
        top, left, bottom, right = crop
        part, region = image[:, :, top:bottom, left:right].to(device), _region(crop, piece, size, (h, w))
        to = piece[2] - piece[0], piece[3] - piece[1]
        total = torch.zeros((), device=device)
        with torch.inference_mode():
            for turn in range(4 if self_ensemble else 1):
                value = model.render(model.weights(torch.rot90(part, turn, (2, 3))), to, region)
                total = total + torch.rot90(value, -turn, (2, 3))
                region, to = (-region[3], region[0], -region[1], region[2]), (to[1], to[0])  # a quarter turn
        return (total / 4 if self_ensemble else total).cpu()

    yield from tiled(paint, (h, w), size, tile=tile, halo=model.radius, blend=0, align=align)


def _region(crop: Box, piece: Box, size: tuple[int, int], source: tuple[int, int]) -> Region:
    """The box `piece` of the output as a region of the crop's own coordinates, [-1, 1]²."""
    out = []
    for axis in (0, 1):
        low, high = crop[axis], crop[axis + 2]
        out.append([2 * (piece[axis + side] * source[axis] / size[axis] - low) / (high - low) - 1 for side in (0, 2)])
    return out[0][0], out[1][0], out[0][1], out[1][1]


def visible_colours(picture: Picture) -> Tensor:
    """(1, 3, h, w): fully transparent pixels take the colour of the nearest visible one, so that hidden colour can't leak."""
    image = picture.rgb()
    if picture.alpha is None or not bool((picture.alpha > -1).any()):
        return image
    from scipy.ndimage import distance_transform_edt

    y, x = distance_transform_edt(picture.alpha[0, 0].numpy() <= -1, return_distances=False, return_indices=True)
    return image[:, :, torch.from_numpy(y).long(), torch.from_numpy(x).long()]


def upscale(picture: Picture, model: FunctionalImage, *, scale: float | tuple[float, float] | None = None,
            size: tuple[int, int] | None = None, self_ensemble: bool = False) -> Picture:  # fmt: skip
    """A larger picture (of a model with one network an image: of any size); transparency, profile and bit depth are carried along.

    Args:
        scale: one number, or (vertical, horizontal), from 1 to 64 (one network an image: from 1/64); may be fractional.
        size: (height, width) instead of a scale.
        self_ensemble: mean over the four rotations: four times the work, a little better.

    Raises:
        UserError: a scale or size out of range, or too little memory.
    """
    pair = (scale, scale) if isinstance(scale, int | float) else scale
    out = target_size(picture.size, pair, size, model.enlarges_only)
    check_memory(out, 4 * picture.pixels.shape[1], 8)
    if out == picture.size and model.enlarges_only:
        return picture
    bands = [b for _, b in enlarge_bands(model, visible_colours(picture), out, self_ensemble=self_ensemble)]
    pixels = torch.cat(bands, 2).clamp(-1, 1)
    if picture.pixels.shape[1] == 1:
        pixels = pixels.mean(1, keepdim=True)
    return picture.with_pixels(pixels, None if picture.alpha is None else resize(picture.alpha, out).clamp(-1, 1))


def upscale_array(picture: Picture, model: FunctionalImage, size: tuple[int, int], bits: int, *, self_ensemble: bool = False,
                  progress: Callable[[float], None] | None = None) -> np.ndarray:  # fmt: skip
    """(H, W, C) uint8 or uint16 of `picture` enlarged to `size` = (H, W): the low-memory way for very large outputs."""
    channels = picture.pixels.shape[1] + (picture.alpha is not None)
    check_memory(size, channels, bits)
    out = np.empty((*size, channels), np.uint16 if bits == 16 else np.uint8)
    alpha = None if picture.alpha is None else resize(picture.alpha, size)
    colours = visible_colours(picture)
    whole = (
        [(0, colours)] if size == picture.size and model.enlarges_only else enlarge_bands(model, colours, size, self_ensemble=self_ensemble)
    )
    for top, band in whole:
        rows = slice(top, top + band.shape[2])
        if picture.pixels.shape[1] == 1:
            band = band.mean(1, keepdim=True)
        if alpha is not None:
            band = torch.cat([band, alpha[:, :, rows]], 1)
        out[rows] = to_array(band, bits)
        if progress is not None:
            progress((top + band.shape[2]) / size[0])
    return out
