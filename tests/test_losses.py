"""Losses between sets, critics and densities: equal to a brute force, a closed form or an invariant."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import multivariate_normal
from sklearn.mixture import GaussianMixture as Fitted

from predella.losses import adversarial as adv
from predella.losses import transport as ot
from predella.losses.distances import Perceptual, projected
from predella.losses.texture import Texture
from predella.metrics.frechet import frechet_gaussians
from predella.nn.critics import FeatureCritic, ImageCritic, ResidualCritic, VectorCritic
from predella.nn.gaussian import GaussianMixture


@given(st.integers(1, 6), st.integers(1, 4), st.integers(0, 10**6))
def test_transport_is_the_best_of_all_pairings(n, d, seed):
    g = torch.Generator().manual_seed(seed)
    x, y = (torch.randn(n, d, generator=g, dtype=torch.float64) for _ in "xy")
    best = min(sum((x[i] - y[j]).norm() for i, j in enumerate(p)) / n for p in itertools.permutations(range(n)))
    torch.testing.assert_close(ot.exact_transport(x, y), torch.as_tensor(best))


def test_transport_is_exact_far_from_the_origin():
    """Many points, a large mean and small distances: products of float32 would pair them wrongly."""
    g = torch.Generator().manual_seed(0)
    x, y = (100 + 0.1 * torch.randn(60, 8, generator=g, dtype=torch.float32) for _ in "xy")
    exact = ot.exact_transport((x.double() - 100), (y.double() - 100))
    assert ot.exact_transport(x, y).item() == pytest.approx(exact.item(), rel=1e-3)


def test_transport_of_numbers_that_are_not_finite_is_not_finite():
    """The trainer then names step, phase and terms; the solver would say `matrix contains invalid numeric entries`."""
    x = torch.tensor([[0.0, float("nan")], [1.0, 2.0]])
    assert not torch.isfinite(ot.exact_transport(x, torch.zeros(2, 2)))


def test_transport_moves_both_sets():
    x, y = torch.randn(5, 3).requires_grad_(), torch.randn(5, 3).requires_grad_()
    ot.exact_transport(x, y).backward()
    assert x.grad.abs().sum() > 0 and torch.allclose(x.grad.sum(0), -y.grad.sum(0))


@pytest.mark.parametrize("count", [4, 40], ids=["fewer points than dimensions", "more"])
def test_gaussian_transport_is_the_frechet_distance(count):
    g = torch.Generator().manual_seed(0)
    x, y = (torch.randn(n, 6, generator=g, dtype=torch.float64) for n in (30, count))
    moments = [f(p) for p in (x, y) for f in (lambda p: p.mean(0), lambda p: torch.cov(p.T, correction=0))]
    measure = ot.GaussianTransport(x)
    assert float(measure(y)) == pytest.approx(frechet_gaussians(*moments), abs=1e-4)
    assert float(measure.variance) == pytest.approx(float(moments[1].trace())) and abs(float(measure(x.flip(0)))) < 1e-4


def test_gaussian_transport_draws_one_set_to_the_other():
    """From points that are nearly one, and with fewer of them than dimensions: roots of the covariance are 0."""
    g = torch.Generator().manual_seed(0)
    measure = ot.GaussianTransport(torch.randn(5, 8, generator=g) * torch.arange(8) + 3)
    moved = (0.01 * torch.randn(6, 8, generator=g)).requires_grad_()
    first = float(measure(moved.detach()))
    optimizer = torch.optim.Adam([moved], 0.1)
    for _ in range(300):
        optimizer.zero_grad()
        measure(moved).backward()
        assert moved.grad is not None and moved.grad.isfinite().all()
        optimizer.step()
    assert float(measure(moved.detach())) < 0.01 * first


def test_gaussian_transport_of_numbers_that_are_not_finite_is_not_finite():
    assert not torch.isfinite(ot.GaussianTransport(torch.randn(9, 2))(torch.tensor([[0.0, float("nan")], [1.0, 2.0]])))


def test_sliced_distance_in_one_dimension_is_the_exact_one():
    x, y = torch.randn(50, 1), torch.randn(50, 1)
    expected = (x.flatten().sort().values - y.flatten().sort().values).square().mean()
    torch.testing.assert_close(ot.sliced_wasserstein(x, y, 3, torch.Generator()), expected)


def test_distances_of_points_are_not_rounded_in_mixed_precision():
    x, y = (torch.randn(6, 8, dtype=torch.float32) + 100 for _ in range(2))
    exact = ot.squared_distances(x, y), ot.sliced_wasserstein(x, y, 3, torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        mixed = ot.squared_distances(x, y), ot.sliced_wasserstein(x, y, 3, torch.Generator().manual_seed(0))
        of_two_kinds = ot.squared_distances(x.bfloat16(), y), ot.sliced_wasserstein(x.bfloat16(), y, 3, torch.Generator())
    assert all(torch.equal(a, b) for a, b in zip(mixed, exact)) and all(d.dtype == torch.float32 for d in of_two_kinds)


def test_sliced_distance_of_a_shift():
    """A shift by v costs (v·θ)², whose mean over directions is ‖v‖² / D."""
    x, v = torch.randn(10, 4), torch.tensor([1.0, 2.0, 0.0, -1.0])
    got = ot.sliced_wasserstein(x, x + v, 20_000, torch.Generator().manual_seed(0))
    assert got.item() == pytest.approx(6 / 4, rel=0.03)


def test_mmd_is_unbiased_and_sees_a_shift():
    g = torch.Generator().manual_seed(0)
    draw = lambda shift=0.0: torch.randn(60, 3, generator=g) + shift  # noqa: E731
    same = torch.stack([ot.maximum_mean_discrepancy(draw(), draw()) for _ in range(200)])
    assert abs(same.mean()) < 4 * same.std() / 200**0.5 and same.min() < 0  # the biased estimate is never negative
    assert ot.maximum_mean_discrepancy(draw(), draw(1.0)) > 10 * same.std()


def test_mmd_equals_the_double_sum():
    x, y = torch.randn(4, 2), torch.randn(3, 2)

    def k(a, b):
        return sum(4 * s / (4 * s + (a - b).square().sum()) for s in ot.INVERSE_MULTIQUADRIC_SCALES)

    xx = sum(k(a, b) for i, a in enumerate(x) for j, b in enumerate(x) if i != j) / 12
    yy = sum(k(a, b) for i, a in enumerate(y) for j, b in enumerate(y) if i != j) / 6
    xy = sum(k(a, b) for a in x for b in y) / 12
    torch.testing.assert_close(ot.maximum_mean_discrepancy(x, y), xx + yy - 2 * xy)


@given(st.integers(1, 12), st.integers(0, 10**6))
def test_squared_distances(d, seed):
    g = torch.Generator().manual_seed(seed)
    x, y = torch.randn(5, d, generator=g, dtype=torch.float64), torch.randn(4, d, generator=g, dtype=torch.float64)
    torch.testing.assert_close(ot.squared_distances(x, y), torch.cdist(x, y).square(), atol=1e-9, rtol=1e-9)
    assert (ot.squared_distances(x, x).diagonal() == 0).all()


@pytest.mark.parametrize("distance", [ot.exact_transport, lambda x, y: ot.sliced_wasserstein(x, y, 3, torch.Generator())])
def test_sets_of_different_size_are_refused(distance):
    with pytest.raises(ValueError, match="equal size"):
        distance(torch.randn(3, 2), torch.randn(4, 2))
    with pytest.raises(ValueError, match="two sets of points"):
        distance(torch.randn(3, 2), torch.randn(3, 3))


def test_hinge_terms():
    d = torch.tensor([-2.0, 0.0, 2.0])
    assert adv.hinge_real(d).item() == pytest.approx(4 / 3)  # max(0, 1 - d) = 3, 1, 0
    assert adv.hinge_fake(d).item() == pytest.approx(4 / 3)  # max(0, 1 + d) = 0, 1, 3
    assert adv.negative(d).item() == 0


def test_the_literal_term_of_eq_3_has_no_gradient_where_the_critic_wins():
    d = torch.tensor([-3.0, 0.5], requires_grad=True)
    adv.literal(d).backward()
    assert d.grad.tolist() == [0.0, -0.5]
    d.grad = None
    adv.negative(d).backward()
    assert d.grad.tolist() == [-0.5, -0.5]


class Maps(torch.nn.Module):
    """A critic of two maps, which are made of an image."""

    def __init__(self, critic):
        super().__init__()
        self.critic = critic

    def forward(self, x):
        return self.critic([x, x[..., :2, :2]])


@pytest.mark.parametrize(
    ("critic", "shape"),
    [
        (lambda: VectorCritic(6, (20, 30)), (6,)),
        (lambda: ImageCritic(3, 16, width=4), (3, 16, 16)),
        (lambda: ResidualCritic(3, 16, width=4), (3, 16, 16)),
        (lambda: Maps(FeatureCritic([(3, 16), (3, 2)], width=4)), (3, 16, 16)),
    ],
)
def test_every_layer_of_a_critic_has_spectral_norm_one(critic, shape):
    torch.manual_seed(0)
    critic = critic().double()
    x = torch.randn(5, *shape)
    for _ in range(200):  # one power iteration a forward pass
        assert critic(x).shape == (5,)
    for module in critic.modules():
        if isinstance(module, torch.nn.Linear | torch.nn.Conv2d):
            assert torch.linalg.matrix_norm(module.weight.flatten(1), 2).item() == pytest.approx(1, abs=0.02)


def test_a_critic_of_an_odd_size_is_refused():
    with pytest.raises(ValueError, match="times a power of two"):
        ImageCritic(3, 36)


def test_mixture_density_and_samples_are_those_of_sklearn():
    points = np.random.default_rng(0).normal(size=(500, 3)) @ np.array([[1, 0, 0], [0.5, 2, 0], [0, 0.3, 0.2]]) + [1, 2, 3]
    fitted = Fitted(4, random_state=0).fit(points)
    mixture = GaussianMixture(4, 3).double()
    mixture.set_(*(torch.from_numpy(a) for a in (fitted.weights_, fitted.means_, fitted.covariances_)))
    torch.testing.assert_close(mixture.log_prob(torch.from_numpy(points)), torch.from_numpy(fitted.score_samples(points)))
    drawn = mixture.sample(20_000, torch.Generator().manual_seed(0)).numpy()
    np.testing.assert_allclose(drawn.mean(0), points.mean(0), atol=0.06)
    np.testing.assert_allclose(np.cov(drawn.T), np.cov(points.T), atol=0.15)


def test_a_mixture_that_can_t_be_set_stays_as_it_was():
    mixture = GaussianMixture(1, 2)
    with pytest.raises(RuntimeError):
        mixture.set_(torch.ones(1), torch.ones(1, 2), -torch.eye(2)[None])
    assert not mixture.fitted and (mixture.mean == 0).all()
    mixture.set_(torch.ones(1), torch.ones(1, 2), 4 * torch.eye(2)[None])
    mixture.unset_()
    assert all(torch.equal(a, b) for a, b in zip(mixture.buffers(), GaussianMixture(1, 2).buffers(), strict=True))


def test_an_unset_mixture_is_standard_normal():
    x = torch.randn(7, 4)
    expected = torch.from_numpy(multivariate_normal(np.zeros(4)).logpdf(x.numpy()))
    torch.testing.assert_close(GaussianMixture(3, 4).log_prob(x), expected.to(x))


class Edges(torch.nn.Module):
    """Maps of two channels: the image, and its means over 2×2."""

    def forward(self, x, count):
        first = x[:, :2]
        return [first] if count == 1 else [first, torch.nn.functional.avg_pool2d(first, 2)]


def test_perceptual_distance_is_lpips_form():
    """Unit features, weighed squared differences, means over positions, a sum over maps; by hand."""
    distance = Perceptual(Edges(), [torch.tensor([1.0, 2.0]), torch.tensor([0.5, 0.0])], (1, 2))
    x, y = torch.rand(2, 3, 4, 4) + 0.1, torch.rand(2, 3, 4, 4) + 0.1
    expected = torch.zeros(2)
    for maps, weight in ((Edges()(x, 2)[0], (1.0, 2.0)), (Edges()(x, 2)[1], (0.5, 0.0))):
        other = Edges()(y, 2)[0 if maps.shape[-1] == 4 else 1]
        for c in range(2):
            a, b = maps[:, c] / maps.norm(dim=1), other[:, c] / other.norm(dim=1)
            expected = expected + weight[c] * (a - b).square().mean((1, 2))
    torch.testing.assert_close(distance(x, y), expected)
    torch.testing.assert_close((distance.embed(x) - distance.embed(y)).square().sum(1), expected)
    assert not any(p.requires_grad for p in distance.parameters())
    one = distance.embed(x[..., :1, :1])
    assert one.shape == (2, 2)  # too small for the second map
    grey = x[:, :1]
    torch.testing.assert_close(distance.embed(grey), distance.embed(grey.repeat(1, 3, 1, 1)))
    with pytest.raises(ValueError, match="at least 2 pixels, got 1×1"):
        Perceptual(Edges(), [torch.ones(2)], (2,)).embed(x[..., :1, :1])
    with pytest.raises(ValueError, match="0 or more"):
        Perceptual(Edges(), [-torch.ones(2)], (1,))


def test_projections_keep_squared_distances():
    x = torch.randn(40, 3000)
    kept = projected(x, 400)
    ratio = torch.pdist(kept).square() / torch.pdist(x).square()
    assert kept.shape == (40, 400) and ratio.mean().item() == pytest.approx(1, abs=0.02)
    assert ratio.std().item() == pytest.approx((2 / 400) ** 0.5, rel=0.3)
    assert torch.equal(kept, projected(x, 400))


def _stripes(phase: float, period: float = 6.0) -> torch.Tensor:
    """(1, 3, 36, 60), with some grain."""
    wave = torch.sin(2 * torch.pi * (torch.arange(60.0) + phase) / period).expand(1, 3, 36, 60)
    return 0.5 * wave + 0.1 * torch.randn(1, 3, 36, 60, generator=torch.Generator().manual_seed(int(phase)))


def test_texture_is_the_same_elsewhere_in_the_picture_but_not_when_blurred():
    """Half a period further every pixel is another; a blurred copy is nearer to each of them."""
    real, shifted = _stripes(0), _stripes(3)
    blurred = torch.nn.functional.avg_pool2d(real, 3, 1, 1)
    assert (shifted - real).square().mean() > 10 * (blurred - real).square().mean()
    measure = Texture(real)
    itself, away, smooth = (float(measure(x, torch.Generator().manual_seed(0))) for x in (real, shifted, blurred))
    assert itself == 0 and 5 * away < smooth


def test_features_tell_textures_apart_from_16_pixels_on():
    """Ramps that rise slowly and fall at once, and mirrored: features of falling edges know them apart."""
    ramps = (torch.arange(36.0) % 6 / 6 - 0.5).expand(1, 3, 24, 36)
    falls = [lambda x: [(-x.diff(dim=-1)).relu()]]
    for height in (24, 12):
        real, mirrored = ramps[:, :, :height], ramps[:, :, :height].flip(-1)
        alone, both = (float(Texture(real, *maps)(mirrored, torch.Generator().manual_seed(0))) for maps in ([], falls))
        assert (both > alone + 0.1) == (height == 24)


def test_features_are_compared_by_their_frechet_distance():
    """Of a map that is the picture itself, it is known; a picture of one colour has no variance, and yet a distance."""
    real, made = _stripes(0), 1.5 * _stripes(3) + 0.1
    alone, both = (float(Texture(real, *maps)(made, torch.Generator().manual_seed(0))) for maps in ([], [lambda x: [2 * x - 1]]))
    gaussians = []
    for x in (real, made):
        places = 2 * x[0].flatten(1).double() - 1
        gaussians += [places.mean(1), torch.cov(places, correction=0)]
    assert both - alone == pytest.approx(8 * frechet_gaussians(*gaussians) / float(gaussians[1].trace()), rel=1e-4)
    flat, near = torch.zeros(1, 3, 24, 24), (0.01 * torch.randn(1, 3, 24, 24)).requires_grad_()
    Texture(flat, lambda x: [x])(near, torch.Generator().manual_seed(0)).backward()
    assert near.grad is not None and near.grad.isfinite().all() and near.grad.any()


def test_a_picture_of_one_colour_has_a_texture():
    flat = torch.zeros(1, 3, 24, 24)
    assert 0 < float(Texture(flat)(flat + 0.01 * torch.randn(1, 3, 24, 24), torch.Generator().manual_seed(0))) < 1e3


def test_whitened_patches_count_grain_as_much_as_the_mean_colour():
    """Raw patches hardly notice that the grain is gone."""
    coarse = torch.nn.functional.interpolate(torch.randn(1, 3, 3, 4, generator=torch.Generator().manual_seed(0)), (24, 32), mode="bilinear")
    grain = 0.05 * torch.randn(1, 3, 24, 32, generator=torch.Generator().manual_seed(1))
    patches = [torch.nn.functional.unfold(x, 7)[0].T for x in (coarse + grain, coarse)]
    raw = float(ot.sliced_wasserstein(*patches, 64, torch.Generator().manual_seed(2)))
    assert raw < 0.01 and float(Texture(coarse + grain, directions=64)(coarse, torch.Generator().manual_seed(2))) > 20 * raw


def test_textures_are_compared_at_one_size():
    with pytest.raises(ValueError, match="got 8×36 pixels for 60×36"):
        Texture(_stripes(0))(_stripes(0)[..., :8], torch.Generator())
