"""Mistakes that argparse finds, in plain words."""

import pytest


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["upscale", "a.png", "--scale", "2", "--out", "b.png", "--quality", "high"], "--quality must be a whole number, got 'high'"),
        (["interpolate", "m", "a", "b", "--out", "o", "--path", "bow"], ["--path must be one of", "arc", "line", "got 'bow'"]),
        (["restore", "color"], "missing: IMAGE, --out; see --help"),
        (["sample", "m", "--out"], "--out wants a value (one that begins with - as --out=…)"),
        (["measure", "psnr_y", "--pairs", "a"], "--pairs wants 2 values"),
        (["upscale", "a.png", "--json=yes"], "--json takes no value, got 'yes'"),
    ],
)
def test_mistakes_of_kind_in_plain_words(refuses, words, says):
    refuses(*words, says=says)


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


@pytest.mark.parametrize("word", [("--features", "alexnet"), ("--samples", "5"), ("--tune", "2"), ("--scales", "2"), ("--ensemble",)])
def test_measures_refuse_what_they_have_no_use_for(refuses, word):
    refuses(
        "evaluate", "biharmonic", "--data", "photos", *word, says=[f"{word[0]} is for", "biharmonic is measured by 'fill': leave it out"]
    )


def test_patches_are_not_tuned(refuses):
    refuses("evaluate", "patch", "--data", "photos", "--tune", "2", says="--tune is for internal learning; patch is measured by")
