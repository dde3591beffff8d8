"""Measures of several answers: by hand on points of a line, and through `evaluate` on a run."""

import json
import math
import os

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from predella import weights as standard
from predella.data.images import Source
from predella.image.contract import from_uint8
from predella.losses.distances import Perceptual, Pixels, lpips
from predella.metrics.restoration import faithfulness_weighted_variance, lpips_diversity, many_answers
from predella.tasks.decompression import compress


def test_diversity_is_the_mean_over_pairs():
    points = torch.tensor([[0.0], [1.0], [3.0]])
    assert lpips_diversity(points) == pytest.approx((1 + 9 + 4) / 3)
    with pytest.raises(ValueError, match="at least 2 are needed, got 1"):
        lpips_diversity(points[:1])


def test_unfaithful_answers_do_not_count():
    """Distances to the average are 1 and 1; to the truth 0 and 4, so the second weighs exp(-4 / 2σ²)."""
    points, average, truth = torch.tensor([[0.0], [2.0]]), torch.tensor([[1.0]]), torch.tensor([[0.0]])
    assert faithfulness_weighted_variance(points, average, truth, 100.0) == pytest.approx(1, rel=1e-3)
    assert faithfulness_weighted_variance(points, average, truth, 2.0) == pytest.approx((1 + torch.exp(torch.tensor(-0.5)).item()) / 2)
    assert faithfulness_weighted_variance(points, average, truth, 0.1) == pytest.approx(0.5)
    assert faithfulness_weighted_variance(truth, truth, truth, 0.3) == 0  # one and the same answer


def test_rows_are_means_over_conditions():
    """Answers ±0.2 and 0.6 away from the condition, which is the truth; pixels as distance."""
    shift = torch.tensor([51.0, -51.0, 153.0]).view(3, 1, 1, 1) / 255  # values of 8 bits on the scale of 2
    truths = [torch.full((1, 1, 4, 4), v / 127.5 - 1) for v in (100.0, 120.0)]
    rows = many_answers(
        ((t, t) for t in truths),
        lambda c, k: c.expand(k, -1, -1, -1) + shift,
        lambda c, a: (a - c).abs().flatten(1).mean(1),
        Pixels(),  # type: ignore[arg-type]
        3,
        "colorization",
    )
    values = {r["measure"]: (r["value"], r["images"]) for r in rows}
    a, b, c = 51 / 255, -51 / 255, 153 / 255
    tolerance = {"abs": 1e-2}  # rounding to 8 bits
    assert values["lpips_diversity"] == (pytest.approx(((a - b) ** 2 + (a - c) ** 2 + (b - c) ** 2) / 3, **tolerance), 2)
    assert values["lpips_nearest"][0] == pytest.approx(a * a, **tolerance)
    assert values["inconsistency"][0] == pytest.approx((a - b + c) / 3, **tolerance)
    assert values["psnr_rgb"][0] == pytest.approx(sum(20 * math.log10(2 / abs(d)) for d in (a, b, c)) / 3, abs=0.1)
    assert 0 < values["faithful_variance_0.15"][0] < values["faithful_variance_0.2"][0] < values["faithful_variance_0.3"][0]


@pytest.mark.parametrize(("which", "net"), [("vgg16", "vgg"), ("alexnet", "alex")])
def test_lpips_is_that_of_torchmetrics(which, net, monkeypatch):
    """Same form, same published weights of the channels; on features of random weights, which both share."""
    import torchmetrics.functional.image.lpips as oracle

    from predella.nn.classics import VGG16, AlexNet

    torch.manual_seed(0)
    torch.set_default_dtype(torch.float32)
    network = VGG16() if which == "vgg16" else AlexNet()
    monkeypatch.setattr(oracle, "_get_tv_model_features", lambda *a, **k: network.features)
    theirs = oracle._LPIPS(net=net)
    heads = [layer.model[1].weight.detach().flatten() for layer in theirs.lins]
    ours = Perceptual(network, heads, standard.LEAST[which])
    x, y = torch.rand(2, 4, 3, 70, 64) * 2 - 1
    torch.testing.assert_close(ours(x, y), theirs(x, y).flatten(), atol=1e-6, rtol=1e-4)
    halves = {f"{net}.lin{i}": h for i, h in enumerate(heads)}
    assert standard.half_digest(halves, f"{net}.") == standard.LPIPS[which].digest  # those that we look for


@pytest.mark.skipif("PREDELLA_WEIGHTS" not in os.environ, reason="needs the standard weights")
@pytest.mark.parametrize(("which", "net"), [("vgg16", "vgg"), ("alexnet", "alex")])
def test_lpips_of_photos_by_all_of_its_published_weights(which, net, monkeypatch):
    import torchmetrics.functional.image.lpips as oracle

    torch.set_default_dtype(torch.float32)
    monkeypatch.setattr(oracle, "_get_tv_model_features", lambda *a, **k: standard.load_classic(which).features)
    photo = from_uint8(Source(paths=("photos",)).open()[0][None])[..., :96, :96]
    ruined = compress(photo, 5)
    torch.testing.assert_close(lpips(which)(photo, ruined), oracle._LPIPS(net=net)(photo, ruined).flatten(), atol=1e-4, rtol=1e-3)


def test_lpips_takes_its_published_weights(lpips_weights, tmp_path):
    x, y = torch.rand(2, 2, 3, 16, 16).float() * 2 - 1
    distance = lpips("vgg16", lpips_weights)
    assert distance(x, x).abs().max() == 0 and (distance(x, y) > 0).all()
    assert distance.embed(x[..., :4, :4]).shape[1] < distance.embed(x).shape[1] / 10  # fewer maps of a smaller image
    from predella.errors import UserError

    save_file({"vgg.lin0": torch.ones(1)}, lpips_weights / "lpips_heads.safetensors")
    with pytest.raises(UserError, match="does not hold the standard weights"):
        lpips("vgg16", lpips_weights)
    (lpips_weights / "lpips_heads.safetensors").unlink()
    with pytest.raises(UserError, match=r"no weights of lpips \(vgg16\); put vgg.pth \(from https://github"):
        lpips("vgg16", lpips_weights)
    (lpips_weights / "vgg.pth").write_bytes(b"none")
    with pytest.raises(UserError, match="its md5 does not begin with d507"):
        lpips("vgg16", lpips_weights)


def test_evaluate_a_tower(cli, lpips_weights, towers):
    for name in ("tower_color", "tower_jpeg", "tower_sr16"):
        words = ("evaluate", towers / name, "--data", "photos", "--part", "0,6", "--weights", lpips_weights, "--json")
        status, out, err = cli(*words)
        assert status == 0, err
        values = {r["measure"]: r["value"] for r in json.loads(out)["rows"]}
        assert values["lpips_diversity"] > 0 and values["fd_vgg16_relu4_3_6"] > 0
        assert values["inconsistency"] < 0.02 or name != "tower_color"  # the lightness is kept


def test_answers_are_compared_for_some_conditions_and_distances_have_all(cli, caplog, refuses, lpips_weights, towers):
    words = ("evaluate", towers / "tower_jpeg", "--data", "photos", "--weights", lpips_weights)

    def rows(*more):
        status, out, err = cli(*words, *more, "--json")
        assert status == 0, err
        return {r["measure"]: r for r in json.loads(out)["rows"]}

    some, two = rows("--part", "0,6", "--conditions", "2"), rows("--part", "0,2")
    assert caplog.text.count("sets are left out: they need more than 3 pictures") == 1
    for measure in two:
        assert some[measure]["value"] == two[measure]["value"] and some[measure]["images"] == 2
    assert some["fd_vgg16_relu4_3_6"]["images"] == 6
    refuses(*words, "--conditions", "0", says="--conditions must be 1 picture or more, got 0")


def test_evaluate_digits_and_layouts(cli, lpips_weights, towers, tmp_path):
    pair = np.random.default_rng(0).integers(0, 256, (40, 80, 3), dtype=np.uint8)
    Image.fromarray(pair).save(tmp_path / "pair.png")
    np.savez(tmp_path / "d.npz", x_test=np.random.default_rng(1).integers(0, 256, (5, 28, 28), dtype=np.uint8))
    for name, data in {"tower_layout": tmp_path / "pair.png", "tower_mnist_pca": f"{tmp_path}/d.npz#x_test"}.items():
        status, out, err = cli("evaluate", towers / name, "--data", data, "--weights", lpips_weights, "--json")
        assert status == 0, err
        values = {r["measure"]: r["value"] for r in json.loads(out)["rows"]}
        assert values["lpips_diversity"] > 0 and ("fd_mnist_classifier_5" in values) == (name == "tower_mnist_pca")


@pytest.mark.parametrize(("name", "off"), [("grey", 0.01), ("jpeg", 0.1), ("jpeg_40", 0.1), ("bicubic_16", 0.1)])
def test_an_input_by_itself_is_one_answer_that_keeps_to_it(cli, lpips_weights, name, off):
    status, out, err = cli("evaluate", name, "--data", "photos", "--part", "0,6", "--weights", lpips_weights, "--json")
    assert status == 0, err
    values = {r["measure"]: r["value"] for r in json.loads(out)["rows"]}
    assert values["lpips_diversity"] < 1e-9 and values["faithful_variance_0.3"] < 1e-9 and values["inconsistency"] < off
    assert values["fd_vgg16_relu4_3_6"] > 0


def test_the_baseline_of_jpegs_has_any_quality(refuses, lpips_weights):
    words = ("--data", "photos", "--weights", lpips_weights)
    refuses("evaluate", "grey_1", *words, says=["grey_1", "edge must be at least 2 pixels, got 1"])
    refuses("evaluate", "jpeg_0", *words, says=["jpeg_0", "quality must lie in 1…95, got 0"])
    refuses("evaluate", "jpeg_x", *words, says="no model is called 'jpeg_x'")
