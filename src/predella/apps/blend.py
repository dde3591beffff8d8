"""Images between two images, as functions: blended weights, layer by layer, or pixels."""

from typing import Literal

import torch
from torch import Tensor

from predella.apps.device import device_of
from predella.errors import UserError
from predella.image.files import Picture
from predella.image.fit import fit_square
from predella.models.functional_image import FunctionalImage
from predella.models.functional_whole import WholeNetworks, WholePaint

LARGEST = 200_000_000  # pixels of all pictures, which are in memory at once

Way = Literal["arc", "line", "pixels"]


@torch.no_grad()
def blends(model: FunctionalImage, a: Picture, b: Picture, steps: int, layers: list[int | None], way: Way = "arc",
           size: tuple[int, int] | None = None) -> list[Tensor]:  # fmt: skip
    """One row (steps, 3, H, W) for each of `layers`: from the function of a's central square to that of b's, ends included.

    Args:
        layers: how many of the first layers go over; None = all.
        way: of the weights, on an "arc" around the mean of all images or on the "line"; or "pixels" of the rendered pictures.
        size: (H, W), default the model's own.

    Raises:
        UserError: more than LARGEST pixels in all, or an arc around a mean that the model does not know.
    """
    field, paint = model.config.field, model.paint
    assert isinstance(field, WholeNetworks) and isinstance(paint, WholePaint)
    size = size or (field.edge, field.edge)
    if (total := len(layers) * steps * size[0] * size[1]) > LARGEST:
        raise UserError(
            f"{total:,} pixels in all are more than the {LARGEST:,} that can be made at once; ask for a smaller size or fewer steps"
        )
    try:
        if way == "arc":
            paint.centre()  # says so if there is none
        seen = [fit_square(p.on_white(), field.edge).to(device_of(model)) for p in (a, b)]
    except ValueError as error:
        raise UserError(str(error)) from None
    first, last = (model.weights(x) for x in seen)
    rows = []
    for count in layers:
        t = torch.linspace(0, 1, steps)
        if way == "pixels":
            ends = [model.render(w, size).clamp(-1, 1).cpu() for w in (first, last)]
            rows.append(torch.lerp(ends[0], ends[1], t.view(-1, 1, 1, 1)))
        else:
            between = (model.between(first, last, v, count, way) for v in t.tolist())
            rows.append(torch.cat([model.render(w, size).clamp(-1, 1).cpu() for w in between]))
    return rows
