"""The tables of generating models: protocols by hand on stand-ins, and through the command line on smoke-trained runs."""

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from benchmarks.vae import VAE, of_size
from PIL import Image

from predella import protocols
from predella.data.images import Source
from predella.evaluation import _overlap
from predella.metrics import generation
from predella.recipe import override
from predella.recipes import find_recipe
from predella.run import start


@pytest.fixture
def digits():
    return Source(paths=("digits",), channels=1, smallest=8, part=(0, 70)).open()


def test_reconstruction_in_numbers(digits):
    rows = list(generation.reconstruction(digits, lambda x: x + 2e-6, lambda x: x + 2 * 10 / 255))
    assert rows[0]["measure"] == "l1" and rows[0]["value"] == pytest.approx(1e-6, rel=0.03)  # the rounding of float32
    assert rows[1]["measure"] == "psnr_rgb" and rows[1]["images"] == 70
    assert rows[1]["value"] >= 20 * np.log10(255 / 10) - 1e-6  # ten grey levels, fewer where white clips


def test_distances_know_which_set_is_real(digits):
    features = lambda x: x[:, :1, ::2, ::2].flatten(1)  # noqa: E731
    real = torch.cat(list(generation.batches(digits)))
    narrow = real.mean(0, keepdim=True)
    draws = {"same": lambda n: real[:n], "one": lambda n: narrow.repeat(n, 1, 1, 1) + 0.05 * torch.randn(n, 1, 8, 8)}
    rows = {
        (r["ask"], r["measure"].split("_")[0]): r["value"]
        for r in generation.distances(generation.batches(digits), draws, features, "pixels")
    }
    assert rows["one", "fd"] > rows["same", "fd"]
    assert rows["one", "recall"] < 0.1 < rows["same", "recall"]


def test_classifier_score_bounds():
    sure = torch.log_softmax(torch.eye(4) * 50, 1)
    assert generation.classifier_score(sure) == pytest.approx(4)
    assert generation.classifier_score(sure[:1].repeat(5, 1)) == pytest.approx(1)
    assert generation.classifier_score(torch.full((3, 4), 0.25).log()) == pytest.approx(1)


def test_judges_see_eight_bits():
    seen = []

    def judge(x):
        seen.append(x)
        return x.flatten(1)[:, :3]

    draws = {"samples": lambda n: torch.rand(n, 1, 4, 4) * 2 - 1}
    (row,) = generation.scores(judge, draws, 60, "none")
    level = torch.cat(seen) * 127.5 + 127.5
    assert row["images"] == len(level) == 60 and (level - level.round()).abs().max() < 1e-3


def test_recognised_by_hand():
    """Samples carry their label; the judge is right but for class 2, which it calls 0."""
    draw = lambda label: label.view(-1, 1, 1, 1).expand(-1, 1, 2, 2) / 4 - 1.0  # noqa: E731

    def judge(x):
        label = ((x[:, 0, 0, 0] + 1) * 4).round().long()
        return 30 * torch.nn.functional.one_hot(torch.where(label == 2, 0, label), 3).double()

    rows = list(generation.recognised(judge, draw, 3, 8, "a judge"))
    assert rows[0]["value"] == pytest.approx(2 / 3) and rows[0]["images"] == 24
    assert rows[1]["value"] == pytest.approx(np.exp(-(2 / 3 * np.log(2 / 3) + 1 / 3 * np.log(1 / 3))))


def test_evaluate_faces(cli, refuses, runs, vgg_weights, tmp_path, caplog):
    run = runs / "reversible_faces"
    status, out, err = cli("evaluate", run, "--data", "photos", "--part", "2,8", "--weights", vgg_weights, "--json")
    assert status == 0, err
    assert {r["set"] for r in json.loads(out)["rows"]} == {"photos (trained on)"}
    rows = {(r["ask"], r["measure"]): r["value"] for r in json.loads(out)["rows"]}
    assert rows["full latent", "l1"] < 9e-7
    assert rows["samples (mixture)", "fd_vgg16_relu4_3_6"] > 0 and ("restricted latent", "psnr_rgb") in rows
    (tmp_path / "nothing").mkdir()
    _, out, _ = cli("evaluate", run, "--data", "photos", "--part", "0,3", "--weights", tmp_path / "nothing", "--json")
    assert {r["measure"] for r in json.loads(out)["rows"]} == {"l1", "psnr_rgb"} and "more than 3 pictures, got 3" in caplog.text
    before = (run / "metrics.jsonl").read_text()
    refuses("evaluate", run, "--seed", "-1", says="--seed")
    assert (run / "metrics.jsonl").read_text() == before


def test_evaluate_digits_and_their_judge(cli, refuses, tmp_path, monkeypatch):
    torch.set_default_dtype(torch.float32)
    recipe = find_recipe("mnist_classifier")(smoke=True)
    recipe = replace(recipe, stages=(replace(recipe.stages[0], steps=200, batch_size=32),))
    start(recipe, tmp_path / "judge", "test", cpu=True)
    status, out, err = cli("evaluate", tmp_path / "judge", "--json")
    (row,) = json.loads(out)["rows"]
    assert status == 0 and row["measure"] == "accuracy" and row["value"] > 0.4, err  # ten classes: chance is 0.1
    monkeypatch.setattr(protocols, "JUDGE", str(tmp_path / "judge"))
    monkeypatch.setattr(protocols, "EACH", 3)
    start(find_recipe("reversible_mnist_ot")(smoke=True), tmp_path / "r", "test", cpu=True)
    status, out, err = cli("evaluate", tmp_path / "r", "--part", "0,40", "--json")
    assert status == 0, err
    rows = json.loads(out)["rows"]
    assert [r["ask"] for r in rows[:10]] == [f"class {k}" for k in range(10)]
    assert 0 <= next(r["value"] for r in rows if r["measure"] == "recognised") <= 1
    refuses("evaluate", tmp_path / "r", "--part", "5,5", says="FIRST below LAST")
    refuses("evaluate", tmp_path / "r", "--scales", "2", says="--scales is for enlarging")
    np.savez(tmp_path / "plain.npz", x=np.zeros((4, 28, 28), np.uint8))
    refuses("evaluate", tmp_path / "judge", "--data", tmp_path / "plain.npz", says="accuracy needs classes")


def test_a_part_of_an_npz_and_its_classes(tmp_path):
    x = np.arange(5 * 36, dtype=np.uint8).reshape(5, 6, 6)
    np.savez(tmp_path / "a.npz", x_train=x, y_train=np.arange(5), x_test=x[:2], y_test=np.array([7, 8]))
    found = Source(paths=(f"{tmp_path / 'a.npz'}#x_test",), channels=1, smallest=4, edge=8, pad=True).open()
    assert found.labels.tolist() == [7, 8] and found[0].shape == (1, 8, 8)
    assert torch.equal(found[1][0, 1:7, 1:7], torch.from_numpy(x[1])) and found[1][0, 0].sum() == 0
    assert Source(paths=(str(tmp_path / "a.npz"),), channels=1, smallest=4, part=(1, 3)).open().labels.tolist() == [1, 2]


def test_the_baseline_has_as_many_parameters_and_learns():
    vae = of_size(300_000, 3, 16, 8)
    assert sum(p.numel() for p in vae.parameters()) == pytest.approx(300_000, rel=0.1)
    torch.set_default_dtype(torch.float32)
    small = VAE(1, 8, 2, 8)
    x = torch.rand(64, 1, 1, 1).expand(-1, 1, 8, 8) * 2 - 1
    first = small.loss(x).item()
    optimizer = torch.optim.Adam(small.parameters(), 1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        small.loss(x).backward()
        optimizer.step()
    assert small.loss(x).item() < first - 1


def test_what_was_seen_is_known_by_place(tmp_path):
    """Two folders of one name are two; a folder in one that was trained on is a part of it. Of what is gone the name decides."""
    for folder in ("train/images", "test/images", "all/held"):
        (tmp_path / folder).mkdir(parents=True)
    seen = lambda mine: partial(_overlap, override(find_recipe("tower_color")(), {"data.paths": json.dumps([str(tmp_path / mine)])}))  # noqa: E731
    assert seen("train/images")(str(tmp_path / "train" / "images"), ()) and not seen("train/images")(str(tmp_path / "test" / "images"), ())
    assert seen("all")(str(tmp_path / "all" / "held"), ()) and seen("all/held")(str(tmp_path / "all"), ())
    assert seen("gone/images")(str(tmp_path / "test" / "images"), ())


def test_parts_of_joined_folders_are_told_apart(tmp_path):
    for folder, count in (("a", 3), ("b", 4)):
        (tmp_path / folder).mkdir()
        for i in range(count):
            Image.new("RGB", (8, 8)).save(tmp_path / folder / f"{i}.png")
    a, b = str(tmp_path / "a"), str(tmp_path / "b")
    recipe = override(find_recipe("tower_color")(), {"data.paths": json.dumps([a, b]), "data.part": "0,5"})
    seen = partial(_overlap, recipe)
    assert seen(a, ()) and seen(b, (0, 2)) and seen(b, (1, 9)) and not seen(b, (2, 4)) and not seen(str(tmp_path / "c"), ())
    away = override(recipe, {"data.paths": json.dumps([str(tmp_path / "none"), b])})
    assert _overlap(away, b, (2, 4))  # how many pictures came before is not known
