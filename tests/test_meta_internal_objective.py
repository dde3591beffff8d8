"""What one step of meta internal learning minimises, written out for each picture."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from predella.image.pyramid import pyramid, scale_sizes
from predella.losses.texture import Texture
from predella.models.classifier import texture_maps
from predella.models.meta_internal import MetaInternal
from predella.objectives.classifier import ClassifierObjectiveConfig
from predella.objectives.meta_internal import MetaInternalObjectiveConfig
from predella.recipes.meta_internal import meta_internal_dataset, meta_internal_photos
from test_meta_internal import TINY, batch_of

SIZES = (18, 24), (24, 16), (18, 24)


def built(scale=1, **fields):
    torch.manual_seed(0)
    objective = MetaInternalObjectiveConfig(scale=scale, **fields).build(MetaInternal(TINY))
    data = batch_of(*SIZES)
    objective.begin(iter([data] * 3))
    return objective, data


def each(objective, data):
    """(picture's pyramid up to the scale, its sample, its embedding, its critic) one after another, in the batch's order."""
    model, seeds = objective.model, torch.randint(2**62, (3,), generator=data.generator()).tolist()
    for i, (height, width) in enumerate(SIZES):
        picture = data.target[i : i + 1, :, :height, :width]
        sizes = scale_sizes((height, width), model.edges[: objective.scale + 1])
        embedding = model.embed(picture)
        theta = [model.weights(embedding, s) for s in range(objective.scale + 1)]
        sample = model.generate(theta, model.draw(1, sizes, torch.Generator().manual_seed(seeds[i])), sizes)[-1]
        own = objective.critic.weights(objective.critic.encoder(model.square(picture)))
        yield pyramid(picture, sizes), sample, theta, own, seeds[i]


def slope(critic, own, x):
    x = x.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(critic(own, x).sum(), x)
    return gradient.square().sum(1)  # (1, H, W): squared norm over the channels


@pytest.mark.parametrize("penalty", ["real", "between"])
def test_the_critics_losses_are_equations_13_and_14(penalty):
    objective, data = built(penalty=penalty)
    wanted = {"real": 0.0, "fake": 0.0, "lip": 0.0}
    for levels, sample, _, own, seed in each(objective, data):
        real, sample = levels[-1], sample.detach()
        wanted["real"] -= objective.critic(own, real).mean() / 3
        wanted["fake"] += objective.critic(own, sample).mean() / 3
        if penalty == "real":
            off = slope(objective.critic, own, real)
        else:
            t = torch.rand(1, 1, 1, 1, generator=torch.Generator().manual_seed(seed ^ 3))
            off = (slope(objective.critic, own, real + t * (sample - real)).sqrt() - 1).square()
        wanted["lip"] += off.mean() / 3
    found = objective.critic_losses(data)
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value)
    assert objective.phases()[1].weights == {"real": 1.0, "fake": 1.0, "lip": 0.1}


@pytest.mark.parametrize("accumulate", [True, False])
def test_the_generators_losses_are_equations_13_and_15(accumulate):
    objective, data = built(accumulate=accumulate)
    adversarial = reconstruction = 0.0
    for levels, sample, theta, own, _ in each(objective, data):
        adversarial -= objective.critic(own, sample).mean() / 3
        made = objective.model.reconstruct(theta, [tuple(x.shape[-2:]) for x in levels])
        off = [(a - b).square().mean() for a, b in zip(made, levels)]
        reconstruction += (sum(off) / len(off) if accumulate else off[-1]) / 3
    found = objective.generator_losses(data)
    torch.testing.assert_close(found["adversarial"], adversarial)
    torch.testing.assert_close(found["reconstruction"], reconstruction)
    assert objective.phases()[0].weights == {"adversarial": 1.0, "reconstruction": 50.0}


def test_noise_is_as_strong_as_what_the_reconstruction_leaves_out():
    objective, data = built(scale=2)
    left = torch.zeros(3)
    for levels, _, theta, _, _ in each(objective, data):
        made = objective.model.reconstruct(theta, [tuple(x.shape[-2:]) for x in levels])
        for i in (1, 2):
            up = F.interpolate(made[i - 1], levels[i].shape[-2:], mode="bilinear", align_corners=True)
            left[i] += (levels[i] - up).square().mean().detach() / 3
    torch.testing.assert_close(objective.model.amplitudes, torch.tensor([1.0, left[1].sqrt(), left[2].sqrt()]))


def test_real_fake_and_reconstruction_are_seen_in_windows_of_their_own():
    objective, data = built(scale=2, window=9)
    seen = {p: [objective._window((18, 24), replace(data, seed=1000 * s), p) for s in range(20)] for p in (1, 2, 3)}
    assert all(seen[a] != seen[b] for a, b in ((1, 2), (1, 3), (2, 3)))
    asked = []
    objective._window = lambda size, batch, purpose: asked.append(purpose)
    objective.generator_losses(data)
    assert set(asked) == {1, 3}
    objective.critic_losses(data)
    assert set(asked) == {1, 2, 3}


def test_batch_norm_sees_all_pictures_of_a_step_whatever_their_sizes():
    torch.manual_seed(0)
    objective = MetaInternalObjectiveConfig(scale=0).build(MetaInternal(replace(TINY, embed="resnet34")).train())
    data = batch_of(*SIZES)
    squares = [MetaInternal.square(data.target[i : i + 1, :, :h, :w]) for i, (h, w) in enumerate(SIZES)]
    torch.testing.assert_close(objective._embedding(data), objective.model.encoder(torch.cat(squares)))
    torch.testing.assert_close(objective._looked_at(data), objective.critic.encoder(torch.cat(squares)))


def test_generating_may_start_at_any_scale():
    torch.manual_seed(0)
    model = MetaInternal(TINY)
    theta, sizes = model.all_weights(model.embed(torch.rand(2, 3, 18, 24))), model.sizes((18, 24))
    noise = model.draw(2, sizes, torch.Generator().manual_seed(0))
    whole = model.generate(theta, noise, sizes)
    later = model.generate(theta, noise, sizes, 1, whole[0])
    assert len(later) == 2
    torch.testing.assert_close(later, whole[1:])
    assert len(model.generate(theta[:2], noise, sizes)) == 2
    for wrong in ((theta, noise[1:], sizes), (theta, noise[:2], sizes[:2]), (theta, noise, sizes, 1), (theta, noise, sizes, 0, whole[0])):
        with pytest.raises(ValueError, match="want as many noises"):
            model.generate(*wrong)


@pytest.mark.parametrize("together", [False, True])
def test_textures_of_samples_are_compared_at_the_scales_that_learn(together):
    objective, data = built(2, adversarial=0.0, texture=0.5, together=together)
    model, maps, wanted = objective.model, texture_maps(), 0.0
    for i, (height, width) in enumerate(SIZES):
        picture = data.target[i : i + 1, :, :height, :width]
        seed = torch.randint(2**62, (3,), generator=data.generator()).tolist()[i]
        sizes = scale_sizes((height, width), model.edges)
        theta = model.all_weights(model.embed(picture))
        made = model.generate(theta, model.draw(1, sizes, torch.Generator().manual_seed(seed)), sizes)
        for scale in (0, 1, 2) if together else (2,):
            texture = Texture(pyramid(picture, sizes)[scale], maps)
            wanted += texture(made[scale], torch.Generator().manual_seed(seed ^ 5)).log1p() / (9 if together else 3)
    found = objective.generator_losses(data)
    assert found.keys() == {"reconstruction", "texture"}
    torch.testing.assert_close(found["texture"], wanted)
    (phase,) = objective.phases()
    assert phase.weights == {"reconstruction": 50.0, "texture": 0.5} and objective.parts.keys() == {"model"}
    assert sum(module in phase.trains for module in model.heads) == (3 if together else 1)


def test_scales_that_are_trained_together_are_told_nothing_by_those_above():
    """By textures; a reconstruction is one chain."""
    objective, data = built(2, adversarial=0.0, texture=1.0, reconstruction=0.0, together=True)
    theta = objective._weights(objective._embedding(data), True)
    (group, *_) = objective._fakes(data, theta)
    lowest = theta[0]["0.weight"]
    assert torch.autograd.grad(group[0].sum(), lowest, retain_graph=True)[0].any()
    assert torch.autograd.grad(group[1].sum(), lowest, allow_unused=True)[0] is None
    objective.generator_losses(data)["texture"].backward()
    assert all(any(p.grad is not None and p.grad.any() for p in heads.parameters()) for heads in objective.model.heads)


def test_a_calm_picture_does_not_drown_the_others():
    """Its patches are whitened by little, so a distance from them is large, but not its part in a step."""
    torch.manual_seed(0)
    flat, rich = torch.zeros(1, 3, 18, 24), torch.rand(1, 3, 18, 24) * 2 - 1
    objective = MetaInternalObjectiveConfig(scale=2, adversarial=0.0, texture=1.0).build(MetaInternal(TINY))
    parts = []
    for picture in (flat, rich):
        made = torch.full((1, 3, 18, 24), 0.1).normal_(0, 0.3).requires_grad_()
        objective._textures([picture], [made], [0]).backward()
        assert made.grad is not None
        parts.append(made.grad.norm())
    squared = Texture(flat)(made.detach().requires_grad_(), torch.Generator().manual_seed(0))
    assert squared > 1000 and parts[0] < 4 * parts[1]


def test_heads_that_are_trained_together_begin_as_they_are():
    torch.manual_seed(0)
    model = MetaInternal(TINY)
    before = {k: v.clone() for k, v in model.heads[2].state_dict().items()}
    fields = {"adversarial": 0.0, "texture": 1.0}
    MetaInternalObjectiveConfig(scale=2, together=True, **fields).build(model).begin(iter([batch_of(*SIZES)] * 3))
    assert all(torch.equal(v, before[k]) for k, v in model.heads[2].state_dict().items()) and int(model.grown) == 3


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"adversarial": 0.0}, "nothing says what samples should look like"),
        ({"texture": 1.0, "window": 8}, "set window to 0 \\(got 8\\)"),
        ({"texture": 1.0, "together": True}, "set adversarial to 0"),
        ({"texture": 1.0, "together": True, "adversarial": 0.0, "accumulate": False}, "set accumulate to true"),
        ({"texture": -1.0}, "texture must be 0 or more, got -1"),
    ],
)
def test_objectives_that_contradict_themselves_are_refused(fields, says):
    with pytest.raises(ValueError, match=says):
        MetaInternalObjectiveConfig(scale=0, **fields)


def test_scales_come_in_order_and_may_be_trained_together():
    recipe = meta_internal_photos()
    assert [(s.objective.scale, s.objective.together) for s in recipe.stages] == [*[(i, False) for i in range(4)], (4, True)]
    replace(recipe, stages=recipe.stages[4:])  # from the first step on
    alone = replace(recipe.stages[4], name="again", objective=replace(recipe.stages[4].objective, together=False))
    with pytest.raises(ValueError, match=r"in order, and all of them if together, got \[0, 1, 2, 3, 4, 4\]"):
        replace(recipe, stages=(*recipe.stages, alone))
    lower = replace(recipe.stages[4], name="again", objective=replace(recipe.stages[4].objective, scale=2))
    with pytest.raises(ValueError, match=r"if together, got \[0, 1, 2, 3, 4, 2\]"):
        replace(recipe, stages=(*recipe.stages, lower))
    foreign = replace(recipe.stages[4], objective=ClassifierObjectiveConfig())
    with pytest.raises(ValueError, match="trained by meta_internal alone"):
        replace(recipe, stages=(*recipe.stages[:4], foreign))


def test_a_critic_goes_on_or_ends():
    recipe = meta_internal_dataset()
    change = lambda stage, **fields: replace(stage, objective=replace(stage.objective, **fields))  # noqa: E731
    without = {"adversarial": 0.0, "texture": 0.25}
    first, second, *rest = recipe.stages
    replace(recipe, stages=(first, second, *(change(s, critic="shared", **without) for s in rest)))
    with pytest.raises(ValueError, match="after one without it there is none"):
        replace(recipe, stages=(first, change(second, **without), *rest))
    with pytest.raises(ValueError, match="alike in all of them"):
        replace(recipe, stages=(first, change(second, critic="shared"), *rest))


def test_a_critic_may_stand_beside_textures():
    objective, data = built(2, texture=0.5)
    found = objective.generator_losses(data)
    assert found.keys() == {"adversarial", "reconstruction", "texture"}
    generator, critic = objective.phases()
    assert generator.weights == {"adversarial": 1.0, "reconstruction": 50.0, "texture": 0.5}
    (last, fakes) = objective._last
    assert last is data and sum(len(x) for x in fakes) == len(data.target)
    assert objective.critic_losses(data).keys() == critic.weights.keys()
    silent = MetaInternalObjectiveConfig(scale=2, adversarial=0.0, texture=0.5).build(objective.model)
    silent.follow(objective)
    objective.follow(silent)  # neither has what the other could take
    silent.generator_losses(data)
    assert silent._last == (None, [])


def test_noise_is_never_stronger_than_the_detail_it_stands_for():
    torch.manual_seed(0)
    model = MetaInternal(replace(TINY, noise="picture"))
    objective = MetaInternalObjectiveConfig(scale=2).build(model)
    objective.begin(iter([batch_of(*SIZES)] * 3))  # an untrained model, whose reconstruction is far off
    assert model.amplitudes[1:].tolist() == [1.0, 1.0]
    together = MetaInternalObjectiveConfig(scale=2, adversarial=0.0, texture=1.0, together=True).build(model)
    model.amplitudes.copy_(torch.tensor([1.0, 0.5, 0.25]))
    together.end(iter([batch_of(*SIZES)] * 3))
    assert model.amplitudes.tolist() == [1.0, 0.5, 0.25]


def test_samples_of_other_noise_come_closer_by_textures():
    torch.manual_seed(0)
    objective = MetaInternalObjectiveConfig(scale=2, adversarial=0.0, texture=1.0, together=True).build(MetaInternal(TINY))
    data, other = batch_of(*SIZES), replace(batch_of(*SIZES), seed=99)
    objective.begin(iter([data] * 3))
    before = objective.generator_losses(other)
    optimizer = torch.optim.Adam([p for m in objective.phases()[0].trains for p in m.parameters()], 2e-3)
    for step in range(60):
        terms = objective.generator_losses(replace(data, seed=step))
        optimizer.zero_grad()
        (terms["texture"] + 10 * terms["reconstruction"]).backward()
        optimizer.step()
    after = objective.generator_losses(other)
    assert after["texture"] < 0.6 * before["texture"] and after["reconstruction"] < 0.8 * before["reconstruction"]
