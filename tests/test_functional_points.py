"""Point sets: the cross-entropy against its definition, the hypernetwork, and runs by the command line."""

import math

import pytest
import torch
from torch.distributions import MultivariateNormal, Normal

from predella.losses import transport
from predella.losses.transport import gaussian_mmd, kernel_cross_entropy
from predella.metrics.points import gaussian_cross_entropy, measure
from predella.models.base import load
from predella.models.functional_points import FunctionalPoints, FunctionalPointsConfig, bright_points, framed, pixel_points, resampled
from predella.objectives import functional_points as objectives
from predella.objectives.functional_points import FunctionalPointsObjectiveConfig
from predella.tasks.base import Batch

TOY = FunctionalPointsConfig(grid=8, width=4, embedding=16, target=(8, 8))


def test_cross_entropy_is_its_definition():
    torch.manual_seed(0)
    samples, points, shares = torch.randn(2, 5, 2), torch.randn(2, 7, 2), torch.rand(2, 7)
    shares = shares / shares.sum(1, keepdim=True)
    for b, got in enumerate(kernel_cross_entropy(samples, points, shares, 0.3)):
        kernels = [MultivariateNormal(m, 0.09 * torch.eye(2)) for m in samples[b]]
        density = torch.stack([k.log_prob(points[b]).exp() for k in kernels]).mean(0)
        torch.testing.assert_close(got, -(shares[b] * density.log()).sum())
    line = kernel_cross_entropy(samples[..., :1], points[..., :1], shares, 0.3)
    one = Normal(samples[0, :, 0][:, None], 0.3).log_prob(points[0, :, 0][None]).exp().mean(0)
    torch.testing.assert_close(line[0], -(shares[0] * one.log()).sum())


def test_chunks_change_neither_value_nor_gradient(monkeypatch):
    torch.manual_seed(0)
    samples, points, shares = torch.randn(2, 6, 2, requires_grad=True), torch.randn(2, 9, 2), torch.full((2, 9), 1 / 9)
    values, gradients = [], []
    for pairs in (2**20, 25):
        monkeypatch.setattr(transport, "PAIRS", pairs)
        value = kernel_cross_entropy(samples, points, shares, 0.4)
        values.append(value.detach())
        gradients.append(torch.autograd.grad(value.sum(), samples)[0])
    torch.testing.assert_close(values[0], values[1])
    torch.testing.assert_close(gradients[0], gradients[1])
    monkeypatch.setattr(transport, "PAIRS", 25)
    everything = [t.detach().requires_grad_() for t in (samples, points, shares)]
    assert torch.autograd.gradcheck(lambda *inputs: kernel_cross_entropy(*inputs, 0.4), everything)
    assert torch.autograd.gradcheck(lambda p: kernel_cross_entropy(samples.detach(), p, shares, 0.4), everything[1])


def test_cross_entropy_keeps_its_precision():
    """Under autocast, of half-precision samples, and far from the origin, the value and the gradient are those of float64."""
    torch.manual_seed(0)
    samples, points, shares = torch.rand(2, 40, 2) - 0.5, torch.rand(2, 30, 2) - 0.5, torch.full((2, 30), 1 / 30)

    def found(samples, points, shares):
        samples = samples.detach().clone().requires_grad_()
        value = kernel_cross_entropy(samples, points, shares, 0.05)
        return value.detach().double(), torch.autograd.grad(value.sum(), samples)[0].double()

    single = [t.float() for t in (samples, points, shares)]
    with torch.autocast("cpu", torch.bfloat16):
        under = found(*single)
    half = found(single[0].bfloat16(), *single[1:])
    exact, rough = found(*(t.double() for t in single)), found(single[0].bfloat16().double(), *(t.double() for t in single[1:]))
    for got, wanted, tolerance in ((under, exact, 1e-4), (half, rough, 1e-2)):
        torch.testing.assert_close(got[0], wanted[0], rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(got[1], wanted[1], rtol=0, atol=tolerance * wanted[1].abs().max().item())
    moved = (single[0] + 1024).float(), (single[1] + 1024).float(), single[2]
    far = found(*(t.double() for t in moved))
    torch.testing.assert_close(found(*moved)[1], far[1], rtol=0, atol=1e-3 * far[1].abs().max().item())


def test_cross_entropy_has_first_derivatives_only():
    samples = torch.randn(1, 3, 2, requires_grad=True)
    value = kernel_cross_entropy(samples, torch.randn(1, 4, 2), torch.full((1, 4), 0.25), 0.5)
    with pytest.raises(RuntimeError, match="first derivatives only"):
        torch.autograd.grad(value.sum(), samples, create_graph=True)
    with pytest.raises(ValueError, match="at least 1 are needed"):
        kernel_cross_entropy(torch.zeros(1, 0, 2), torch.zeros(1, 4, 2), torch.full((1, 4), 0.25), 0.5)


def test_far_points_cost_no_precision():
    samples, points = torch.zeros(1, 3, 2), torch.full((1, 1, 2), 5.0)
    got = kernel_cross_entropy(samples, points, torch.ones(1, 1), 0.05).item()
    assert got == pytest.approx(50 / (2 * 0.0025) + math.log(2 * math.pi * 0.0025))


def test_discrepancy_equals_its_closed_form_on_gaussians():
    """Two isotropic Gaussians in the plane: E k = h² / (h² + a² + b²) · exp(-‖μ - ν‖² / 2(h² + a² + b²))."""
    generator = torch.Generator().manual_seed(0)
    a, b, shift, h = 0.5, 0.8, 0.6, 0.7
    x = a * torch.randn(6000, 2, generator=generator)
    y = torch.tensor([shift, 0.0]) + b * torch.randn(6000, 2, generator=generator)

    def expected(p, q, off):
        total = h * h + p * p + q * q
        return h * h / total * math.exp(-off * off / (2 * total))

    truth = expected(a, a, 0) + expected(b, b, 0) - 2 * expected(a, b, shift)
    assert gaussian_mmd(x, y, (h,)).item() == pytest.approx(truth, abs=4e-3) and truth > 0.05
    assert gaussian_mmd(x, x.flip(0)[:3000] * 1.0, (h, 2 * h)).abs() < 0.01


def test_a_gaussians_own_cross_entropy():
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(1, 5000, 2, generator=generator) * torch.tensor([0.3, 0.6])
    truth = math.log(2 * math.pi * math.e * 0.3 * 0.6)
    assert gaussian_cross_entropy(points, torch.full((1, 5000), 1 / 5000)).item() == pytest.approx(truth, abs=0.05)


def test_a_gaussian_of_points_on_a_line():
    points = torch.tensor([[[-1.0, 0.0], [1.0, 0.0]]])
    narrow = MultivariateNormal(torch.zeros(2), torch.diag(torch.tensor([1.0 + 1e-6, 1e-6])))
    found = gaussian_cross_entropy(points, torch.full((1, 2), 0.5)).item()
    assert found == pytest.approx(-narrow.log_prob(points[0]).mean().item(), abs=1e-5)


@pytest.mark.parametrize("loss", ["cross_entropy", "mmd"])
def test_two_processes_see_what_one_would(loss):
    torch.manual_seed(0)
    images = torch.rand(4, 1, 8, 8) * 2 - 1
    objective = FunctionalPointsObjectiveConfig(loss=loss, samples=32).build(FunctionalPoints(TOY))
    whole = objective.losses(Batch(images, seed=3))[loss]
    shares = [objective.losses(Batch(images.chunk(2)[i], seed=3, part=(i, 2)))[loss] for i in (0, 1)]
    torch.testing.assert_close(sum(shares) / 2, whole)


def test_black_pixels_have_no_part_in_the_cross_entropy():
    torch.manual_seed(0)
    images = torch.rand(3, 1, 6, 6) * 2 - 1
    images[0, 0, :4], images[1, 0, :, 2:] = -1.0, -1.0
    images[2, 0, :2] = -1.0
    points, shares = bright_points(images)
    assert shares.shape == (3, 24) and points.shape == (3, 24, 2)
    made = torch.rand(3, 20, 2) * 2 - 1
    torch.testing.assert_close(kernel_cross_entropy(made, points, shares, 0.1), kernel_cross_entropy(made, *pixel_points(images), 0.1))


def test_draws_of_a_picture_fall_where_it_is_bright():
    torch.manual_seed(0)
    image = torch.full((1, 1, 8, 8), -1.0)
    image[0, 0, 2, 5], image[0, 0, 6, 1] = 1.0, 0.0  # two pixels, one half as bright
    seen = []
    objective = FunctionalPointsObjectiveConfig(loss="mmd", samples=600).build(FunctionalPoints(TOY))
    original = objectives.gaussian_mmd
    objectives.gaussian_mmd = lambda a, b, bandwidths: seen.append(b) or original(a, b, bandwidths)
    try:
        objective.losses(Batch(image, seed=1))
    finally:
        objectives.gaussian_mmd = original
    cells = ((seen[0] + 1) * 4).floor().long()
    places = {tuple(c) for c in cells.tolist()}
    assert places == {(2, 5), (6, 1)} and 0.6 < (cells[:, 0] == 2).double().mean() < 0.73


def test_a_set_is_seen_whatever_the_order_of_its_points():
    torch.manual_seed(0)
    model = FunctionalPoints(TOY)
    points = torch.rand(1, 50, 2) * 2 - 1
    seen = model.see(points)
    torch.testing.assert_close(model.see(points[:, torch.randperm(50)]), seen)
    torch.testing.assert_close(seen.sum(), torch.tensor(50.0))
    theta, again = model.weights(seen), model.weights(7 * seen)  # shares count, not numbers
    for name in theta:
        torch.testing.assert_close(theta[name], again[name])
    image = torch.rand(1, 1, 8, 8) * 2 - 1
    places, shares = pixel_points(image)
    torch.testing.assert_close(model.see(places, shares)[0, 0], (image[0, 0] + 1) / (image[0, 0] + 1).sum())


def test_the_number_of_points_is_free_and_the_curve_is_closed():
    torch.manual_seed(0)
    model = FunctionalPoints(TOY)
    theta = model.weights(torch.rand(2, 1, 8, 8))
    few, many = model.query(theta, model.circle(10)), model.query(theta, model.circle(1000))
    torch.testing.assert_close(many[:, ::100], few)
    assert (many[:, 0] - many[:, -1]).norm(dim=1).max() < 3 * many.diff(dim=1).norm(dim=2).max()
    assert many.shape == (2, 1000, 2) and many.abs().max() < 1
    drawn = model.circle(500, torch.Generator().manual_seed(0))
    torch.testing.assert_close(drawn.norm(dim=1), torch.ones(500))
    assert drawn.mean(0).norm() < 0.15


def test_points_of_any_units_are_framed():
    points = torch.tensor([[100.0, 5.0], [300.0, 15.0], [200.0, 9.0]])
    inside, middle, scale = framed(points)
    assert inside.abs().max() == pytest.approx(0.9)
    torch.testing.assert_close(inside * scale + middle, points)
    alone, middle, _ = framed(torch.tensor([[3.0, 4.0]]))
    assert alone.abs().max() == 0 and middle.tolist() == [3.0, 4.0]
    assert resampled(torch.ones(1, 1, 24, 16), 8).shape == (1, 1, 8, 8)


@pytest.mark.parametrize("loss", ["cross_entropy", "mmd"])
def test_training_brings_curves_to_their_sets(loss):
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float32)
    model = FunctionalPoints(TOY)
    images = torch.full((4, 1, 8, 8), -1.0)
    for i in range(4):
        images[i, 0, i : i + 3, 2 * (i % 2) + 2] = 1.0
    objective = FunctionalPointsObjectiveConfig(loss=loss, samples=64, sigma=0.15).build(model)
    (phase,) = objective.phases()
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    history = []
    for step in range(120):
        optimizer.zero_grad()
        total, _ = phase.total(Batch(images, seed=step))
        total.backward()
        optimizer.step()
        history.append(total.item())
    assert sum(history[-10:]) / 10 < sum(history[:3]) / 3 - (0.5 if loss == "cross_entropy" else 0.1)
    assert objective.samples(Batch(images)).shape == (4, 1, 8, 16)


def test_rows_compare_with_a_circle_and_a_gaussian():
    points = torch.rand(3, 20, 2) - 0.5
    rows = measure([(points, torch.full((3, 20), 0.05))], lambda p, s: p, FunctionalPoints.circle(30), 0.1)
    values = {r["ask"]: r["value"] for r in rows}
    assert values["hypernetwork"] < values["gaussian"] < values["circle"]


def test_wrong_input():
    model = FunctionalPoints(TOY)
    for bad, says in (
        (torch.zeros(1, 1, 8, 8), "not empty"),
        (-torch.ones(1, 1, 8, 8), "nowhere negative"),
        (torch.full((1, 1, 8, 8), math.nan), "must be finite"),
        (torch.ones(1, 1, 9, 8), r"\(B, 1, 8, 8\), got \(1, 1, 9, 8\)"),
    ):
        with pytest.raises(ValueError, match=says):
            model.weights(bad)
    with pytest.raises(ValueError, match="sigma must be positive, got 0"):
        kernel_cross_entropy(torch.zeros(1, 2, 2), torch.zeros(1, 2, 2), torch.ones(1, 2), 0)
    with pytest.raises(ValueError, match="samples .B, n, D."):
        kernel_cross_entropy(torch.zeros(1, 2, 2), torch.zeros(1, 2, 3), torch.ones(1, 2), 1)
    objective = FunctionalPointsObjectiveConfig().build(model)
    with pytest.raises(ValueError, match="a black picture is no distribution"):
        objective.check(Batch(torch.full((2, 1, 8, 8), -1.0)), None)
    with pytest.raises(ValueError, match="grey picture, got 3 channels"):
        objective.check(Batch(torch.zeros(2, 3, 8, 8)), None)


def test_smoke_run_and_evaluation(cli, tmp_path):
    import json

    torch.set_default_dtype(torch.float32)
    status, _, err = cli("train", "functional_digits", "--smoke", "--out", tmp_path / "run")
    assert status == 0, err
    assert isinstance(load(tmp_path / "run"), FunctionalPoints)
    status, out, err = cli("evaluate", tmp_path / "run", "--data", "digits", "--part", "0,30", "--json")
    assert status == 0, err
    values = {r["ask"]: r["value"] for r in json.loads(out)["rows"]}
    assert values.keys() == {"hypernetwork", "circle", "gaussian"}


def test_mixed_precision_leaves_maps_of_the_circle_exact():
    model = FunctionalPoints(TOY).float()
    theta, circle = model.weights(torch.rand(2, 1, 8, 8).float()), FunctionalPoints.circle(9).float()
    wanted = model.query(theta, z=circle)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(model.query(theta, z=circle), wanted)
