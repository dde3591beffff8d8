"""Implicit maximum likelihood on the tower: the nearest of the drawn candidates is trained, pools are replayed, runs resume."""

import math
from dataclasses import replace
from itertools import islice

import pytest
import torch

from predella.image.resize import fitted
from predella.models.tower import Tower
from predella.objectives.tower import TowerObjectiveConfig
from predella.recipe import override
from predella.recipes import find_recipe
from predella.run import start
from predella.tasks.base import Batch
from test_tower import TINY, tower

CONFIG = TowerObjectiveConfig(samples=(5, 4), pool=3, replay=2, block=2, distance="pixels")
WRONG = (1.0,), (1.0, 0.0), (-1.0, 1.0), (math.nan, 1.0), (1.0, math.inf)  # weights


def batch(seed=1, count=2):
    generator = torch.Generator().manual_seed(seed)
    target = torch.rand(count, 3, 8, 8, generator=generator).double() * 2 - 1
    return Batch(target, target * 0.5, seed)


def since(number):
    while True:
        yield batch(seed=number)
        number += 1


def far(built, answers, target, level):
    return (answers[level] - fitted(target, tuple(answers[level].shape[-2:]))).square().flatten(1).mean(1)


def test_hierarchical_choice_is_greedy_over_its_own_draws():
    built = CONFIG.build(tower())
    data = batch()
    codes, distance = built.choose(data)
    for level, count in enumerate((5, 4)):
        draws = drawn(built, data, level, count)
        tried = [built.model(data.condition, [*codes[:level], draws[:, k]]) for k in range(count)]
        each = torch.stack([far(built, t, data.target, level) for t in tried], 1)
        torch.testing.assert_close(codes[level], draws[torch.arange(2), each.argmin(1)])
    answers = built.model(data.condition, codes)
    torch.testing.assert_close(distance, far(built, answers, data.target, 1))


def drawn(built, data, level, count):
    """(B, count, D): the candidates of each item, one after another."""
    dims = built.model.code_dims(level, (8, 8))
    return torch.stack([torch.cat([torch.randn(1, dims, generator=g[level]) for _ in range(count)]) for g in data.generators(2)]).double()


def test_projected_features_choose_nearly_the_same():
    data, whole = batch(count=8), replace(CONFIG, samples=(8, 8), block=8)
    exact = whole.build(tower()).choose(data)[0]
    many = replace(whole, project=20_000).build(tower()).choose(data)[0]
    assert torch.equal(exact[0], many[0]) and torch.equal(exact[1], many[1])  # hardly a number shares its sum with another
    few = replace(whole, project=1).build(tower()).choose(data)[0]
    assert not torch.equal(exact[0], few[0])


@pytest.mark.parametrize("weights", [(), (0.01, 1.0)])
def test_vanilla_choice_is_the_best_whole(weights):
    built = replace(CONFIG, sampling="vanilla", block=5, weights=weights).build(tower())
    data = batch()
    codes, distance = built.choose(data)
    draws = [drawn(built, data, level, 5) for level in range(2)]
    wholes = [built.model(data.condition, [d[:, k] for d in draws]) for k in range(5)]
    scales = weights or (1.0, 1.0)
    each = torch.stack([sum(scales[level] * far(built, w, data.target, level) for level in range(2)) for w in wholes], 1)
    torch.testing.assert_close(distance, each.min(1).values)
    for code, draw in zip(codes, draws):
        assert torch.equal(code, draw[torch.arange(2), each.argmin(1)])


def test_losses_are_the_distances_at_each_level():
    built = CONFIG.build(tower())
    data = batch()
    codes, _ = built.choose(data)
    data = replace(data, codes=tuple(codes))
    answers = built.model(data.condition, codes)
    losses = built.losses(data)
    assert set(losses) == {"level_0", "level_1"} == set(built.phases()[0].weights)
    for level in range(2):
        torch.testing.assert_close(losses[f"level_{level}"], far(built, answers, data.target, level).mean())
    weighted = replace(CONFIG, weights=(0.25, 1.0)).build(built.model)
    assert weighted.phases()[0].weights == {"level_0": 0.25, "level_1": 1.0}
    last = replace(CONFIG, supervise="last", sampling="vanilla").build(built.model)
    assert set(last.losses(data)) == {"level_1"} == set(last.phases()[0].weights)


def test_a_pool_is_replayed_with_its_codes_and_the_next_has_new_ones():
    built = CONFIG.build(tower())
    asked = []

    def asking(number):
        asked.append(number)
        return since(number)

    stream = built.stream(asking, 12)
    seen = [next(stream) for _ in range(12)]
    assert asked == [6] and built.pause == 6  # two pools of three batches, each batch twice
    for first, seeds in ((0, {6, 7, 8}), (6, {9, 10, 11})):
        pool = seen[first : first + 6]
        assert sorted(b.seed for b in pool) == sorted([*seeds, *seeds]) and {b.seed for b in pool[:3]} == seeds
        for b in pool:
            others = [o for o in pool if o.seed == b.seed]
            assert len(others) == 2 and all(torch.equal(x, y) for o in others for x, y in zip(b.codes, o.codes))


def test_each_replay_has_an_order_of_its_own():
    built = replace(CONFIG, pool=8, replay=2).build(tower())
    seeds = [b.seed for b in islice(built.stream(since, 0), 32)]
    orders = [[s % 8 for s in seeds[i : i + 8]] for i in range(0, 32, 8)]
    assert all(sorted(o) == list(range(8)) for o in orders) and len({tuple(o) for o in orders}) == 4


def test_observed_features_are_kept_for_the_replays_or_computed_again(monkeypatch):
    built = CONFIG.build(tower())
    kept = next(built.stream(since, 0))
    with monkeypatch.context() as patch:
        patch.setattr("predella.objectives.tower.KEPT", 0)
        again = next(built.stream(since, 0))
    assert [w.shape[0] for w in kept.wanted] == [2, 2] and not again.wanted
    assert all(torch.equal(a, b) for a, b in zip(kept.codes, again.codes))
    for level, loss in built.losses(kept).items():
        assert torch.equal(loss, built.losses(again)[level])
    other = replace(kept, wanted=tuple(w + 1 for w in kept.wanted))  # they are what is compared with
    assert all(loss > built.losses(kept)[level] for level, loss in built.losses(other).items())


def test_processes_choose_what_one_would():
    built = CONFIG.build(tower())
    whole = batch(count=4)
    codes, _ = built.choose(whole)
    for process in range(2):
        part = replace(whole, target=whole.target.chunk(2)[process], condition=whole.condition.chunk(2)[process], part=(process, 2))
        own, _ = built.choose(part)
        for a, b in zip(own, codes):
            torch.testing.assert_close(a, b.chunk(2)[process])


def test_resume_is_bit_for_bit(tmp_path):
    torch.set_default_dtype(torch.float32)
    recipe = find_recipe("tower_jpeg")(smoke=True)
    (stage,) = recipe.stages
    constant = replace(recipe, stages=(replace(stage, optim={"generator": replace(stage.optim["generator"], schedule="constant")}),))
    short = replace(constant, stages=(replace(constant.stages[0], steps=6),))
    whole = start(constant, tmp_path / "a", "test", cpu=True)
    start(short, tmp_path / "b", "test", cpu=True)
    again = start(constant, tmp_path / "b", "test", cpu=True, resume=True)
    for (name, a), b in zip(whole.state_dict().items(), again.state_dict().values()):
        assert torch.equal(a, b), name


@pytest.mark.parametrize(("samples", "regression", "covers"), [((8, 4), False, True), ((1, 1), False, False), ((1, 1), True, False)])
def test_the_nearest_of_many_covers_what_a_regression_averages(samples, regression, covers):
    """One condition, targets of all +0.6 or all -0.6: two modes. A random sample that is trained, or none, answers with the mean."""
    torch.set_default_dtype(torch.float32)
    made = tower(replace(TINY, regression=regression)).float()
    built = replace(CONFIG, samples=samples, block=8, pool=1, replay=1).build(made)
    optimizer = torch.optim.Adam(made.parameters(), 3e-3)
    for seed in range(200):
        sign = torch.randint(2, (8, 1, 1, 1), generator=torch.Generator().manual_seed(seed)) * 2.0 - 1
        data = Batch((0.6 * sign).expand(8, 3, 8, 8), torch.zeros(8, 3, 8, 8), seed)
        optimizer.zero_grad()
        sum(built.losses(built._chosen(data)).values()).backward()
        optimizer.step()
    with torch.no_grad():
        answers = made(torch.zeros(64, 3, 8, 8), made.draw(64, (8, 8), torch.Generator().manual_seed(1)), (8, 8))[-1].mean((1, 2, 3))
    shares = [((answers - mode).abs() < 0.2).float().mean().item() for mode in (0.6, -0.6)]
    assert min(shares) > 0.25 if covers else max(shares) == 0 and answers.abs().mean() < 0.1


def test_more_candidates_come_no_farther():
    """The first m of 2m candidates are the m: the nearest of more is never farther."""
    near = [replace(CONFIG, samples=(m,) * 2, sampling="vanilla").build(tower()).choose(batch(count=4))[1] for m in (2, 8, 9, 32)]
    assert all((more <= fewer).all() for fewer, more in zip(near, near[1:])) and (near[-1] < near[0]).all()


@pytest.mark.parametrize("sampling", ["hierarchical", "vanilla"])
def test_candidates_in_memory_change_nothing_else(sampling):
    one, two = (replace(CONFIG, samples=(7, 7), sampling=sampling, block=b).build(tower()).choose(batch())[0] for b in (2, 7))
    assert all(torch.equal(a, b) for a, b in zip(one, two))


def test_lower_levels_are_chosen_by_something():
    with pytest.raises(ValueError, match="supervise 'last' gives the lower levels nothing to be chosen by"):
        replace(CONFIG, supervise="last")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: replace(CONFIG, samples=(5,)).build(tower()), "one number for each of the 2 levels"),
        (lambda: CONFIG.build(torch.nn.Linear(1, 1)), "trains a Tower"),
        (lambda: replace(CONFIG, pool=0), "at least 1"),
        (lambda: replace(CONFIG, samples=()), "at least 1"),
        *((lambda w=w: replace(CONFIG, weights=w), "2 levels want 2 weights, each 0 or more") for w in WRONG),
        (
            lambda: replace(CONFIG, weights=(1.0, 2.0), sampling="vanilla", supervise="last"),
            "weights are for levels that are all supervised",
        ),
        (lambda: replace(CONFIG, project=-1), "project must be 0 or more"),
        (lambda: CONFIG.build(tower(TINY)).losses(Batch(torch.zeros(1, 3, 8, 8))), "answers to a condition"),
    ],
)
def test_wrong_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_missing_weights_name_the_distance_that_needs_none(tmp_path, monkeypatch):
    from predella.errors import UserError
    from predella.objectives.perceptual import perceptual

    monkeypatch.setenv("PREDELLA_WEIGHTS", str(tmp_path))
    with pytest.raises(UserError, match=r"no weights of vgg16; put vgg16.* \(from https.*cifar_classifier, which needs no"):
        perceptual("vgg16")


def test_the_shipped_features_see_structure():
    """A photo is at 0, hardly changed it is near, moved by two pixels it is nearer than its mean colour; tiny images are compared too."""
    from predella.data.images import Source
    from predella.image.contract import from_uint8
    from predella.objectives.perceptual import perceptual

    torch.set_default_dtype(torch.float32)
    distance = perceptual("cifar_classifier")
    photo = from_uint8(Source(paths=("photos",)).open()[0])[None, :, :66, :66]
    x, moved = photo[..., :64, :64], photo[..., 2:, 2:]
    error = (moved - x).square().mean().sqrt()
    noisy = x + error * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    assert distance(x, x).item() == 0 and distance.embed(x[..., :4, :4]).isfinite().all()
    assert 0 < distance(x, x + 0.01).item() < 0.1 * distance(x, noisy).item()
    flat = x.mean((2, 3), keepdim=True).expand_as(x)
    assert distance(x, moved).item() < distance(x, flat).item()


def test_the_distance_follows_the_images_to_their_device():
    """As on an accelerator: parts are moved by the trainer, the distance is no part."""
    torch.set_default_dtype(torch.float32)
    recipe = find_recipe("tower_jpeg")()
    built = recipe.stages[0].objective.build(Tower(recipe.model))
    for part in built.parts.values():
        part.to("meta")
    images = torch.zeros(2, 3, 64, 64, device="meta")
    codes = tuple(c.to("meta") for c in built.model.draw(2, (64, 64), torch.Generator()))
    losses = built.losses(Batch(images, images, 1, codes=codes))
    assert all(v.device.type == "meta" for v in losses.values())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stages.0.steps": "7"}, "7 steps; its objective needs a multiple of 6"),
        ({"task.edge": "8"}, "needs answers of more than 8×8 pixels, got 8×8"),
    ],
)
def test_what_cannot_be_trained_leaves_a_run_as_it_was(tmp_path, caplog, changes, message):
    torch.set_default_dtype(torch.float32)
    with caplog.at_level("INFO"):
        start(find_recipe("tower_jpeg")(smoke=True), tmp_path / "r", "test", cpu=True)
    assert [m for m in caplog.messages if "choosing" in m] == ["step 0/12 · choosing codes for 3 batches, as before every 6 steps"]
    before = {p.name: p.read_bytes() for p in (tmp_path / "r").iterdir() if p.is_file()}
    with pytest.raises(ValueError, match=message):
        start(override(find_recipe("tower_jpeg")(smoke=True), changes), tmp_path / "r", "test", force=True, cpu=True)
    assert before == {p.name: p.read_bytes() for p in (tmp_path / "r").iterdir() if p.is_file()}
