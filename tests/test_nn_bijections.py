"""Every invertible map passes the same seven assertions; a new map is one line in MAPS."""

import pytest
import torch
from torch import nn

from predella.nn import bijections as b
from predella.nn.reversible_memory import MemoryFree


def net(channels, out=None, kernel=3):
    return b.ConvNet(channels, 5, out, kernel)


def chain():
    return b.Chain(
        b.Squeeze(), b.ActNorm(8), b.AdditiveCoupling(net(4), net(4)), b.AffineCoupling(net(4, 8), net(4, 8)),
        b.Split(b.Chain(b.Squeeze(), b.AdditiveCoupling(net(8), net(8)), b.Inverse(b.Squeeze()))),
        b.Squeeze(streams=2), b.AdditiveCoupling(net(16, kernel=1), net(16, kernel=1)),
    )  # fmt: skip


MAPS = {  # name → (map, input shape without the batch, output shape)
    "squeeze": (lambda: b.Squeeze(), (3, 4, 2), (12, 2, 1)),
    "squeeze of two streams": (lambda: b.Squeeze(streams=2), (4, 2, 4), (16, 1, 2)),
    "inverse": (lambda: b.Inverse(b.Squeeze()), (8, 1, 2), (2, 2, 4)),
    "additive": (lambda: b.AdditiveCoupling(net(2), net(2)), (4, 2, 3), (4, 2, 3)),
    "affine": (lambda: b.AffineCoupling(net(2, 4), net(2, 4)), (4, 2, 3), (4, 2, 3)),
    "affine on vectors": (lambda: b.AffineCoupling(nn.Linear(2, 4), nn.Linear(2, 4)), (4,), (4,)),
    "checkerboard": (lambda: b.MaskedCoupling(net(2, 4), "checkerboard"), (2, 3, 2), (2, 3, 2)),
    "checkerboard, swapped": (lambda: b.MaskedCoupling(net(2, 4), "checkerboard", swap=True), (2, 3, 2), (2, 3, 2)),
    "channels": (lambda: b.MaskedCoupling(net(3, 6), "channels"), (3, 2, 2), (3, 2, 2)),
    "split": (lambda: b.Split(b.AffineCoupling(net(1, 2), net(1, 2))), (4, 2, 2), (4, 2, 2)),
    "actnorm": (lambda: b.ActNorm(3), (3, 2, 2), (3, 2, 2)),
    "chain": (chain, (2, 4, 4), (32, 1, 1)),
    "memory-free chain": (lambda: MemoryFree(chain()), (2, 4, 4), (32, 1, 1)),
}


@pytest.fixture(params=MAPS)
def case(request):
    build, shape, out = MAPS[request.param]
    torch.manual_seed(0)
    bijection = build().double()
    for p in bijection.parameters():  # far from the identity, and no symmetric start
        nn.init.normal_(p, std=0.25)
    return bijection, torch.randn(3, *shape, dtype=torch.float64), out


def jacobian(function, x):
    """(B, D, D) of one item's output with respect to the same item's input."""
    rows = []
    for i in range(len(x)):
        one = torch.autograd.functional.jacobian(lambda v: function(v[None])[0].flatten(), x[i])
        rows.append(one.reshape(-1, x[i].numel()))
    return torch.stack(rows)


def test_shape(case):
    bijection, x, out = case
    y, ladj = bijection(x)
    assert y.shape == (3, *out) and ladj.shape == (3,) and ladj.dtype == x.dtype


def test_inverse(case):
    bijection, x, _ = case
    y, _ = bijection(x)
    torch.testing.assert_close(bijection.inverse(y)[0], x, atol=1e-10, rtol=0)
    torch.testing.assert_close(bijection(bijection.inverse(y)[0])[0], y, atol=1e-10, rtol=1e-10)


def test_items_do_not_mix(case):
    bijection, x, _ = case
    changed = torch.cat([x[:1], torch.randn_like(x[1:])])
    torch.testing.assert_close(bijection(changed)[0][0], bijection(x)[0][0], atol=1e-12, rtol=1e-12)


def test_ladj_is_that_of_the_jacobian(case):
    bijection, x, _ = case
    torch.testing.assert_close(bijection(x)[1], torch.linalg.slogdet(jacobian(bijection, x))[1], atol=1e-9, rtol=1e-9)


def test_a_batch_is_its_items(case):
    bijection, x, _ = case
    y, ladj = bijection(x)
    for i in range(len(x)):
        one, single = bijection(x[i : i + 1])
        torch.testing.assert_close(one[0], y[i], atol=1e-12, rtol=1e-12)
        torch.testing.assert_close(single[0], ladj[i], atol=1e-12, rtol=1e-12)


def test_inverse_jacobian(case):
    bijection, x, _ = case
    y = bijection(x)[0].detach()
    product = jacobian(bijection.inverse, y) @ jacobian(bijection, x)
    torch.testing.assert_close(product, torch.eye(product.shape[-1], dtype=x.dtype).expand_as(product), atol=1e-8, rtol=0)


def test_inverse_ladj(case):
    bijection, x, _ = case
    y, ladj = bijection(x)
    torch.testing.assert_close(bijection.inverse(y)[1], -ladj, atol=1e-9, rtol=1e-9)


def test_both_halves_of_a_squeeze_cover_the_image():
    x = torch.arange(64.0).view(1, 1, 8, 8)
    y = b.Squeeze(streams=2)(b.Squeeze()(x)[0])[0]  # the paper's first two subsamplings
    first, second = (h.flatten().long() for h in b.halves(y))
    rows, columns = first // 8, first % 8
    assert ((rows + columns) % 2 == 0).all() and len(first) == 32  # one colour of the checkerboard, whole
    assert sorted([*first.tolist(), *second.tolist()]) == list(range(64))


def test_actnorm_starts_from_the_data():
    chain = b.Chain(b.Squeeze(), b.ActNorm(4)).double()
    x = torch.randn(20, 1, 4, 4, dtype=torch.float64) * 3 + 2
    y = chain.initialize(x)
    torch.testing.assert_close(y, chain(x)[0])
    torch.testing.assert_close(y.mean((0, 2, 3)), torch.zeros(4, dtype=torch.float64), atol=1e-12, rtol=0)
    torch.testing.assert_close(y.std((0, 2, 3)), torch.ones(4, dtype=torch.float64))


def test_actnorm_takes_no_items():
    y, ladj = b.ActNorm(2)(torch.zeros(0, 2, 3, 3))
    assert y.shape == (0, 2, 3, 3) and ladj.shape == (0,)


def test_an_affine_step_is_bounded():
    coupling = b.AffineCoupling(nn.Identity(), nn.Identity(), bound=1.5)
    _, ladj = coupling.step(torch.zeros(1, 2), torch.full((1, 4), 1e6))
    assert ladj.item() == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: b.Squeeze()(torch.zeros(1, 1, 3, 4)), "even H and W"),
        (lambda: b.Squeeze().inverse(torch.zeros(1, 6, 2, 2)), "divisible by 4"),
        (lambda: b.Squeeze(streams=2)(torch.zeros(1, 3, 2, 2)), "divisible by 2"),
        (lambda: b.AdditiveCoupling(net(1), net(1))(torch.zeros(1, 3, 2, 2)), "even number of channels"),
        (lambda: b.AdditiveCoupling(nn.BatchNorm2d(2), net(2)), "BatchNorm2d"),
        (lambda: b.AdditiveCoupling(net(2), nn.Sequential(net(2), nn.Dropout())), "Dropout"),
        (lambda: b.AdditiveCoupling(net(2), nn.utils.parametrizations.spectral_norm(nn.Conv2d(2, 2, 1))), "SpectralNorm"),
        (lambda: b.AdditiveCoupling(net(2), nn.utils.spectral_norm(nn.Conv2d(2, 2, 1))), "SpectralNorm"),
        (lambda: b.AdditiveCoupling(net(2), nn.Sequential(net(2), nn.RReLU())), "RReLU"),
        (lambda: b.AdditiveCoupling(nn.MultiheadAttention(2, 1, dropout=0.5), net(2)), "MultiheadAttention"),
        (lambda: b.AdditiveCoupling(nn.LSTM(2, 2, 2, dropout=0.5), net(2)), "LSTM"),
        (lambda: b.AffineCoupling(net(2), net(2))(torch.zeros(1, 4, 2, 2)), r"must give \(1, 4, 2, 2\) for \(1, 2, 2, 2\)"),
        (lambda: b.AffineCoupling(net(2), net(2)).inverse(torch.zeros(1, 4, 2, 2)), "must give"),
        (lambda: b.MaskedCoupling(net(4), "channels")(torch.zeros(1, 4, 2, 2)), "must give"),
        (lambda: b.AdditiveCoupling(nn.AdaptiveAvgPool2d(1), net(2))(torch.zeros(1, 4, 2, 2)), "must give"),
        (lambda: b.AdditiveCoupling(nn.Sequential(nn.ReLU(inplace=True), net(2)), net(2))(torch.zeros(1, 4, 2, 2)), "inplace=False"),
        (lambda: b.MaskedCoupling(net(2, 4), "stripes"), "mask must be"),
        (lambda: b.MaskedCoupling(nn.BatchNorm2d(2), "channels"), "BatchNorm2d"),
        (lambda: b.Inverse(b.ActNorm(2)).initialize(torch.zeros(2, 2, 1, 1)), "put it outside"),
        (lambda: b.AffineCoupling(net(2, 4), net(2, 4), bound=0), "bound must be positive"),
        (lambda: b.Split(b.Squeeze())(torch.zeros(1, 2, 2, 2)), "keep the shape"),
        (lambda: b.ActNorm(3)(torch.zeros(1, 2, 2, 2)), "3 channels"),
        (lambda: b.ActNorm(2).initialize(torch.zeros(1, 2, 1, 1)), "at least 2 values"),
    ],
)
def test_wrong_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()
