"""Backpropagation by inversion gives the gradients of plain autograd, in any composition."""

import copy
import gc

import pytest
import torch
import torch.utils.checkpoint
from torch import nn

from predella.nn import bijections as b
from predella.nn.reversible_memory import MemoryFree


def couplings(kind, blocks, channels=4, dtype=torch.float64):
    torch.manual_seed(blocks)
    factor = 2 if kind is b.AffineCoupling else 1
    half = channels // 2
    net = lambda: b.ConvNet(half, 6, factor * half, final=0.3)  # noqa: E731
    return b.Chain(*[kind(net(), net()) for _ in range(blocks)]).to(dtype)


def everything():
    """A chain with each kind of part, some nested, and one block used twice."""
    torch.manual_seed(1)
    net = lambda c, out=None: b.ConvNet(c, 5, out)  # noqa: E731
    twice = b.AffineCoupling(net(4, 8), net(4, 8))
    inner = b.Chain(b.Squeeze(), b.AdditiveCoupling(net(8), net(8)), b.ActNorm(16), b.Inverse(b.Squeeze()))
    return b.Chain(
        b.MaskedCoupling(net(2, 4), "checkerboard"), b.Squeeze(), twice, b.ActNorm(8), b.AdditiveCoupling(net(4), net(4)),
        b.Split(inner), twice, b.Inverse(b.AffineCoupling(net(4, 8), net(4, 8))),
    ).double()  # fmt: skip


def gradients(map_, x, inverse):
    """Of a loss that uses the value and the ladj, for the input and all parameters."""
    x = x.clone().requires_grad_()
    for p in map_.parameters():
        p.grad = None
    y, ladj = map_.inverse(x) if inverse else map_(x)
    (y.sin().sum() + (ladj * torch.arange(1.0, len(x) + 1, dtype=x.dtype)).sum()).backward()
    return [y.detach(), ladj.detach(), x.grad, *[torch.zeros_like(p) if p.grad is None else p.grad for p in map_.parameters()]]


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("make", [lambda: couplings(b.AdditiveCoupling, 6), lambda: couplings(b.AffineCoupling, 6), everything])
def test_gradients_are_those_of_autograd(make, inverse):
    plain = make()
    x = torch.randn(3, 2, 4, 4, dtype=torch.float64) if len(plain) == 8 else torch.randn(3, 4, 4, 4, dtype=torch.float64)
    x = plain(x)[0].detach() if inverse else x
    for expected, got in zip(gradients(plain, x, inverse), gradients(MemoryFree(plain), x, inverse), strict=True):
        torch.testing.assert_close(got, expected, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("kind", [b.AdditiveCoupling, b.AffineCoupling])
@pytest.mark.parametrize("trained", [False, True])
@pytest.mark.parametrize("inverse", [False, True])
def test_float32_at_sixty_blocks(inverse, trained, kind):
    """Gradients against float64; and the way back to the input, whose error affine couplings multiply at every block."""
    plain = couplings(kind, 60, channels=8, dtype=torch.float32)
    x = torch.randn(4, 8, 8, 8, dtype=torch.float32)
    if trained:  # maximum likelihood of shifted data, some steps
        optimizer = torch.optim.Adam(plain.parameters(), 1e-3)
        for _ in range(20):
            optimizer.zero_grad()
            y, ladj = MemoryFree(plain)(x * 0.5 + 1)
            ((y**2).flatten(1).sum(1) / 2 - ladj).mean().div(x[0].numel()).backward()
            optimizer.step()
    if inverse:
        x = plain(x)[0].detach()
    with torch.no_grad():
        back = plain(plain.inverse(x)[0])[0] if inverse else plain.inverse(plain(x)[0])[0]
    assert (back - x).norm() < (1e-6 if kind is b.AdditiveCoupling else 1e-4) * x.norm()
    reference = copy.deepcopy(plain).double()
    expected, got = gradients(reference, x.double(), inverse), gradients(MemoryFree(plain), x, inverse)
    for e, g in zip(expected, got, strict=True):
        assert (g - e).norm() <= 1e-4 * e.norm() + 1e-12


def living():
    """Floats in tensors that are no parameters."""
    gc.collect()
    tensors = [o for o in gc.get_objects() if type(o) is torch.Tensor and o.device.type == "cpu"]
    return sum({t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}.values()) // 8


@pytest.mark.parametrize("trained_input", [False, True])
def test_nothing_between_the_ends_is_alive(trained_input):
    """After the forward pass and after the backward pass: input and output, whatever the depth."""
    for blocks in (2, 20):
        chain = couplings(b.AdditiveCoupling, blocks)
        for p in chain.parameters():
            p.grad = torch.zeros_like(p)
        x = torch.randn(2, 4, 4, 4, dtype=torch.float64, requires_grad=trained_input)
        before = living()
        y, ladj = MemoryFree(chain)(x)
        assert living() - before <= y.numel() + 2 * ladj.numel() + 8
        y.sum().backward()
        assert living() - before <= y.numel() + trained_input * x.numel() + 2 * ladj.numel() + 8


class Scaled(b.Coupling):
    """a + scale · h with a learned scale: volume-preserving, with a parameter of its own and a constant ladj."""

    def __init__(self, f, g):
        super().__init__(f, g)
        self.scale = nn.Parameter(torch.tensor(0.5))

    def step(self, a, h):
        return a + self.scale * h, torch.zeros(len(a)).to(a)

    def back(self, a, h):
        return a - self.scale * h, torch.zeros(len(a)).to(a)


class Halved(b.AdditiveCoupling):
    """A kind of additive coupling with its own step."""

    def step(self, a, h):
        return a + 0.5 * h, torch.zeros(len(a)).to(a)

    def back(self, a, h):
        return a - 0.5 * h, torch.zeros(len(a)).to(a)


class Doubled(b.Chain):
    """A kind of chain with its own way."""

    def forward(self, x):
        y, ladj = super().forward(x)
        return 2 * y, ladj + y[0].numel() * torch.tensor(2.0).log()

    def inverse(self, y):
        x, ladj = super().inverse(y / 2)
        return x, ladj - x[0].numel() * torch.tensor(2.0).log()


class Turned(b.Bijection):
    """Rows for columns: a view."""

    def forward(self, x):
        return x.transpose(-1, -2), x.new_zeros(len(x))

    inverse = forward


class Half(nn.Module):
    """A network that gives no gradient to its input."""

    def __init__(self):
        super().__init__()
        self.constant = nn.Parameter(torch.randn(2, 1, 1))

    def forward(self, x):
        return self.constant.expand_as(x)


def nets():
    return b.ConvNet(2, 6), b.ConvNet(2, 6)


SHARED = b.ConvNet(2, 6)


@pytest.mark.parametrize(
    "make",
    [
        lambda: b.Chain(Scaled(*nets()), b.AdditiveCoupling(*nets())),
        lambda: b.Chain(Halved(*nets()), Halved(*nets())),
        lambda: b.Chain(b.AdditiveCoupling(*nets()), Doubled(b.AdditiveCoupling(*nets())), b.Inverse(Doubled(Halved(*nets())))),
        lambda: b.Chain(b.AdditiveCoupling(*nets()), b.Split(b.Chain(Turned(), Turned(), Turned())), b.AdditiveCoupling(*nets())),
        lambda: b.Chain(Turned(), b.AdditiveCoupling(*nets()), b.Split(b.Inverse(b.AdditiveCoupling(b.ConvNet(1, 2), b.ConvNet(1, 2))))),
        lambda: b.Chain(b.AdditiveCoupling(SHARED, SHARED), b.AdditiveCoupling(SHARED, nets()[0])),
        lambda: b.Chain(b.AdditiveCoupling(Half(), nets()[0]), b.AdditiveCoupling(nets()[0], Half())),
    ],
    ids=["own-parameter", "own-step", "own-chain", "views-in-a-split", "coupling-in-a-split", "one-net", "constant-net"],
)
@pytest.mark.parametrize("inverse", [False, True])
def test_gradients_of_maps_of_ones_own(make, inverse):
    torch.manual_seed(0)
    plain = make().double()
    x = torch.randn(3, 4, 4, 4, dtype=torch.float64)
    for expected, got in zip(gradients(plain, x, inverse), gradients(MemoryFree(plain), x, inverse), strict=True):
        torch.testing.assert_close(got, expected, atol=1e-10, rtol=1e-10)


def test_gradients_under_checkpoints_and_hooks_on_what_is_saved():
    chain = couplings(b.AffineCoupling, 4)
    x = torch.randn(2, 4, 4, 4, dtype=torch.float64)
    expected = gradients(chain, x, False)
    network = MemoryFree(chain)

    class Checkpointed(b.Bijection):
        def forward(self, x):
            return torch.utils.checkpoint.checkpoint(network, x, use_reentrant=False)

        def parameters(self, recurse=True):
            return network.parameters(recurse)

    for e, g in zip(expected, gradients(Checkpointed(), x, False), strict=True):
        torch.testing.assert_close(g, e, atol=1e-10, rtol=1e-10)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: t.clone(), lambda t: t.clone()):
        for e, g in zip(expected, gradients(network, x, False), strict=True):
            torch.testing.assert_close(g, e, atol=1e-10, rtol=1e-10)


def test_a_hook_on_a_parameter_runs_once():
    chain = couplings(b.AdditiveCoupling, 2)
    calls = []
    for p in chain.parameters():
        p.register_hook(lambda g: calls.append(1) or g * 0.5)
    y, _ = MemoryFree(chain)(torch.randn(2, 4, 4, 4, dtype=torch.float64))
    y.sum().backward()
    assert len(calls) == len(list(chain.parameters()))


def test_functional_call_goes_back_through_the_weights_it_was_called_with():
    chain = couplings(b.AdditiveCoupling, 3)
    weights = {k: (2 * v).detach().requires_grad_() for k, v in chain.named_parameters()}
    results = []
    for network, prefix in ((chain, ""), (MemoryFree(chain), "bijection.")):
        x = torch.full((1, 4, 2, 2), 0.3, dtype=torch.float64, requires_grad=True)
        y, _ = torch.func.functional_call(network, {prefix + k: v for k, v in weights.items()}, x)
        results.append(torch.autograd.grad(y.sin().sum(), [x, *weights.values()]))
    for e, g in zip(*results, strict=True):
        torch.testing.assert_close(g, e, atol=1e-10, rtol=1e-10)


def test_what_is_no_bijection_is_refused():
    for make in (MemoryFree, b.Chain):
        with pytest.raises(ValueError, match="a Conv2d"):
            make(nn.Conv2d(2, 2, 1))


def test_two_backward_passes_over_one_graph():
    chain = couplings(b.AffineCoupling, 3)
    y, _ = MemoryFree(chain)(torch.randn(2, 4, 4, 4, dtype=torch.float64))
    loss = y.sin().sum()
    once = torch.autograd.grad(loss, list(chain.parameters()), retain_graph=True)
    for a, c in zip(once, torch.autograd.grad(loss, list(chain.parameters())), strict=True):
        assert torch.equal(a, c)


def test_frozen_parts_get_no_gradient_and_the_rest_do():
    chain = couplings(b.AdditiveCoupling, 3)
    first = next(iter(chain))
    first.requires_grad_(False)
    y, _ = MemoryFree(chain)(torch.randn(1, 4, 2, 2, dtype=torch.float64))
    y.square().sum().backward()
    assert all(p.grad is None for p in first.parameters())
    assert all(p.grad is not None for m in list(chain)[1:] for p in m.parameters())


def test_accumulated_gradients_are_those_of_the_whole_batch():
    chain = couplings(b.AdditiveCoupling, 3)
    x = torch.randn(4, 4, 2, 2, dtype=torch.float64)
    whole = gradients(chain, x, False)[3:]
    for p in chain.parameters():
        p.grad = None
    for part in x.split(2):
        MemoryFree(chain)(part)[0].sin().sum().backward()
    for e, p in zip(whole, chain.parameters(), strict=True):
        torch.testing.assert_close(p.grad, e, atol=1e-10, rtol=1e-10)


def test_changed_weights_are_noticed():
    chain = couplings(b.AdditiveCoupling, 2)
    y, _ = MemoryFree(chain)(torch.randn(1, 4, 2, 2, dtype=torch.float64))
    with torch.no_grad():
        next(chain.parameters()).add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_mixed_precision_on_the_way_back_is_that_of_the_way_forth():
    chain = couplings(b.AdditiveCoupling, 2, dtype=torch.float32)
    x = torch.randn(2, 4, 4, 4, dtype=torch.float32)
    results = []
    for map_ in (chain, MemoryFree(chain)):
        for p in chain.parameters():
            p.grad = None
        with torch.autocast("cpu", dtype=torch.bfloat16):
            y, _ = map_(x)
        y.sin().sum().backward()
        results.append([y.detach(), *[p.grad for p in chain.parameters()]])
    for e, g in zip(*results, strict=True):
        assert (g - e).norm() <= 1e-6 * e.norm()


def test_a_second_derivative_is_refused():
    x = torch.randn(1, 4, 2, 2, dtype=torch.float64, requires_grad=True)
    y, _ = MemoryFree(couplings(b.AdditiveCoupling, 1))(x)
    (g,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        g.sum().backward()
