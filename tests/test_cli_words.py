"""Mistakes that argparse finds, in plain words."""

import sys

import pytest
from PIL import Image

from predella.data.images import Source


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["upscale", "a.png", "--scale", "2", "--out", "b.png", "--quality", "high"], "--quality must be a whole number, got 'high'"),
        (["interpolate", "m", "a", "b", "--out", "o", "--path", "bow"], ["--path must be one of", "arc", "line", "got 'bow'"]),
        (["restore", "color"], "missing: IMAGE, --out; it is 'predella restore TASK IMAGE --out OUT …', see --help"),
        (["sample", "m", "--out", "o.png", "--seed", "{}"], "--seed must be a whole number, got '{}'"),
        (["vary"], "missing: --out; it is 'predella vary --out OUT …', see --help"),
        (["sample", "m", "--out"], "--out wants a value (one that begins with - as --out=…)"),
        (["measure", "psnr_y", "--pairs", "a"], "--pairs wants 2 values"),
        (["upscale", "a.png", "--json=yes"], "--json takes no value, got 'yes'"),
    ],
)
def test_mistakes_of_kind_in_plain_words(refuses, words, says):
    refuses(*words, says=says)


@pytest.mark.parametrize("words", [("{}",), ("{}", "{}"), ("absent.jpg", "colorization"), ("pictures/",)])
def test_a_path_where_the_task_stands(refuses, photo, words):
    first, *more = (word.format(photo) for word in words)
    refuses("restore", first, *more, "--out", "o", says=f"{first} is a path, but the task comes first: predella restore TASK {first} …")


def test_a_file_whose_name_begins_with_a_dash(refuses, photo, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    photo.rename(tmp_path / "-photo.png")
    refuses("restore", "colorization", "-photo.png", "--out", "o", says="-photo.png begins with a dash, as options do; write ./-photo.png")


@pytest.mark.parametrize(
    "words",
    [
        ("upscale", "{}", "--scale", "2", "--out", "b.png"),
        ("trace", "{}", "--out", "t.png"),
        ("train", "{}.json"),
        ("train", "tower_jpeg", "--data", "{}"),
    ],
)
def test_an_address_is_known_as_one(refuses, tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    address = "https://example.org/a.png"
    refuses(*(w.format(address) for w in words), says=[f"{address}", "is an address, files are read here; fetch it first"])


@pytest.mark.parametrize(
    "word", [("--features", "alexnet"), ("--samples", "5"), ("--tune", "2"), ("--conditions", "2"), ("--scales", "2"), ("--ensemble",)]
)
def test_measures_refuse_what_they_have_no_use_for(refuses, word):
    refuses(
        "evaluate", "biharmonic", "--data", "photos", *word, says=[f"{word[0]} is for", "biharmonic is measured by 'fill': leave it out"]
    )


def test_ninety_recipes_are_no_line(refuses):
    refuses("train", "nosuch", says="no recipe is called 'nosuch'; `predella list recipes` names them")
    refuses("train", "tower_jpg", says="did you mean 'tower_jpeg'?")


def test_options_without_use_are_refused(refuses, photo, tmp_path, runs):
    words = ("upscale", photo, "--scale", "2", "--quality", "50", "--out", tmp_path / "b.png")
    refuses(*words, says="--quality: of no use for files without loss")
    refuses("measure", "fid", "--real", photo, "--generated", photo, "--border", "2", says="--border: of no use for sets")
    words = ("interpolate", runs / "reversible_faces", photo, photo, "--out", tmp_path / "o.png", "--space", "weights")
    refuses(*words, says=["--space weights is for images as functions", "restricted, full, pixels"])


def test_a_baseline_that_is_not_installed(refuses, monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    refuses("evaluate", "telea", "--data", "photos", "--part", "0,1", says="run: pip install opencv-python-headless")


def test_a_folder_called_as_a_built_in_set(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (40, 40)).save(tmp_path / "photos" / "mine.png")
    assert len(Source(paths=("photos",)).open()) > 5 and "not the folder here; ./photos names that" in caplog.text
    assert Source(paths=("./photos",)).open().names == ["mine.png"]


def test_patches_are_not_tuned(refuses):
    refuses("evaluate", "patch", "--data", "photos", "--tune", "2", says="--tune is for internal learning; patch is measured by")
