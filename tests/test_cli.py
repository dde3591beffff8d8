"""The command line: every verb on real files, every mistake one line and exit status 2, nothing written."""

import errno
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from PIL import Image

from conftest import picture
from predella.image.files import read


def files(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))


def test_help_is_quick_and_needs_no_torch():
    code = "import sys; from predella.cli import main; main(['--help']); assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    start = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "upscale" in done.stdout and time.monotonic() - start < 20  # the bound only catches an import of torch under load


def test_upscale_by_scale_size_and_axes(cli, runs, photo, tmp_path):
    model = runs / "functional_sr"
    for words, size in [
        (("--scale", "2.5"), (100, 140)),
        (("--scale", "2.5,1"), (40, 140)),
        (("--size", "77x81"), (81, 77)),
        (("--scale", "1"), (40, 56)),
    ]:
        out = tmp_path / f"{words[1]}.png"
        status, said, err = cli("upscale", photo, *words, "--out", out, "--model", model)
        assert status == 0, err
        assert read(out).size == size and f"{size[1]}×{size[0]}" in said


def test_upscale_many_into_a_folder_and_json(cli, runs, photo, tmp_path):
    other = tmp_path / "b.jpg"
    Image.fromarray(picture(30, 20)).save(other)
    status, said, err = cli("upscale", photo, other, "--scale", "2", "--out", tmp_path / "big", "--model", runs / "functional_sr", "--json")
    assert status == 0, err
    assert files(tmp_path / "big") == ["b.jpg", "photo.png"]
    assert [row["width"] for row in json.loads(said)["files"]] == [112, 40]


def test_transparency_depth_and_grey_are_carried(cli, runs, tmp_path):
    array = np.dstack([picture(20, 24), np.full((20, 24), 255, np.uint8)])
    array[:, :12, 3] = 0
    Image.fromarray(array).save(tmp_path / "a.png")
    Image.fromarray(np.arange(480, dtype=np.uint16).reshape(20, 24) * 100).save(tmp_path / "g.png")
    for name in ("a", "g"):
        status, _, err = cli(
            "upscale", tmp_path / f"{name}.png", "--scale", "2", "--out", tmp_path / f"{name}2.png", "--model", runs / "functional_sr"
        )
        assert status == 0, err
    alpha = read(tmp_path / "a2.png").alpha
    assert alpha is not None and alpha[0, 0, 20, 5] == -1 and alpha[0, 0, 20, 42] == 1
    grey = read(tmp_path / "g2.png")
    assert grey.bits == 16 and grey.pixels.shape == (1, 1, 40, 48)


def test_tiles_equal_the_whole_image(runs):
    import predella
    from predella.apps.upscale import enlarge_bands

    model = predella.load(runs / "functional_sr").double()
    x = torch.rand(1, 3, 61, 47) * 2 - 1
    for size in [(153, 118), (61, 141)]:
        whole = model(x, size)
        bands = torch.cat([b for _, b in enlarge_bands(model, x, size, tile=40)], 2)
        assert (bands - whole).abs().max() < 1e-12


def test_self_ensemble_is_the_mean_over_rotations(runs):
    import predella
    from predella.apps.upscale import enlarge_bands
    from predella.metrics.super_resolution import ensemble

    model = predella.load(runs / "functional_sr").double()
    x = torch.rand(1, 3, 21, 30) * 2 - 1
    tiled = torch.cat([b for _, b in enlarge_bands(model, x, (50, 75), tile=32, self_ensemble=True)], 2)
    assert (tiled - ensemble(model)(x, (50, 75))).abs().max() < 1e-12


def test_fill_keeps_what_is_known(cli, runs, photo, tmp_path):
    mask = np.zeros((40, 56), np.uint8)
    mask[10:20, 10:30] = 255
    Image.fromarray(mask).save(tmp_path / "m.png")
    status, said, err = cli("fill", photo, "--mask", tmp_path / "m.png", "--out", tmp_path / "f.png", "--model", runs / "functional_fill")
    assert status == 0 and "8.9% filled" in said, err
    before, after = np.asarray(Image.open(photo)), np.asarray(Image.open(tmp_path / "f.png"))
    assert np.array_equal(before[mask == 0], after[mask == 0]) and not np.array_equal(before, after)


def test_measure_files_and_folders(cli, photo, tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    noisy = picture(40, 56).astype(int)
    noisy[::2] += 3
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(tmp_path / "a" / "photo.png")
    shutil.copy(photo, tmp_path / "b" / "photo.png")
    status, said, err = cli("measure", "psnr_rgb", "psnr_y", "ssim_y", "--pairs", tmp_path / "a", tmp_path / "b", "--border", "2", "--json")
    found = json.loads(said)["mean"]
    assert status == 0 and 40 < found["psnr_rgb"] < 45 and 0.9 < found["ssim_y"] < 1, err
    status, said, _ = cli("measure", "psnr_y", "--pairs", photo, photo)
    assert status == 0 and "psnr_y=inf" in said


def test_evaluate_appends_rows_with_their_protocol(cli, runs, photo, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(runs / "functional_sr", run)
    record = tmp_path / "results" / "x.jsonl"
    status, said, err = cli("evaluate", run, "--data", photo, "--scales", "2,2.5", "--record", record)
    assert status == 0, err
    rows = [json.loads(r) for r in record.read_text().splitlines()]
    assert [(r["ask"], r["measure"]) for r in rows] == [("x2", "psnr_y"), ("x2", "ssim_y"), ("x2.5", "psnr_y"), ("x2.5", "ssim_y")]
    assert all(r["steps"] == 20 and r["protocol"] and r["seed"] == 0 and r["set"] == "photo" for r in rows)
    assert record.read_text() in (run / "metrics.jsonl").read_text()
    status, said, err = cli("report", "--results", record.parent, "--out", tmp_path / "R.md")
    text = (tmp_path / "R.md").read_text()
    assert status == 0, err
    assert cli("report", "--results", record.parent, "--out", tmp_path / "R.md", "--check")[0] == 0
    assert f"| {rows[2]['value']:.2f} |" in text.replace("**", "") and "photo" in text
    (tmp_path / "N.md").write_text("# My own notes")
    assert cli("report", "--results", record.parent, "--out", tmp_path / "N.md")[0] == 2
    assert (tmp_path / "N.md").read_text() == "# My own notes"


def test_evaluate_fill_and_its_baselines(cli, runs, tmp_path):
    Image.fromarray(picture(48, 48)).save(tmp_path / "p.png")
    for run in (runs / "functional_fill", "biharmonic", "telea"):
        status, said, err = cli("evaluate", run, "--data", tmp_path / "p.png", "--json")
        assert status == 0, err
        assert [r["ask"] for r in json.loads(said)["rows"]] == ["strokes", "boxes", "text"]


def test_list_names_everything(cli):
    status, said, _ = cli("list")
    assert status == 0 and all(w in said for w in ("functional_sr_paper", "functional_image", "super_resolution", "psnr_y", "pretrained"))
    assert {"psnr_y", "ssim_y", "psnr_rgb", "fid", "kid", "fd_FEATURES", "recall_FEATURES"} <= json.loads(
        cli("list", "metrics", "--json")[1]
    )["metrics"].keys()


def test_dry_run_prints_the_resolved_recipe_and_reads_back(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ("--stages.0.optim.hypernetwork.lr", "3e-4", "--seed", "7", "--task.scales", "1.5,3", "--data", "somewhere", "--dry-run")
    status, said, err = cli("train", "functional_sr", *words)
    record = json.loads(said)
    assert status == 0, err
    assert record["stages"][0]["optim"]["hypernetwork"]["lr"] == 3e-4 and record["seed"] == 7
    assert record["task"]["scales"] == [1.5, 3.0] and record["data"]["paths"] == ["somewhere"]
    (tmp_path / "r.json").write_text(said)
    assert cli("train", "r.json", "--dry-run")[1] == said
    assert files(tmp_path) == ["r.json"]


def test_onnx_equals_torch_at_every_size(cli, runs, tmp_path):
    import onnxruntime

    import predella

    status, _, err = cli("export", runs / "functional_sr", "--format", "onnx", "--out", tmp_path / "m.onnx")
    assert status == 0, err
    session = onnxruntime.InferenceSession(str(tmp_path / "m.onnx"))
    model = predella.load(runs / "functional_sr")
    model = model.float()
    for h, w, H, W in ((9, 13, 22, 31), (30, 20, 60, 50), (16, 21, 128, 21)):
        x = torch.rand(1, 3, h, w, dtype=torch.float32) * 2 - 1
        rows, columns = ((2 * np.arange(n) + 1) / n - 1 for n in (H, W))
        feed = {"image": x.numpy(), "y": rows, "x": columns, "scale": np.array([H / h, W / w], np.float32)}
        (got,) = session.run(None, feed)
        assert np.abs(got - model(x, (H, W)).detach().numpy()).max() < 1e-5


# --- wrong input: one line, exit status 2, nothing written ---------------------------------------------------------------------


@pytest.fixture
def broken(tmp_path, photo):
    place = tmp_path / "broken"
    place.mkdir()
    (place / "text.png").write_text("hello")
    Image.fromarray(picture(64, 64)).save(place / "whole.jpg")
    whole = (place / "whole.jpg").read_bytes()
    (place / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (place / "whole.jpg").unlink()
    # a PNG header that claims 40 000 × 40 000 pixels
    import struct
    import zlib

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 40_000, 40_000, 8, 2, 0, 0, 0))
    (place / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"0")) + chunk(b"IEND", b""))
    return place


@pytest.mark.parametrize(
    "name, words",
    [("no.png", "does not exist"), ("text.png", "not an image"), ("cut.jpg", "damaged"), ("bomb.png", "40000×40000")],
)
def test_upscale_refuses_broken_files(refuses, runs, broken, tmp_path, name, words):
    before = files(tmp_path)
    refuses(
        "upscale", broken / name, "--scale", "2", "--out", tmp_path / "out" / "x.png", "--model", runs / "functional_sr", says=[words, name]
    )
    assert files(tmp_path) == before


@pytest.mark.parametrize(
    "words, says",
    [
        (("--scale", "0"), "got 0"),
        (("--scale", "-2"), "got -2"),
        (("--scale", "nan"), "got nan"),
        (("--scale", "65"), "from 1 to 64, got 65"),
        (("--scale", "big"), "'big'"),
        (("--size", "100"), "WIDTHxHEIGHT"),
        (("--size", "10x10"), "from 40"),
        ((), "give --scale or --size"),
        (("--scale", "2", "--size", "100x100"), "one of the two"),
        (("--scale", "2", "--scael", "3"), "did you mean '--scale'?"),
        (("--scale", "2", "--quality", "0"), "from 1 to 100"),
        (("--size", "3584x2560", "--model", "functional_rs"), "did you mean"),
    ],
)
def test_upscale_refuses_wrong_numbers(refuses, runs, photo, tmp_path, words, says):
    before = files(tmp_path)
    model = () if "--model" in words else ("--model", runs / "functional_sr")
    refuses("upscale", photo, *words, "--out", tmp_path / "x.png", *model, says=says)
    assert files(tmp_path) == before


def test_outputs_are_never_lost(refuses, cli, runs, photo, tmp_path, monkeypatch):
    model = ("--model", runs / "functional_sr", "--scale", "2")
    (tmp_path / "mine.png").write_text("mine")
    refuses("upscale", photo, *model, "--out", tmp_path / "mine.png", says="--force")
    refuses("upscale", photo, *model, "--out", tmp_path / "mine.png" / "x.png", says="is a file, a folder is needed")
    refuses("upscale", photo, photo, *model, "--out", tmp_path / "both", says="two inputs are called photo.png")
    refuses("upscale", photo, *model, "--out", tmp_path / "x.bmp", says="'.bmp'")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        refuses("upscale", photo, *model, "--out", tmp_path / "mine.png", "--force", says="No space left on device; nothing was changed")
    assert (tmp_path / "mine.png").read_text() == "mine" and files(tmp_path) == ["mine.png", "photo.png"]
    assert cli("upscale", photo, *model, "--out", tmp_path / "mine.png", "--force")[0] == 0


def test_what_does_not_fit_is_refused_with_the_memory_it_needs(refuses, runs, tmp_path, monkeypatch):
    import psutil

    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("M", (), {"available": 2e9})())
    Image.fromarray(picture(400, 600)).save(tmp_path / "p.png")
    command = ("upscale", tmp_path / "p.png", "--size", "30000x20000", "--out", tmp_path / "x.png", "--model", runs / "functional_sr")
    refuses(*command, says=["30000×20000", "GB", "2.0 GB are free"])
    assert files(tmp_path) == ["p.png"]


def test_models_that_are_not_whole(refuses, runs, photo, tmp_path):
    def upscale(model, says):
        refuses("upscale", photo, "--scale", "2", "--out", tmp_path / "x.png", "--model", model, says=says)

    upscale(tmp_path / "nowhere", "no model is called")
    upscale("functional_srr", "did you mean 'functional_sr'?")
    (tmp_path / "empty").mkdir()
    upscale(tmp_path / "empty", "has no config.json")
    for name in ("missing", "altered", "pickled"):
        shutil.copytree(runs / "functional_sr", tmp_path / name)
    (tmp_path / "missing" / "model.safetensors").unlink()
    upscale(tmp_path / "missing", "is missing")
    weights = tmp_path / "altered" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    upscale(tmp_path / "altered", "checksum")
    (tmp_path / "pickled" / "model.safetensors").write_bytes(pickle.dumps({"a": 1}))
    upscale(tmp_path / "pickled", "checksum")
    (tmp_path / "model.pt").write_bytes(pickle.dumps({"a": 1}))
    upscale(tmp_path / "model.pt", "no pickle")
    upscale(runs / "functional_fill", "can't upscale; it can fill; functional_sr can upscale")
    assert not (tmp_path / "x.png").exists()


def test_a_pickle_never_runs(tmp_path, runs):
    """A weight file that is a pickle bomb, with the right checksum: refused, not executed."""
    import hashlib

    import predella

    class Bomb:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "exploded"),))

    shutil.copytree(runs / "functional_sr", tmp_path / "m")
    data = pickle.dumps(Bomb())
    (tmp_path / "m" / "model.safetensors").write_bytes(data)
    config = json.loads((tmp_path / "m" / "config.json").read_text())
    config["sha256"] = hashlib.sha256(data).hexdigest()
    (tmp_path / "m" / "config.json").write_text(json.dumps(config))
    with pytest.raises(predella.UserError, match="does not fit"):
        predella.load(tmp_path / "m")
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize(
    "words, says",
    [
        (("functional_s",), "did you mean 'functional_sr'?"),
        (("functional_sr", "--sed", "3"), "Recipe has no field 'sed'; did you mean 'seed'?"),
        (("functional_sr", "--stages.9.steps", "3"), "'stages' has no entry '9'; known: 0"),
        (("functional_sr", "--seed", "many"), "seed"),
        (("functional_sr", "--seed"), "needs a value"),
        (("functional_sr", "--task.scales", "0.5,4"), "1 ≤ low ≤ high"),
        (("functional_sr", "--stages.0.optim.hypernetwork.schedule", "cosin"), "'cosine'"),
        (("functional_sr", "--data", "/nowhere/at/all"), "does not exist"),
        (("functional_sr", "--resume"), "no state"),
        (("functional_sr", "--log-every", "0"), "log_every must be at least 1"),
        (("functional_sr", "--precision", "fp16"), "'bf16'"),
        (("functional_sr", "--model.field.width", "0"), "width must be at least 1"),
        (("functional_sr", "--model.mask", "true"), "masks belong to masking"),
        (("functional_sr", "--smoke", "--stages.0.optim.hypernetwork.muon", "nothing.*"), "names none"),
        (("tower_layout", "--data", "photos"), "the right half of astronaut"),
        (("tower_jpeg", "--smoke", "--stages.0.objective.distance", "vgg16", "--weights", "."), "holds no weights of vgg16; put"),
        (("tower_jpeg", "--smoke", "--task.edge", "8"), "more than 8×8 pixels"),
        (("tower_jpeg", "--smoke", "--stages.0.steps", "7"), "needs a multiple of 6"),
        (("tower_color", "--data.paired", "true"), "pairs belong to layout"),
        (("tower_layout", "--augment.shrink", "2"), "label maps can't be resampled"),
        (("tower_layout", "--data.smallest", "200"), "data.smallest must be task.edge · task.shrink = 256 or more, got 200"),
        (("--seed", "7", "functional_sr"), "write the recipe's name first"),
        (("none.json",), "none.json does not exist"),
    ],
)
def test_train_refuses(refuses, tmp_path, monkeypatch, words, says):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PREDELLA_WEIGHTS", "")  # what --weights sets is undone
    refuses("train", *words, says=says)
    assert files(tmp_path) == []


@pytest.mark.parametrize(
    "words, says",
    [
        (("upsacle",), "did you mean 'upscale'?"),
        (("list", "recipe"), "did you mean 'recipes'?"),
        (("measure", "psnr", "--pairs", "a", "b"), "did you mean 'psnr_y'?"),
        (("measure", "psnr_y", "--pairs", "a", "b"), "a does not exist"),
        (("evaluate", "bicubicc"), "no model is called 'bicubicc'"),
        (("evaluate", "bicubic", "--scales", "2;3"), "2;3"),
        (("evaluate", "bicubic", "--record", "somewhere"), ".jsonl"),
        (("report", "--results", "nowhere"), "nowhere does not exist"),
        (("export", "functional_sr", "--format", "tflite", "--out", "x.onnx"), "tflite"),
        (("upscale",), "missing: "),
    ],
)
def test_other_verbs_refuse(refuses, tmp_path, monkeypatch, words, says):
    monkeypatch.chdir(tmp_path)
    refuses(*words, says=says)
    assert files(tmp_path) == []


def test_fill_refuses_masks_that_do_not_fit(refuses, runs, photo, tmp_path):
    for name, array, says in [
        ("small", np.full((10, 10), 255, np.uint8), "make them one size"),
        ("black", np.zeros((40, 56), np.uint8), "mask is empty"),
        ("white", np.full((40, 56), 255, np.uint8), "leaves nothing"),
    ]:
        Image.fromarray(array).save(tmp_path / f"{name}.png")
        words = ("fill", photo, "--mask", tmp_path / f"{name}.png", "--out", tmp_path / "f.png", "--model", runs / "functional_fill")
        refuses(*words, says=says)
    assert not (tmp_path / "f.png").exists()


def test_demo_shows_every_system_at_work(cli, refuses, tmp_path):
    out = tmp_path / "page"
    status, said, _ = cli("demo", "--out", out)
    assert status == 0
    page = (out / "index.html").read_text()
    shown = re.findall(r'<img src="([^"]+)"', page)
    assert len(shown) > 15 and all((out / name).is_file() for name in shown)
    error = re.search(r"decoded from all 3,072 numbers, error (\S+)", said)
    assert error and float(error[1].rstrip(",·")) <= 9e-7  # Sec. 3.1.1
    scores = [float(x) for x in re.findall(r"(?:bicubic|predella), (\d+\.\d+) dB", said)]
    assert scores[1] > scores[0] and scores[3] > scores[2]  # enlarged on both axes, and on one
    refuses("demo", "--out", out, says="--force")
