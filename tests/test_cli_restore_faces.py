"""Faces of few pixels by `predella restore super_resolution`, larger ones made as small first, and ways between answers."""

import json

import numpy as np
import torch
from PIL import Image

from predella.apps.restore import codes
from predella.image.contract import to_uint8
from predella.image.files import read
from predella.image.fit import fit_square
from predella.models.tower import Tower, TowerConfig, TowerLevel
from predella.tasks.super_resolution import degrade


def array(path):
    with Image.open(path) as image:
        return np.asarray(image)


def test_a_face_of_few_pixels_is_enlarged_by_shipped_weights(cli, photo, tmp_path):
    with Image.open(photo) as image:
        image.resize((4, 4)).save(tmp_path / "few.png")
        image.resize((8, 4)).save(tmp_path / "more.png")
    words = ("restore", "super_resolution", tmp_path / "few.png", "--answers", "2", "--exact", "--json", "--out", tmp_path / "o")
    status, said, err = cli(*words)
    assert status == 0 and "knows pictures of" not in err
    first, second = (array(tmp_path / "o" / f"few-{i}.png") for i in (1, 2))
    assert first.shape == (64, 64, 3) and (first != second).mean() > 0.5
    assert max(json.loads(said)["files"][0]["departure"]) < 1
    words = ("restore", "super_resolution", tmp_path / "more.png", "--answers", "1", "--out", tmp_path / "p")
    _, out, err = cli(*words)
    assert "up to 0.3 is rounding; --exact moves answers there)" in out
    assert "--exact" not in cli(*words, "--exact", "--force")[1]
    assert "more.png has 8×4 pixels, the model knows pictures of 4×4" in err and "--shrink makes it as small" in err


def test_a_larger_face_is_made_as_small_first_and_shown_beside_its_answers(cli, photo, tmp_path):
    words = ("restore", "super_resolution", "--answers", "2", "--json")
    box = (8, 4, 40, 36)
    _, said, err = cli(*words, photo, "--shrink", "--box", "8,4,40,36", "--out", tmp_path / "a")
    assert err == ""
    whole = fit_square(read(photo).cut(box).pixels, 64)
    (tmp_path / "small").mkdir()
    Image.fromarray(to_uint8(degrade(whole, (4, 4))[0]).permute(1, 2, 0).numpy()).save(tmp_path / "small" / "photo.png")
    _, again, _ = cli(*words, tmp_path / "small" / "photo.png", "--out", tmp_path / "b")
    _, _, err = cli(*words, tmp_path / "small" / "photo.png", "--shrink", "--out", tmp_path / "c")
    assert "photo.png is as small as the model knows pictures; --shrink changes nothing" in err
    for name in ("photo-1.png", "photo-2.png"):
        assert (array(tmp_path / "a" / name) == array(tmp_path / "b" / name)).all()
    assert json.loads(said)["files"][0]["departure"] == json.loads(again)["files"][0]["departure"]
    sheets = [array(tmp_path / k / "photo-sheet.png") for k in "ab"]
    wide = sheets[1].shape[1]  # input, answers, where they differ
    assert (sheets[0][:, :wide] == sheets[1]).all()
    assert (sheets[0][:, -64:] == to_uint8(whole[0]).permute(1, 2, 0).numpy()).all()


def test_what_shrinking_refuses(refuses, photo, tmp_path):
    out = ("--out", tmp_path / "o")
    refuses("restore", "colorization", photo, "--shrink", *out, says=["--shrink is for super_resolution", "leave it out"])
    refuses("restore", "super_resolution", photo, "--box", "0,0,9,9", *out, says="--box goes with --shrink")
    refuses("restore", "super_resolution", photo, "--shrink", "--box", "0,0,9,999", *out, says=["photo.png", "inside the picture"])
    Image.new("RGB", (9, 3)).save(tmp_path / "tiny.png")
    refuses("restore", "super_resolution", tmp_path / "tiny.png", "--shrink", *out, says=["9×3", "take a larger picture"])
    assert not (tmp_path / "o").exists()


def test_answers_may_share_the_codes_of_coarse_levels_or_lie_between_two():
    model = Tower(TowerConfig(levels=(TowerLevel(width=4, growth=2, blocks=1),) * 3, code=5, spatial=2))
    draws = lambda **how: list(codes(model, 4, (16, 16), torch.Generator().manual_seed(0), **how))  # noqa: E731
    free, held, way = draws(), draws(from_level=2), draws(between=True)
    generator = torch.Generator().manual_seed(0)
    first, *others = (model.draw(1, (16, 16), generator) for _ in range(4))
    for found, wanted in zip(free, (first, *others)):
        assert all(torch.equal(a, b) for a, b in zip(found, wanted))
    for k, found in enumerate(held):
        assert torch.equal(found[0], first[0]) and torch.equal(found[1], first[1])
        assert torch.equal(found[2], first[2]) == (k == 0)
    for k, angle in enumerate(torch.linspace(0, torch.pi / 2, 4)):
        for level in range(3):
            torch.testing.assert_close(way[k][level], first[level] * angle.cos() + others[0][level] * angle.sin())
    assert all(torch.equal(found[0], first[0]) for found in draws(from_level=1, between=True))


def test_a_way_between_answers_moves_in_small_steps(cli, refuses, photo, tmp_path):
    with Image.open(photo) as image:
        image.resize((4, 4)).save(tmp_path / "few.png")
    words = ("restore", "super_resolution", tmp_path / "few.png")
    apart = {}
    for name, more in (("free", ()), ("way", ("--between",)), ("fine", ("--from-level", "3"))):
        cli(*words, "--answers", "5", *more, "--out", tmp_path / name)
        made = [array(tmp_path / name / f"few-{i}.png").astype(float) for i in range(1, 6)]
        apart[name] = [np.abs(a - b).mean() for a, b in zip(made, made[1:])]
        assert min(apart[name]) > 0
    assert max(apart["way"]) < min(apart["free"]) and max(apart["fine"]) < min(apart["free"])
    out = ("--out", tmp_path / "o")
    refuses(*words, "--from-level", "4", *out, says=["--from-level must lie in 0…3", "got 4"])
    refuses(*words, "--answers", "1", "--between", *out, says="two or more --answers")


def test_pictures_of_one_seed_have_codes_of_their_own(cli, tmp_path):
    """Else every photo of a folder would be tinted alike in the same places."""
    for i, name in enumerate(("one", "other", "copy")):
        Image.fromarray(np.full((4, 4, 3), 100 + i % 2, np.uint8)).save(tmp_path / f"{name}.png")
    files = [tmp_path / f"{name}.png" for name in ("one", "other", "copy")]
    cli("restore", "super_resolution", *files, "--answers", "1", "--out", tmp_path / "o")
    one, other, copy = (array(tmp_path / "o" / f"{f.stem}-1.png").astype(float) for f in files)
    assert (one == copy).all() and np.abs(one - other).mean() > 5  # the inputs differ by 1
