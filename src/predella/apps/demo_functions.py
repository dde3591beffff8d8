"""The demo's panel of whole networks as answers: faces blended by weights and by pixels; digits as maps of the circle."""

import torch
import torch.nn.functional as F
from torch import Tensor

from predella.apps import trace
from predella.apps.blend import Way, blends
from predella.apps.demo_page import Figure, Panel, Row
from predella.apps.demo_reversible import FACE
from predella.apps.sheet import sheet
from predella.image.files import Picture
from predella.image.resize import fitted
from predella.models.functional_image import FunctionalImage
from predella.models.functional_points import FunctionalPoints
from predella.models.reversible import Reversible
from predella.models.tower import Tower
from predella.nn.hyper import Weights

EDGE, POINTS = 140, 2000
WAYS_OF_FACES: tuple[Way, Way] = ("arc", "pixels")
STEPS = 9  # of a morph
WAYS = ((3, 8), (4, 9))


def functions(photos: dict[str, Tensor]) -> Panel:
    """System 1, one network a picture: a morph of faces in the space of weights, and shapes drawn from a circle."""
    faces = FunctionalImage.from_pretrained("functional_faces_places")
    pair = Picture(photos["astronaut"]).cut(FACE), Picture(nobody())
    by_weights, by_pixels = (blends(faces, *pair, STEPS, [None], how, (EDGE, EDGE))[0] for how in WAYS_OF_FACES)
    model, hand = FunctionalPoints.from_pretrained("functional_digits"), Reversible.from_pretrained("reversible_mnist_ot")
    with torch.no_grad():
        digits = hand.sample(10, torch.Generator().manual_seed(0), label=torch.arange(10)).clamp(-1, 1)
    shapes = [trace.shape_of_picture(digit[None], model, "digit") for digit in digits]
    drawn = torch.cat([_drawn(model, shape, trace.weights_of(model, shape)) for shape in shapes])
    ways = [torch.cat([_drawn(model, shapes[a], w) for w in trace.between(model, shapes[a], shapes[b], 10)]) for a, b in WAYS]
    seen = F.interpolate(digits, (EDGE, EDGE)).expand(-1, 3, -1, -1)
    rows = (
        Row(f"A face and one that nobody has, each one network, asked at {EDGE} by {EDGE} pixels; and what lies between.", (
            Figure("functions-faces", sheet([by_weights, by_pixels]), "above: blended weights; below: blended pixels"),
        )),
        Row("Ten digits of the reversible network, and the closed line of each: the circle, mapped by a network of its own.", (
            Figure("functions-digits", sheet([seen, -drawn]), f"{POINTS:,} points a line, as many as are asked for"),
        )),
        Row("The line between two networks: every point of it is a network, too.", (
            Figure("functions-between", sheet([-w for w in ways]), ", ".join(f"{a} to {b}" for a, b in WAYS)),
        )),
    )  # fmt: skip
    face, shape = (f"{sum(p.numel() for p in m.parameters()):,}" for m in (faces, model))
    text = f"A hypernetwork of {face} parameters turns a face into one small function, one of {shape} a digit into a map of the circle."
    return Panel("Networks as answers", text, rows)


@torch.no_grad()
def nobody(seed: int = 2) -> Tensor:
    """(1, 3, 64, 64): a face that the reversible network drew, as 16 pixels, and as the tower thinks it may be."""
    generator, size = torch.Generator().manual_seed(seed), (64, 64)
    drawn, tower = Reversible.from_pretrained("reversible_faces").sample(1, generator, "mixture"), Tower.from_pretrained("tower_sr16")
    return tower(fitted(drawn.clamp(-1, 1), (4, 4)), tower.draw(1, size, generator), size)[-1].clamp(-1, 1)


def _drawn(model: FunctionalPoints, shape: trace.Shape, weights: Weights) -> Tensor:
    """(1, 3, EDGE, EDGE): the line, white on black."""
    places = shape.places(trace.curve(model, weights, POINTS))
    return trace.drawing(places, shape.size, shape.corner, shape.upward, EDGE).rgb()
