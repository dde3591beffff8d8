"""The tower: levels that build on each other, counts of the paper, codes that matter."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from predella.image.color import rgb_to_lab
from predella.image.resize import fitted, resize
from predella.models.base import load
from predella.models.tower import State, Tower, TowerConfig, TowerLevel
from predella.nn.residual import RRDB, MappingNetwork, Style
from predella.recipes import find_recipe, tower_variants
from predella.recipes import tower as tower_recipes

TINY = TowerConfig(
    levels=(TowerLevel(width=6, growth=4, blocks=1), TowerLevel(width=4, growth=3, blocks=2)), code=5, spatial=2, hidden=8, layers=2
)
PAPER = TowerConfig(levels=tower_variants.PAPER, hidden=512, layers=8)


def tower(config=TINY):
    torch.manual_seed(0)
    return Tower(config).double()


def inputs(made, count=3, size=(8, 12)):
    generator = torch.Generator().manual_seed(0)
    condition = torch.rand(count, made.config.condition, *size, generator=generator).double() * 2 - 1
    return condition, [c.double() for c in made.draw(count, size, generator)], size


def test_the_papers_tower_has_its_parameters():
    with torch.device("meta"):
        made = Tower(PAPER)
    assert sum(p.numel() for p in made.parameters()) == pytest.approx(209e6, rel=0.002)


def test_recipes_by_name():
    paper = {name: find_recipe(f"tower_{name}_paper")() for name in ("sr16", "color", "jpeg", "layout")}
    for name, recipe in paper.items():
        with torch.device("meta"):
            count = sum(p.numel() for p in Tower(recipe.model).parameters())
        assert count == pytest.approx(209e6, rel=0.005), name
        assert recipe.task.crop(torch.Generator()) == 256
    for base in tower_recipes.RECIPES.values():
        small = base()
        with torch.device("meta"):
            count = sum(p.numel() for p in Tower(small.model).parameters())
            twin = sum(p.numel() for p in Tower(find_recipe(f"{small.name}_cimle")().model).parameters())
            single = Tower(find_recipe(f"{small.name}_cimle_single")().model)
        assert len(single.levels) == 1 and sum(p.numel() for p in single.parameters()) == pytest.approx(count, rel=0.02)
        assert 0.4e6 < count < 5e6 and twin == count
        evaluations = sum(small.stages[0].objective.samples)
        for variant in ("cimle", "no_hs", "no_hs_mn", "no_hs_mn_is", "no_hs_mn_is_wn"):
            chosen = find_recipe(f"{small.name}_{variant}")().stages[0].objective
            assert chosen.sampling == "vanilla" and evaluations <= sum(chosen.samples) < evaluations + len(chosen.samples)
        assert find_recipe(f"{small.name}_cimle")().stages[0].objective.supervise == "last"
        assert find_recipe(f"{small.name}_chimle")().model.styled_by == "all"
    for recipe in paper.values():
        (stage,) = recipe.stages
        assert stage.objective.samples == (120,) * 4 and stage.objective.pool * stage.batch_size == 400
        assert stage.steps == 20 * stage.objective.pool * stage.objective.replay
    objective = find_recipe("tower_jpeg_no_hs_mn_is")().stages[0].objective
    assert (objective.sampling, objective.supervise) == ("vanilla", "last")
    model = find_recipe("tower_jpeg_no_hs_mn_is_wn")().model
    assert model.layers == 0 and not model.weight_norm and find_recipe("tower_jpeg_no_hs_mn")().model.weight_norm


def test_one_scale_answers_at_any_size():
    made = tower(replace(TINY, levels=(TINY.levels[0],), layers=0, doublings=4))
    condition, codes, size = inputs(made, size=(32, 48))
    assert codes[0].shape == (3, TINY.code + TINY.spatial * 2 * 3)
    (whole,) = made(condition, codes)
    (enlarged,) = made(fitted(condition, (2, 3)), codes, size)
    assert whole.shape == (3, 3, 32, 48)
    torch.testing.assert_close(enlarged, whole)  # the network sees its own scale alone
    with pytest.raises(ValueError, match="doublings must be 1, or more for one level alone, got 2 for 2"):
        replace(TINY, doublings=2)


def test_answers_may_start_from_their_condition():
    made = tower(replace(TINY, skip=True))
    condition, codes, size = inputs(made)
    with torch.no_grad():
        for level in made.levels:
            level.answer[-1].parametrizations.weight.original0.zero_()
            level.answer[-1].bias.zero_()
    small, large = made(condition, codes)
    torch.testing.assert_close(large, condition.clamp(-0.98, 0.98))
    torch.testing.assert_close(small, fitted(condition, (4, 6)).clamp(-0.98, 0.98))
    enlarged = made(condition, [c.to(condition) for c in made.draw(len(condition), (16, 24), torch.Generator())], (16, 24))[-1]
    torch.testing.assert_close(enlarged, resize(condition, (16, 24)).clamp(-0.98, 0.98))
    with pytest.raises(ValueError, match="skip adds to a condition like the answer"):
        TowerConfig(skip=True, condition=12)


def test_regression_has_one_answer():
    made = tower(replace(TINY, regression=True))
    condition, codes, size = inputs(made)
    assert all(c.abs().max() == 0 for c in codes)
    again = made.draw(3, size, torch.Generator().manual_seed(5))
    assert torch.equal(made(condition, codes)[-1], made(condition, [c.double() for c in again])[-1])


@pytest.mark.parametrize(
    "change",
    [{}, {"layers": 0}, {"weight_norm": False}, {"styled_by": "all"}, {"channels": 2, "condition": 1}, {"condition": 1, "answer": "ab"}],
)
def test_each_level_answers_at_twice_the_size_below(change):
    made = tower(replace(TINY, **change))
    condition, codes, size = inputs(made)
    answers = made(condition, codes)
    assert [tuple(a.shape) for a in answers] == [(3, made.config.channels, 4, 6), (3, made.config.channels, 8, 12)]
    assert all(a.abs().max() <= 1 for a in answers)
    (first,) = made(condition, codes[:1])
    assert torch.equal(first, answers[0])  # fewer codes ask for fewer levels, and change nothing below


@pytest.mark.parametrize("styled_by", ["own", "all"])
def test_a_prefix_serves_many_codes(styled_by):
    made = tower(replace(TINY, styled_by=styled_by))
    condition, codes, size = inputs(made)
    below = made.level(0, condition, codes[0], None, size)
    candidates = torch.randn(3, 4, codes[1].shape[1], dtype=torch.float64)
    many = made.level(1, condition.repeat_interleave(4, 0), candidates.flatten(0, 1), below.repeat(4), size).answer
    for k in range(4):
        torch.testing.assert_close(many.view(3, 4, *many.shape[1:])[:, k], made(condition, [codes[0], candidates[:, k]])[1])


def test_every_code_and_every_parameter_matters():
    made = tower()
    condition, codes, _ = inputs(made)
    codes = [c.requires_grad_() for c in codes]
    sum(a.square().sum() for a in made(condition, codes)).backward()
    for code in codes:
        vector, spatial = code.grad[:, :5], code.grad[:, 5:]
        assert (vector != 0).any(1).all() and (spatial != 0).any(1).all()
    assert all(p.grad is not None and (p.grad != 0).any() for p in made.parameters())


def test_without_a_mapping_network_the_vector_code_is_not_used():
    made = tower(replace(TINY, layers=0))
    condition, codes, _ = inputs(made)
    other = [torch.cat([c[:, :5] + 1, c[:, 5:]], 1) for c in codes]
    assert torch.equal(made(condition, codes)[1], made(condition, other)[1])


def test_chimles_styles_see_all_codes_up_to_their_level():
    """The second level's style changes with the first level's vector code even when its answer is held."""
    for styled_by, moves in (("own", False), ("all", True)):
        made = tower(replace(TINY, styled_by=styled_by))
        condition, codes, size = inputs(made)
        below = made.level(0, condition, codes[0], None, size)
        other = State(below.answer, below.features, (below.styles[0] + 1,))
        a, b = (made.level(1, condition, codes[1], s, size).answer for s in (below, other))
        assert torch.equal(a, b) != moves


def test_saved_and_loaded_towers_agree(tmp_path):
    made = tower()
    made.save_pretrained(tmp_path)
    condition, codes, _ = inputs(made)
    again = load(tmp_path)
    for a, b in zip(made(condition, codes), again(condition, codes)):
        torch.testing.assert_close(a, b)


def test_colours_keep_the_lightness_at_every_level():
    made = tower(replace(TINY, condition=1, answer="ab"))
    with torch.no_grad():
        for level in made.levels:
            level.answer[-1].bias.add_(torch.tensor([0.1, -0.1]))  # about 12 of 127, inside of sRGB where it is not dark
    condition, codes, size = inputs(made)
    condition = condition * 0.2 + 0.1
    for answer in made(condition, codes):
        expected = fitted(condition, tuple(answer.shape[-2:]))
        torch.testing.assert_close(rgb_to_lab(answer)[:, :1] / 50 - 1, expected, atol=1e-4, rtol=0)
        assert rgb_to_lab(answer)[:, 1:].abs().max() > 5


def test_conditions_fit_each_level():
    x = torch.arange(16.0).view(1, 1, 4, 4)
    assert fitted(x, (2, 2)).flatten().tolist() == [2.5, 4.5, 10.5, 12.5]
    assert torch.equal(fitted(x, (8, 8))[..., ::2, ::2], x) and fitted(x, (4, 4)) is x


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m, c, z: m(c, []), "takes 1…2 codes, got 0"),
        (lambda m, c, z: m(c, z + z), "got 4"),
        (lambda m, c, z: m(c[:, :2], z), r"must be \(B, 3, h, w\)"),
        (lambda m, c, z: m(c, z, (8, 10)), "divisible by 4, got 10×8"),
        (lambda m, c, z: m(c, [z[0], z[0]]), "code of level 1"),
        (lambda m, c, z: m(c, [z[0][:2]]), "code of level 0"),
        (lambda m, c, z: m(c, made_codes(m, (4, 4)), (4, 4)), "one position has no deviation"),
        (lambda m, c, z: replace(TINY, answer="ab"), "one channel of lightness"),
        (lambda m, c, z: replace(TINY, levels=()), "at least one level"),
        (lambda m, c, z: replace(TINY, code=0), "at least 1"),
        (lambda m, c, z: TowerLevel(blocks=0), "at least 1"),
        (lambda m, c, z: replace(TINY, styled_by="al"), "did you mean 'all'"),
    ],
)
def test_wrong_input(call, message):
    made = tower()
    condition, codes, _ = inputs(made)
    with pytest.raises(ValueError, match=message):
        call(made, condition, codes)


def made_codes(made, size):
    return [c.double() for c in made.draw(3, size, torch.Generator().manual_seed(0))]


def test_a_block_of_blocks_is_esrgans():
    torch.manual_seed(0)
    made, x = RRDB(3, 2, weight_normed=False).double(), torch.randn(2, 3, 5, 6).double()
    h = x
    for block in made.blocks:
        seen = [h]
        for conv in block.convs[:4]:
            y = F.conv2d(torch.cat(seen, 1), conv.weight, conv.bias, padding=1)
            seen.append(torch.where(y > 0, y, 0.2 * y))
        last = block.convs[4]
        h = h + 0.2 * F.conv2d(torch.cat(seen, 1), last.weight, last.bias, padding=1)
    torch.testing.assert_close(made(x), x + 0.2 * h)


def test_a_level_is_figure_4():
    made = tower(replace(TINY, weight_norm=False))
    condition, codes, _ = inputs(made)
    below = made.level(0, condition, codes[0], None, (8, 12))
    level, code, size = made.levels[1], codes[1], (4, 6)
    own, spatial = fitted(condition, size), code[:, 5:].view(3, 2, *size)
    first = level.head(torch.cat([own, spatial, below.answer, 0.1 * below.features], 1))
    h, style = first, level.mapping(code[:, :5])
    for block, modulate in zip(level.body, level.styles):
        h = modulate(block(h), style)
    up = level.up(F.interpolate(first + level.tail(h), scale_factor=2, mode="nearest"))
    wanted = level.answer(torch.where(up > 0, up, 0.2 * up)).tanh()
    torch.testing.assert_close(made(condition, codes)[1], wanted)


def test_a_task_of_ones_own_makes_a_recipe():
    """As docs/tower.md has it: no field is asked of a task but what `Task` says."""

    class Denoising:
        kind = "denoising"
        edge = property(lambda self: pytest.fail("a task need not have it"))

        def __init__(self, crop: int):
            self.crop = lambda generator: crop

    whole = find_recipe("tower_jpeg")()
    assert replace(whole, task=Denoising(32)).task.kind == "denoising"
    with pytest.raises(ValueError, match="must be divisible by 8, the tower's factor, got 30"):
        replace(whole, task=Denoising(30))
    edges = Denoising(32)
    edges.channels = 1  # of the condition, where the picture has others
    with pytest.raises(ValueError, match="Denoising gives 1 channels"):
        replace(whole, task=edges)
    assert replace(whole, task=edges, model=replace(whole.model, condition=1, skip=False)).model.condition == 1


def test_styles_in_numbers():
    """(1 + s) · InstanceNorm(x) + b (Karras et al. 2019, Eq. 1); codes count by their direction."""
    torch.manual_seed(0)
    style, x = Style(3, 2).double(), torch.randn(1, 2, 5, 5).double()
    torch.nn.init.zeros_(style.linear.weight)
    plain = F.instance_norm(x)
    torch.testing.assert_close(style(x, torch.ones(1, 3).double()), plain)
    style.linear.bias.data = torch.tensor([0.5, -2.0, 7.0, 9.0]).double()
    wanted = plain * torch.tensor([1.5, -1.0]).view(1, 2, 1, 1) + torch.tensor([7.0, 9.0]).view(1, 2, 1, 1)
    torch.testing.assert_close(style(x, torch.ones(1, 3).double()), wanted)
    mapping, code = MappingNetwork(6, 4, 2).double(), torch.randn(2, 6).double()
    torch.testing.assert_close(mapping(code), mapping(3 * code), rtol=1e-5, atol=1e-7)
    assert not torch.allclose(mapping(code), mapping(-code))
