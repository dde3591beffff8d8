"""The demo's panel of internal learning: variations of a photo, other sizes, a way between two photos, a harmonised paste.

The model has seen none of the photos: each generator is one forward pass; beside it stands the same after a few steps of tuning.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from predella.apps import internal
from predella.apps.demo_page import Figure, Panel, Row
from predella.apps.sheet import sheet
from predella.models.meta_internal import MetaInternal

TUNED = 60  # steps
PASTE = (200, 80, 400, 280)  # of the flower: left, top, right, bottom


def internal_learning(photos: dict[str, Tensor]) -> Panel:
    """System 4: a generator for every picture."""
    model = MetaInternal.from_pretrained("meta_internal_photos")
    view, unlike, other = (internal.at_home(model, photos[name], name) for name in ("china", "coffee", "flower"))
    generator = torch.Generator().manual_seed(0)
    first, second = ((x.shape[-2], x.shape[-1]) for x in (view, unlike))
    own, far = (internal.weights_of(model, x) for x in (view, unlike))
    drawn, near = internal.tuned(model, own, view, TUNED, generator), internal.tuned(model, far, unlike, TUNED, generator)
    varied, closer = (list(internal.variations(model, weights, first, 4, generator)) for weights in (own, drawn))
    wide, near_wide = (next(internal.variations(model, weights, (first[0], 2 * first[1]), 1, generator)) for weights in (own, drawn))
    untuned, tuned = (list(internal.variations(model, weights, second, n, generator)) for weights, n in ((far, 1), (near, 3)))
    between = internal.between(model, view, other, 6, 2, seed=0)
    pasted, mask = paste(photos["china"], photos["flower"])
    growth = internal.GROWTH["harmonize"]
    whole, tuned_whole = (
        internal.made_own(model, weights, photos["china"], pasted, mask, 3, growth, generator, "the photo")[0] for weights in (own, drawn)
    )
    rows = (
        Row("A photo the model has never seen, and new ones of its patches, by one forward pass.", (
            Figure("internal-photo", _twice(view), f"the photo, {first[1]}×{first[0]}"),
            *(Figure(f"internal-{i}", _twice(x), "one forward pass") for i, x in enumerate(varied, 1)),
            Figure("internal-wide", _twice(wide), "twice as wide"),
        )),
        Row(f"The same generator after {TUNED} steps of tuning.", (
            Figure("internal-photo-again", _twice(view), "the photo"),
            *(Figure(f"internal-near-{i}", _twice(x), f"after {TUNED} steps") for i, x in enumerate(closer, 1)),
            Figure("internal-near-wide", _twice(near_wide), "twice as wide"),
        )),
        Row("A thing on a table: textures know no things.", (
            Figure("internal-unlike", _twice(unlike), "the photo"),
            *(Figure("internal-untuned", _twice(x), "one forward pass") for x in untuned),
            *(Figure(f"internal-tuned-{i}", _twice(x), f"after {TUNED} steps of tuning") for i, x in enumerate(tuned, 1)),
        )),
        Row("From one photo's generator to the other's, one forward pass each; the layout stays.", (
            Figure("internal-between", _twice(sheet([between])), "left: all of the first; right: the second's texture"),
        )),
        Row("A paste made of the photo's own patches, by the same model.", (
            Figure("internal-pasted", pasted, "pasted"),
            Figure("internal-whole", whole, "harmonised, by one forward pass"),
            Figure("internal-near-whole", tuned_whole, f"harmonised, after {TUNED} steps"),
        )),
    )  # fmt: skip
    count = sum(p.numel() for p in model.parameters())
    return Panel("Internal learning", f"A hypernetwork of {count:,} parameters turns a photo into its own generator of patches.", rows)


def paste(photo: Tensor, from_: Tensor) -> tuple[Tensor, Tensor]:
    """A piece of another photo, an ellipse, in the middle of this one; and the mask of where it is."""
    left, top, right, bottom = PASTE
    piece = from_[..., top:bottom, left:right]
    y, x = torch.meshgrid(torch.linspace(-1, 1, bottom - top), torch.linspace(-1, 1, right - left), indexing="ij")
    y0, x0 = (photo.shape[-2] - (bottom - top)) // 2, (photo.shape[-1] - (right - left)) // 2
    mask = photo.new_zeros(1, 1, *photo.shape[-2:])
    mask[..., y0 : y0 + bottom - top, x0 : x0 + right - left] = (x.square() + y.square() <= 1).to(photo)
    laid = photo.clone()
    laid[..., y0 : y0 + bottom - top, x0 : x0 + right - left] = piece
    return torch.lerp(photo, laid, mask), mask


def _twice(x: Tensor) -> Tensor:
    return F.interpolate(x.clamp(-1, 1), scale_factor=2)
