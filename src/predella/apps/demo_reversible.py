"""The demo's panel of reversible networks: exact and restricted reconstruction, interpolation, traversals, samples, digits."""

import torch
import torch.nn.functional as F
from torch import Tensor

from predella.apps.demo_page import Figure, Panel, Row
from predella.apps.sheet import sheet
from predella.image.fit import fit_square
from predella.models.reversible import Reversible

FACE = (134, 9, 314, 189)  # of the astronaut: left, top, right, bottom, framed as the faces of CelebA
WALKS = (0, 1, 2, 3)  # dimensions


def reversible_networks(photos: dict[str, Tensor]) -> Panel:
    """System 3: one network, exactly both ways."""
    model = Reversible.from_pretrained("reversible_faces")
    digits = Reversible.from_pretrained("reversible_mnist_ot")
    face = fit_square(photos["astronaut"], model.config.size, FACE)
    with torch.no_grad():
        z = model.encode(face)
        full, kept = model.decode(z), model(face)
        other = model.sample(1, torch.Generator().manual_seed(1), "mixture")
        between, walks = model.interpolate(face, other, 10), model.traverse(face, list(WALKS), steps=10)
        samples = model.sample(50, torch.Generator().manual_seed(0), "mixture")
        drawn = digits.sample(50, torch.Generator().manual_seed(0)).expand(-1, 3, -1, -1)
    error = (full - face).abs().mean().item() / 2
    first = (
        Figure("reversible-face", _large(face), f"a face, {face.shape[-1]}×{face.shape[-2]}"),
        Figure("reversible-full", _large(full), f"decoded from all {z.numel():,} numbers, error {error:.0e}"),
        Figure("reversible-kept", _large(kept), f"decoded from the prior's {len(model.kept)}"),
    )
    rows = (
        Row("Encoded, and decoded by the same network run backwards.", first),
        Row("Answers: on the way to a face that nobody has; along single dimensions; drawn from the mixture.", (
            Figure("reversible-ways", _wide([between, *walks]), f"to another face; {len(WALKS)} dimensions from -3 to +3 deviations"),
            Figure("reversible-samples", _wide(list(samples.split(10))), "faces, from a mixture fitted to the codes"),
            Figure("reversible-digits", _wide(list(drawn.split(10))), "digits, from one Gaussian a class, without adversary"),
        )),
    )  # fmt: skip
    count = sum(p.numel() for p in model.parameters())
    text = f"An invertible network of {count:,} parameters is the encoder; run backwards it is the decoder, exact to rounding."
    return Panel("Reversible networks", text, rows)


def _large(x: Tensor) -> Tensor:
    return F.interpolate(x.clamp(-1, 1), scale_factor=8)


def _wide(rows: list[Tensor]) -> Tensor:
    return F.interpolate(sheet(rows, gap=1), scale_factor=3)
