"""Fill the holes of a photo with a functional image (Klocek et al. 2019, abstract), by tiles in bounded memory."""

import torch
from torch import Tensor

from predella.apps.device import device_of
from predella.errors import UserError
from predella.image.files import Picture
from predella.image.tiles import Box, tiled
from predella.models.functional_image import FunctionalImage

# The encoder reaches far (its `radius`), but what lies beyond this many pixels moves a filled value by less than 0.001 of a level.
HALO = 64


def read_mask(mask: Picture, size: tuple[int, int]) -> Tensor:
    """(1, 1, H, W): 1 where the picture is known, 0 in holes. White (or opaque) parts of the mask file are the holes.

    Raises:
        UserError: another size than the picture, no hole, or nothing but holes.
    """
    if mask.size != size:
        raise UserError(f"the mask is {mask.size[1]}×{mask.size[0]}, the image {size[1]}×{size[0]}; make them one size")
    bright = mask.pixels.mean(1, keepdim=True)
    if mask.alpha is not None and float(bright.max() - bright.min()) < 1e-3:
        bright = mask.alpha  # a mask painted on transparency
    between = float((bright.abs() < 0.87).float().mean())
    if between > 0.05:
        raise UserError(
            f"{between:.0%} of the mask is neither black nor white, as soft edges are; paint the place white (255) and the rest black (0)"
        )
    known = (bright < 0).float()
    if float(known.min()) == 1:
        raise UserError("the mask is empty: paint the place white (128 or more of 255), the rest black")
    if float(known.max()) == 0:
        raise UserError("the mask leaves nothing of the image: paint only the place white, the rest black")
    return known


def fill(picture: Picture, known: Tensor, model: FunctionalImage, tile: int = 384) -> Picture:
    """The picture with holes filled, and opaque there; known pixels are exactly its own.

    Args:
        known: (1, 1, H, W), 1 = known; see `read_mask`.
        model: with a mask, such as `predella.load("functional_fill")`.

    Raises:
        UserError: a model that was not trained to fill.
    """
    if not model.config.mask:
        raise UserError("this model does not fill holes; use functional_fill, or train that recipe")
    image, size = picture.rgb(), picture.size
    device = device_of(model)

    def paint(crop: Box, piece: Box) -> Tensor:
        top, left, bottom, right = crop
        part, mask = (x[:, :, top:bottom, left:right] for x in (image, known))
        rows, columns = (slice(piece[a] - crop[a], piece[a + 2] - crop[a]) for a in (0, 1))
        if float(mask[:, :, rows, columns].min()) == 1:
            return part[:, :, rows, columns]  # no hole here
        with torch.inference_mode():
            return model(part.to(device), (bottom - top, right - left), mask.to(device)).cpu()[:, :, rows, columns]

    halo = min(HALO, model.radius)
    answer = torch.cat([b for _, b in tiled(paint, size, size, tile=tile, halo=halo, blend=16, align=4)], 2).clamp(-1, 1)
    if picture.pixels.shape[1] == 1:
        answer = answer.mean(1, keepdim=True)
    alpha = None if picture.alpha is None else torch.where(known > 0, picture.alpha, 1.0)
    return picture.with_pixels(torch.where(known > 0, picture.pixels, answer), alpha)
