"""What trains the reversible network: each phase trains what it names, terms equal their formulas, a match matches."""

import itertools

import pytest
import torch

from predella.data.batches import seed_of
from predella.models.reversible import Reversible
from predella.objectives import reversible as objective
from predella.tasks.base import Batch
from test_reversible import CLASSES, TINY, images, model


def batch_of(made, count=6, label=None):
    return Batch(images(count, made.config.channels), None, 5, label)


@pytest.mark.parametrize("match", ["none", "hinge", "hinge_literal", "mmd", "swd"])
def test_terms_and_gradients_of_the_match(match):
    made = model()
    built = objective.ReversibleMatchConfig(match=match, critic=(8, 8)).build(made)
    built.parts["model"].double()
    for module in built.parts.values():
        module.double()
    batch = batch_of(made)
    for phase in built.phases():
        for module in built.parts.values():
            module.zero_grad()
        total, terms = phase.total(batch)
        total.backward()
        moved = {name for name, module in built.parts.items() if any(p.grad is not None for p in module.parameters())}
        assert ("model" in moved) == (phase.name == "encoder")
        assert all(torch.isfinite(t) for t in terms.values())


def test_the_match_objective_in_numbers():
    """Restriction takes away exactly the unkept dimensions; without a clamp their mean square is the l2 term."""
    made = model()
    built = objective.ReversibleMatchConfig(match="none", clamp=0.0).build(made)
    batch = batch_of(made)
    z = made.encode(batch.target).flatten(1)
    outside = torch.ones(TINY.dims, dtype=torch.bool)
    outside[made.kept] = False
    losses = built.encoder_losses(batch)
    torch.testing.assert_close(losses["l2"], z[:, outside].square().sum() / z.numel())
    torch.testing.assert_close(losses["l1"], (made(batch.target) - batch.target).abs().mean())


class Total(torch.nn.Module):
    """A critic whose logit is the sum of what it sees."""

    def forward(self, x):
        return x.flatten(1).sum(1)


def test_the_adversarial_match_in_numbers():
    """Eq. 3 with a critic known by heart: draws real, codes fake; codes are matched as they are, not as they are cut."""
    made = model()
    config = objective.ReversibleMatchConfig(match="hinge", l1=3.0, l2=7.0, weight=0.5, clamp=0.01, critic=(4, 4))
    built = config.build(made)
    built.critic = Total()
    batch = batch_of(made)
    z = made.encode(batch.target)
    code, prior = made.code(z), built._prior(batch).double()
    critic, losses = built.critic_losses(batch), built.encoder_losses(batch)
    torch.testing.assert_close(critic["real"], (1 - prior.sum(1)).clamp(min=0).mean(), check_dtype=False, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(critic["fake"], (1 + code.sum(1)).clamp(min=0).mean())
    torch.testing.assert_close(losses["hinge"], -code.sum(1).mean())
    cut = made.place(code.clamp(-0.01, 0.01))
    torch.testing.assert_close(losses["l1"], (made.decode(cut) - batch.target).abs().mean())
    torch.testing.assert_close(losses["l2"], (z - cut).square().mean())
    first, second = built.phases()
    assert (first.name, first.weights) == ("critic", {"real": 1.0, "fake": 1.0})
    assert (second.name, second.weights) == ("encoder", {"l1": 3.0, "l2": 7.0, "hinge": 0.5})


def test_the_plain_gan_in_numbers():
    made = model()
    built = objective.ReversibleGANConfig(width=4).build(made)
    built.critic = Total()
    batch = batch_of(made)
    fake = built.generated(batch)
    torch.testing.assert_close(fake, made.decode(made.place(made.sample_code(6, batch.generator()).double())), check_dtype=False)
    critic = built.critic_losses(batch)
    torch.testing.assert_close(critic["real"], (1 - Total()(batch.target)).clamp(min=0).mean())
    torch.testing.assert_close(critic["fake"], (1 + Total()(fake)).clamp(min=0).mean())
    torch.testing.assert_close(built.generator_losses(batch)["hinge"], -Total()(fake).mean())


def test_transport_and_perturbation_in_numbers():
    """Eq. 5: classes by their share, each encoding against as many draws of its own class; Eq. 6 with ε."""
    made = model(CLASSES)
    with torch.no_grad():
        made.mean[:] = torch.randn(3, CLASSES.dims)
    built = objective.ReversibleTransportConfig(survey=30, perturbation=4.0).build(made)
    label = torch.tensor([0, 1, 1, 1, 2, 2])
    batch = Batch(images(6, 1), None, 8, label)
    z = made.encode(batch.target)
    generator = batch.generator()
    noise, epsilon = (torch.randn(6, CLASSES.dims, generator=generator).to(z) for _ in "zε")
    draws, flat = made.sample_latent(label, noise), z.flatten(1)
    expected = sum(
        n / 6 * min(sum((flat[a] - draws[b]).norm() for a, b in zip(items, order)) / n for order in itertools.permutations(items))
        for items, n in (([0], 1), ([1, 2, 3], 3), ([4, 5], 2))
    )
    losses = built.losses(batch)
    torch.testing.assert_close(losses["transport"], expected)
    shaken = made.decode(z + CLASSES.prior.epsilon * epsilon.view_as(z))
    torch.testing.assert_close(losses["l1"], (shaken - batch.target).abs().mean())
    torch.testing.assert_close(losses["l2"], (shaken - batch.target).square().mean())
    assert losses["l1"] > 0.01 and built.phases()[0].weights == {"transport": 1.0, "l1": 4.0, "l2": 4.0}


def test_begin_keeps_the_widest_dimensions_and_end_fits_the_codes():
    made = Reversible(TINY).double()
    built = objective.ReversibleMatchConfig(match="none", survey=40).build(made)
    stream = lambda: iter([Batch(images(20) * torch.linspace(0.1, 1, 8), None, s) for s in range(3)])  # noqa: E731
    torch.manual_seed(2)
    built.begin(stream())
    chosen = made.kept.clone()
    assert (chosen >= 0).all() and (chosen.diff() > 0).all()
    built.begin(iter([Batch(images(40), None, 9)]))
    assert torch.equal(made.kept, chosen)  # a later stage chooses nothing
    torch.manual_seed(3)
    batches = list(stream())
    built.end(iter(batches))
    code = made.code(made.encode(torch.cat([b.target for b in batches[:2]])))
    torch.testing.assert_close(made.gaussian.mean[0], code.mean(0), atol=1e-9, rtol=1e-6)
    assert made.mixture.fitted and made.mixture.weight.sum().item() == pytest.approx(1)
    mean = (made.mixture.weight[:, None] * made.mixture.mean).sum(0)
    torch.testing.assert_close(mean, code.mean(0), atol=1e-6, rtol=1e-4)
    covariance = made.gaussian.factor[0] @ made.gaussian.factor[0].T
    torch.testing.assert_close(covariance, torch.cov(code.T, correction=0) + 1e-4 * torch.eye(5), atol=1e-6, rtol=1e-4)


def test_transport_starts_from_the_encodings_and_trains_network_and_gaussians():
    made = model(CLASSES)
    built = objective.ReversibleTransportConfig(survey=30).build(made)
    label = torch.arange(30) % 3
    x = images(30, 1) * (label + 1).view(-1, 1, 1, 1) / 3
    built.begin(iter([Batch(x, None, 1, label)]))
    z = made.encode(x).flatten(1)
    torch.testing.assert_close(made.mean[1], z[label == 1].mean(0).detach())
    torch.testing.assert_close(made.log_deviation[2].exp(), z[label == 2].std(0).detach())
    total, _ = built.phases()[0].total(Batch(x, None, 1, label))
    total.backward()
    assert made.mean.grad.abs().sum() > 0 and made.log_deviation.grad.abs().sum() > 0
    assert all(p.grad is not None for p in made.chain.parameters())
    for labels, message in ((None, "needs classes"), (label + 1, "from 0 to 2, got 1 … 3"), (label.clamp(max=1), "class 2 has 0")):
        with pytest.raises(ValueError, match=message):
            built.check(Batch(x, None, 1), labels)


def test_the_gan_trains_the_decoder_and_encodes_its_samples_exactly():
    made = model()
    built = objective.ReversibleGANConfig(width=4).build(made)
    built.critic.double()
    critic, generator = built.phases()
    batch = batch_of(made)
    total, _ = critic.total(batch)
    total.backward()
    assert all(p.grad is None for p in made.parameters())
    total, _ = generator.total(batch)
    total.backward()
    assert all(p.grad is not None for p in made.chain.parameters())
    code = torch.randn(2, 5)
    torch.testing.assert_close(made.code(made.network(made.decode(made.place(code)))[0]), code)


def test_an_objective_refuses_another_model():
    with pytest.raises(ValueError, match="StandardNormal"):
        objective.ReversibleMatchConfig().build(model(CLASSES))
    with pytest.raises(ValueError, match="trains a Reversible"):
        objective.ReversibleTransportConfig().build(torch.nn.Linear(1, 1))


def test_matching_draws_the_codes_to_the_prior():
    """Thirty seconds' worth: two-sample energy between codes and prior falls below that of the reconstruct stage alone."""
    torch.set_default_dtype(torch.float32)
    generator = torch.Generator().manual_seed(0)
    basis = torch.randn(6, 3 * 64, generator=generator) * 0.2

    def batch(step):
        g = torch.Generator().manual_seed(seed_of(3, step))
        return Batch((torch.rand(64, 6, generator=g) @ basis).view(64, 3, 8, 8).clamp(-1, 1), None, step)

    def energy(match):
        made = model(dtype=torch.float32)
        built = objective.ReversibleMatchConfig(match=match, weight=5.0).build(made)
        optimizer = torch.optim.Adam(made.parameters(), 3e-3)
        for step in range(150):
            optimizer.zero_grad()
            built.phases()[0].total(batch(step))[0].backward()
            optimizer.step()
        with torch.no_grad():
            x = made.code(made.encode(torch.cat([batch(s).target for s in range(900, 908)])))
        y, z = torch.randn(len(x), 5, generator=generator), torch.randn(len(x), 5, generator=generator)
        return (2 * torch.cdist(x, y).mean() - torch.cdist(x, x).mean() - torch.cdist(y, z).mean()).item()

    assert energy("swd") < 0.3 * energy("none")


@pytest.mark.parametrize(("match", "whiten", "white"), [("none", True, False), ("hinge", True, True), ("hinge", False, False)])
def test_only_a_match_whitens(match, whiten, white):
    made = model()
    built = objective.ReversibleMatchConfig(match=match, whiten=whiten, critic=(4, 4), survey=30).build(made)
    torch.manual_seed(0)
    data = [batch_of(made, 10) for _ in range(6)]
    built.begin(iter(data))
    assert bool((made.colour != torch.eye(5)).any()) == white
