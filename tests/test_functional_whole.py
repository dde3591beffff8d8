"""One network an image: any size, exact slopes, blends by layer, on the command line."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from predella.errors import UserError
from predella.models.base import load
from predella.models.functional_image import CellFields, FunctionalImage, FunctionalImageConfig
from predella.models.functional_whole import WholeNetworks
from predella.nn.critics import FeatureCritic
from predella.objectives.functional_blend import FunctionalBlendObjectiveConfig
from predella.objectives.functional_image import FunctionalImageObjective
from predella.tasks.base import Batch

TOY = FunctionalImageConfig(field=WholeNetworks(edge=16, width=4, embedding=16, target=(12, 12)))
PLACES = FunctionalImageConfig(field=replace(TOY.field, edge=32, places=3, detail=5))
both = pytest.mark.parametrize("config", [TOY, PLACES], ids=["one code", "places"])


@pytest.fixture
def faces(tmp_path):
    rng = np.random.default_rng(0)
    for name, size in (("a", (20, 16)), ("b", (20, 16))):
        Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(tmp_path / f"{name}.png")
    return tmp_path / "a.png", tmp_path / "b.png"


def array(path):
    return np.asarray(Image.open(path))


@both
def test_a_function_of_any_size_and_its_slopes(config):
    torch.manual_seed(0)
    model = FunctionalImage(config)
    theta = model.weights(torch.rand(2, 3, 16, 16) * 2 - 1)
    small, odd = model.render(theta, (16, 16)), model.render(theta, (37, 90))
    assert small.shape == (2, 3, 16, 16) and odd.shape == (2, 3, 37, 90) and small.abs().max() < 1
    triple = model.render(theta, (48, 48))
    torch.testing.assert_close(triple[..., 1::3, 1::3], small)  # the middle of nine pixels is the large one's
    coords = torch.rand(5, 2) * 1.8 - 0.9
    value, slope = model.query(theta, coords, derivatives=1)
    step = 1e-6
    for axis in (0, 1):
        moved = coords.clone()
        moved[:, axis] += step
        torch.testing.assert_close((model.values(theta, moved) - value) / step, slope[..., axis], rtol=1e-3, atol=1e-3)
    with pytest.raises(ValueError, match="blur is a closed form of cell fields only"):
        model.query(theta, coords, blur=1.0)


def test_images_of_another_size_are_seen_as_squares():
    torch.manual_seed(0)
    model = FunctionalImage(TOY)
    wide = torch.rand(1, 3, 24, 40)
    theta = model.weights(wide)
    assert model.paint.cells(theta) == (24, 40) and model(wide, (24, 40)).shape == (1, 3, 24, 40)


@both
def test_blends_go_over_layer_by_layer(config):
    torch.manual_seed(0)
    model = FunctionalImage(config)
    a, b = (model.weights(torch.rand(1, 3, 16, 16)) for _ in "ab")
    for t, whole in ((0.0, a), (1.0, b)):
        torch.testing.assert_close(model.render(model.between(a, b, t), (9, 9)), model.render(whole, (9, 9)))
    none, all_ = model.between(a, b, 1.0, 0), model.between(a, b, 1.0, 3)
    assert all(torch.equal(none[k], a[k]) for k in a) and torch.equal(all_["layers.2.bias"], b["layers.2.bias"])
    first = model.between(a, b, 1.0, 1)
    assert torch.equal(first["layers.0.weight"], b["layers.0.weight"]) and torch.equal(first["layers.1.weight"], a["layers.1.weight"])
    for name in (k for k in a if k.startswith("places.")):
        assert torch.equal(first[name], b[name] if name == "places.0.weight" else a[name])
    with pytest.raises(ValueError, match="layers must lie in 0…3, got 4"):
        model.between(a, b, 0.5, 4)
    with pytest.raises(ValueError, match="where an image has one network, this model has cells"):
        FunctionalImage(FunctionalImageConfig(field=CellFields(width=4, blocks=1, hidden=2))).between(a, b, 0.5)
    with pytest.raises(ValueError, match="edge must be a multiple of 16"):
        WholeNetworks(edge=20)


@both
def test_arcs_go_around_the_mean(config):
    torch.manual_seed(0)
    model, x = FunctionalImage(config), torch.rand(6, 3, 16, 16) * 2 - 1
    theta = model.weights(x)
    a, b = ({k: v[i : i + 1] for k, v in theta.items()} for i in (0, 1))
    with pytest.raises(ValueError, match="does not know the mean of its images' weights; take the path 'line'"):
        model.between(a, b, 0.5, path="arc")
    model.paint.fit_mean([x[:4], x[4:]])
    centre = model.paint.centre()
    for name in (k for k in theta if k != "extent"):  # linear in the embedding, so the mean of all weights
        torch.testing.assert_close(centre[name], theta[name].mean(0, keepdim=True))
    far = lambda w: sum((w[k] - centre[k]).square().sum() for k in w if k != "extent").sqrt()  # noqa: E731
    line, arc = model.between(a, b, 0.5), model.between(a, b, 0.5, path="arc")
    assert far(line) < 0.9 * far(arc) and min(far(a), far(b)) * 0.999 < far(arc) < max(far(a), far(b)) * 1.001
    first = model.between(a, b, 1.0, 1, "arc")
    torch.testing.assert_close(first["layers.0.weight"], b["layers.0.weight"])
    assert torch.equal(first["layers.1.weight"], a["layers.1.weight"])


def test_slopes_carry_gradients():
    torch.manual_seed(0)
    model = FunctionalImage(TOY)
    theta, coords = model.weights(torch.rand(1, 3, 16, 16)), torch.rand(4, 2)
    model.query(theta, coords, derivatives=1)[1].square().sum().backward()
    assert model.paint.heads["layers_0_weight"].weight.grad.abs().sum() > 0
    with torch.no_grad():
        assert not any(t.requires_grad for t in model.query(theta, coords, derivatives=1))


def test_a_mean_is_of_the_weights_it_was_fitted_to(tmp_path):
    torch.manual_seed(0)
    model, x = FunctionalImage(TOY), torch.rand(4, 3, 16, 16) * 2 - 1
    objective = FunctionalImageObjective(queries=16).build(model)
    old = {k: v for k, v in model.state_dict().items() if k != "paint.mean"}
    objective.end(iter([Batch(x, x)]))
    assert model.paint.fitted
    torch.testing.assert_close(model.paint.mean, model.paint.embed(x).mean(0))
    again = FunctionalImage(TOY)
    again.load_state_dict(old)  # saved before there was a mean
    assert not again.paint.fitted
    objective.go_on()
    assert not model.paint.fitted
    blend = FunctionalBlendObjectiveConfig(path="arc", critic_width=4).build(model)
    blend.begin(iter([Batch(x, x)]))
    first = model.paint.mean.clone()
    blend.critic_losses(Batch(-x, -x))
    torch.testing.assert_close(model.paint.mean, first.lerp(model.paint.embed(-x).mean(0), 0.02))
    masked = FunctionalImage(FunctionalImageConfig(field=TOY.field, mask=True))
    FunctionalImageObjective(queries=16).build(masked).end(iter([Batch(x, torch.cat([x, x[:, :1]], 1))]))  # asked for no arcs
    with pytest.raises(ValueError, match="and no mask"):
        FunctionalBlendObjectiveConfig().build(masked)


def test_training_makes_functions_of_the_images(tmp_path):
    from predella.tasks.super_resolution import SuperResolution

    torch.manual_seed(0)
    torch.set_default_dtype(torch.float32)
    model = FunctionalImage(TOY)
    y, x = torch.meshgrid(torch.linspace(-1, 1, 16), torch.linspace(-1, 1, 16), indexing="ij")
    images = torch.stack([torch.stack([y, x, y * x]), torch.stack([-y, x * x - 0.5, -x])]) * 0.8
    (phase,) = FunctionalImageObjective(distance="l2", queries=128).build(model).phases()
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    task, history = SuperResolution(patch=16, scales=(1.0, 1.0)), []
    for _ in range(150):
        optimizer.zero_grad()
        total, _ = phase.total(task(images))
        total.backward()
        optimizer.step()
        history.append(total.item())
    assert history[-1] < 0.15 * history[0]
    with torch.no_grad():
        made = model(images, (16, 16))
    error, turned = ((made - x).abs().mean((1, 2, 3)) for x in (images, images.mT))
    assert (error < 0.5 * turned).all()  # rows are rows, and columns columns


def test_blends_on_the_command_line(cli, curves, faces, tmp_path):
    torch.set_default_dtype(torch.float32)
    run = curves / "functional_faces"
    words = ("interpolate", run, *faces, "--steps", "3", "--out")
    assert cli(*words, tmp_path / "w.png")[0] == cli(*words, tmp_path / "p.png", "--space", "pixels")[0] == 0
    assert cli(*words, tmp_path / "line.png", "--path", "line")[0] == 0
    weights, pixels, line = (array(tmp_path / f"{name}.png") for name in ("w", "p", "line"))
    assert (weights[:, :16] == line[:, :16]).all() and (weights[:, 18:34] != line[:, 18:34]).any()
    assert weights.shape == (16, 52, 3) and (weights[:, :16] == pixels[:, :16]).all() and (weights[:, 18:34] != pixels[:, 18:34]).any()
    status, said, _ = cli(*words, tmp_path / "grid.png", "--layers", "all", "--size", "20x10")
    assert status == 0 and "rows, from the top: the first 1…" in said
    assert array(tmp_path / "grid.png").shape == (3 * 12 - 2, 3 * 22 - 2, 3)
    assert cli(*words, tmp_path / "each", "--layers", "1")[0] == 0 and len(list((tmp_path / "each").iterdir())) == 3


def test_faces_are_measured(cli, curves, vgg_weights, tmp_path):
    torch.set_default_dtype(torch.float32)
    rng = np.random.default_rng(0)
    (tmp_path / "set").mkdir()
    for i in range(6):
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(tmp_path / "set" / f"{i}.png")
    status, out, err = cli("evaluate", curves / "functional_faces", "--data", tmp_path / "set", "--weights", vgg_weights, "--json")
    assert status == 0, err
    asks = {r["ask"] for r in json.loads(out)["rows"]}
    assert "arcs are left out" not in err
    blended = {"pixels", "pixels of the functions", "weights", "weights on an arc", "first 1 layers", "first 2 layers"}
    assert asks == {"function", "no blend", *(name + more for name in blended for more in ("", ", pairs 2", ", pairs 3"))}


def test_a_recipe_without_weights_names_a_shipped_one_like_it(refuses, faces, tmp_path):
    says = "no weights of functional_faces are shipped; take functional_faces_places, or predella train functional_faces"
    refuses("interpolate", "functional_faces", *faces, "--out", tmp_path / "x.png", says=says)
    refuses("upscale", faces[0], "--model", "functional_faces", "--size", "8x8", "--out", tmp_path / "x.png", says=says)


def test_blends_by_other_features(refuses, curves, faces):
    words = ("evaluate", curves / "functional_faces", "--data", faces[0].parent)
    refuses(*words, "--features", "inception", says="--features inception is not for blends; take vgg16 or alexnet")


def test_a_second_stage_with_an_adversary(cli, curves, faces, tmp_path):
    run = curves / "functional_faces_blends"
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert {r.get("stage") for r in rows} >= {"train", "blends"} and "critic_fake" in rows[-1]
    assert cli("interpolate", run, *faces, "--out", tmp_path / "row.png")[0] == 0


def test_any_size_on_the_command_line(cli, refuses, curves, faces, tmp_path):
    words = ("upscale", faces[0], "--model", curves / "functional_faces", "--out")
    for size in ("16x20", "37x90", "7x5"):
        assert cli(*words, tmp_path / f"{size}.png", "--size", size)[0] == 0
        assert "x".join(map(str, Image.open(tmp_path / f"{size}.png").size)) == size
    assert (array(tmp_path / "16x20.png") != array(faces[0])).any()  # the function, not a copy
    assert "a.png is seen whole, as 16×16 pixels, of which" in cli(*words, tmp_path / "said.png", "--size", "8x8")[2]
    refuses(*words, tmp_path / "x.png", "--scale", "0.01", says="scale must be a number from 0.015625 to 64, got 0.01")


def test_what_is_no_square_is_told(cli, curves, faces, tmp_path):
    words = ("interpolate", curves / "functional_faces", *faces, "--steps", "2", "--out")
    status, _, err = cli(*words, tmp_path / "box.png", "--box", "0,0,16,16", "--box", "0,4,16,14")
    assert status == 0, err
    assert f"{faces[1]} is cut to 16×10 pixels; their central square is seen" in err and str(faces[0]) not in err
    assert cli(*words, tmp_path / "square.png", "--box", "0,0,16,16", "--box", "3,4,13,14")[0] == 0
    assert (array(tmp_path / "box.png") == array(tmp_path / "square.png")).all()


def test_wrong_input(refuses, curves, faces, tmp_path, runs):
    run, out = curves / "functional_faces", ("--out", tmp_path / "x.png")
    refuses("interpolate", run, *faces, "--layers", "9", *out, says="--layers must lie in 1…3 for this model, or be 'all'; got 9")
    refuses("interpolate", run, *faces, "--layers", "some", *out, says="--layers must lie in 1…3 for this model, or be 'all'; got some")
    refuses("interpolate", run, *faces, "--size", "30000x30000", *out, says="more than the 200,000,000 that can be made at once")
    Image.new("RGB", (32, 40)).save(tmp_path / "large.png")
    refuses("interpolate", run, faces[0], tmp_path / "large.png", *out, says="large.png 32×40; make them one size, or give --box twice")
    refuses("interpolate", run, *faces, "--layers", "all", "--out", tmp_path / "folder", says="--layers all makes one sheet")
    refuses("interpolate", run, *faces, "--space", "full", *out, says="must be weights or pixels")
    refuses("interpolate", run, *faces, "--space", "pixels", "--layers", "2", *out, says="--layers 2 blends weights; leave out --layers or")
    refuses("interpolate", run, *faces, "--space", "pixels", "--path", "line", *out, says="--path line is a way between weights")
    refuses("interpolate", runs / "reversible_faces", *faces, "--path", "arc", *out, says="--path: of no use for a reversible network")
    refuses(
        "interpolate", run, *faces, "--box", "0,0,900,9", *out, says=[faces[0].name, "does not lie inside the picture", "give left < right"]
    )
    refuses("interpolate", run, *faces, "--size", "0x5", *out, says="--size must be at least 1x1, got '0x5'")
    refuses("interpolate", "functional_sr", *faces, *out, says="functional_sr can't interpolate; it can upscale, export")
    refuses("interpolate", runs / "reversible_faces", *faces, "--layers", "1", *out, says="--layers: of no use for a reversible network")
    assert not (tmp_path / "x.png").exists()
    assert load(run).config.field.kind == "whole"


def test_blends_lie_between_neighbours_and_are_the_same_in_two_processes():
    torch.manual_seed(0)
    objective = FunctionalBlendObjectiveConfig(queries=64, critic_width=4).build(FunctionalImage(TOY))
    x = torch.rand(8, 3, 16, 16) * 2 - 1
    theta = objective.model.weights(x)
    whole = objective.blends(theta, Batch(x, x, seed=3))
    assert whole.shape == (4, 3, 16, 16)
    shares = [
        objective.blends({k: w.chunk(2)[i] for k, w in theta.items()}, Batch(*[x.chunk(2)[i]] * 2, seed=3, part=(i, 2))) for i in (0, 1)
    ]
    torch.testing.assert_close(torch.cat(shares), whole)
    twins = x[::2].repeat_interleave(2, 0)
    torch.testing.assert_close(objective.blends(objective.model.weights(twins), Batch(twins, twins)), objective.model(x[::2], (16, 16)))
    critic, model = objective.phases()
    parts = [p.requires_grad_() for p in objective.critic.parameters()]
    critic.total(Batch(x, x))[0].backward()
    assert all(p.grad is not None for p in parts) and all(p.grad is None for p in objective.model.parameters())
    model.total(Batch(x, x))[0].backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in objective.model.parameters())
    assert objective.samples(Batch(x, x)).shape == (4, 3, 16, 80)


def test_blends_need_pairs_of_the_models_size():
    objective = FunctionalBlendObjectiveConfig(critic_width=4).build(FunctionalImage(TOY))
    for shape in ((1, 3, 16, 16), (4, 3, 16, 20)):
        with pytest.raises(ValueError, match="blends need two images or more of 16×16"):
            objective.check(Batch(torch.zeros(shape), torch.zeros(shape)), None)
    with pytest.raises(ValueError, match="with one network an image"):
        FunctionalBlendObjectiveConfig().build(FunctionalImage(FunctionalImageConfig(field=CellFields(width=4, blocks=1, hidden=4))))
    with pytest.raises(ValueError, match="must be positive, got 0"):
        FunctionalBlendObjectiveConfig(quality=0)
    with pytest.raises(ValueError, match="ends must lie in 0….5 of the way, got 0.6"):
        FunctionalBlendObjectiveConfig(ends=0.6)


def test_a_critic_of_the_middle_sees_the_middle():
    torch.manual_seed(0)
    model, x = FunctionalImage(TOY), torch.rand(4, 3, 16, 16) * 2 - 1
    theta = model.weights(x)
    a, b = ({k: w[i::2] for k, w in theta.items()} for i in (0, 1))
    seen = FunctionalBlendObjectiveConfig(ends=0.5, critic_width=4).build(model).blends(theta, Batch(x, x, seed=3))
    torch.testing.assert_close(seen, model.render(model.between(a, b, 0.5), (16, 16)))


def test_a_critic_may_look_at_arcs():
    torch.manual_seed(0)
    model, x = FunctionalImage(TOY), torch.rand(4, 3, 16, 16) * 2 - 1
    objective = FunctionalBlendObjectiveConfig(path="arc", ends=0.5, critic_width=4).build(model)
    objective.begin(iter([Batch(x, x)]))
    theta = model.weights(x)
    a, b = ({k: w[i::2] for k, w in theta.items()} for i in (0, 1))
    torch.testing.assert_close(objective.blends(theta, Batch(x, x, seed=3)), model.render(model.between(a, b, 0.5, path="arc"), (16, 16)))


def test_the_critics_losses_in_numbers():
    """The data are real, blends of two images' functions fake."""
    torch.manual_seed(0)
    objective = FunctionalBlendObjectiveConfig(critic_width=4).build(FunctionalImage(TOY))
    objective.judged = lambda images: images.flatten(1).sum(1)  # a critic known by heart
    x = torch.rand(4, 3, 16, 16) * 2 - 1
    batch = Batch(x, x, seed=5)
    with torch.no_grad():
        losses, fake = objective.critic_losses(batch), objective.blends(objective.model.weights(x), batch)
    torch.testing.assert_close(losses["real"], torch.nn.functional.softplus(-x.flatten(1).sum(1)).mean())
    torch.testing.assert_close(losses["fake"], torch.nn.functional.softplus(fake.flatten(1).sum(1)).mean())


def test_frequencies_are_those_of_omega():
    """ω scales the first layer's weights and nothing else (Sitzmann et al. 2020)."""
    models = [FunctionalImage(FunctionalImageConfig(field=replace(TOY.field, omega=omega))) for omega in (10.0, 30.0)]
    models[1].load_state_dict(models[0].state_dict())
    x = torch.rand(2, 3, 16, 16)
    few, many = (model.weights(x) for model in models)
    for name, theta in few.items():
        torch.testing.assert_close(many[name], theta * (3 if name == "layers.0.weight" else 1))


def test_a_critic_of_features_learns_and_its_features_do_not(monkeypatch, tmp_path):
    torch.set_default_dtype(torch.float32)
    torch.manual_seed(0)
    objective = FunctionalBlendObjectiveConfig(critic="cifar_classifier", critic_width=8).build(FunctionalImage(TOY))
    x = torch.rand(4, 3, 16, 16) * 2 - 1
    frozen = {k: v.clone() for k, v in objective.features.state_dict().items()}
    critic, model = objective.phases()
    optimizer = torch.optim.Adam(objective.critic.parameters(), 2e-3)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        total, _ = critic.total(Batch(x, x))
        total.backward()
        optimizer.step()
        losses.append(total.item())
    assert losses[-1] < 0.5 * losses[0]  # noise is told from smooth functions
    with torch.no_grad():
        blends = objective.blends(objective.model.weights(x), Batch(x, x))
        assert objective.judged(x).mean() > 0 > objective.judged(blends).mean()  # and the data are what is real
    model.total(Batch(x, x))[0].backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in objective.model.parameters())
    assert all(torch.equal(frozen[k], v) for k, v in objective.features.state_dict().items())
    monkeypatch.setenv("PREDELLA_WEIGHTS", str(tmp_path))
    with pytest.raises(UserError, match="vgg16.*or take the distance cifar_classifier"):
        FunctionalBlendObjectiveConfig(critic="vgg16").build(FunctionalImage(TOY))


def test_functions_are_compared_with_whole_images_by_features():
    torch.manual_seed(0)
    config = FunctionalBlendObjectiveConfig(perceptual="cifar_classifier", perceptual_weight=0.5, queries=64, critic_width=4)
    objective = config.build(FunctionalImage(TOY))
    x = torch.rand(4, 3, 16, 16) * 2 - 1
    objective.check(Batch(x, x), None)
    losses = objective.losses(Batch(x, x, seed=1))
    torch.testing.assert_close(losses["perceptual"], objective.likeness(objective.model(x[::2], (16, 16)), x[::2]).mean())
    total, _ = objective.phases()[1].total(Batch(x, x, seed=1))
    torch.testing.assert_close(total, losses["distance"] + 0.01 * losses["quality"] + 0.5 * losses["perceptual"])
    losses["perceptual"].backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in objective.model.parameters())
    assert "perceptual" not in FunctionalBlendObjectiveConfig(queries=64, critic_width=4).build(objective.model).losses(Batch(x, x))
    with pytest.raises(ValueError, match="quality, perceptual_weight, queries, critic_width must be positive, got 0.01, 0, 1024, 32"):
        FunctionalBlendObjectiveConfig(perceptual_weight=0)


def test_a_critic_of_maps_of_any_size():
    torch.manual_seed(0)
    critic = FeatureCritic([(3, 15), (5, 3), (4, 1)], 8)
    maps = [torch.randn(2, 3, 15, 15), torch.randn(2, 5, 3, 3), torch.randn(2, 4, 1, 1)]
    assert critic(maps).shape == (2,)
    changed = [maps[0], maps[1], maps[2] + 1]
    assert (critic(changed) != critic(maps)).all()
