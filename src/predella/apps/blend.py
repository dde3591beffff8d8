"""Images between two images, as functions: blended weights, layer by layer, or pixels."""

import torch
from torch import Tensor

from predella.apps.device import device_of
from predella.errors import UserError
from predella.image.files import Picture
from predella.image.fit import Box, fit_square
from predella.models.functional_image import FunctionalImage
from predella.models.functional_whole import WholeNetworks


@torch.no_grad()
def blends(model: FunctionalImage, a: Picture, b: Picture, steps: int, layers: list[int | None], pixels: bool = False,
           size: tuple[int, int] | None = None, boxes: tuple[Box | None, Box | None] = (None, None)) -> list[Tensor]:  # fmt: skip
    """One row (steps, 3, H, W) for each of `layers`: from a's function to b's, ends included.

    Args:
        layers: how many of the first layers go over; None = all.
        pixels: blend the rendered pictures instead of the weights.
        size: (H, W), default the model's own.
        boxes: cut from a and b first.
    """
    field = model.config.field
    assert isinstance(field, WholeNetworks)
    size = size or (field.edge, field.edge)
    try:
        seen = [fit_square(p.rgb(), field.edge, box).to(device_of(model)) for p, box in zip((a, b), boxes)]
    except ValueError as error:
        raise UserError(str(error)) from None
    first, last = (model.weights(x) for x in seen)
    rows = []
    for count in layers:
        t = torch.linspace(0, 1, steps)
        if pixels:
            ends = [model.render(w, size).clamp(-1, 1).cpu() for w in (first, last)]
            rows.append(torch.lerp(ends[0], ends[1], t.view(-1, 1, 1, 1)))
        else:
            rows.append(torch.cat([model.render(model.between(first, last, v, count), size).clamp(-1, 1).cpu() for v in t.tolist()]))
    return rows
