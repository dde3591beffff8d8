"""The density is exact where it is exact, a bound where it is a bound; who trains what; runs by the command line."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from predella.losses.likelihood import bits_per_dim
from predella.models.base import load
from predella.models.coverage_quality import CoverageQuality, CoverageQualityConfig, Flow, Posterior
from predella.nn.autoregressive import Autoregressive, InverseAutoregressive
from predella.nn.critics import ImageCritic, ResidualCritic
from predella.nn.latent import LatentDecoder, LatentEncoder
from predella.nn.real_nvp import Logit, real_nvp
from predella.objectives.coverage_quality import CoverageQualityObjectiveConfig
from predella.recipes import RECIPES
from predella.tasks.base import Batch

TOY = CoverageQualityConfig(channels=1, size=8, latent=3, width=4, flow=Flow(couplings=1, width=6, blocks=1))


def shaken(module: nn.Module, scale: float = 0.1) -> nn.Module:
    """Away from the zeros that a flow starts with."""
    torch.manual_seed(1)
    for p in module.parameters():
        p.data += scale * torch.randn_like(p)
    return module


def ladj_by_autograd(function, x):
    """(B,): log |det| of the Jacobian of each item."""
    out = []
    for one in x:
        jacobian = torch.func.jacrev(lambda v: function(v[None])[0][0])(one)
        out.append(torch.linalg.slogdet(jacobian.reshape(one.numel(), one.numel()))[1])
    return torch.stack(out)


def test_logits_invert_and_count_their_slope():
    x = torch.rand(2, 1, 3, 3) * 2 - 1
    y, ladj = Logit()(x)
    back, away = Logit().inverse(y)
    torch.testing.assert_close(back, x)
    torch.testing.assert_close(ladj, -away)
    torch.testing.assert_close(ladj, ladj_by_autograd(Logit(), x))
    with pytest.raises(ValueError, match="alpha must lie between 0 and 1, got 1"):
        Logit(1.0)


@pytest.mark.parametrize("scales", [1, 2])
def test_real_nvp_inverts_and_counts_its_volume(scales):
    flow = shaken(real_nvp(1, scales, 1, 5, 1))
    x = torch.rand(2, 1, 8, 8) * 1.9 - 0.95
    y, ladj = flow(x)
    assert y.shape == x.shape and not torch.allclose(y, Logit()(x)[0], atol=1e-2)
    torch.testing.assert_close(flow.inverse(y)[0], x)
    torch.testing.assert_close(ladj, ladj_by_autograd(flow, x))


def test_a_flow_begins_as_normalised_logits():
    flow = real_nvp(3, 2, 2, 8, 1)
    x = torch.rand(64, 3, 8, 8) * 2 - 1
    y = flow.initialize(x)
    assert y.mean().abs() < 0.05 and (y.std() - 1).abs() < 0.05
    torch.testing.assert_close(flow(x)[0], y)


def test_autoregressive_numbers_depend_on_earlier_ones_only():
    torch.manual_seed(0)
    net, context = shaken(Autoregressive(5, 16, 2), 1.0), torch.randn(1, 2)
    for numbers in (0, 1):
        jacobian = torch.func.jacrev(lambda z, n=numbers: net(z, context)[n][0])(torch.randn(1, 5))[:, 0]
        assert torch.equal(jacobian.triu(), torch.zeros(5, 5)) and jacobian[4, :4].abs().min() > 0
    with pytest.raises(ValueError, match="at least 2 dimensions, got 1"):
        Autoregressive(1, 4, 2)


def test_inverse_autoregressive_flow_inverts_and_counts_its_volume():
    torch.manual_seed(0)
    flow, context = shaken(InverseAutoregressive(4, 2, 12, 3), 0.5), torch.randn(3, 3)
    z = torch.randn(3, 4)
    out, ladj = flow(z, context)
    back, away = flow.inverse(out, context)
    torch.testing.assert_close(back, z)
    torch.testing.assert_close(ladj, -away)
    one = ladj_by_autograd(lambda v: flow(v, context[:1]), z[:1])
    torch.testing.assert_close(ladj[:1], one)


@pytest.mark.parametrize("flow", [None, TOY.flow])
def test_the_density_given_z_is_the_change_of_variables(flow):
    """Eq. 8, with torch's Gaussian and the determinant of the whole Jacobian."""
    torch.manual_seed(0)
    model = shaken(CoverageQuality(CoverageQualityConfig(channels=1, size=8, latent=2, width=4, flow=flow)), 0.02)
    x, z = torch.rand(2, 1, 8, 8) * 1.8 - 0.9, torch.randn(2, 2)
    mean, log_std = model.decoder(z)
    y = model.features(x)[0]
    gaussian = torch.distributions.Normal(mean, log_std.exp()).log_prob(y).flatten(1).sum(1)
    volume = ladj_by_autograd(model.flow, x) if flow else torch.zeros(2)
    assert flow is None or (volume.abs() > 1).all()
    torch.testing.assert_close(model.log_likelihood(x, z), gaussian + volume)


def test_bounds_are_below_the_evidence():
    """A linear decoder: p(x) is a Gaussian, known; the ELBO is below it, more draws come nearer, K = 1 is the ELBO in expectation."""
    torch.manual_seed(0)
    model = CoverageQuality(CoverageQualityConfig(channels=1, size=8, latent=2, width=4, flow=None))
    w = torch.randn(64, 2) * 0.2
    std = torch.tensor(0.4)

    class Linear(nn.Module):
        def forward(self, z):
            return (z @ w.T).view(-1, 1, 8, 8), std.log().expand(len(z), 1, 8, 8)

    model.decoder = Linear()
    with torch.no_grad():
        model.encoder.out.weight.mul_(0.2)
    x = (torch.randn(5, 2) @ w.T + std * torch.randn(5, 64)).view(5, 1, 8, 8)
    x = x / x.abs().max()
    evidence = torch.distributions.MultivariateNormal(torch.zeros(64), w @ w.T + std**2 * torch.eye(64)).log_prob(x.flatten(1))
    with torch.no_grad():
        elbo = torch.stack([model.elbo(x, torch.randn(5, 2)) for _ in range(2000)]).mean(0)
        weights = model.log_weights(x, torch.randn(8000, 5, 2))
        bits = model.bits(x, torch.randn(4000, 5, 2))
    assert ((weights.mean(0) - elbo).abs() < 5 * weights.std(0) / 2000**0.5).all()
    assert (elbo < evidence).all()
    tight = bits_per_dim(evidence, 64)
    assert (bits <= bits_per_dim(elbo, 64)).all() and (bits - tight).abs().max() < 0.15 * (bits_per_dim(elbo, 64) - tight).max()


def test_bits_are_counted_on_the_original_pixels():
    """Alone, where p(x | z) has them alone; under a flow with the padding's bits, too: a bound."""
    torch.manual_seed(0)
    config = CoverageQualityConfig(channels=1, size=16, counted=8, latent=2, width=4, flow=None)
    assert (config.dims, config.own, config.counted_dims) == (256, (8, 8), 64)
    x, noise = torch.rand(2, 1, 16, 16) * 2 - 1, torch.zeros(1, 2, 2)
    plain, flowing = CoverageQuality(config), CoverageQuality(replace(config, flow=Flow(couplings=1, width=4)))
    torch.testing.assert_close(flowing.bits(x, noise), bits_per_dim(flowing.log_weights(x, noise)[0], 256) * 4)
    other = x.clone()
    other[..., :4, :], other[..., 12:] = 0.3, -0.2
    z, log_q = plain.drawn(plain.posterior(x), noise[0])
    for own, part in ((None, (..., slice(4, 12), slice(4, 12))), ((5, 8), (..., slice(5, 10), slice(4, 12))), ((16, 16), ...)):
        mean, log_std = plain.decoder(z)
        normal = torch.distributions.Normal(mean[part], log_std[part].exp())
        prior = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(1)
        expected = normal.log_prob(x[part]).flatten(1).sum(1) + prior - log_q
        torch.testing.assert_close(plain.log_weights(x, noise, own)[0], expected)
        torch.testing.assert_close(plain.bits(x, noise, own), bits_per_dim(expected, x[part][0].numel()))
    plain.posterior = lambda _: Posterior(torch.zeros(2, 2), torch.zeros(2, 2))
    assert torch.equal(plain.bits(x, noise), plain.bits(other, noise))


def test_posteriors_beyond_a_gaussian_have_the_same_bound():
    torch.manual_seed(0)
    model = shaken(CoverageQuality(replace(TOY, iaf=2)), 0.05)
    x, noise = torch.rand(2, 1, 8, 8) * 2 - 1, torch.randn(3, 2, 3)
    rows = model.log_weights(x, noise)
    for k in range(3):
        torch.testing.assert_close(model.elbo(x, noise[k]), rows[k])  # no closed form: the same estimate


@pytest.mark.parametrize(
    ("fields", "trained"),
    [
        ({}, {"critic": ["critic"], "model": ["decoder", "encoder", "flow"]}),
        ({"quality": 0.0}, {"model": ["decoder", "encoder", "flow"]}),
        ({"coverage": 0.0}, {"critic": ["critic"], "model": ["decoder", "flow"]}),
        ({"quality": 0.0, "frozen": True}, {"model": ["decoder.scale", "encoder"]}),
        ({"quality": 0.0, "held": True}, {"model": ["decoder", "encoder"]}),
    ],
)
def test_who_is_trained(fields, trained):
    torch.manual_seed(0)
    model = CoverageQuality(TOY)
    objective = CoverageQualityObjectiveConfig(critic_width=4, **fields).build(model)
    batch = Batch((torch.rand(4, 1, 8, 8) * 2 - 1), seed=3)
    objective.begin(iter([batch]))
    assert [p.name for p in objective.phases()] == list(trained)
    for phase in objective.phases():
        model.zero_grad(), [p.zero_grad() for p in objective.parts.values()]
        own = {id(p) for m in phase.trains for p in m.parameters()}
        loss, terms = phase.total(batch)
        loss.backward()
        assert terms.keys() == phase.weights.keys() and all(torch.isfinite(v) for v in terms.values())
        reached = {n for n, p in model.named_parameters() if id(p) in own and p.grad is not None and p.grad.abs().sum() > 0}
        if phase.name == "critic":
            assert all(p.grad is not None for p in objective.parts["critic"].parameters())
            assert all(p.grad is None for p in model.parameters())
        for part in set(trained[phase.name]) - {"critic"}:
            assert any(n.startswith(part) for n in reached), (phase.name, part)
        if fields.get("held"):
            assert not any(n.startswith("flow") for n in reached)
        if fields.get("frozen"):
            assert not any(n.startswith(("decoder.body", "decoder.mean", "flow")) for n in reached)


def test_free_nats_cost_nothing():
    torch.manual_seed(0)
    model, batch = shaken(CoverageQuality(TOY)), Batch(torch.rand(4, 1, 8, 8) * 2 - 1, seed=3)
    objectives = [CoverageQualityObjectiveConfig(quality=0.0, free=f).build(model) for f in (0.0, 1000.0)]
    x, noise = objectives[0]._seen(batch)
    likelihood, kl = model.elbo_terms(x, noise)
    assert 0 < kl.mean() < 1000
    paid, free = (o.losses(batch)["coverage"] for o in objectives)
    torch.testing.assert_close(paid, bits_per_dim(model.elbo(x, noise), 64).mean())
    torch.testing.assert_close(free - paid, (1000 - kl.mean()) / 64 / math.log(2))
    slopes = [torch.autograd.grad(o, model.encoder.out.bias, retain_graph=True)[0] for o in (free, -likelihood.mean() / 64 / math.log(2))]
    torch.testing.assert_close(*slopes)


def test_the_critic_sees_samples_or_means():
    batch, drawn = Batch(torch.rand(4, 1, 8, 8) * 2 - 1, seed=3), []
    for noiseless in (False, True):
        torch.manual_seed(0)
        model = CoverageQuality(replace(TOY, noiseless=noiseless))
        drawn.append(CoverageQualityObjectiveConfig(critic_width=4).build(model).generated(batch))
    full, mean = drawn
    assert full.std() > mean.std() + 0.05 and full.shape == mean.shape == (4, 1, 8, 8)


def test_later_stages_keep_the_flows_scales():
    model, batch = CoverageQuality(TOY), Batch(torch.rand(8, 1, 8, 8) * 2 - 1, seed=3)
    first = CoverageQualityObjectiveConfig(critic_width=4).build(model)
    first.begin(iter([batch]))
    before = [p.clone() for p in model.flow.parameters()]
    second = CoverageQualityObjectiveConfig(quality=0.0, frozen=True).build(model)
    second.follow(first)
    third = CoverageQualityObjectiveConfig(critic_width=4).build(model)
    third.started = True
    for later in (second, third):
        later.begin(iter([Batch(batch.target * 0.1, seed=4)]))
        assert all(torch.equal(a, b) for a, b in zip(before, model.flow.parameters()))


def test_a_frozen_generator_keeps_its_statistics():
    torch.manual_seed(0)
    model, batch = CoverageQuality(replace(TOY, norm="batch")).train(), Batch(torch.rand(8, 1, 8, 8) * 2 - 1, seed=3)
    statistics = lambda: [b.clone() for n, b in model.decoder.named_buffers() if n.endswith(("mean", "var"))]  # noqa: E731
    start = statistics()
    CoverageQualityObjectiveConfig(quality=0.0).build(model).losses(batch)
    trained = statistics()
    assert start and not all(torch.equal(a, b) for a, b in zip(start, trained))
    CoverageQualityObjectiveConfig(quality=0.0, frozen=True).build(model).losses(batch)
    assert all(torch.equal(a, b) for a, b in zip(trained, statistics()))


def test_means_near_the_ends_stay_apart_in_mixed_precision():
    """Where 16 bits know 1/256 the narrowest deviation is .003."""
    torch.manual_seed(0)
    model = CoverageQuality(replace(TOY, flow=None)).float()
    with torch.no_grad():
        model.decoder.mean.bias.fill_(2.9)
        with torch.autocast("cpu", torch.bfloat16):
            mean, log_scale = model.decoder(torch.randn(4, 3, dtype=torch.float32))
    assert mean.dtype == log_scale.dtype == torch.float32
    assert len(mean.unique()) > 10 and not torch.equal(mean, mean.bfloat16().float())


def test_no_image_depends_on_the_others():
    torch.manual_seed(0)
    for residual in (False, True):
        x, z = torch.rand(3, 3, 16, 16), torch.randn(3, 5)
        encoder, decoder = LatentEncoder(3, 16, 6, 5, residual), LatentDecoder(5, 16, 6, residual)
        assert encoder(x).shape == (3, 5) and decoder(z).shape == (3, 6, 16, 16)
        torch.testing.assert_close(encoder(x)[1:2], encoder(x[1:2]))
        torch.testing.assert_close(decoder(z)[1:2], decoder(z[1:2]))
        batched = LatentDecoder(5, 16, 6, residual, "batch")
        assert not torch.allclose(batched(z)[1:2], batched(torch.cat([z[1:2], 2 * z]))[:1])
        batched.eval()
        torch.testing.assert_close(batched(z)[1:2], batched(z[1:2]))
    assert ResidualCritic(3, 32, 8)(torch.rand(2, 3, 32, 32)).shape == (2,)
    with pytest.raises(ValueError, match="times a power of two, and at least 16, got 8"):
        ResidualCritic(3, 8)
    with pytest.raises(ValueError, match="size must be 4, 5, 6, 7 times a power of two, and at least 8, got 36"):
        LatentEncoder(3, 36, 6, 5)


@pytest.mark.parametrize("size", [24, 40, 96])
def test_sizes_that_are_no_power_of_two(size):
    """STL-10 has 96 pixels."""
    torch.manual_seed(0)
    x, z = torch.rand(2, 3, size, size) * 2 - 1, torch.randn(2, 4)
    for residual in (False, True):
        model = CoverageQuality(CoverageQualityConfig(size=size, latent=4, width=4, residual=residual, flow=Flow(scales=2, width=8)))
        assert model.sample(z).shape == x.shape and model.log_weights(x, z[None]).isfinite().all()
        back = model.pixels(model.features(x)[0])
        torch.testing.assert_close(back, x)
    for critic in (ImageCritic(3, size, 4), ResidualCritic(3, size, 4)):
        assert critic(x).shape == (2,)


def test_wrong_configs():
    for fields, says in (
        ({"size": 36}, "times a power of two"),
        ({"size": 8, "flow": Flow(scales=3)}, "3 scales needs a multiple of 8 from 16 on as size, got 8"),
        ({"size": 20, "flow": Flow(scales=3)}, "3 scales needs a multiple of 8 from 16 on as size, got 20"),
        ({"counted": 40}, "counted at most size"),
    ):
        with pytest.raises(ValueError, match=says):
            CoverageQualityConfig(**fields)
    with pytest.raises(ValueError, match="one of the first two positive"):
        CoverageQualityObjectiveConfig(coverage=0, quality=0)
    with pytest.raises(ValueError, match="frozen generator has no adversary"):
        CoverageQualityObjectiveConfig(frozen=True)
    with pytest.raises(ValueError, match=r"images of \(1, 8, 8\)"):
        CoverageQuality(TOY).features(torch.zeros(1, 3, 8, 8))
    with pytest.raises(ValueError, match="trains a CoverageQuality, got a Linear"):
        CoverageQualityObjectiveConfig().build(nn.Linear(1, 1))


def test_rows_differ_where_they_should():
    rows = {k: RECIPES[f"cq_cifar_{k}"]() for k in ("vae", "vaef", "gan", "cq", "cqf")}
    assert [k for k, r in rows.items() if r.model.flow is not None] == ["vaef", "cqf"]
    assert [k for k, r in rows.items() if any(s.objective.quality for s in r.stages)] == ["gan", "cq", "cqf"]
    assert [k for k, r in rows.items() if r.stages[0].objective.coverage] == ["vae", "vaef", "cq", "cqf"]
    assert [k for k, r in rows.items() if r.stages[0].objective.held] == ["vaef", "cqf"] and rows["gan"].stages[1].objective.frozen
    likelihoods = {sum(s.steps for s in rows[k].stages) for k in ("vae", "vaef", "cq", "cqf")}
    assert len(likelihoods) == 1
    assert RECIPES["cq_cifar_cqf_2scales"]().model.flow.scales == 2 and RECIPES["cq_cifar_cqf_large"]().model.iaf
    assert RECIPES["cq_mnist_cqf"]().model.counted_dims == 784


@pytest.mark.parametrize("recipe", ["cq_mnist_gan", "cq_cifar_cqf_large"])
def test_smoke_runs(cli, tmp_path, recipe):
    torch.set_default_dtype(torch.float32)
    status, _, err = cli("train", recipe, "--smoke", "--out", tmp_path / "run")
    assert status == 0, err
    model = load(tmp_path / "run")
    assert isinstance(model, CoverageQuality)
    with torch.no_grad():
        assert torch.isfinite(model.sample(torch.randn(2, 4))).all()


def test_a_gans_bits_are_those_of_its_averaged_generator(cli, tmp_path):
    """However long the posterior is trained, the generator is the average that the first stage ended with."""
    torch.set_default_dtype(torch.float32)
    for steps in ("1", "6"):
        assert cli("train", "cq_mnist_gan", "--smoke", "--stages.1.steps", steps, "--out", tmp_path / steps)[0] == 0
    one, six = (load(tmp_path / steps).decoder for steps in ("1", "6"))
    torch.testing.assert_close(one.mean.weight, six.mean.weight, rtol=0, atol=1e-7)
    assert (one.scale.weight - six.scale.weight).abs().max() > 1e-7


def test_training_learns_a_density_and_a_latent_of_it():
    """Soft bars, upright or lying: unseen ones get cheap and noise does not, z tells which, samples are bars and not all the same."""
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float32)

    def bars(count: int) -> torch.Tensor:
        where, across = torch.rand(count, 1, 1, 1) * 6 + 0.5, (torch.rand(count, 1, 1, 1) < 0.5).float()
        y, x = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij")
        image = torch.exp(-(((across * x + (1 - across) * y) - where) ** 2)) * 1.6 - 0.8
        return (((image + 1) * 127.5).round() + torch.rand(count, 1, 8, 8)) / 128 - 1

    model = CoverageQuality(replace(TOY, width=8))
    objective = CoverageQualityObjectiveConfig(critic_width=8, quality=0.1).build(model)
    objective.begin(iter([Batch(bars(64))]))
    phases = objective.phases()
    optimizers = [torch.optim.Adam([p for m in f.trains for p in m.parameters()], 3e-3, betas=(0.5, 0.99)) for f in phases]
    for step in range(150):
        batch = Batch(bars(32), seed=step)
        for phase, optimizer in zip(phases, optimizers):
            optimizer.zero_grad()
            phase.total(batch)[0].backward()
            optimizer.step()
    model.eval()
    with torch.no_grad():
        unseen, noise = bars(64), torch.rand(64, 1, 8, 8) * 1.9 - 0.95
        bits = {k: model.bits(x, torch.randn(8, 64, 3)).mean().item() for k, x in (("bars", unseen), ("noise", noise))}
        again, drawn = model.sample(model.posterior(unseen).mean), model.sample(torch.randn(64, 3))
    assert bits["bars"] < 6.5 < 8 < bits["noise"]
    apart = torch.cdist(unseen.flatten(1), bars(64).flatten(1), 1).mean()
    assert (again - unseen).abs().flatten(1).sum(1).mean() < 0.3 * apart
    nearest = torch.cdist(drawn.flatten(1), bars(1000).flatten(1), 1).amin(1).mean()
    assert nearest < 0.5 * apart < torch.pdist(drawn.flatten(1), 1).mean()
