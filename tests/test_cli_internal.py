"""The verbs of pictures' own patches, through the command line."""

import json

import numpy as np
import pytest
from PIL import Image

from predella.models.base import load


@pytest.fixture
def photo(tmp_path):
    values = np.random.default_rng(0).integers(0, 255, (6, 8, 3), np.uint8)
    Image.fromarray(values).resize((48, 36), Image.Resampling.BICUBIC).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def size(path):
    with Image.open(path) as image:
        return image.size


def test_a_model_of_many_pictures_varies_one_it_has_not_seen(cli, internals, photo, tmp_path):
    words = ("vary", photo, "--model", internals / "meta_internal_dataset", "--count", "2")
    status, out, _ = cli(*words, "--size", "40x18", "--out", tmp_path / "o", "--json")
    assert status == 0 and len(json.loads(out)["files"][0]["variations"]) == 2
    assert size(tmp_path / "o" / "photo-1.png") == (40, 18)
    assert (np.asarray(Image.open(tmp_path / "o" / "photo-1.png")) != np.asarray(Image.open(tmp_path / "o" / "photo-2.png"))).any()
    cli(*words, "--from-scale", "1", "--out", tmp_path / "p")
    assert size(tmp_path / "p" / "photo-2.png") == (24, 18) and (tmp_path / "p" / "photo-sheet.png").exists()


def test_a_model_is_trained_on_the_picture(cli, photo, tmp_path):
    status, out, _ = cli("vary", photo, "--count", "1", "--train-steps", "1", "--out", tmp_path / "o")
    assert status == 0 and "1 of 128×96" in out
    assert sorted(p.name for p in (tmp_path / "o").iterdir()) == ["photo-1.png", "photo-sheet.png"]


def test_patches_vary_without_a_network(cli, photo, tmp_path):
    assert cli("vary", photo, "--method", "patch", "--count", "2", "--size", "60x36", "--out", tmp_path / "o")[0] == 0
    assert size(tmp_path / "o" / "photo-2.png") == (60, 36)


def test_models_of_both_kinds_are_kept_with_their_scales(internals):
    plain, many = (load(internals / name) for name in ("meta_internal_plain", "meta_internal_dataset"))
    assert plain.config.heads == "table" and int(many.grown) == 2
    assert 0 < many.amplitudes[1] < 1


def test_mistakes_of_varying(refuses, internals, photo, tmp_path):
    many, out = internals / "meta_internal_dataset", tmp_path / "o"
    Image.new("RGB", (100, 10)).save(tmp_path / "long.png")
    Image.new("RGB", (10, 8)).save(tmp_path / "tiny.png")
    refuses("vary", tmp_path / "long.png", "--model", many, "--out", out, says=["long.png has 100×10", "8 times the shortest"])
    refuses(
        "vary", tmp_path / "tiny.png", "--model", many, "--out", out, says=["tiny.png has 10×8", "coarsest scale of this model needs 12"]
    )
    refuses("vary", photo, "--model", many, "--size", "20000x20000", "--out", out, says=["20000×20000", "GB"])
    refuses("vary", photo, "--model", many, "--size", "0x20", "--out", out, says="at least 1x1")
    refuses("vary", photo, "--model", many, "--from-scale", "2", "--out", out, says="0…1 for this model, got 2")
    refuses("vary", photo, "--model", many, "--count", "0", "--out", out, says="--count must lie in 1…1000")
    refuses("vary", photo, "--model", many, "--out", tmp_path / "o.png", says="must name a folder")
    refuses("vary", photo, "--model", many, "--dims", "1", "--out", out, says="--dims and --label are for reversible networks")
    refuses("vary", photo, "--method", "patch", "--model", many, "--out", out, says="needs no model")
    refuses("vary", tmp_path / "tiny.png", "--method", "patch", "--out", out, says=["tiny.png has 10×8", "patches need 21"])
    refuses("vary", photo, "--train-steps", "0", "--out", out, says="--train-steps must lie in 1…100000")
    assert not out.exists()


def test_recipes_that_do_not_fit_are_refused(refuses, photo):
    refuses("train", "meta_internal_plain", "--data.longest", "64", says="data.longest must be model.finest = 128")
    refuses("train", "meta_internal_plain", "--model.scales", "4", says="stages must train scales 0, 1, … of model.scales = 4")
    refuses("train", "meta_internal_plain", "--smoke", "--stages.0.objective.critic", "hyper", says="set objective.critic to 'shared'")
