"""Restoring: K files and a sheet, any size, the same seed the same answers, mistakes in one line."""

import json

import numpy as np
import pytest
from PIL import Image

from predella.image.color import rgb_to_lab
from predella.image.files import read


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
    assert status == 0 and "left out" in err
    assert {p.name for p in (tmp_path / "o").iterdir()} == {f"{n}-{k}.png" for n in ("grey", "colour") for k in (1, 2, "sheet")}


def test_a_colour_photo_is_coloured_anew_with_a_note(cli, towers, pictures, tmp_path):
    words = ("restore", "colorization", pictures / "colour.jpg", "--answers", "1", "--model", towers / "tower_color")
    status, _, err = cli(*words, "--out", tmp_path / "o")
    assert status == 0 and "only its lightness is used" in err


def test_wrong_input(refuses, towers, pictures, tmp_path, runs):
    grey, jpeg, out = pictures / "grey.png", towers / "tower_jpeg", tmp_path / "o"
    refuses("restore", "colourization", grey, "--out", out, says="did you mean 'colorization'")
    refuses("restore", "colorization", grey, "--answers", "0", "--out", out, says="1…1000, got 0")
    refuses("restore", "colorization", grey, "--answers", "10000", "--out", out, says="1…1000, got 10000")
    refuses("restore", "colorization", grey, "--model", jpeg, "--out", out, says="not trained for colorization")
    refuses("restore", "decompression", grey, "--model", towers / "tower_color", "--out", out, says="not trained for decompression")
    refuses("restore", "decompression", grey, "--model", runs / "reversible_faces", "--out", out, says="can't restore")
    refuses("restore", "decompression", grey, "--model", jpeg, "--out", tmp_path / "a.png", says="must name a folder")
    refuses("restore", "decompression", grey, pictures / "none.png", "--model", jpeg, "--out", out, says="none.png")
    refuses("restore", "decompression", grey, grey, "--model", jpeg, "--out", out, says="two inputs are called grey")
    large = tmp_path / "large.png"
    Image.new("L", (2500, 2000)).save(large)
    refuses("restore", "decompression", large, "--model", jpeg, "--out", out, says=["2500×2000", "make it smaller"])
    Image.new("RGB", (200, 100)).save(tmp_path / "many.png")
    Image.new("RGB", (3, 9)).save(tmp_path / "few.png")
    sr = ("--model", towers / "tower_sr16", "--out", out)
    refuses("restore", "super_resolution", tmp_path / "many.png", *sr, says=["3200×1600", "make it smaller"])
    refuses("restore", "super_resolution", tmp_path / "few.png", *sr, says=["3×9", "at least 4 an edge"])
    assert not out.exists()
