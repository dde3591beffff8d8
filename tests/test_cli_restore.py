"""Restoring: K files and a sheet, any size, the same seed the same answers, mistakes in one line."""

import json
import shutil
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from predella.apps.demo_tower import PAINTED
from predella.apps.restore import OwnData, restore
from predella.image.color import rgb_to_lab
from predella.image.files import Picture, read
from predella.image.jpeg import read_coefficients
from predella.models.base import load
from predella.recipe import task_of
from predella.tasks.colorization import Colorization, lightness


@pytest.fixture
def pictures(tmp_path):
    rng = np.random.default_rng(0)
    place = tmp_path / "pictures"
    place.mkdir()
    Image.fromarray(rng.integers(60, 200, (21, 34), dtype=np.uint8)).save(place / "grey.png")
    Image.fromarray(rng.integers(60, 200, (16, 24, 3), dtype=np.uint8)).save(place / "colour.jpg", quality=5)
    return place


def array(path):
    return np.asarray(Image.open(path))


def test_several_answers_and_a_sheet(cli, towers, pictures, tmp_path):
    words = ("restore", "colorization", pictures / "grey.png", "--answers", "3", "--model", towers / "tower_color")
    status, out, _ = cli(*words, "--out", tmp_path / "o", "--json")
    (files,) = json.loads(out)["files"]
    assert status == 0 and len(files["answers"]) == 3
    assert {p.name for p in (tmp_path / "o").iterdir()} == {"grey-1.png", "grey-2.png", "grey-3.png", "grey-sheet.png"}
    found = [array(p) for p in files["answers"]]
    assert all(f.shape == (21, 34, 3) for f in found) and not np.array_equal(found[0], found[1])
    assert array(files["sheet"]).shape == (21, 5 * 36 - 2, 3)  # input, three answers, where they differ
    cli(*words, "--out", tmp_path / "again")
    assert all(np.array_equal(a, array(tmp_path / "again" / f"grey-{i}.png")) for i, a in enumerate(found, 1))
    fewer = cli(*words[:3], "--answers", "1", *words[5:], "--force", "--out", tmp_path / "again")[2]
    assert "grey-2.png, grey-3.png in" in fewer and "not of this run, left as found" in fewer
    cli(*words, "--seed", "1", "--out", tmp_path / "other")
    assert not np.array_equal(found[0], array(tmp_path / "other" / "grey-1.png"))


def test_colourings_keep_the_lightness(cli, towers, pictures, tmp_path):
    cli("restore", "colorization", pictures / "grey.png", "--answers", "1", "--model", towers / "tower_color", "--out", tmp_path / "o")
    before = read(pictures / "grey.png").pixels.expand(-1, 3, -1, -1)
    after = read(tmp_path / "o" / "grey-1.png").pixels
    assert (rgb_to_lab(before)[:, 0] - rgb_to_lab(after)[:, 0]).abs().max() < 1  # of 100: rounding to 8 bits, colours sRGB lacks


def test_sixteen_times_as_large(cli, towers, tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)).save(tmp_path / "tiny.png")
    words = ("restore", "super_resolution", tmp_path / "tiny.png", "--answers", "2", "--model", towers / "tower_sr16")
    assert cli(*words, "--out", tmp_path / "o")[0] == 0
    assert array(tmp_path / "o" / "tiny-1.png").shape == (64, 96, 3) and array(tmp_path / "o" / "tiny-sheet.png").shape == (
        64,
        4 * 98 - 2,
        3,
    )


def test_a_folder_of_jpegs(cli, towers, pictures, tmp_path):
    (pictures / "broken.png").write_bytes(b"none")
    status, _, err = cli("restore", "decompression", pictures, "--answers", "2", "--model", towers / "tower_jpeg", "--out", tmp_path / "o")
    assert status == 0 and "left out: " in err and "1 of 3 left out" in err
    assert {p.name for p in (tmp_path / "o").iterdir()} == {f"{n}-{k}.png" for n in ("grey", "colour") for k in (1, 2, "sheet")}


def test_a_colour_photo_is_coloured_anew_with_a_note(cli, towers, pictures, tmp_path):
    Image.linear_gradient("L").resize((24, 16)).convert("RGB").save(tmp_path / "grey.jpg")  # in three channels
    Image.new("RGB", (24, 16), (90, 100, 80)).save(tmp_path / "colour.png")
    words = ("restore", "colorization", "--answers", "1", "--model", towers / "tower_color", "--out", tmp_path / "o")
    assert "only its lightness" not in cli(*words, tmp_path / "grey.jpg")[2]
    status, _, err = cli(*words, tmp_path / "colour.png")
    assert status == 0 and "only its lightness is used" in err


def test_exact_answers_keep_the_inputs_own_data(cli, towers, pictures, tmp_path):
    rng = np.random.default_rng(1)
    Image.fromarray(rng.integers(60, 200, (4, 6, 3), dtype=np.uint8)).save(tmp_path / "tiny.png")
    Image.fromarray(rng.integers(60, 200, (28, 28), dtype=np.uint8)).save(tmp_path / "digit.png")
    most = {"colorization": 0.8, "super_resolution": 0.3, "pca": 0.1, "decompression": 0.1}  # steps of 8 bits; of PCA mostly rounding
    inputs = {"colorization": pictures / "grey.png", "super_resolution": tmp_path / "tiny.png", "pca": tmp_path / "digit.png",
              "decompression": pictures / "colour.jpg"}  # fmt: skip
    recipes = {"colorization": "color", "super_resolution": "sr16", "pca": "mnist_pca", "decompression": "jpeg"}
    for task, file in inputs.items():
        off = {}
        for exact in ((), ("--exact",)):
            words = ("restore", task, file, "--answers", "2", "--model", towers / f"tower_{recipes[task]}", "--json", *exact)
            status, out, _ = cli(*words, "--out", tmp_path / f"{task}{len(exact)}")
            assert status == 0
            off[len(exact)] = max(json.loads(out)["files"][0]["departure"])
        assert off[1] < most[task] and off[1] < off[0] + 0.1, (task, off)  # of colours: test_cli_restore_limits


def test_exact_answers_have_the_coefficients_of_their_file(cli, towers, tmp_path):
    y, x = np.mgrid[:40, :51]
    photo = np.stack([127 + 90 * np.sin(x / 9 + k) * np.cos(y / 7) for k in range(3)], -1).astype(np.uint8)
    for name, options in {
        "a": {"quality": 5},
        "b": {"quality": 60, "subsampling": "4:4:4"},
        "c": {"quality": 30, "progressive": True},
    }.items():
        file = tmp_path / f"{name}.jpg"
        Image.fromarray(photo).save(file, **options)
        words = ("restore", "decompression", file, "--answers", "1", "--model", towers / "tower_jpeg", "--exact", "--out", tmp_path / "o")
        assert cli(*words)[0] == 0
        known, answer = read_coefficients(file), read(tmp_path / "o" / f"{name}-1.png").pixels
        assert known.inside(answer).item() > 0.995 > known.inside(-answer).item()
    Image.fromarray(photo[..., 0]).save(tmp_path / "grey.jpg", quality=20)
    cli(*words[:2], tmp_path / "grey.jpg", *words[3:])
    assert read_coefficients(tmp_path / "grey.jpg").inside(read(tmp_path / "o" / "grey-1.png").pixels[:, :1]).item() > 0.995


@pytest.mark.parametrize(("quality", "sampling"), [(20, "4:2:0"), (90, "4:4:4")])
def test_departures_are_from_the_files_own_coefficients(cli, towers, tmp_path, quality, sampling):
    y, x = np.mgrid[:32, :48]
    photo = np.stack([127 + 90 * np.sin(x / 9 + k) * np.cos(y / 7) for k in range(3)], -1).astype(np.uint8)
    Image.fromarray(photo).save(tmp_path / "a.jpg", quality=quality, subsampling=sampling)
    words = ("restore", "decompression", tmp_path / "a.jpg", "--answers", "1", "--model", towers / "tower_jpeg", "--json")
    off = [
        json.loads(cli(*words, *exact, "--out", tmp_path / f"o{len(exact)}")[1])["files"][0]["departure"][0] for exact in ((), ("--exact",))
    ]
    assert off[1] < 0.1 and off[1] <= off[0]
    assert read_coefficients(tmp_path / "a.jpg").departure(-read(tmp_path / "a.jpg").pixels).item() > 10 > off[0]
    Image.fromarray(photo).save(tmp_path / "b.png")
    out = cli(*words[:2], tmp_path / "b.png", *words[3:], "--out", tmp_path / "p")[1]
    assert json.loads(out)["files"][0]["departure"] == [None]


@pytest.mark.parametrize("size", [(1, 1), (5, 6), (8, 8), (9, 3)])
def test_tiny_pictures(cli, towers, tmp_path, size):
    Image.new("RGB", size, "teal").save(tmp_path / "t.png")
    words = ("restore", "decompression", tmp_path / "t.png", "--answers", "2", "--model", towers / "tower_jpeg", "--out", tmp_path / "o")
    assert cli(*words)[0] == 0 and array(tmp_path / "o" / "t-2.png").shape == (size[1], size[0], 3)


def test_answers_keep_what_the_file_says_of_itself(cli, towers, tmp_path):
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (20, 20, 4), dtype=np.uint8)).save(tmp_path / "a.png", icc_profile=b"profile", dpi=(300, 300))
    words = ("restore", "decompression", tmp_path / "a.png", "--answers", "1", "--model", towers / "tower_jpeg", "--out", tmp_path / "o")
    assert cli(*words)[0] == 0
    with Image.open(tmp_path / "o" / "a-1.png") as made:
        assert made.mode == "RGBA" and made.info["icc_profile"] == b"profile" and round(made.info["dpi"][0]) == 300


def test_large_answers_are_small_on_the_sheet(cli, towers, tmp_path):
    Image.new("L", (700, 30), 90).save(tmp_path / "wide.png")
    words = (
        "restore",
        "colorization",
        tmp_path / "wide.png",
        "--answers",
        "24",
        "--model",
        towers / "tower_color",
        "--out",
        tmp_path / "o",
    )
    assert cli(*words)[0] == 0 and len(list((tmp_path / "o").iterdir())) == 25
    assert array(tmp_path / "o" / "wide-sheet.png").shape == (6 * 24 - 2, 4 * 514 - 2, 3)  # 22 answers of 512 × 22


def test_a_photo_of_a_layout(cli, refuses, towers, tmp_path):
    labels = np.zeros((44, 36, 3), np.uint8)
    labels[:], labels[10:30, 8:20] = (0, 0x32, 0xFF), (0, 0x80, 0xFF)
    Image.fromarray(labels).save(tmp_path / "map.png")
    words = ("--model", towers / "tower_layout", "--out", tmp_path / "o")
    assert cli("restore", "layout", tmp_path / "map.png", "--answers", "2", *words)[0] == 0
    assert array(tmp_path / "o" / "map-1.png").shape == (22, 18, 3)
    labels[:6] = (40, 200, 40)
    Image.fromarray(labels).save(tmp_path / "other.png")
    assert cli("restore", "layout", tmp_path / "other.png", "--answers", "1", *words)[0] == 0  # colours as they are, whatever they mean
    refuses("restore", "layout", tmp_path / "map.png", "--exact", "--force", *words, says="layout fixes none")


def test_label_maps_are_judged_alike_in_training_measuring_and_restoring(cli, refuses, tmp_path, vgg_weights, lpips_weights):
    torch.set_default_dtype(torch.float32)
    pairs = np.zeros((40, 80, 3), np.uint8)
    pairs[:, 40:], pairs[10:30, 50:60] = (0, 0x32, 0xFF), (0, 0x80, 0xFF)
    for name in ("known", "unknown"):
        (tmp_path / name).mkdir()
        for i in range(4):
            Image.fromarray(pairs).save(tmp_path / name / f"{i}.png")
        pairs[:6, 40:] = (40, 200, 40)
    run = tmp_path / "run"
    words = ("--smoke", "--task.encoding", "one_hot", "--model.condition", "12", "--out")
    assert cli("train", "tower_layout", "--data", tmp_path / "known", *words, run)[0] == 0
    says = ["no class", "window #0080ff"]
    refuses("train", "tower_layout", "--data", tmp_path / "unknown", *words, tmp_path / "other", says=says)
    refuses("evaluate", run, "--data", tmp_path / "unknown", says=says)
    Image.fromarray(pairs[:, 40:]).save(tmp_path / "map.png")
    refuses("restore", "layout", tmp_path / "map.png", "--model", run, "--out", tmp_path / "o", says=["12.5%", *says])
    pairs[:6, 40:] = (0, 0x32, 0xFF)
    Image.fromarray(pairs[:, 40:]).save(tmp_path / "map.png")
    told = cli("restore", "layout", tmp_path / "map.png", "--model", run, "--answers", "1", "--out", tmp_path / "o")[2]
    assert "map.png is taken for facade 88%, window 12%\n" in told


def test_shipped_weights_restore(cli, pictures, tmp_path):
    words = ("restore", "colorization", pictures / "grey.png", "--answers", "2", "--exact", "--out", tmp_path / "o", "--json")
    assert max(json.loads(cli(*words)[1])["files"][0]["departure"]) < 1
    Image.fromarray(np.zeros((28, 28), np.uint8)).save(tmp_path / "digit.png")
    out = cli("restore", "pca", tmp_path / "digit.png", "--answers", "3", "--exact", "--out", tmp_path / "p", "--json")[1]
    assert max(json.loads(out)["files"][0]["departure"]) < 5  # black has no such components among digits


def test_a_ruined_jpeg_is_restored_by_shipped_weights(cli, pictures, tmp_path):
    with Image.open(pictures / "colour.jpg") as photo:
        photo.save(tmp_path / "ruined.jpg", quality=5)
    cli("restore", "decompression", tmp_path / "ruined.jpg", "--answers", "2", "--exact", "--out", tmp_path / "o")
    first, second = (array(tmp_path / "o" / f"ruined-{i}.png") for i in (1, 2))
    assert first.shape == array(tmp_path / "ruined.jpg").shape and (first != second).mean() > 0.1


def test_restoring_from_python():
    torch.set_default_dtype(torch.float32)
    grey = Picture(torch.linspace(-1, 1, 96 * 80).view(1, 1, 96, 80))
    painted = restore(grey, load("tower_color"), Colorization(), count=2, seed=3)
    assert [p.pixels.shape for p in painted] == [(1, 3, 96, 80)] * 2 and not torch.equal(painted[0].pixels, painted[1].pixels)
    assert (
        rgb_to_lab(painted[0].pixels)[:, :1] - rgb_to_lab(Colorization().project(lightness(grey.rgb()), grey.rgb()))[:, :1]
    ).abs().max() < 0.1


def test_notes_on_what_is_taken(cli, towers, tmp_path):
    Image.new("RGB", (30, 40), "white").save(tmp_path / "digit.png")
    Image.new("RGB", (40, 40), "white").save(tmp_path / "fine.jpg", quality=95)
    words = ("--answers", "1", "--out", tmp_path / "o", "--model")
    _, _, err = cli("restore", "pca", tmp_path / "digit.png", *words, towers / "tower_mnist_pca")
    assert "looks dark on bright" in err and "--invert" in err
    assert "only its lightness" not in err and "its central square is made 28×28" in err
    _, _, err = cli("restore", "decompression", tmp_path / "fine.jpg", *words, towers / "tower_jpeg")
    assert "the model knows" in err and "(quality 5)" in err
    assert "looks dark on bright" not in err
    Image.new("RGB", (20, 20), "grey").save(tmp_path / "stored_again.png")
    _, _, err = cli("restore", "decompression", tmp_path / "stored_again.png", *words, towers / "tower_jpeg")
    assert "stored_again.png is no JPEG; it is taken for one of quality 5" in err
    Image.new("LA", (1, 20)).save(tmp_path / "nothing.png")
    _, out, err = cli("restore", "colorization", tmp_path / "nothing.png", *words, towers / "tower_color")
    assert "has 20×1 pixels; too few" in err or "has 1×20 pixels; too few" in err
    assert "wholly transparent" in err and "1 answer  " in out and "up to 0.3 is rounding" in out


def test_a_digit_in_ink_is_the_digit_in_light(cli, refuses, towers, tmp_path):
    light = np.zeros((28, 28), np.uint8)
    light[6:22, 12:16] = 255
    Image.fromarray(light).save(tmp_path / "light.png")
    Image.fromarray(255 - light).save(tmp_path / "ink.png")
    words = ("--answers", "1", "--model", towers / "tower_mnist_pca", "--out", tmp_path / "o")
    cli("restore", "pca", tmp_path / "light.png", *words)
    _, _, err = cli("restore", "pca", tmp_path / "ink.png", "--invert", *words)
    assert "looks dark" not in err
    assert "bright on dark: leave out --invert" in cli("restore", "pca", tmp_path / "light.png", "--invert", "--force", *words)[2]
    cli("restore", "pca", tmp_path / "light.png", "--force", *words)
    Image.merge("LA", (Image.new("L", (28, 28)), Image.fromarray(light))).save(tmp_path / "clear.png")  # ink on nothing
    cli("restore", "pca", tmp_path / "clear.png", "--invert", *words)
    assert (array(tmp_path / "o" / "clear-1.png")[..., :3] == array(tmp_path / "o" / "light-1.png")[..., :3]).all()
    assert (array(tmp_path / "o" / "ink-1.png") == array(tmp_path / "o" / "light-1.png")).all()
    colours = ("restore", "colorization", tmp_path / "ink.png", "--invert", "--model", towers / "tower_color", "--out", tmp_path / "p")
    refuses(*colours, says="--invert is for digits")


def test_what_16_bits_become_is_said(cli, towers, tmp_path):
    Image.fromarray(np.arange(24 * 24, dtype=np.uint16).reshape(24, 24) * 100).save(tmp_path / "deep.png")
    words = ("restore", "colorization", tmp_path / "deep.png", "--answers", "1", "--model", towers / "tower_color", "--out", tmp_path / "o")
    assert "deep.png has 16 bits a channel; its answers have 8" in cli(*words)[2]


def test_sheets_can_be_enlarged(cli, refuses, towers, tmp_path):
    Image.new("L", (28, 28)).save(tmp_path / "digit.png")
    words = ("restore", "pca", tmp_path / "digit.png", "--answers", "2", "--model", towers / "tower_mnist_pca", "--out", tmp_path / "o")
    cli(*words, "--zoom", "3")
    assert array(tmp_path / "o" / "digit-sheet.png").shape == (84, 4 * 84 + 3 * 2, 3)
    refuses(*words, "--force", "--zoom", "99", says="--zoom must lie in 1…16, got 99")


def test_what_jpeglib_would_say_is_named_once(cli, refuses, towers, pictures, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "jpeglib", None)
    (tmp_path / "two").mkdir()
    for name in "ab":
        (tmp_path / "two" / f"{name}.jpg").write_bytes((pictures / "colour.jpg").read_bytes())
    words = ("restore", "decompression", tmp_path / "two", "--answers", "1", "--model", towers / "tower_jpeg", "--out", tmp_path / "o")
    assert cli(*words)[2].count("is not known without jpeglib (pip install jpeglib)") == 1
    refuses(*words, "--force", "--exact", says="reading JPEG coefficients needs jpeglib; run: pip install jpeglib")


def test_wrong_input(refuses, towers, pictures, tmp_path, runs, monkeypatch):
    monkeypatch.setattr("predella.apps.restore.free_memory", lambda device: 6.4e10)
    grey, jpeg, out = pictures / "grey.png", towers / "tower_jpeg", tmp_path / "o"
    refuses("restore", "colourization", grey, "--out", out, says="did you mean 'colorization'")
    says = ["no weights of tower_color_chimle are shipped", "predella train tower_color_chimle --data PICTURES/ makes them in runs/"]
    refuses("restore", "colorization", grey, "--model", "tower_color_chimle", "--out", out, says=says)
    refuses("restore", "colorization", grey, "--answers", "0", "--out", out, says="1…1000, got 0")
    refuses("restore", "colorization", grey, "--answers", "10000", "--out", out, says="1…1000, got 10000")
    refuses(
        "restore",
        "colorization",
        grey,
        "--model",
        jpeg,
        "--out",
        out,
        says=["not trained for colorization", "or leave it out for tower_color"],
    )
    refuses("restore", "decompression", grey, "--model", towers / "tower_color", "--out", out, says="not trained for decompression")
    refuses("restore", "decompression", grey, "--model", runs / "reversible_faces", "--out", out, says="can't restore")
    refuses("restore", "decompression", grey, "--model", jpeg, "--out", out, "--exact", says=["grey.png", "no grey or YCbCr JPEG"])
    refuses("restore", "decompression", grey, "--model", jpeg, "--out", tmp_path / "a.png", says="must name a folder")
    refuses("restore", "decompression", grey, pictures / "none.png", "--model", jpeg, "--out", out, says="none.png")
    refuses("restore", "decompression", grey, grey, "--model", jpeg, "--out", out, says="grey.png is given twice; name it once")
    twin = shutil.copy(grey, tmp_path / "grey.png")
    refuses("restore", "decompression", grey, twin, "--model", jpeg, "--out", out, says="would both be written as grey.png-1.png")
    large = tmp_path / "large.png"
    Image.new("L", (5000, 4000)).save(large)
    refuses(
        "restore",
        "decompression",
        large,
        "--model",
        jpeg,
        "--out",
        out,
        says=["5000×4000", "16,000,000 can be made at once (5.5 GB)", "jpegtran -crop", "at most 4472×3577"],
    )
    Image.new("RGB", (400, 300)).save(tmp_path / "many.png")
    Image.new("RGB", (3, 9)).save(tmp_path / "few.png")
    sr = ("--model", towers / "tower_sr16", "--out", out)
    refuses("restore", "super_resolution", tmp_path / "many.png", *sr, says=["6400×4800", "make it at most 288×216"])
    refuses("restore", "super_resolution", tmp_path / "few.png", *sr, says=["3×9", "at least 4 an edge"])
    assert not out.exists()


def test_large_photos_are_coloured(cli, towers, tmp_path):
    torch.set_default_dtype(torch.float32)
    Image.new("L", (2500, 1700)).save(tmp_path / "large.png")
    words = (tmp_path / "large.png", "--answers", "1", "--force", "--out", tmp_path / "o")
    assert cli("restore", "colorization", *words, "--model", towers / "tower_color")[0] == 0
    assert array(tmp_path / "o" / "large-1.png").shape == (1700, 2500, 3)


def test_twins_of_a_camera_and_words_that_are_nearly_tasks(cli, refuses, towers, tmp_path):
    torch.set_default_dtype(torch.float32)
    folder, out = tmp_path / "twins", tmp_path / "o"
    folder.mkdir()
    for ending in ("png", "webp"):
        Image.new("L", (24, 16)).save(folder / f"a.{ending}")
    assert cli("restore", "colorization", folder, "--answers", "1", "--model", towers / "tower_color", "--out", out)[0] == 0
    assert sorted(f.name for f in out.iterdir()) == ["a.png-1.png", "a.png-sheet.png", "a.webp-1.png", "a.webp-sheet.png"]
    refuses("restore", "tower_jpeg", folder, "--out", out, says=["did you mean 'decompression'?", "a task of your own needs --model RUN"])
    refuses(
        "restore",
        "denoising",
        folder,
        "--model",
        towers / "tower_color",
        "--force",
        "--out",
        out,
        says="not trained for denoising but for colorization",
    )


def test_a_tower_is_measured_without_weights_of_others(cli, refuses, towers, tmp_path):
    torch.set_default_dtype(torch.float32)
    words = ("evaluate", towers / "tower_color", "--data", "photos", "--part", "0,4")
    refuses(*words, "--weights", tmp_path, says=["vgg16-397923af.pth", "vgg.pth", "--features cifar_classifier"])
    rows = json.loads(cli(*words, "--features", "cifar_classifier", "--json")[1])["rows"]
    assert {r["measure"] for r in rows} >= {"cifar_classifier_diversity", "cifar_classifier_faithful_variance_0.3", "psnr_rgb"}
    sets = [r for r in rows if r["measure"].endswith("_cifar_classifier_4")]
    assert [r["measure"].split("_")[0] for r in sets] == ["fd", "precision", "recall"]
    assert all("LPIPS's form with cifar_classifier" in r["protocol"] for r in rows if r not in sets)


def test_small_answers_are_moved_until_they_keep_their_data():
    """On the line y + 0.05 x = 1.0499, which the square of pixels meets only near (1, 1): a thousand rounds from (-1, 1)."""
    normal = torch.tensor([0.05, 1.0])

    def project(p):
        return p - ((p @ normal - 1.0499) / normal.square().sum())[..., None] * normal

    kept = OwnData(project, lambda p: p).keep(torch.tensor([[[[-1.0, 1.0]]]]))
    assert kept.abs().max() <= 1 and (kept @ normal - 1.0499).abs() < 2e-3


def test_the_demo_shows_pictures_to_the_painter_as_it_was_trained():
    task = task_of("tower_color")
    assert isinstance(task, Colorization) and task.edge == PAINTED
