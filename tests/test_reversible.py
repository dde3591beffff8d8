"""The reversible network: exact both ways, a prior on few dimensions, objectives that train only what they name."""

from dataclasses import replace

import pytest
import torch

from predella.models.reversible import COMPONENTS, ClassNormals, Level, Reversible, ReversibleConfig, StandardNormal
from predella.nn.bijections import AdditiveCoupling, Squeeze
from predella.objectives import reversible as objective
from predella.recipes import find_recipe

TINY = ReversibleConfig(size=8, levels=(Level(hidden=6), Level(hidden=6, kernel=1)), prior=StandardNormal(dims=5))
CLASSES = replace(TINY, channels=1, prior=ClassNormals(classes=3))


def model(config=TINY, dtype=torch.float64):
    torch.manual_seed(0)
    made = Reversible(config).to(dtype)
    if isinstance(config.prior, StandardNormal):
        made.choose(torch.rand(config.dims, generator=torch.Generator().manual_seed(1)))
    return made


def images(count=4, channels=3, edge=8, dtype=torch.float64):
    return torch.rand(count, channels, edge, edge, dtype=dtype) * 2 - 1


def test_the_papers_network_has_its_numbers():
    with torch.device("meta"):
        paper = Reversible()
    count = sum(p.numel() for p in paper.parameters())
    assert 59.5e6 < count < 61e6
    assert [m.streams for m in paper.chain if isinstance(m, Squeeze)] == [1, 2, 2, 2, 2, 2]
    blocks = sum(level.blocks for level in paper.config.levels)
    assert (len(paper.config.levels), blocks, paper.config.dims) == (6, 11, 12288)


def test_both_ways_are_exact_at_any_size_that_divides():
    made = model(dtype=torch.float32)
    for size in ((8, 8), (4, 12), (20, 16)):
        x = torch.rand(2, 3, *size) * 2 - 1
        z = made.encode(x.float())
        assert z.shape[1:] == made.latent_shape(*size) and z.numel() == x.numel()
        assert (made.decode(z) - x.float()).abs().max() < 2e-6


def test_flat_and_stored_memory_are_the_same_network():
    flat = model()
    stored = Reversible(replace(TINY, memory="stored")).double()
    stored.load_state_dict(flat.state_dict())
    results = []
    for made in (flat, stored):
        made(torch.ones(2, 3, 8, 8) * 0.3).square().sum().backward()
        results.append([p.grad for p in made.chain.parameters()])
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, atol=1e-10, rtol=1e-10)


def test_code_and_place_are_inverse_on_the_kept_dimensions():
    made = model()
    code = torch.randn(3, 5)
    z = made.place(code)
    torch.testing.assert_close(made.code(z), code)
    assert (z != 0).sum() == 15
    torch.testing.assert_close(made.restrict(z), z)
    assert made.restrict(z, clamp=0.5).abs().max() <= 0.5


def test_codes_are_not_rounded_in_mixed_precision(monkeypatch):
    """Nor are two kinds of numbers copied into each other, which fails on CUDA alone."""
    made, copy = model(dtype=torch.float32), torch.Tensor.index_copy
    assert made.described
    kinds = []
    monkeypatch.setattr(torch.Tensor, "index_copy", lambda x, axis, at, y: kinds.append((x.dtype, y.dtype)) or copy(x, axis, at, y))
    latent = torch.randn(3, *made.latent_shape(8, 8), dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        code = made.code(latent)
        assert torch.equal(made.code(made.place(code)), code) and code.dtype == torch.float32
    assert kinds == [(torch.float32, torch.float32)]


def test_the_dimensions_of_highest_deviation_are_kept():
    made = model()
    deviation = torch.zeros(TINY.dims)
    deviation[[3, 50, 7, 100, 191]] = torch.tensor([1.0, 2, 3, 4, 5])
    made.choose(deviation)
    assert made.kept.tolist() == [3, 7, 50, 100, 191]


def test_samples_follow_the_fitted_density():
    made = model()
    with pytest.raises(ValueError, match="fitted when training ends"):
        made.sample_code(4, torch.Generator(), "mixture")
    with torch.no_grad():
        made.gaussian.set_(torch.ones(1), torch.full((1, 5), 7.0), 1e-6 * torch.eye(5)[None])
        many = torch.ones(COMPONENTS)
        made.mixture.set_(many / COMPONENTS, many[:, None].expand(-1, 5) * -7, 1e-6 * torch.eye(5).expand(COMPONENTS, 5, 5))
    generator = torch.Generator().manual_seed(0)
    assert (made.sample_code(4, generator, "gaussian") - 7).abs().max() < 0.1
    assert (made.sample_code(4, generator, "mixture") + 7).abs().max() < 0.1
    assert made.sample_code(200, generator).mean().abs() < 0.3
    assert made.sample(2, generator, "gaussian").shape == (2, 3, 8, 8)


def test_the_same_seed_gives_the_same_samples():
    made = model()
    a, b, c = (made.sample(3, torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert torch.equal(a, b) and not torch.equal(a, c)


def test_class_samples_come_from_their_class():
    made = model(CLASSES)
    with torch.no_grad():
        made.mean[:] = torch.arange(3.0)[:, None] * 100
    z = made.sample_latent(torch.tensor([2, 0, 1]), torch.randn(3, CLASSES.dims))
    assert z.mean(1).div(100).round().tolist() == [2, 0, 1]


def test_interpolation_ends_are_the_reconstructions():
    made = model()
    a, b = images(1), images(1)
    full = made.interpolate(a, b, 4, "full")
    torch.testing.assert_close(full[0], a[0])
    torch.testing.assert_close(full[-1], b[0])
    torch.testing.assert_close(made.interpolate(a, b, 4)[0], made(a)[0])
    torch.testing.assert_close(made.interpolate(a, b, 3, "pixels")[1], (a + b)[0] / 2)


def apart():
    """Three classes whose means lie far from each other; the first uses dimension 5 most, the second dimension 7."""
    made = model(CLASSES)
    with torch.no_grad():
        made.mean[:] = 0.5 * torch.rand(3, CLASSES.dims).sub(0.5)
        made.log_deviation[:] = -5.0
        made.log_deviation[0, 5], made.log_deviation[1, 7] = 0.0, -1.0
    return made


def test_a_latent_has_the_class_it_was_drawn_from():
    made = apart()
    label = torch.arange(30) % 3
    z = made.sample_latent(label, torch.randn(30, CLASSES.dims)).view(30, *made.latent_shape(8, 8))
    assert torch.equal(made.likeliest(z), label)
    free = torch.nn.functional.one_hot(torch.tensor(5), CLASSES.dims).bool()  # all that class 0 uses
    first = made.restrict(z[:1]).flatten(1)
    assert torch.equal(first[:, ~free], made.mean[:1, ~free]) and torch.equal(first[:, free], z[:1].flatten(1)[:, free])


def test_the_likeliest_class_allows_for_the_perturbation():
    """A latent 0.02 from the mean of a class of hardly any deviation, and 0.03 from that of a wide one."""
    made = apart()
    with torch.no_grad():
        made.mean[:] = torch.tensor([0.0, 0.05, 9.0])[:, None]
        made.log_deviation[:] = torch.tensor([1e-5, 0.2, 0.2]).log()[:, None]
    assert made.likeliest(torch.full((1, *made.latent_shape(8, 8)), 0.02)).tolist() == [0]


def test_classes_vary_around_their_mean_by_their_deviation_along_dimensions_all_share():
    made = apart()
    for label, dim, deviation in ((0, 5, 1.0), (1, 5, torch.e**-5), (1, 7, torch.e**-1)):
        row = made.network(made.traverse(None, [(5, 7).index(dim)], steps=3, label=label)[0])[0].flatten(1)
        torch.testing.assert_close(row[1], made.mean[label], atol=1e-5, rtol=0)
        assert (row[2] - row[0]).abs().argmax() == dim and (row[2] - row[0])[dim].item() == pytest.approx(6 * deviation, rel=1e-4)
    image = made.decode(made.mean[1:2].view(1, *made.latent_shape(8, 8)))
    torch.testing.assert_close(made.traverse(image, [0], steps=3), made.traverse(None, [0], steps=3, label=1))


@pytest.mark.parametrize("config", [TINY, CLASSES])
def test_a_traversal_changes_one_dimension(config):
    made = model(config)
    label = None if config is TINY else 1
    rows = made.traverse(None, [0, 3], steps=3, label=label)
    assert rows.shape == (2, 3, config.channels, 8, 8)
    latents = [made.network(r)[0].flatten(1) for r in rows]
    changed = [(z[0] - z[2]).abs() > 1e-6 for z in latents]
    assert [int(c.sum()) for c in changed] == [1, 1] and not torch.equal(*changed)
    spread = [(z[2] - z[0]).abs().max().item() for z in latents]
    assert spread == pytest.approx([6, 6])  # -3 … +3 deviations of 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: m.encode(torch.zeros(1, 3, 7, 8)), "divisible by 4, got 8×7"),
        (lambda m: m.encode(torch.zeros(1, 1, 8, 8)), "3 channels, got 1"),
        (lambda m: m.decode(torch.zeros(1, 12, 4, 4)), "who encoded it"),
        (lambda m: m.code(torch.zeros(1, 48, 3, 3)), "describes 8×8 images"),
        (lambda m: m.traverse(None, [5]), "0…4, got 5"),
        (lambda m: m.traverse(None, [0], label=1), "no classes"),
        (lambda m: model(CLASSES).traverse(None, [0]), "a picture or a label"),
        (lambda m: model(CLASSES).traverse(None, [0], label=3), "0 to 2, got 3"),
        (lambda m: m.sample(2, torch.Generator(), label=torch.zeros(2, dtype=torch.int64)), "no classes"),
        (lambda m: m.sample(2, torch.Generator(), density="cauchy"), "density can't be 'cauchy'"),
        (lambda m: m.interpolate(images(1), images(1), 1), "at least 2"),
        (lambda m: m.interpolate(images(1), images(1), 3, "ful"), "space must be one of"),
        (lambda m: m.interpolate(images(1), torch.zeros(1, 3, 4, 8), 3), "one shape"),
        (lambda m: m.interpolate(images(2), images(2), 3), "one image"),
        (lambda m: m.traverse(images(2), [0]), "one image"),
        (lambda m: m.traverse(None, []), "need dims"),
        (lambda m: m.traverse(None, [0], steps=0), "at least 1 step"),
        (lambda m: m.restrict(torch.zeros(1, 48, 2, 2), clamp=-1.0), "clamp must be 0 or more"),
        (lambda m: model(CLASSES).restrict(torch.zeros(1, 16, 2, 2), clamp=1.0), "0 for a prior by class"),
        (lambda m: m.mixture.set_(torch.ones(1), torch.zeros(10, 5), torch.eye(5).repeat(10, 1, 1)), "as many weights"),
        (lambda m: replace(TINY, memory="flta"), "memory can't be 'flta'; did you mean 'flat'"),
        (lambda m: objective.ReversibleMatchConfig(match="hing"), "did you mean 'hinge'"),
        (lambda m: ClassNormals(epsilon=float("nan")), "epsilon positive"),
        (lambda m: m.sample(0, torch.Generator()), "count must be at least 1"),
        (lambda m: m.place(torch.zeros(2, 4)), "code of this model"),
        (lambda m: model(CLASSES).traverse(torch.zeros(1, 1, 16, 16), [0]), "describes 8×8 images"),
        (lambda m: ClassNormals(classes=0), "classes must be"),
        (lambda m: ClassNormals(epsilon=0.0), "epsilon positive"),
        (lambda m: replace(CLASSES, size=0), "positive and divisible"),
        (lambda m: replace(CLASSES, channels=0), "channels must be"),
        (lambda m: objective.ReversibleGANConfig(width=0), "width must be"),
        (lambda m: Reversible(replace(TINY, prior=StandardNormal(dims=193))), "192 dimensions, got 193"),
        (lambda m: Reversible(replace(TINY, size=6)), "divisible by 2"),
        (lambda m: Level(hidden=3, kernel=2), "odd kernel"),
        (lambda m: Reversible(TINY).code(torch.zeros(1, 48, 2, 2)), "not chosen yet"),
        (lambda m: model(CLASSES).sample(2, torch.Generator(), label=torch.tensor([0, 3])), "from 0 to 2"),
        (lambda m: model(CLASSES).sample(2, torch.Generator(), density="mixture"), "no 'mixture' density"),
        (lambda m: model(CLASSES).code(torch.zeros(1, 16, 2, 2)), "no shorter code"),
        (lambda m: m.restrict(torch.zeros(1, 48, 3, 2)), "describes 8×8 images"),
        (lambda m: objective.ReversibleMatchConfig(projections=0), "projections and critic"),
        (lambda m: objective.ReversibleMatchConfig(clamp=-1.0), "0 or more"),
        (lambda m: objective.ReversibleTransportConfig(survey=0), "survey"),
    ],
)
def test_wrong_input(call, message):
    with pytest.raises(ValueError, match=message):
        call(model())


@pytest.mark.parametrize("name", ["reversible_faces", "reversible_mnist_ot", "reversible_gan", "reversible_faces_paper"])
def test_recipes_build_what_they_say(name):
    recipe = find_recipe(name)(smoke=True)
    made = Reversible(recipe.model)
    for stage in recipe.stages:
        assert {p.name for p in stage.objective.build(made).phases()} == set(stage.optim)


def test_the_paper_network_is_the_paper_network():
    recipe = find_recipe("reversible_faces_paper")()
    assert (recipe.data.edge, recipe.model.size, [s.batch_size for s in recipe.stages]) == (64, 64, [250, 250])
    with torch.device("meta"):
        made = Reversible(recipe.model)
    assert 60.0e6 < sum(p.numel() for p in made.parameters()) < 61.0e6 and len(made.kept) == 64
    assert sum(isinstance(m, AdditiveCoupling) for m in made.chain) == 11 and sum(isinstance(m, Squeeze) for m in made.chain) == 6
    reconstruct, match = recipe.stages
    assert (reconstruct.objective.match, match.objective.match) == ("none", "hinge")
    assert (match.objective.weight, match.objective.clamp, match.objective.whiten) == (1.0, 2.0, False)
    assert {k: (o.lr, o.muon) for k, o in match.optim.items()} == {"encoder": (1e-4, ()), "critic": (4e-4, ())}
    assert reconstruct.optim["encoder"].clip == 5.0


@pytest.mark.parametrize(("name", "weight"), [("mmd", 100.0), ("swd", 10.0)])
def test_other_matches_share_the_first_stage(name, weight):
    recipe = find_recipe(f"reversible_faces_{name}")()
    (stage,) = recipe.stages
    assert recipe.start == "runs/reversible_faces_reconstruct" and recipe.model == find_recipe("reversible_faces_reconstruct")().model
    assert (stage.objective.match, stage.objective.weight, set(stage.optim)) == (name, weight, {"encoder"})


def test_very_many_dimensions_have_no_density():
    made = Reversible(ReversibleConfig(size=32, levels=(Level(hidden=2),), prior=StandardNormal(dims=3072)))
    made.choose(torch.arange(3072.0))
    assert sum(b.numel() for b in made.buffers()) < 4000 and not made.fitted
    with pytest.raises(ValueError, match="at most 1024 dimensions, this prior has 3072"):
        made.sample(1, torch.Generator(), density="gaussian")


def test_white_codes_have_covariance_one_and_change_no_full_latent():
    made = model()
    x = images(40)
    z = made.encode(x)
    before = made.code(z)
    made.whiten(z)
    assert torch.equal(made.encode(x), z)
    code = made.code(z)
    torch.testing.assert_close(code.mean(0), torch.zeros(5, dtype=code.dtype), atol=1e-12, rtol=0)
    torch.testing.assert_close(code.T.cov(), torch.eye(5, dtype=code.dtype), atol=1e-9, rtol=0)
    torch.testing.assert_close(made.code(made.place(code)), code)
    torch.testing.assert_close(made.place(code).flatten(1)[:, made.kept], before)
    draws = made.place(made.sample_code(20_000, torch.Generator().manual_seed(0)).double()).flatten(1)[:, made.kept]
    torch.testing.assert_close(draws.T.cov(), before.T.cov(), atol=0.02 * before.var().item() + 0.01, rtol=0.1)
    with pytest.raises(ValueError, match="more images than that, got 5"):
        made.whiten(z[:5])
    with pytest.raises(ValueError, match="survey must exceed prior.dims = 20"):
        objective.ReversibleMatchConfig(survey=20).build(model(replace(TINY, prior=StandardNormal(dims=20))))


@pytest.mark.parametrize("bits, size", [(16, 0.8), (8, 0.7)])
def test_weights_of_fewer_bits_are_small_and_still_exact_both_ways(tmp_path, bits, size):
    made = model(dtype=torch.float32)
    made.save_pretrained(tmp_path / "whole")
    made.save_pretrained(tmp_path / "small", bits=bits)
    again = Reversible.from_pretrained(tmp_path / "small").float()
    large = {k for k, v in made.named_parameters() if v.ndim > 1}
    for key, value in made.state_dict().items():
        got = again.state_dict()[key]
        within = 2.0**-11 if bits == 16 else 0.51 / 127  # of the largest in a row
        assert ((got - value).abs().flatten(1).amax(1) <= within * value.abs().flatten(1).amax(1) + 1e-7).all() if key in large else True
        assert key in large or torch.equal(got, value)
    x = images(dtype=torch.float32)
    assert (again.decode(again.encode(x)) - x).abs().max() < 1e-5
    sizes = [(tmp_path / k / "model.safetensors").stat().st_size for k in ("whole", "small")]
    assert sizes[1] < size * sizes[0]
    with pytest.raises(ValueError, match="bits must be 8, 16 or 32, got 4"):
        made.save_pretrained(tmp_path / "small", bits=4)
