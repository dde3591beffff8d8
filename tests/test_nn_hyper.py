"""apply_weights equals the loop over items: values, gradients, double backward; fast path and general path."""

import pytest
import torch
from torch import nn
from torch.func import functional_call

from predella.nn.hyper import apply_weights, interpolate_on_arc, interpolate_weights

B = 3


class Residual(nn.Module):
    """A primary network that is no plain sequence."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(2, 5), nn.Linear(5, 5, bias=False)

    def forward(self, x):
        h = self.a(x).cos()
        return h + self.b(h)


class Scaled(nn.Module):
    """A parameter outside any linear map: the general path."""

    def __init__(self):
        super().__init__()
        self.scale, self.linear = nn.Parameter(torch.ones(2)), nn.Linear(2, 4)

    def forward(self, x):
        return self.linear(x * self.scale)


PRIMARIES = {
    "linear": (lambda: nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 3)), (B, 7, 2)),
    "linear, one row": (lambda: nn.Linear(2, 4), (B, 2)),
    "residual": (Residual, (B, 7, 2)),
    "convolutions": (lambda: nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.LeakyReLU(), nn.Conv2d(4, 2, 3, stride=2)), (B, 2, 6, 5)),
    "groups, dilation": (lambda: nn.Conv2d(4, 6, 3, groups=2, dilation=2, bias=False), (B, 4, 8, 7)),
    "one axis": (lambda: nn.Conv1d(2, 3, 3), (B, 2, 9)),
    "general": (Scaled, (B, 7, 2)),
    "reflected border": (lambda: nn.Conv2d(2, 3, 3, padding=1, padding_mode="reflect"), (B, 2, 6, 5)),
}


def case(name):
    make, shape = PRIMARIES[name]
    primary = make()
    weights = {k: torch.randn(B, *p.shape, requires_grad=True) for k, p in primary.named_parameters()}
    return primary, weights, torch.randn(*shape, requires_grad=True)


def loop(primary, weights, x):
    items = [functional_call(primary, {k: w[b] for k, w in weights.items()}, (x[b : b + 1],)) for b in range(B)]
    return torch.cat(items)


@pytest.mark.parametrize("name", PRIMARIES)
def test_equals_the_loop_in_values_and_two_gradients(name):
    primary, weights, x = case(name)
    leaves = [*weights.values(), x]
    results = []
    for f in (apply_weights, loop):
        y = f(primary, weights, x)
        first = torch.autograd.grad(y.tanh().square().sum(), leaves, create_graph=True)
        penalty = sum(g.square().sum() for g in first)
        results.append([y, *first, *torch.autograd.grad(penalty, leaves)])
    for a, b in zip(*results):
        assert a.shape == b.shape and torch.allclose(a, b, atol=1e-10), name


def test_gradgradcheck_of_both_fast_paths():
    for name in ("linear", "convolutions"):
        primary, weights, x = case(name)
        names = list(weights)

        def f(x, *values, primary=primary, names=names):
            return apply_weights(primary, dict(zip(names, values)), x)

        assert torch.autograd.gradgradcheck(f, (x, *weights.values()), atol=1e-4)


def test_unnamed_parameters_are_shared():
    primary = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    weights = {"1.weight": torch.randn(B, 1, 3), "1.bias": torch.randn(B, 1)}
    x = torch.randn(B, 4, 2)
    assert torch.allclose(apply_weights(primary, weights, x), loop(primary, weights, x))


def test_the_items_do_not_mix():
    primary, weights, x = case("convolutions")
    y = apply_weights(primary, weights, x)
    (grad,) = torch.autograd.grad(y[1].sum(), x)
    assert grad[0].abs().max() == 0 and grad[2].abs().max() == 0 and grad[1].abs().max() > 0


def test_mistakes_are_named():
    primary, weights, x = case("linear")
    with pytest.raises(KeyError, match="no parameter '0.wieght'"):
        apply_weights(primary, {"0.wieght": weights["0.weight"]}, x)
    with pytest.raises(ValueError, match=r"must have shape \('B', 4, 2\)"):
        apply_weights(primary, {**weights, "0.weight": torch.zeros(B, 2, 4)}, x)
    with pytest.raises(ValueError, match="one entry a weight set"):
        apply_weights(primary, weights, x[:2])


def test_interpolation_by_names():
    a, b = {"first": torch.zeros(2, 3), "last": torch.zeros(2, 3)}, {"first": torch.ones(2, 3), "last": torch.ones(2, 3)}
    mixed = interpolate_weights(a, b, 0.25, names=["first"])
    assert mixed["first"].unique().item() == 0.25 and mixed["last"].unique().item() == 0
    with pytest.raises(KeyError, match="'middle'"):
        interpolate_weights(a, b, 0.5, names=["middle"])
    with pytest.raises(KeyError, match="differ"):
        interpolate_weights(a, {"first": b["first"]}, 0.5)


def test_an_arc_keeps_its_distance_from_the_centre():
    generator = torch.Generator().manual_seed(0)
    draw = lambda: {"w": torch.randn(3, 4, 5, generator=generator), "b": torch.randn(3, 4, generator=generator)}  # noqa: E731
    a, b, c = draw(), draw(), {k: v[:1] for k, v in draw().items()}

    def far(x):
        return torch.cat([(x[k] - c[k]).flatten(1) for k in ("w", "b")], 1).norm(dim=1)

    b = {k: c[k] + (b[k] - c[k]) * (far(a) / far(b)).view(-1, *[1] * (b[k].ndim - 1)) for k in b}  # as far as a
    for t in (0.0, 0.3, torch.tensor([0.2, 0.5, 1.0])):
        x = interpolate_on_arc(a, b, t, c)
        torch.testing.assert_close(far(x), far(a))
        u, v, w = (torch.cat([(y[k] - c[k]).flatten(1) for k in ("w", "b")], 1) for y in (a, x, b))
        angle = lambda p, q: torch.acos((p * q).sum(1) / (p.norm(dim=1) * q.norm(dim=1)).clamp(min=1e-9))  # noqa: E731
        torch.testing.assert_close(angle(u, v).nan_to_num(), (t * angle(u, w)).nan_to_num(), atol=1e-6, rtol=1e-6)  # at one pace
    twin = interpolate_on_arc(a, a, 0.5, c)
    assert all(torch.allclose(twin[k], a[k], atol=1e-6) for k in a)
    for angle in (170.0, 180.0):  # lengths 1 and 2: no detour, wherever they point
        turn = torch.tensor([angle]).double().deg2rad()
        u, v = {"w": torch.tensor([[1.0, 0.0]])}, {"w": 2 * torch.stack([turn.cos(), turn.sin()], 1)}
        zero = {"w": torch.zeros(1, 2)}
        ways = torch.cat([interpolate_on_arc(u, v, t, zero)["w"] for t in torch.linspace(0, 1, 11).tolist()]).norm(dim=1)
        assert ways.max() < 2 + 1e-5 and (angle == 180 or (ways - torch.linspace(1, 2, 11)).abs().max() < 1e-5)
    still = {"w": torch.ones(1, 2).bfloat16().requires_grad_()}
    interpolate_on_arc(still, still, 0.5, {"w": torch.ones(1, 2).bfloat16()})["w"].sum().backward()
    assert still["w"].grad.isfinite().all()
    part = interpolate_on_arc(a, b, 0.5, c, ["b"])
    assert torch.equal(part["w"], a["w"]) and not torch.equal(part["b"], a["b"])
    with pytest.raises(KeyError, match="'middle'"):
        interpolate_on_arc(a, b, 0.5, c, ["middle"])
