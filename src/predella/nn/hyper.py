"""Networks that take their weights as an argument, one weight set an item (Ha et al. 2016).

A *hypernetwork* outputs `Weights`; a *primary* network uses them through `apply_weights`.
"""

from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.overrides import TorchFunctionMode

Weights = dict[str, Tensor]  # parameter name → (B, *shape), one weight set an item
CONV = {torch.conv1d: 1, torch.conv2d: 2, torch.conv3d: 3, F.conv1d: 1, F.conv2d: 2, F.conv3d: 3}


class HyperNetwork(nn.Module):
    """Abstract: an input (B, …) → one weight set an item."""

    def forward(self, x: Tensor) -> Weights:  # pragma: no cover - abstract
        raise NotImplementedError(f"{type(self).__name__} must define forward(x) -> Weights")


def apply_weights(primary: nn.Module, weights: Weights, *inputs: Tensor) -> Tensor:
    """Run `primary` on B items at once, item b with weight set b.

    When every parameter in `weights` belongs to a linear layer or a convolution, all items run in one call a layer
    (`baddbmm`, grouped convolution); other primaries run under `vmap`. Both are differentiable twice.

    Args:
        primary: any module; parameters that `weights` does not name are shared by all items.
        weights: parameter name → (B, *shape).
        inputs: (B, …) each: (B, N, C) or (B, C) for linear layers, (B, C, H, W) for 2-D convolutions.

    Raises:
        KeyError: a name that is no parameter of `primary`.
        ValueError: a weight whose shape is not (B, *parameter shape), or inputs of another B.

    Example:
        >>> primary = nn.Linear(2, 3)
        >>> apply_weights(primary, {"weight": torch.zeros(5, 3, 2), "bias": torch.ones(5, 3)}, torch.rand(5, 7, 2)).shape
        torch.Size([5, 7, 3])
    """
    batch = _check(primary, weights, inputs)
    if _only_linear_maps(primary, weights):
        with _PerItem(weights.values(), batch):
            return functional_call(primary, weights, inputs)
    own = {name: p for name, p in primary.named_parameters() if name not in weights}

    def one(w: Weights, *x: Tensor) -> Tensor:
        return functional_call(primary, {**own, **w}, tuple(v[None] for v in x))[0]

    return vmap(one, in_dims=(0,) * (1 + len(inputs)), randomness="different")(weights, *inputs)


def interpolate_weights(a: Weights, b: Weights, t: float | Tensor, names: Iterable[str] | None = None) -> Weights:
    """(1 - t) · a + t · b for the tensors in `names` (default: all); the others stay as in `a`.

    Args:
        t: a number, or one (B,) an item.

    Raises:
        KeyError: if the two don't hold the same names, or `names` has an unknown one.
    """
    chosen = _chosen(a, b, names)
    return {k: torch.lerp(a[k], b[k], _by_item(t, a[k])) if k in chosen else a[k] for k in a}


def interpolate_on_arc(a: Weights, b: Weights, t: float | Tensor, centre: Weights, names: Iterable[str] | None = None) -> Weights:
    """c + r(t) [sin((1 - t) Ω) û + sin(t Ω) v̂] / sin Ω for the tensors in `names`, together one vector an item.

    û and v̂ are the directions from the centre c to a and b, Ω is the angle between them (Shoemake 1985), r goes from a's distance to
    b's. Between two draws of one distribution with mean c the line comes nearer to c than draws do, by √½ in the middle; the arc does
    not (White 2016). Where a and b lie in one direction, or in opposite ones, it is the line.

    Args:
        t: a number, or one (B,) an item.
        centre: c, of one item or of B.

    Raises:
        KeyError: see `interpolate_weights`.
    """
    chosen = sorted(_chosen(a, b, names))
    if not chosen:
        return dict(a)
    u, v = ({k: w[k] - centre[k] for k in chosen} for w in (a, b))

    def product(p: Weights, q: Weights) -> Tensor:
        exact = torch.promote_types(p[chosen[0]].dtype, torch.float32)
        return torch.stack([(p[k].to(exact) * q[k].to(exact)).flatten(1).sum(1) for k in chosen]).sum(0)

    far = [product(w, w).clamp(min=1e-20).sqrt() for w in (u, v)]
    angle = torch.acos((product(u, v) / (far[0] * far[1])).clamp(-1 + 1e-6, 1 - 1e-6))
    straight = angle.sin() < 1e-2  # there the arc is the line, or could go anywhere
    ways = torch.stack(torch.broadcast_tensors(1 - torch.as_tensor(t).to(angle), torch.as_tensor(t).to(angle)))
    reach = ways[0] * far[0] + ways[1] * far[1]
    shares = [torch.where(straight, s, reach / f * (s * angle).sin() / angle.sin()) for s, f in zip(ways, far)]
    return {k: centre[k] + _by_item(shares[0], u[k]) * u[k] + _by_item(shares[1], v[k]) * v[k] if k in chosen else a[k] for k in a}


def first_layers(weights: Weights, count: int) -> list[str]:
    """The names `layers.i.…` and `places.i.…` of the first `count` layers."""
    return [name for name in weights if name.startswith(("layers.", "places.")) and int(name.split(".")[1]) < count]


def _chosen(a: Weights, b: Weights, names: Iterable[str] | None) -> set[str]:
    if a.keys() != b.keys():
        raise KeyError(f"weights differ in names: {sorted(a.keys() ^ b.keys())}")
    chosen = set(a if names is None else names)
    if unknown := chosen - a.keys():
        raise KeyError(f"no weights called {sorted(unknown)}; known: {sorted(a)}")
    return chosen


def _by_item(t: float | Tensor, like: Tensor) -> float | Tensor:
    """A number as it is, (B,) → (B, 1, …)."""
    return t.view(-1, *[1] * (like.ndim - 1)).to(like) if isinstance(t, Tensor) else t


def _check(primary: nn.Module, weights: Weights, inputs: tuple[Tensor, ...]) -> int:
    parameters = dict(primary.named_parameters())
    batch = len(next(iter(weights.values()))) if weights else len(inputs[0])
    for name, w in weights.items():
        if name not in parameters:
            raise KeyError(f"{type(primary).__name__} has no parameter '{name}'; known: {sorted(parameters)}")
        if tuple(w.shape) != (batch, *parameters[name].shape):
            expected = ("B", *parameters[name].shape)
            raise ValueError(f"weights['{name}'] must have shape {expected} with B = {batch}, got {tuple(w.shape)}")
    for x in inputs:
        if len(x) != batch:
            raise ValueError(f"inputs must have one entry a weight set: {batch} weight sets, inputs of shape {tuple(x.shape)}")
    return batch


def _only_linear_maps(primary: nn.Module, weights: Weights) -> bool:
    kinds = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
    good = {f"{m}.{p}".lstrip(".") for m, layer in primary.named_modules() if type(layer) in kinds
            and getattr(layer, "padding_mode", "zeros") == "zeros" for p, _ in layer.named_parameters()}  # fmt: skip
    if not weights.keys() <= good:
        return False
    # a layer must have all of its parameters given or none: the batched call needs both weight and bias per item
    owners = {name.rpartition(".")[0] for name in weights}
    return all(f"{o}.{p}".lstrip(".") in weights for o in owners for p, _ in primary.get_submodule(o).named_parameters())


class _PerItem(TorchFunctionMode):
    """While active, linear maps whose weight is one of `weights` (B, *shape) act item by item, in one call."""

    def __init__(self, weights: Iterable[Tensor], batch: int):
        super().__init__()
        self.known = {id(w) for w in weights}
        self.batch = batch

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        linear = func is F.linear or func is torch._C._nn.linear
        if linear or func in CONV:
            given: list[Any] = [*args, *(None,) * (3 - len(args))]
            x, weight, bias = given[0], kwargs.get("weight", given[1]), kwargs.get("bias", given[2])
            if id(weight) in self.known:
                if linear:
                    return _linear(x, weight, bias)
                names = ("stride", "padding", "dilation", "groups")
                options = {**dict(zip(names, given[3:])), **{k: v for k, v in kwargs.items() if k in names}}
                return _conv(func, x, weight, bias, self.batch, **options)
        return func(*args, **kwargs)


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """(B, …, in) with weight (B, out, in) → (B, …, out)."""
    flat = x.reshape(len(x), -1, x.shape[-1])
    if bias is None:
        out = torch.bmm(flat, weight.transpose(1, 2))
    else:
        out = torch.baddbmm(bias.unsqueeze(1), flat, weight.transpose(1, 2))
    return out.view(*x.shape[:-1], -1)


def _conv(func, x: Tensor, weight: Tensor, bias: Tensor | None, batch: int, groups: int = 1, **options) -> Tensor:
    """(B, C, *size) with weight (B, out, C / groups, *kernel): one convolution of B · groups groups."""
    out = func(
        x.reshape(1, -1, *x.shape[2:]), weight.flatten(0, 1), None if bias is None else bias.flatten(),
        groups=batch * groups, **options,
    )  # fmt: skip
    return out.view(batch, -1, *out.shape[2:])
