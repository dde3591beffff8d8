"""Networks of whole images with numbers of their own at places; adversaries that look between pixels."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from predella.image.coords import centres
from predella.image.resize import resize
from predella.models.functional_image import FunctionalImage, FunctionalImageConfig
from predella.models.functional_whole import WholeNetworks
from predella.objectives.functional_blend import FunctionalBlendObjectiveConfig
from predella.objectives.functional_image import FunctionalImageObjective
from predella.tasks.base import Batch

ONE = FunctionalImageConfig(field=WholeNetworks(edge=32, width=4, embedding=16, target=(12, 12)))
PLACES = FunctionalImageConfig(field=replace(ONE.field, places=3, detail=5))


def test_places_that_can_not_be():
    for places, says in ((-1, "places must be at least 0, got -1"), (5, r"at most edge / 8 = 4, got 5; take fewer, or a larger edge")):
        with pytest.raises(ValueError, match=says):
            WholeNetworks(edge=32, places=places)


def test_a_place_moves_what_is_around_it():
    torch.manual_seed(0)
    model = FunctionalImage(PLACES)
    theta = model.weights(torch.rand(1, 3, 32, 32) * 2 - 1)
    assert theta["places.0.weight"].shape == (1, 12, 9) and theta["places.2.weight"].shape == (1, 3, 9)
    other = {k: v.clone() for k, v in theta.items()}
    other["places.1.weight"][:, :, 2] += 1  # the top right
    change = (model.render(other, (48, 48)) - model.render(theta, (48, 48))).abs().amax((0, 1))
    assert change[:16, 32:].max() > 0.01
    assert change[32:].max() == 0 and change[:, :16].max() == 0  # a bump ends a cell and a half from its centre


def test_a_change_in_one_part_of_a_picture_moves_its_places():
    torch.manual_seed(0)
    model = FunctionalImage(FunctionalImageConfig(field=replace(PLACES.field, edge=64, places=8))).eval()
    x = torch.rand(1, 3, 64, 64) * 2 - 1
    y = x.clone()
    y[..., :8, -8:] *= -1
    a, b = (model.weights(z)["places.1.weight"].unflatten(2, (8, 8)) for z in (x, y))
    moved = (a - b).abs().mean((0, 1))
    assert moved[:2, 6:].min() > 3 * max(moved[5:].max(), moved[:, :3].max())


def test_few_places_see_all_of_a_picture():
    torch.manual_seed(0)
    model = FunctionalImage(FunctionalImageConfig(field=replace(PLACES.field, edge=64, places=2))).eval()
    x = (torch.rand(1, 3, 64, 64) * 2 - 1).requires_grad_(True)
    model.weights(x)["places.1.weight"].sum().backward()
    assert (x.grad.abs().sum((0, 1)) > 0).all()


def test_places_keep_more_of_images_with_as_many_steps():
    """Random blocks, which one code of 16 numbers can't tell: after equal training places are nearer to them."""
    torch.set_default_dtype(torch.float32)
    left = {}
    for name, config in (("one", ONE), ("places", replace(PLACES, field=replace(PLACES.field, places=4)))):
        torch.manual_seed(0)
        images = torch.nn.functional.interpolate(torch.rand(32, 3, 4, 4) * 1.6 - 0.8, (32, 32), mode="bilinear")
        model = FunctionalImage(config)
        (phase,) = FunctionalImageObjective(distance="l2", queries=256).build(model).phases()
        optimizer = torch.optim.Adam(model.parameters(), 5e-3)
        for step in range(120):
            optimizer.zero_grad()
            total, _ = phase.total(Batch(images, images, seed=step))
            total.backward()
            optimizer.step()
        left[name] = total.item()
    assert left["places"] < 0.7 * left["one"]


def test_weights_are_made_in_32_bits_under_autocast():
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float32)
    model, x = FunctionalImage(PLACES), torch.rand(2, 3, 32, 32) * 2 - 1
    model.paint.fit_mean([x])
    exact = model.paint.centre()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        centre, theta = model.paint.centre(), model.weights(x)
    assert all(w.dtype == torch.float32 for w in (*centre.values(), *theta.values()))
    assert all(torch.equal(centre[k], exact[k]) for k in exact)
    half = FunctionalImage(PLACES).bfloat16()
    assert half.weights(x.bfloat16())["places.0.weight"].dtype == torch.bfloat16


def test_models_from_before_there_were_places_are_the_same(tmp_path):
    torch.manual_seed(0)
    model, x = FunctionalImage(ONE), torch.rand(1, 3, 32, 32) * 2 - 1
    model.save_pretrained(tmp_path)
    about = json.loads((tmp_path / "config.json").read_text())
    for name in ("places", "detail"):
        del about["config"]["field"][name]
    (tmp_path / "config.json").write_text(json.dumps(about))
    assert not any("places" in k or "paint.code" in k for k in load_file(tmp_path / "model.safetensors"))
    again = FunctionalImage.from_pretrained(tmp_path)
    assert torch.equal(again(x, (9, 9)), model(x, (9, 9)))


def test_a_critic_goes_on_in_the_next_stage():
    torch.manual_seed(0)
    model = FunctionalImage(PLACES)
    first, second, other = (FunctionalBlendObjectiveConfig(critic_width=w).build(model) for w in (4, 4, 8))
    second.follow(first)
    assert all(torch.equal(v, first.critic.state_dict()[k]) for k, v in second.critic.state_dict().items())
    before = {k: v.clone() for k, v in other.critic.state_dict().items()}
    other.follow(first)  # of another size
    assert all(torch.equal(v, before[k]) for k, v in other.critic.state_dict().items())


def test_a_critic_looks_between_pixels():
    torch.manual_seed(0)
    model, x = FunctionalImage(PLACES), torch.rand(4, 3, 32, 32) * 2 - 1
    objective = FunctionalBlendObjectiveConfig(off_grid=True, critic_width=4).build(model)
    windows = [objective.window(Batch(x, x, seed=seed), 3) for seed in range(0, 400, 4)]
    assert windows[0] == objective.window(Batch(x, x, seed=0), 3) != objective.window(Batch(x, x, seed=0), 2)
    corners = torch.tensor(windows)
    torch.testing.assert_close(corners[:, 2:] - corners[:, :2], torch.full((100, 2), 2 - 2 / 32))  # a pixel less than all
    assert corners.min() >= -1 and corners.max() <= 1 and ((corners[:, :2] + 1) * 16).std(0).min() > 0.2  # anywhere in that pixel
    closer = torch.tensor([objective.window(Batch(x, x, seed=seed), 2, closer=True) for seed in range(0, 400, 4)])
    sides = closer[:, 2] - closer[:, 0]
    assert 0.3 < (sides < 1.5).double().mean() < 0.7 and sides.min() > 0.999 and closer.abs().max() <= 1
    with torch.no_grad():
        theta = model.weights(x)
        half = {name: (w[::2] + w[1::2]) / 2 for name, w in theta.items()}
        objective.config = replace(objective.config, ends=0.5)  # the middle alone
        torch.testing.assert_close(objective.blends(theta, Batch(x, x)), model.render(half, (32, 32), objective.window(Batch(x, x), 3)))
    assert FunctionalBlendObjectiveConfig(critic_width=4).build(model).window(Batch(x, x), 3) == (-1, -1, 1, 1)


def test_a_distance_of_features_is_of_equal_windows():
    """A model that gives back what it sees has none, wherever one looks."""
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float32)
    y, x = torch.meshgrid(centres(32), centres(32), indexing="ij")
    images = torch.stack([torch.stack([(3 * y).sin(), (2 * x - y).cos(), x * y]), torch.stack([x, -y, (x + y).sin()])]) * 0.9
    objective = FunctionalBlendObjectiveConfig(off_grid=True, critic_width=4, perceptual="cifar_classifier").build(FunctionalImage(PLACES))
    shown = []
    objective.likeness.forward = lambda a, b: shown.append((a, b)) or (a - b).square().mean((1, 2, 3))
    objective.model.render = lambda theta, size, region=(-1, -1, 1, 1): resize(images[: len(theta["extent"])], size, region=region)
    losses = [objective.losses(Batch(images, images, seed=seed))["perceptual"].item() for seed in range(8)]
    assert max(losses) < 1e-12 and len({tuple(a.shape) for a, _ in shown}) == 1 and not torch.equal(shown[0][0], shown[1][0])


@pytest.mark.parametrize("recipe", ["functional_faces_sharp", "functional_faces_places"])
def test_blends_train_in_mixed_precision(cli, tmp_path, recipe):
    run = tmp_path / "run"
    status, _, err = cli("train", recipe, "--smoke", "--precision", "bf16", "--out", run)
    assert status == 0, err
    assert "critic_fake" in (run / "metrics.jsonl").read_text().splitlines()[-1]
