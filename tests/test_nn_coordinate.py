"""Fields and cosine networks against closed forms and autograd."""

import pytest
import torch
import torch.nn.functional as F

from predella.image.coords import grid
from predella.nn.coordinate import CosineMLP, HeatField, fold_normalization, quadratic_basis, quadratic_coefficients, spline_basis


def test_derivatives_of_the_basis_equal_autograd():
    field = HeatField(5, 8.0).double()
    x = torch.randn(4, 2, requires_grad=True)
    for order in [(1, 0), (0, 1), (1, 1), (2, 0)]:
        value = field.basis(x)
        for axis in [0] * order[0] + [1] * order[1]:
            columns = [torch.autograd.grad(value[:, k].sum(), x, create_graph=True)[0][:, axis] for k in range(10)]
            value = torch.stack(columns, 1)
        assert torch.allclose(field.basis(x, order), value, atol=1e-9), order
    x = torch.randn(4, 2, requires_grad=True)
    value = quadratic_basis(x)
    slope = torch.stack([torch.autograd.grad(value[:, k].sum(), x, retain_graph=True)[0][:, 0] for k in range(9)], 1)
    assert torch.allclose(quadratic_basis(x, (1, 0)), slope)


def test_pixels_are_met_exactly_in_mixed_precision():
    image = torch.rand(1, 3, 5, 6, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = quadratic_coefficients(image)
    assert mixed.dtype == torch.float32 and torch.equal(mixed, quadratic_coefficients(image))


def test_decay_solves_the_heat_equation():
    """∂T/∂t = κ ΔT, checked with both sides in closed form and by finite differences in t."""
    field = HeatField(6, 6.0).double()
    x, t, h = torch.randn(3, 2), torch.tensor([0.3, 0.3]), 1e-6
    laplacian = field.basis(x, (2, 0)) + field.basis(x, (0, 2))
    value = lambda time: field.basis(x) * field.decay(time).repeat(2)  # noqa: E731
    slope = (value(t + h) - value(t - h)) / (2 * h)
    assert torch.allclose(slope, field.diffusivity * laplacian * field.decay(t).repeat(2), atol=1e-7)


@pytest.mark.parametrize("sigma", [0.2, 0.7])
def test_decay_by_variance_is_a_gaussian_blur(sigma):
    """E[T(x + σ ξ)], ξ normal, by Gauss–Hermite quadrature."""
    import numpy as np

    field = HeatField(4, 5.0).double()
    nodes, weights = (torch.from_numpy(v) for v in np.polynomial.hermite_e.hermegauss(40))
    shift = torch.stack(torch.meshgrid(nodes, nodes, indexing="ij"), -1).view(-1, 2) * sigma
    mass = (weights[:, None] * weights).flatten() / weights.sum() ** 2
    x = torch.randn(5, 2)
    points = x[:, None] + shift
    blurred = (field.basis(points) * mass[:, None]).sum(1)
    zero = torch.zeros(2)
    assert torch.allclose(blurred, field.basis(x) * field.decay(zero, sigma**2).repeat(2), atol=1e-10)
    blurred = (quadratic_basis(points) * mass[:, None]).sum(1)
    assert torch.allclose(blurred, quadratic_basis(x, variance=(sigma**2, sigma**2)), atol=1e-10)


def test_parabolas_interpolate_the_pixels_and_are_continuous():
    image = torch.randn(1, 2, 5, 6)
    theta = quadratic_coefficients(image)
    at = lambda y, x: torch.einsum("bcphw,p->bchw", theta, quadratic_basis(torch.tensor([y, x])))  # noqa: E731
    assert torch.allclose(at(0.0, 0.0), image)
    for y in (-0.5, -0.1, 0.3, 0.5):  # the right edge of a cell is the left edge of the next
        assert torch.allclose(at(y, 0.5)[..., :-1], at(y, -0.5)[..., 1:])
        assert torch.allclose(at(0.5, y)[:, :, :-1], at(-0.5, y)[:, :, 1:])


def test_cosine_network_is_pointwise():
    """The value at a position doesn't depend on which others are asked for (batch norm would break this)."""
    mlp = CosineMLP(3, (6, 9, 9, 6), 3).double()
    x = torch.randn(1, 50, 3)
    order = torch.randperm(50)
    assert torch.allclose(mlp(x)[:, order], mlp(x[:, order]), atol=1e-14)
    assert torch.allclose(mlp(x)[:, :7], mlp(x[:, :7]), atol=1e-14)
    assert mlp(x).abs().max() < 1
    assert len(mlp.layers) == 5


def test_folded_normalization_is_batch_norm_on_the_grid():
    mlp = CosineMLP(2, (5, 7, 7, 5), 3).double()
    weights = {k: torch.randn(2, *p.shape) for k, p in mlp.named_parameters()}
    points = grid(6, 6, dtype=torch.float64).expand(2, -1, -1)
    folded = fold_normalization(mlp, weights, points)
    from torch.func import functional_call

    for b in range(2):
        own = {k: w[b] for k, w in weights.items()}
        h = points[b]
        for i in range(4):  # the network with real batch norm between
            z = F.linear(h, own[f"layers.{i}.weight"], own[f"layers.{i}.bias"])
            z = F.batch_norm(z, None, None, training=True)
            h = z.cos() + (0 if i == 0 else F.pad(h, (0, z.shape[1] - h.shape[1])))
        out = 2 * F.linear(h, own["layers.4.weight"], own["layers.4.bias"]).sigmoid() - 1
        got = functional_call(mlp, {k: w[b] for k, w in folded.items()}, (points[b],))
        assert torch.allclose(got, out, atol=1e-10)
        some = functional_call(mlp, {k: w[b] for k, w in folded.items()}, (points[b][:5],))
        assert torch.allclose(some, out[:5], atol=1e-10)  # and yet pointwise
    with pytest.raises(ValueError, match="without places"):
        fold_normalization(CosineMLP(2, (5,), 3, places=2), weights, points)


def test_bumps_are_quadratic_splines():
    y = torch.linspace(-1, 1, 61, dtype=torch.float64)
    x = torch.stack(torch.meshgrid(y, y, indexing="ij"), -1).view(-1, 2).requires_grad_(True)
    bumps = spline_basis(x, 4)
    assert bumps.shape == (61 * 61, 16) and bumps.min() >= 0 and (bumps > 0).sum(1).max() == 9
    inside = x.detach().abs().amax(1) <= 0.5  # a cell from the border
    torch.testing.assert_close(bumps[inside].sum(1), torch.ones(int(inside.sum()), dtype=torch.float64))
    centre = (torch.arange(16) // 4 * 0.5 - 0.75, torch.arange(16) % 4 * 0.5 - 0.75)
    own = spline_basis(torch.stack(centre, -1).double(), 4).diagonal()
    torch.testing.assert_close(own, torch.full_like(own, 0.75**2))
    for axis in (0, 1):  # a place's coordinate is found again: ∑ centre · bump = position
        torch.testing.assert_close((bumps[inside] * centre[axis].double()).sum(1), x.detach()[inside][:, axis])
    slope = torch.autograd.grad(bumps[:, 5].sum(), x)[0].view(61, 61, 2)
    assert slope.diff(dim=0).abs().max() < 4 * 4 / 60 and slope.isfinite().all()  # no jump at a knot


def test_places_let_parts_differ():
    mlp = CosineMLP(2, (5, 6), 3, places=3).double()
    assert [tuple(p.weight.shape) for p in mlp.places] == [(5, 9), (6, 9), (3, 9)]
    x = torch.rand(2, 7, 2, dtype=torch.float64) * 2 - 1
    h = (mlp.layers[0](x) + mlp.places[0](spline_basis(x, 3))).cos()
    h = (mlp.layers[1](h) + mlp.places[1](spline_basis(x, 3))).cos() + F.pad(h, (0, 1))
    torch.testing.assert_close(mlp(x), 2 * (mlp.layers[2](h) + mlp.places[2](spline_basis(x, 3))).sigmoid() - 1)
    for places, inputs in ((-1, 2), (2, 3)):
        with pytest.raises(ValueError, match=f"got {places} places of {inputs} coordinates"):
            CosineMLP(inputs, (5,), 3, places=places)
