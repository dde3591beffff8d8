"""Heads of hypernetworks: an embedding (B, E), or one at each place, → the weights of a primary network, one projection a tensor.

Convolutions use their weights divided by the root of their fan-in (`scaled`), so heads give numbers of unit size (Littwin et al. 2020).
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from predella.nn.hyper import Weights

Shapes = Mapping[str, torch.Size]
FAST = 10.0  # weights that are no sum over an embedding are stored so much smaller, to be as quick under one learning rate as those
OWN = 0.3  # how far from what all share an item's weights begin: small, for a sum over an embedding is quicker than its terms


class PatchNetwork(nn.Sequential):
    """Convolutions 3×3 without padding: an output sees `layers` pixels to each side and depends on nothing else.

    Args:
        width: channels between.
        slope: of the leaky ReLUs.
        squash: end with tanh.
    """

    def __init__(self, channels: int, width: int, out: int, layers: int = 5, slope: float = 0.02, squash: bool = True):
        wide = [channels, *[width] * (layers - 1), out]
        modules: list[nn.Module] = []
        for a, b in zip(wide, wide[1:]):
            modules += [nn.Conv2d(a, b, 3), nn.LeakyReLU(slope)]
        modules[-1:] = [nn.Tanh()] if squash else []
        super().__init__(*modules)
        self.radius, self.slope, self.squash = layers, slope, squash

    def shapes(self) -> dict[str, torch.Size]:
        """Of its parameters, by name."""
        return {k: p.shape for k, p in self.named_parameters()}

    def scaled(self, weights: Weights) -> Weights:
        """Weights of unit size as they are used: a kernel · gain / √(9 · channels), a bias / √channels."""
        out, last = {}, f"{2 * (self.radius - 1)}."
        between = math.sqrt(2 / (1 + self.slope**2))
        for name, w in weights.items():
            if name.endswith("bias"):
                out[name] = w / math.sqrt(weights[name.replace("bias", "weight")].shape[2])
            else:
                gain = between if not name.startswith(last) else 5 / 3 if self.squash else 1.0
                out[name] = w * (gain / math.sqrt(w[0, 0].numel()))
        return out


class DenseHeads(nn.ModuleDict):
    """One linear layer a tensor: every number of it is a sum over the whole embedding (Ha et al. 2016)."""

    def __init__(self, embedding: int, shapes: Shapes):
        super().__init__({k.replace(".", "_"): nn.Linear(embedding, shape.numel()) for k, shape in shapes.items()})
        self.shapes = dict(shapes)
        for head in self.values():
            assert isinstance(head, nn.Linear)
            nn.init.kaiming_normal_(head.weight, nonlinearity="linear")
            nn.init.zeros_(head.bias)

    def forward(self, e: Tensor) -> Weights:
        return {k: self[k.replace(".", "_")](e).view(len(e), *shape) for k, shape in self.shapes.items()}


class PlaceHeads(nn.Module):
    """A code at each of g × g places → what layers get of bumps at those places, by the same linear map everywhere.

    Args:
        channels: numbers a place.
        shapes: name → how many outputs the layer has.
    """

    def __init__(self, channels: int, shapes: Mapping[str, int]):
        super().__init__()
        self.shapes = dict(shapes)
        self.head = nn.Conv2d(channels, sum(shapes.values()), 1)
        nn.init.kaiming_normal_(self.head.weight, nonlinearity="linear")
        assert self.head.bias is not None
        nn.init.zeros_(self.head.bias)

    def forward(self, maps: Tensor) -> Weights:
        """(B, channels, g, g) → name → (B, out, g²), row by row."""
        return dict(zip(self.shapes, self.head(maps).flatten(2).split(list(self.shapes.values()), 1)))


class EqualLinear(nn.Linear):
    """A linear layer whose stored weights are of unit size and divided by `fan` ** 0.5 at use, so that Adam moves any width alike
    (Karras et al. 2018, Sec. 4.1)."""

    def __init__(self, inputs: int, outputs: int, fan: int):
        super().__init__(inputs, outputs)
        self.fan = fan
        nn.init.normal_(self.weight)
        nn.init.zeros_(self.bias)

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input / math.sqrt(self.fan))


class LowRankHead(nn.Module):
    """(B, E) → (B, out, …): a matrix for all + an item's own factor (out × rank) times shared rows (rank × …).

    Of unit size in all, as convolutions need it: a network that is 1.4 times as large in every layer saturates its tanh at once.
    """

    def __init__(self, embedding: int, shape: torch.Size, rank: int):
        super().__init__()
        self.shape, columns = shape, math.prod(shape[1:])
        rank = min(rank, columns)
        self.base = nn.Parameter(torch.randn(shape) / FAST)
        self.rows = nn.Parameter(torch.randn(rank, columns) / FAST)
        self.factor = EqualLinear(embedding, shape[0] * rank, embedding * rank)

    def forward(self, e: Tensor) -> Tensor:
        own = self.factor(e).view(len(e), self.shape[0], -1) @ self.rows
        return FAST * (math.sqrt(1 - OWN**2) * self.base + OWN * own.view(len(e), *self.shape))


class LowRankHeads(nn.ModuleDict):
    """Kernels by `LowRankHead`, biases by linear layers: 0.72 million numbers a scale (128 of an embedding, rank 16)
    where dense heads of the paper's 512 take 58.6 million."""

    def __init__(self, embedding: int, shapes: Shapes, rank: int):
        heads: dict[str, nn.Module] = {}
        for name, shape in shapes.items():
            bias = len(shape) == 1
            fan = round(embedding * (FAST / OWN) ** 2)
            heads[name.replace(".", "_")] = EqualLinear(embedding, shape.numel(), fan) if bias else LowRankHead(embedding, shape, rank)
        super().__init__(heads)
        self.names = list(shapes)

    def forward(self, e: Tensor) -> Weights:
        heads = {k: self[k.replace(".", "_")] for k in self.names}
        return {k: FAST * head(e) if isinstance(head, EqualLinear) else head(e) for k, head in heads.items()}


class Table(nn.Module):
    """Ordinary weights, the same for every item; of what it is given only the number of items counts."""

    def __init__(self, shapes: Shapes):
        first = {k: torch.zeros(shape) if len(shape) == 1 else torch.randn(shape) / FAST for k, shape in shapes.items()}
        super().__init__()
        self.own = nn.ParameterDict({k.replace(".", "_"): nn.Parameter(v) for k, v in first.items()})
        self.names = list(shapes)

    def forward(self, items: Tensor) -> Weights:
        own = {k: self.own[k.replace(".", "_")] for k in self.names}
        return {k: (FAST * w).expand(len(items), *w.shape) for k, w in own.items()}
