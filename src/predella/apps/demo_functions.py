"""The demo's panel of networks as answers: digits as maps of the circle, and the ways between two of them."""

import torch
import torch.nn.functional as F
from torch import Tensor

from predella.apps import trace
from predella.apps.demo_page import Figure, Panel, Row
from predella.apps.sheet import sheet
from predella.models.functional_points import FunctionalPoints
from predella.models.reversible import Reversible
from predella.nn.hyper import Weights

EDGE, POINTS = 140, 2000
WAYS = ((3, 8), (4, 9))


def functions(photos: dict[str, Tensor]) -> Panel:
    """System 1, whole networks: shapes from a circle."""
    del photos
    model, hand = FunctionalPoints.from_pretrained("functional_digits"), Reversible.from_pretrained("reversible_mnist_ot")
    with torch.no_grad():
        digits = hand.sample(10, torch.Generator().manual_seed(0), label=torch.arange(10)).clamp(-1, 1)
    shapes = [trace.shape_of_picture(digit[None], model, "digit") for digit in digits]
    drawn = torch.cat([_drawn(model, shape, trace.weights_of(model, shape)) for shape in shapes])
    ways = [
        torch.cat([_drawn(model, shapes[a], w) for w in trace.between(model, shapes[a], shapes[b], 10)]) for a, b in WAYS
    ]
    seen = F.interpolate(digits, (EDGE, EDGE)).expand(-1, 3, -1, -1)
    rows = (
        Row("Ten digits of the reversible network, and the closed line of each: the circle, mapped by a network of its own.", (
            Figure("functions-digits", sheet([seen, -drawn]), f"{POINTS:,} points a line, as many as are asked for"),
        )),
        Row("The line between two networks: every number of it is a network.", (
            Figure("functions-between", sheet([-w for w in ways]), ", ".join(f"{a} to {b}" for a, b in WAYS)),
        )),
    )  # fmt: skip
    count = sum(p.numel() for p in model.parameters())
    return Panel("Networks as answers", f"A hypernetwork of {count:,} parameters turns a shape into a small network that draws it.", rows)


def _drawn(model: FunctionalPoints, shape: trace.Shape, weights: Weights) -> Tensor:
    """(1, 3, EDGE, EDGE): the line, white on black."""
    places = shape.places(trace.curve(model, weights, POINTS))
    return trace.drawing(places, shape.size, shape.corner, shape.upward, EDGE).rgb()
