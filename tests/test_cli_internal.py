"""The verbs of pictures' own patches, through the command line."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from predella.cli import internal
from predella.image.files import Picture, read
from predella.metrics.internal import copy_score
from predella.models.base import load


@pytest.fixture
def photo(tmp_path):
    values = np.random.default_rng(0).integers(0, 255, (6, 8, 3), np.uint8)
    Image.fromarray(values).resize((48, 36), Image.Resampling.BICUBIC).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def size(path):
    with Image.open(path) as image:
        return image.size


@pytest.mark.parametrize("name", ["meta_internal_dataset", "meta_internal_dataset_windows"])
def test_a_model_of_many_pictures_varies_one_it_has_not_seen(cli, internals, photo, tmp_path, name):
    words = ("vary", photo, "--model", internals / name, "--count", "2")
    status, out, _ = cli(*words, "--size", "40x18", "--out", tmp_path / "o", "--json")
    assert status == 0 and len(json.loads(out)["files"][0]["variations"]) == 2
    assert size(tmp_path / "o" / "photo-1.png") == (40, 18)
    assert (np.asarray(Image.open(tmp_path / "o" / "photo-1.png")) != np.asarray(Image.open(tmp_path / "o" / "photo-2.png"))).any()
    cli(*words, "--from-scale", "1", "--tune", "2", "--out", tmp_path / "p")
    assert size(tmp_path / "p" / "photo-2.png") == (24, 18) and (tmp_path / "p" / "photo-sheet.png").exists()


def test_a_model_is_trained_on_the_picture_and_serves_no_other(cli, refuses, photo, tmp_path):
    run = tmp_path / "run"
    status, out, err = cli("vary", photo, "--count", "1", "--train-steps", "1", "--out", tmp_path / "o", "--keep", run)
    assert status == 0 and "1 of 128×96" in out and f"{run}  the model of" in err
    assert sorted(p.name for p in (tmp_path / "o").iterdir()) == ["photo-1.png", "photo-sheet.png"]
    ours = size(tmp_path / "o" / "photo-1.png")
    assert size(tmp_path / "o" / "photo-sheet.png") == (2 * ours[0] + 2, ours[1])  # the picture, its variation
    with Image.open(photo) as image:
        image.resize((96, 72)).save(tmp_path / "larger.png")
        image.transpose(Image.Transpose.ROTATE_180).save(tmp_path / "other.png")
    assert cli("vary", tmp_path / "larger.png", "--model", run, "--count", "1", "--out", tmp_path / "p")[0] == 0
    refuses(
        "vary", tmp_path / "other.png", "--model", run, "--out", tmp_path / "q", says="trained on one picture, without a hypernetwork, and"
    )
    assert not (tmp_path / "q").exists()


def test_a_transparent_picture_is_its_own(cli, photo, tmp_path):
    """Training sees white where `read` keeps hidden colours."""
    with Image.open(photo) as image:
        values = np.dstack([np.asarray(image), np.zeros((36, 48), np.uint8)])
    values[5:9, 5:9, 3] = 255
    Image.fromarray(values).save(tmp_path / "logo.png")
    rc, _, err = cli("vary", tmp_path / "logo.png", "--count", "1", "--train-steps", "1", "--out", tmp_path / "o")
    assert rc == 0 and "logo.png is transparent in places; they are seen as white" in err


def test_a_picture_that_the_model_hardly_knows_is_called_so(cli, internals, photo, tmp_path, monkeypatch):
    model = internals / "meta_internal_dataset"
    for known, well, told in ((99.0, 99.0, 3), (-99.0, 99.0, 3), (-99.0, -99.0, 0)):
        monkeypatch.setattr("predella.cli.internal.KNOWN", known)
        monkeypatch.setattr("predella.cli.internal.WELL", well)
        Image.fromarray(np.pad(np.full((9, 9), 255, np.uint8), ((9, 18), (9, 30)))).save(tmp_path / "mask.png")
        said = [cli("vary", photo, "--model", model, "--count", "1", "--force", "--out", tmp_path / "v")[2]]
        said.append(cli("animate", photo, "--model", model, "--frames", "2", "--force", "--out", tmp_path / "a.gif")[2])
        words = ("edit", photo, "--mask", tmp_path / "mask.png", "--onto", photo, "--from-scale", "1", "--model", model)
        said.append(cli(*words, "--force", "--out", tmp_path / "e.png")[2])
        assert sum("the model hardly knows" in err for err in said) == told, said
        assert sum("its colours at best" in err for err in said) == (3 if known > 0 else 0), said
        assert "are the same; the masked part is made anew" in said[-1]
    monkeypatch.setattr("predella.cli.internal.WELL", 99.0)
    assert "hardly knows" not in cli(*words, "--tune", "1", "--force", "--out", tmp_path / "e.png")[2]  # of a tuned one less is told


def test_every_verb_tunes(cli, refuses, internals, photo, tmp_path, monkeypatch):
    """Other answers, and a word of pictures that are hardly known, still."""
    monkeypatch.setattr("predella.cli.internal.KNOWN", 99.0)
    Image.fromarray(np.pad(np.full((9, 9), 255, np.uint8), ((9, 18), (9, 30)))).save(tmp_path / "mask.png")
    with Image.open(photo) as image:
        image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(tmp_path / "other.png")
    many = internals / "meta_internal_dataset"
    own = ("--model", many)
    change = (photo, "--mask", tmp_path / "mask.png", "--onto", photo, "--from-scale", "1", *own)
    for name, words in {
        "v-1.png": ("vary", photo, *own, "--count", "1"),
        "i.png": ("interpolate", many, photo, tmp_path / "other.png", "--steps", "3"),
        "a.png": ("animate", photo, *own, "--frames", "2"),
        "h.png": ("harmonize", *change),
        "e.png": ("edit", *change),
    }.items():
        made = []
        for steps in ("0", "3"):
            out = tmp_path / steps / name
            out.parent.mkdir(exist_ok=True)
            told = cli(*words, "--tune", steps, "--out", out.parent if words[0] == "vary" else out)[2]
            assert "--tune 100 draws" in told, told
            made.append(np.asarray(Image.open(out.parent / "photo-1.png" if words[0] == "vary" else out)))
        assert (made[0] != made[1]).any(), words[0]
        refuses(*words, "--tune", "-1", "--out", tmp_path / "n.png", says="--tune must lie in 0…100000 steps, got -1")
    refuses("interpolate", "reversible_faces", photo, photo, "--tune", "3", "--out", tmp_path / "n.png", says="--tune: of no use for a")


def test_between_transparent_pictures_white_is_seen_as_in_training(cli, internals, photo, tmp_path):
    with Image.open(photo) as image:
        values = np.dstack([np.asarray(image), np.full((36, 48), 255, np.uint8)])
    values[5:20, 5:30, 3], shown = 0, values[..., :3].copy()
    shown[5:20, 5:30] = 255
    Image.fromarray(values).save(tmp_path / "hidden.png")
    Image.fromarray(shown).save(tmp_path / "white.png")
    for name in ("hidden", "white"):
        ends, model = (tmp_path / f"{name}.png", photo), internals / "meta_internal_dataset"
        for told in (
            cli("interpolate", model, *ends, "--steps", "2", "--out", tmp_path / f"{name}_way.png")[2],
            cli("animate", ends[0], "--model", model, "--frames", "2", "--out", tmp_path / f"{name}.gif")[2],
        ):
            assert ("hidden.png is transparent in places; they are seen as white" in told) == (name == "hidden"), told
    assert (tmp_path / "hidden_way.png").read_bytes() == (tmp_path / "white_way.png").read_bytes()


def test_training_goes_on_with_all_scales(cli, internals, tmp_path):
    run, words = internals / "meta_internal_dataset", []
    for i in "01":
        words += [f"--stages.{i}.optim.{phase}.{rate}=1e-12" for phase in ("generator", "critic") for rate in ("lr", "slow_lr")]
    assert cli("train", "meta_internal_dataset", "--smoke", "--cpu", "--start", run, *words, "--out", tmp_path / "r")[0] == 0
    before, after = (load(r).state_dict() for r in (run, tmp_path / "r"))
    assert all(torch.allclose(v, after[k], atol=1e-5) for k, v in before.items() if k.startswith("heads"))


def test_of_an_unfinished_run_is_said_how_it_goes_on(cli, refuses, internals, photo, tmp_path):
    many = internals / "meta_internal_dataset"
    run = tmp_path / "run"
    shutil.copytree(many, run)
    words = ("vary", photo, "--count", "1", "--out")
    assert "is unfinished" not in cli(*words, tmp_path / "o", "--model", run)[2]
    recipe = json.loads((run / "recipe.json").read_text())
    recipe["stages"][-1]["steps"] += 6
    (run / "recipe.json").write_text(json.dumps(recipe))
    says = f"run is unfinished, at step 12 of 18; if it is not running, predella train {run}/recipe.json --resume --out {run} goes on"
    assert says in cli(*words, tmp_path / "p", "--model", run)[2]
    refuses(*words, tmp_path / "q", "--keep", run, says=says)
    assert cli("train", run / "recipe.json", "--resume", "--out", run)[0] == 0
    assert "is unfinished" not in cli(*words, tmp_path / "r", "--model", run)[2]
    for broken in ({"stages": 3}, {"stages": [{}]}, []):
        (run / "recipe.json").write_text(json.dumps(broken))
        assert cli(*words, tmp_path / "s", "--force", "--model", run)[0] == 0


def test_what_cannot_be_written_is_refused_before_the_training(refuses, photo, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("predella.atomic.tempfile.TemporaryFile", full)
    monkeypatch.setattr("predella.run.start", None)
    refuses("vary", photo, "--out", tmp_path / "o", says=["can't be written to (No space left on device)", "another place"])
    refuses("animate", photo, "--out", tmp_path / "o.gif", says="can't be written to")


def test_a_grey_picture_stays_grey(cli, internals, photo, tmp_path):
    with Image.open(photo) as image:
        image.convert("L").save(tmp_path / "grey.png")
        Image.fromarray(np.full((36, 48), 255, np.uint8)).save(tmp_path / "mask.png")
    mask = np.zeros((36, 48), np.uint8)
    mask[10:20, 10:20] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    model = ("--model", internals / "meta_internal_dataset")
    cli("vary", tmp_path / "grey.png", *model, "--count", "1", "--out", tmp_path / "o")
    paste = ("harmonize", photo, "--onto", tmp_path / "grey.png", "--mask", tmp_path / "mask.png", *model)
    assert "the mask covers" not in cli(*paste, "--out", tmp_path / "h.png")[2]
    Image.fromarray(255 - mask).save(tmp_path / "mask.png")
    assert "the mask covers 94% of" in cli(*paste, "--out", tmp_path / "turned.png")[2]
    made = np.asarray(Image.open(tmp_path / "o" / "grey-1.png")).astype(int)
    assert np.ptp(made) > 10 and np.ptp(made, axis=2).max() <= 1
    assert Image.open(tmp_path / "h.png").mode == "L"


def test_a_change_beyond_the_mask_is_told(cli, internals, photo, tmp_path):
    mask = np.zeros((36, 48), np.uint8)
    mask[2:8, 2:8] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    with Image.open(photo) as image:
        image.transpose(Image.Transpose.ROTATE_180).save(tmp_path / "other.png")
    words = (
        "edit",
        tmp_path / "other.png",
        "--onto",
        photo,
        "--mask",
        tmp_path / "mask.png",
        "--model",
        internals / "meta_internal_dataset",
    )
    status, _, err = cli(*words, "--out", tmp_path / "e.png")
    assert status == 0 and "% of the pixels far from the mask; they stay as in the latter" in err


def test_patches_vary_without_a_network(cli, photo, tmp_path):
    assert cli("vary", photo, "--method", "patch", "--count", "2", "--size", "60x36", "--out", tmp_path / "o")[0] == 0
    assert size(tmp_path / "o" / "photo-2.png") == (60, 36)


def test_copies_by_patches_are_named(cli, photo, tmp_path, monkeypatch):
    words = ("vary", photo, "--method", "patch", "--count", "1", "--out", tmp_path / "o")
    (share,) = json.loads(cli(*words, "--json")[1])["files"][0]["copied"]
    picture, varied = (Picture.rgb(read(f)) for f in (photo, tmp_path / "o" / "photo-1.png"))
    assert share == pytest.approx(copy_score(varied, picture), abs=0.01)
    for least, named in ((share - 0.01, True), (share + 0.01, False)):
        monkeypatch.setattr(internal, "COPIED_MUCH", least)
        assert (f"{share:.0%} of a variation's patches are copied" in cli(*words, "--force")[2]) is named


def test_models_of_both_kinds_are_kept_with_their_scales(internals):
    plain, many = (load(internals / name) for name in ("meta_internal_plain", "meta_internal_dataset"))
    assert plain.config.heads == "table" and int(many.grown) == 2
    assert 0 < many.amplitudes[1] < 1
    own = load(internals / "meta_internal_dataset_windows")
    picture = torch.rand(1, 3, 18, 24)
    assert own.config.noise == "picture" and own.weights(own.embed(picture), 1)["detail"] == own.details(picture)[0, 1]


def test_mistakes_of_varying(refuses, internals, photo, tmp_path):
    many, out = internals / "meta_internal_dataset", tmp_path / "o"
    Image.new("RGB", (100, 10)).save(tmp_path / "long.png")
    Image.new("RGB", (10, 8)).save(tmp_path / "tiny.png")
    refuses("vary", tmp_path / "long.png", "--model", many, "--out", out, says=["long.png has 100×10", "8 times the shortest"])
    refuses(
        "vary", tmp_path / "tiny.png", "--model", many, "--out", out, says=["tiny.png has 10×8", "coarsest scale of this model needs 12"]
    )
    refuses("vary", photo, "--model", many, "--size", "20000x20000", "--out", out, says=["20000×20000", "GB"])
    too_many = "--size", "1000x1000", "--count", "900"
    refuses("vary", photo, "--model", many, *too_many, "--out", out, says=["900 pictures", "10 GB", "at most 200 can"])
    refuses("vary", photo, "--model", many, "--size", "0x20", "--out", out, says="at least 1x1")
    refuses("vary", photo, "--model", many, "--from-scale", "2", "--out", out, says="0…1 for this model, got 2")
    refuses("vary", photo, "--model", many, "--tune", "-1", "--out", out, says="--tune must lie in 0…100000 steps, got -1")
    refuses("vary", photo, "--model", many, "--count", "0", "--out", out, says="--count must lie in 1…1000")
    refuses("vary", photo, "--model", many, "--out", tmp_path / "o.png", says="must name a folder")
    refuses("vary", photo, "--model", many, "--dims", "1", "--out", out, says="--dims and --label are for reversible networks")
    refuses("vary", "--model", many, "--out", out, says="varies images; give one")
    refuses("vary", "--out", out, says=["give an image to vary, or --dims"])
    refuses("vary", photo, "--model", many, "--size", "11x5", "--out", out, says=["11x5 is smaller", "must be at least 12"])
    refuses("vary", photo, "--model", "", "--out", out, says="--model is empty, as an unset variable of the shell is")
    refuses("vary", photo, "--model=", "--out", out, says="--model is empty")
    refuses("vary", "", "--model", many, "--out", out, says="one of the arguments is empty")
    refuses("vary", photo, photo, "--model", many, "--out", out, says="is given twice; name it once")
    refuses("animate", photo, "--model", many, "--out", out, says="has no ending; pictures that move end in")
    refuses("vary", photo, tmp_path / "long.png", "--keep", tmp_path / "k", "--out", out, says="of one image, got 2")
    refuses("vary", photo, "--method", "patch", "--model", many, "--out", out, says="needs no model")
    refuses("vary", photo, "--method", "patch", "--tune", "5", "--out", out, says="--tune: of no use for --method patch")
    refuses("vary", photo, "--model", many, "--train-steps", "600", "--out", out, says="--train-steps: of no use for a model that is")
    refuses("vary", photo, "--model", many, "--box", "0,0,9,9", "--steps=3", "--out", out, says=["--box, --steps: of no use", "leave them"])
    refuses("vary", tmp_path / "tiny.png", "--method", "patch", "--out", out, says=["tiny.png has 10×8", "patches need 21"])
    refuses("vary", photo, "--train-steps", "0", "--out", out, says="--train-steps must lie in 1…100000")
    refuses("vary", tmp_path / "tiny.png", "--out", out, says=["tiny.png has 10×8", "needs 25", "take a larger picture"])
    refuses("vary", photo, "--method", "patch", "--size", "5x5", "--out", out, says="at least 7x7 with --method patch, got 5x5")
    Image.new("RGB", (1600, 200)).save(tmp_path / "long.png")
    refuses("vary", tmp_path / "long.png", "--method", "patch", "--out", out, says=["160×20 as it is worked on", "cut it"])
    Image.new("RGB", (401, 50)).save(tmp_path / "narrow.png")
    for name, says in (("tiny.png", "tiny.png has 10×8"), ("narrow.png", "8 times the shortest")):  # before a model is trained for minutes
        with Image.open(tmp_path / name) as image:
            mask = Image.new("L", image.size)
        mask.paste(255, (2, 2, 5, 5))
        mask.save(tmp_path / "mask.png")
        for verb in ("animate", "harmonize", "edit"):
            paste = ("--mask", tmp_path / "mask.png", "--onto", tmp_path / name) if verb != "animate" else ()
            file = tmp_path / ("n.gif" if verb == "animate" else "n.png")
            refuses(verb, tmp_path / name, *paste, "--keep", tmp_path / "k", "--out", file, says=says)
    assert not out.exists() and not (tmp_path / "k").exists()


def test_textures_take_the_critics_place_by_the_command_line(cli, tmp_path, caplog):
    words = [w for i in (0, 1) for w in (f"--stages.{i}.objective.adversarial", "0", f"--stages.{i}.objective.texture", "0.25")]
    assert cli("train", "meta_internal_dataset", "--smoke", "--cpu", *words, "--precision", "bf16", "--out", tmp_path / "t")[0] == 0
    said = [m for m in (r.getMessage() for r in caplog.records) if "bf16" not in m]  # which some processors emulate
    assert said == [f"stage 'scale_{i}' trains no critic; the optimizer for it is not used" for i in (0, 1)]
    rows = [json.loads(line) for line in (tmp_path / "t" / "metrics.jsonl").read_text().splitlines()]
    assert all("generator_texture" in r and "critic_real" not in r for r in rows)


def test_recipes_that_do_not_fit_are_refused(refuses, photo):
    refuses("train", "meta_internal_plain", "--data.longest", "64", says="data.longest must be model.finest = 128")
    refuses("train", "meta_internal_plain", "--model.scales", "4", says="stages must train scales 0, 1, … of model.scales = 4")
    refuses("train", "meta_internal_plain", "--smoke", "--stages.0.objective.critic", "hyper", says="set stages.N.objective.critic alike")
    words = [w for i in "01" for w in (f"--stages.{i}.objective.critic", "hyper")]
    refuses("train", "meta_internal_plain", "--smoke", *words, says="set objective.critic to 'shared'")
    refuses("train", "meta_internal_plain", "--smoke", "--data.part", "0,2", says=["learns one picture, got 2", "meta_internal_dataset"])


@pytest.mark.parametrize("critic", ["hyper", "shared", "embedded"])
def test_every_critic_can_be_trained(cli, tmp_path, critic):
    words = [w for i in "01" for w in (f"--stages.{i}.objective.critic", critic)]
    assert cli("train", "meta_internal_batch", "--smoke", "--cpu", *words, "--out", tmp_path / "r")[0] == 0
    assert int(load(tmp_path / "r").grown) == 2


@pytest.mark.parametrize("verb", ["harmonize", "edit"])
def test_a_change_is_made_of_the_pictures_own_patches(cli, refuses, internals, photo, tmp_path, verb):
    with Image.open(photo) as image:
        before = np.asarray(image).copy()
    changed, mask = before.copy(), np.zeros(before.shape[:2], np.uint8)
    changed[16:20, 40:44], mask[16:20, 40:44] = 255, 255
    Image.fromarray(changed).save(tmp_path / "changed.png")
    Image.fromarray(mask).save(tmp_path / "mask.png")
    Image.fromarray(mask[:10]).save(tmp_path / "low.png")
    Image.fromarray(mask * 0).save(tmp_path / "empty.png")
    words = (verb, tmp_path / "changed.png", "--onto", photo, "--model", internals / "meta_internal_dataset")
    assert cli(*words, "--mask", tmp_path / "mask.png", "--out", tmp_path / "made.png")[0] == 0
    made = np.asarray(Image.open(tmp_path / "made.png"))
    assert made.shape == before.shape and (made[:, :30] == before[:, :30]).all() and (made != before).any()
    refuses(*words, "--mask", tmp_path / "low.png", "--out", tmp_path / "b.png", says="the mask is 48×10, the image 48×36")
    refuses(*words, "--mask", tmp_path / "empty.png", "--out", tmp_path / "b.png", says="the mask is empty")
    refuses(*words, "--mask", tmp_path / "mask.png", "--out", tmp_path / "b.png", "--from-scale", "0", says="1…1 for this model, got 0")
    refuses(*words, "--mask", tmp_path / "mask.png", "--out", tmp_path / "made.png", says="exists")
    small = (verb, tmp_path / "low.png", *words[2:])
    refuses(*small, "--mask", tmp_path / "mask.png", "--out", tmp_path / "b.png", says=["low.png is 48×10", "photo.png 48×36"])
    assert not (tmp_path / "b.png").exists()


@pytest.mark.parametrize("ending", ["gif", "png", "webp"])
def test_a_picture_moves(cli, refuses, internals, photo, tmp_path, ending):
    out = tmp_path / f"m.{ending}"
    words = ("animate", photo, "--model", internals / "meta_internal_dataset", "--frames", "3")
    assert cli(*words, "--out", out, "--size", "30x18")[0] == 0
    with Image.open(out) as image:
        assert image.size == (30, 18) and image.n_frames == 3
    refuses(*words, "--out", out, says="exists")
    refuses(*words, "--out", tmp_path / "m.jpg", says="m.jpg ends in '.jpg'; pictures that move end in .gif, .png, .webp")
    refuses(*words, "--out", tmp_path / "n.gif", "--from-scale", "2", says="--from-scale must lie in 0…1 for this model, got 2")
    refuses(*words[:-2], "--frames", "300", "--size", "1000x1000", "--out", tmp_path / "n.gif", says="at most 200 can be made at once")
    refuses("animate", photo, "--out", tmp_path / "n.gif", "--from-scale", "9", says="0…4 for this model, got 9")  # not after training
    refuses(*words, "--out", tmp_path / "n.gif", "--fps", "0", says="--fps must lie in 0.1…50, got 0")
    refuses(*words, "--out", tmp_path / "n.gif", "--back", "2", says="--back must lie in 0…1, got 2")


def test_pictures_between_two_of_one_model(cli, refuses, internals, photo, tmp_path):
    Image.new("RGB", (60, 60), (200, 40, 40)).save(tmp_path / "other.png")
    words = ("interpolate", internals / "meta_internal_dataset", photo, tmp_path / "other.png", "--steps", "3")
    assert cli(*words, "--out", tmp_path / "row.png")[0] == 0
    assert size(tmp_path / "row.png") == (3 * 26 - 2, 18)
    cli(*words, "--size", "40x20", "--out", tmp_path / "wide.png")
    assert size(tmp_path / "wide.png") == (3 * 42 - 2, 20)
    refuses(*words, "--size", "9000x9000", "--out", tmp_path / "b.png", says="9000×9000 pixels would need about")
    cli(*words, "--from-scale", "1", "--out", tmp_path / "o")
    first, last = (np.asarray(Image.open(tmp_path / "o" / f"{i:04}.png")).astype(int) for i in (0, 2))
    assert (first != last).any()
    refuses(*words, "--from-scale", "2", "--out", tmp_path / "b.png", says="0…1 for this model, got 2")
    refuses(
        *words, "--space", "full", "--box", "0,0,9,9", "--out", tmp_path / "b.png", says="--space, --box: of no use for generators of whole"
    )
    plain = ("interpolate", internals / "meta_internal_plain", *words[2:])
    refuses(*plain, "--out", tmp_path / "b.png", says="trained on one picture without a hypernetwork")


def test_a_model_of_many_pictures_is_measured(cli, refuses, internals, photo, lpips_weights, tmp_path):
    words = ("evaluate", internals / "meta_internal_dataset", "--data", photo, "--weights", lpips_weights)
    status, out, err = cli(*words, "--samples", "3", "--json")
    assert status == 0, err
    rows = {r["measure"]: r for r in json.loads(out)["rows"]}
    assert rows["sifid_vgg16_relu2_2"]["value"] <= rows["msifid_vgg16_relu2_2"]["value"]
    assert rows["pixel_diversity"]["value"] > 0 and 0 <= rows["copy_score"]["value"] <= 1 and "3 samples" in rows["copy_score"]["protocol"]
    tuned = {r["measure"]: r for r in json.loads(cli(*words, "--samples", "2", "--tune", "1", "--json")[1])["rows"]}
    assert {r["ask"] for r in tuned.values()} == {"own patches, tuned 1"}
    assert tuned["tuning_seconds"]["value"] > 0 and "tuning_seconds" not in rows
    refuses(*words, "--samples", "1", says="--samples must lie in 2…10000, got 1")
    (tmp_path / "some").mkdir()
    shutil.copy(photo, tmp_path / "some" / "a.png")
    for name, size, says in (
        ("flat.png", (48, 36), "one colour only"),
        ("strip.png", (400, 40), "8 times"),
        ("thin.png", (100, 40), "measured at"),
    ):
        Image.new("RGB", size, "red").save(tmp_path / "some" / name)
        measured = "evaluate", internals / "meta_internal_dataset", "--data", tmp_path / "some", "--weights", lpips_weights
        refuses(*measured, "--samples", "2", says=[name, says])
        (tmp_path / "some" / name).unlink()
    Image.new("RGB", (320, 40)).save(tmp_path / "some" / "long.png")
    refuses("evaluate", "patch", "--data", tmp_path / "some", "--weights", lpips_weights, says=["long.png", "patches need 21"])
