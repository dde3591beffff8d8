"""What a new user ran into: what is known before the work is said before it."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from predella.apps.density import prepared as prepared_for_density
from predella.image.files import Picture, read
from predella.models.base import load
from predella.recipe import override
from predella.recipes import find_recipe


def test_a_training_that_failed_at_its_start_is_no_run(cli, refuses, tmp_path, monkeypatch):
    words = ("train", "functional_sr", "--smoke", "--cpu", "--out", tmp_path / "r")
    with monkeypatch.context() as patch:
        patch.setattr("predella.run.Trainer.fit", lambda *_: (_ for _ in ()).throw(MemoryError()))
        refuses(*words, says="not enough memory")
    assert not (tmp_path / "r").exists()
    status, _, err = cli(*words)
    assert status == 0, err
    (tmp_path / "r" / "state" / "latest.safetensors").unlink()
    refuses(*words, says="nothing of it was saved to go on from; replace it with --force")


def test_numbers_of_recipes_have_their_range(refuses):
    refuses("train", "functional_sr", "--workers", "-1", says="workers must be at least 1, got -1")
    refuses("train", "cq_cifar_cqf", "--smoke", "--model.size", "64", says="--data.edge 64 --task.edge 64")
    refuses("train", "functional_sr", "--resume", "--force", says="give one of them")
    for verb in (("upscale", "a.png", "--scale", "2"), ("fill", "a.png", "--mask", "m.png")):
        refuses(*verb, "--out", "b.png", "--max-pixels", "-5", says="--max-pixels must be at least 1, got -5")


def test_a_damaged_recipe_is_named(refuses, runs, tmp_path):
    shutil.copytree(runs / "functional_sr", tmp_path / "r")
    (tmp_path / "r" / "recipe.json").write_text("{}")
    refuses("train", "functional_sr", "--resume", "--out", tmp_path / "r", says=[str(tmp_path / "r" / "recipe.json"), "name is missing"])


def test_a_resume_that_did_nothing_leaves_no_trace(cli, runs, tmp_path):
    shutil.copytree(runs / "functional_sr", tmp_path / "r")
    before = (tmp_path / "r" / "environment.json").read_text()
    assert cli("train", "functional_sr", "--smoke", "--cpu", "--resume", "--out", tmp_path / "r")[0] == 0
    assert json.loads((tmp_path / "r" / "environment.json").read_text()).get("resumed", []) == json.loads(before).get("resumed", [])


def test_a_broken_file_is_found_before_the_first_is_written(refuses, runs, densities, photo, tmp_path):
    (tmp_path / "broken.png").write_bytes(photo.read_bytes()[:200])
    files = (photo, tmp_path / "broken.png")
    refuses("upscale", *files, "--scale", "2", "--out", tmp_path / "o", "--model", runs / "functional_sr", says="broken.png is damaged")
    assert not (tmp_path / "o").exists()
    refuses("score", *files, "--model", densities / "cq_cifar_cqf", says="broken.png is damaged")


def test_all_sets_are_there_before_the_first_is_measured(refuses, runs, photo, tmp_path):
    words = ("evaluate", runs / "functional_sr", "--data", photo, tmp_path / "none", "--record", tmp_path / "a.jsonl")
    refuses(*words, says="none does not exist")
    assert not (tmp_path / "a.jsonl").exists()
    refuses("evaluate", runs / "functional_sr", "--weights", tmp_path / "nowhere", says="--weights must name a folder")
    refuses("evaluate", runs / "functional_sr", "--features", "vgg16", says="--features is for answers, blends and densities")


def test_a_sheet_has_a_largest_size(refuses, runs, tmp_path):
    words = ("sample", runs / "reversible_faces", "--count", "100000", "--zoom", "16", "--out", tmp_path / "big.png")
    refuses(*words, says=["big.png would have", "more than the 200,000,000 of a sheet", "or a folder"])


def test_a_profile_of_other_colours_is_not_kept(tmp_path):
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    Image.fromarray(np.full((8, 8, 3), 120, np.uint8)).save(tmp_path / "a.png", icc_profile=lab)
    assert read(tmp_path / "a.png").icc is None


def test_photos_are_trained_from_a_run_unless_one_says_otherwise(refuses, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refuses(
        "train", "meta_internal_photos", "--data", "photos", "--out", "nowhere", says=["runs/meta_internal_dataset", "train that run first"]
    )
    assert override(find_recipe("meta_internal_photos")(), {"start": ""}).start == ""


def test_a_report_is_a_file(refuses, tmp_path):
    (tmp_path / "r").mkdir()
    row = {"run": "r", "set": "s", "ask": "a", "measure": "benchmark", "value": 1.0}
    (tmp_path / "r" / "a.jsonl").write_text(json.dumps(row) + "\n")
    refuses("report", "--results", tmp_path / "r", "--out", tmp_path / "R.md", says="a.jsonl, line 1 is no record")
    row |= {"command": "c", "commit": None, "hardware": "h"}
    (tmp_path / "r" / "a.jsonl").write_text(json.dumps(row) + "\n")
    refuses("report", "--results", tmp_path / "r", "--out", tmp_path / "r", says="--out must name a file")


@pytest.mark.parametrize(("edge", "little"), [(1, True), (7, True), (10, False), (20, False)])
def test_bits_of_tiny_pictures_say_nothing(densities, edge, little):
    torch.set_default_dtype(torch.float32)
    model = load(densities / "cq_cifar_cqf")
    assert model.config.size == 16
    notes = prepared_for_density(Picture(torch.zeros(1, 3, edge, edge)), model, "a.png")[2]
    assert any("too few for its bits" in note for note in notes) is little


def test_what_is_left_out_of_a_face_is_said(cli, runs, photo, tmp_path):
    _, _, err = cli("interpolate", runs / "reversible_faces", photo, photo, "--out", tmp_path / "o.png")
    assert "has 56×40 pixels; its central square is made" in err


def test_what_is_filled_over_nothing_is_said_to_be_opaque(cli, runs, tmp_path):
    Image.new("RGBA", (64, 64), (90, 90, 90, 0)).save(tmp_path / "a.png")
    mask = Image.new("L", (64, 64))
    mask.paste(255, (20, 20, 30, 30))
    mask.save(tmp_path / "m.png")
    words = ("--mask", tmp_path / "m.png", "--out", tmp_path / "f.png", "--model", runs / "functional_fill")
    assert "what is filled there is opaque" in cli("fill", tmp_path / "a.png", *words)[2]


def test_what_is_left_out_or_written_otherwise_is_named(cli, refuses, photo, tmp_path):
    words = ("restore", "super_resolution", photo, "--out", tmp_path / "o", "--shrink", "--box")
    refuses(*words, "10", "20", "80", "90", says="'20' is too much for restore; a list of numbers has commas and no spaces")
    refuses("report", "--results", tmp_path / "none", says="none does not exist")
    (tmp_path / "empty").mkdir()
    refuses("report", "--results", tmp_path / "empty", says="holds no .jsonl record")
    assert not (tmp_path / "o").exists()


def test_pairs_that_are_none_are_named(refuses, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.new("RGB", (256, 256), (9, 90, 200)).save(folder / "a.png")
    words = ("train", "tower_layout", "--data", folder, "--cpu", "--out", tmp_path / "r")
    refuses(*words, says=["a half of it (a pair is a photo left and its label map right) is 128×256", "give pairs in one file"])


def test_black_and_white_alone_is_told(cli, tmp_path):
    ink = Image.new("L", (40, 40), 255)
    ink.paste(0, (10, 10, 30, 30))
    ink.save(tmp_path / "ink.png")
    status, _, err = cli("restore", "colorization", tmp_path / "ink.png", "--answers", "1", "--out", tmp_path / "o")
    assert status == 0 and "black and white without a grey between" in err
