"""The verbs on latents: what they write, that nothing is lost, and a user's mistakes."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file

from predella.cli.decode import _unique
from predella.image.files import Picture, read, write


@pytest.fixture
def faces(runs):
    return runs / "reversible_faces"


@pytest.fixture
def folder(tmp_path):
    """Colour pictures of odd and even sizes."""
    place = tmp_path / "pictures"
    place.mkdir()
    rng = np.random.default_rng(0)
    for name, size in (("a", (33, 21)), ("b", (16, 16)), ("c", (40, 64))):
        Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(place / f"{name}.png")
    return place


def array(path):
    return np.asarray(Image.open(path))


def test_encode_and_decode_lose_nothing(cli, faces, folder, tmp_path):
    status, out, _ = cli("encode", faces, folder, "--out", tmp_path / "z.safetensors", "--json")
    about = json.loads(out)["images"]
    assert status == 0 and [(k["name"], k["width"], k["height"]) for k in about] == [("a", 21, 33), ("b", 16, 16), ("c", 64, 40)]
    assert cli("decode", faces, tmp_path / "z.safetensors", "--out", tmp_path / "back")[0] == 0
    for name in "abc":
        assert np.array_equal(array(folder / f"{name}.png"), array(tmp_path / "back" / f"{name}.png"))


def test_restricted_codes_have_the_priors_dimensions(cli, faces, folder, tmp_path):
    assert cli("encode", faces, folder / "c.png", "--restricted", "--out", tmp_path / "z.safetensors")[0] == 0
    with safe_open(tmp_path / "z.safetensors", "pt") as opened:
        assert opened.get_tensor("latent.0").shape == (8,)
    assert cli("decode", faces, tmp_path / "z.safetensors", "--out", tmp_path / "back")[0] == 0
    assert array(tmp_path / "back" / "c.png").shape == (16, 16, 3)


def test_two_pictures_of_one_name_both_come_back(cli, faces, folder, tmp_path):
    (folder / "more").mkdir()
    Image.new("RGB", (8, 8), "red").save(folder / "more" / "a.png")
    cli("encode", faces, folder / "a.png", folder / "more" / "a.png", "--out", tmp_path / "z.safetensors")
    assert cli("decode", faces, tmp_path / "z.safetensors", "--out", tmp_path / "back")[0] == 0
    assert {p.name for p in (tmp_path / "back").iterdir()} == {"a.png", "a-2.png"}


def test_sixteen_bits_come_back(cli, faces, tmp_path):
    values = torch.randint(0, 65536, (1, 3, 8, 8)).float() / 32767.5 - 1
    write(Picture(values, bits=16), tmp_path / "deep.png")
    cli("encode", faces, tmp_path / "deep.png", "--out", tmp_path / "z.safetensors")
    assert cli("decode", faces, tmp_path / "z.safetensors", "--out", tmp_path / "back")[0] == 0
    again = read(tmp_path / "back" / "deep.png")
    assert again.bits == 16 and torch.equal(again.pixels, read(tmp_path / "deep.png").pixels)


def test_names_stay_apart():
    assert _unique(["a", "a", "a-2", "a"]) == ["a", "a-3", "a-2", "a-4"]


def test_samples_as_sheet_and_as_files(cli, faces, tmp_path):
    assert cli("sample", faces, "--count", "5", "--out", tmp_path / "s.png")[0] == 0
    assert array(tmp_path / "s.png").shape == (3 * 18 - 2, 2 * 18 - 2, 3)
    assert cli("sample", faces, "--count", "5", "--seed", "3", "--density", "mixture", "--out", tmp_path / "s")[0] == 0
    assert len(list((tmp_path / "s").iterdir())) == 5
    cli("sample", faces, "--count", "2", "--seed", "3", "--density", "mixture", "--out", tmp_path / "t")
    assert not np.array_equal(array(tmp_path / "t" / "0000.png"), array(tmp_path / "t" / "0001.png"))


def test_more_samples_than_a_batch(cli, faces, tmp_path):
    assert cli("sample", faces, "--count", "70", "--out", tmp_path / "s")[0] == 0
    first, last = array(tmp_path / "s" / "0000.png"), array(tmp_path / "s" / "0064.png")
    assert len(list((tmp_path / "s").iterdir())) == 70 and not np.array_equal(first, last)


def test_interpolation_and_variation(cli, faces, folder, tmp_path):
    a, b = folder / "b.png", folder / "c.png"
    assert cli("interpolate", faces, a, b, "--steps", "4", "--space", "full", "--out", tmp_path / "i")[0] == 0
    assert np.array_equal(array(tmp_path / "i" / "0000.png"), array(a))
    assert cli("interpolate", faces, a, b, "--steps", "4", "--out", tmp_path / "i.png")[0] == 0
    assert array(tmp_path / "i.png").shape == (16, 4 * 18 - 2, 3)
    assert cli("vary", a, "--model", faces, "--dims", "0,7", "--steps", "3", "--out", tmp_path / "v.png")[0] == 0
    assert array(tmp_path / "v.png").shape == (2 * 18 - 2, 3 * 18 - 2, 3)
    assert cli("vary", "--model", faces, "--dims", "1", "--out", tmp_path / "mean.png")[0] == 0
    assert cli("vary", "--model", faces, "--dims", "1", "--steps", "2", "--zoom", "3", "--out", tmp_path / "large.png")[0] == 0
    large = array(tmp_path / "large.png")
    assert large.shape == (48, 98, 3) and np.array_equal(large[:48:3, :48:3], large[2:48:3, 2:48:3])


def test_a_row_of_variations_goes_as_far_as_asked(cli, faces, tmp_path):
    """-1, 0, 1 are the middle of -3, …, 3."""
    words = ("vary", "--model", faces, "--dims", "1,3", "--out")
    assert cli(*words, tmp_path / "near.png", "--steps", "3", "--reach", "1")[0] == 0
    assert cli(*words, tmp_path / "far.png", "--steps", "7", "--reach", "3")[0] == 0
    near, far = array(tmp_path / "near.png"), array(tmp_path / "far.png")
    pitch = (far.shape[1] - near.shape[1]) // 4
    assert (near == far[:, 2 * pitch : 2 * pitch + near.shape[1]]).all() and (near != far[:, : near.shape[1]]).any()


def test_each_picture_has_its_own_box(cli, refuses, faces, folder, tmp_path):
    """Twice the same picture with two boxes is the row between its two parts."""
    box = ("--box", "0,0,16,16", "--box", "20,10,36,26")
    assert cli("interpolate", faces, folder / "c.png", folder / "c.png", "--space", "full", *box, "--out", tmp_path / "i")[0] == 0
    whole = array(folder / "c.png")
    assert np.array_equal(array(tmp_path / "i" / "0000.png"), whole[:16, :16])
    assert np.array_equal(array(tmp_path / "i" / "0008.png"), whole[10:26, 20:36])
    three = (*box, "--box", "0,0,9,9")
    refuses("interpolate", faces, folder / "a.png", folder / "a.png", *three, "--out", tmp_path / "j", says="once or twice, got 3")


def test_digits_are_interpolated_whole_unless_asked_otherwise(cli, tmp_path):
    """The ends of the row are the two pictures, or what their classes use of them."""
    for name, value in (("a", 40), ("b", 90)):
        Image.fromarray(np.full((32, 32), value, np.uint8)).save(tmp_path / f"{name}.png")
    row = ("interpolate", "reversible_mnist_ot", tmp_path / "a.png", tmp_path / "b.png", "--steps", "2", "--out")
    assert cli(*row, tmp_path / "full")[0] == 0 and cli(*row, tmp_path / "part", "--space", "restricted")[0] == 0
    assert (array(tmp_path / "full" / "0000.png") == 40).all() and (array(tmp_path / "full" / "0001.png") == 90).all()
    assert (array(tmp_path / "part" / "0000.png") != 40).any()


def test_wrong_input(refuses, faces, folder, photo, tmp_path, runs):
    out = tmp_path / "z.safetensors"
    grey = tmp_path / "grey.png"
    Image.new("L", (8, 8)).save(grey)
    refuses("encode", faces, grey, "--out", out, says=["grey (1 channel)", "colour (3 channels)", "convert"])
    refuses("encode", faces, photo, "--out", tmp_path / "z.pt", says=[".safetensors file"])
    refuses("encode", faces, photo, "--out", out, "--box", "0,0,9", "--restricted", says="LEFT,TOP,RIGHT,BOTTOM")
    refuses("encode", faces, photo, "--out", out, "--box", "0,0,9,9", says="goes with --restricted")
    refuses("encode", faces, photo, "--out", out, "--restricted", "--box", "0,0,999,9", says=["inside the picture", "999"])
    refuses("encode", runs / "functional_sr", photo, "--out", out, says=["can't encode", "upscale"])
    refuses("upscale", photo, "--scale", "2", "--model", faces, "--out", tmp_path / "u.png", says="can't upscale; it can")
    refuses("sample", faces, "--count", "0", "--out", tmp_path / "s.png", says="--count")
    refuses("sample", faces, "--seed", 2**63, "--out", tmp_path / "s.png", says="--seed")
    refuses("sample", faces, "--density", "flat", "--out", tmp_path / "s.png", says=["density", "flat"])
    refuses("sample", faces, "--labels", "1,b", "--out", tmp_path / "s.png", says="--labels")
    refuses("sample", faces, "--labels", "1", "--out", tmp_path / "s.png", says="no classes")
    refuses("sample", faces, "--out", tmp_path / "s.gif", says=".gif")
    refuses("sample", faces, "--zoom", "0", "--out", tmp_path / "s.png", says="1…16, got 0")
    refuses("sample", faces, "--density", "mixtur", "--out", tmp_path / "s.png", says="did you mean 'mixture'")
    refuses("vary", "--model", faces, "--label", "3", "--out", tmp_path / "s.png", says="knows no classes")
    refuses("vary", "--model", "reversible_mnist_ot", "--out", tmp_path / "s.png", says=["from 0 to 9", "a picture or a label"])
    refuses("evaluate", faces, "--data", photo, "--box", "1,2", says="--box")
    refuses("vary", photo, "--model", faces, "--dims", "8", "--out", tmp_path / "v.png", says="0…7, got 8")
    refuses("sample", faces, "--labels", "9" * 20, "--out", tmp_path / "s.png", says="--labels")
    refuses("vary", photo, "--model", faces, "--dims", "²", "--out", tmp_path / "v.png", says="--dims")
    refuses("vary", photo, "--model", faces, "--dims", "x", "--out", tmp_path / "v.png", says="--dims")
    refuses("interpolate", faces, photo, photo, "--steps", "1", "--out", tmp_path / "v.png", says="--steps")
    refuses("interpolate", faces, photo, photo, "--space", "ful", "--out", tmp_path / "v.png", says="did you mean 'full'")
    twice = ("--box", "0,0,9,9", "--box", "1,1,8,8")
    refuses("vary", photo, "--model", faces, *twice, "--out", tmp_path / "v.png", says="--box is given twice")
    refuses("encode", faces, photo, "--restricted", *twice, "--out", out, says="--box is given twice")
    refuses("sample", "reversible_mnist_ot", "--labels", "3,12", "--out", tmp_path / "s.png", says="--labels must lie in 0…9, got 12")
    refuses("vary", photo, grey, "--model", faces, "--out", tmp_path / "both", says="grey.png is grey")
    refuses("train", "reversible_faces", "--data", photo, "--data.box", "0,0,999,9", "--out", tmp_path / "r", says="--data.box")
    refuses("evaluate", faces, "--data", photo, "--part", "5,9", says=["part 5,9", "earlier part"])
    refuses("decode", faces, tmp_path / "none.safetensors", "--out", tmp_path / "d", says="does not exist")
    assert {p.name for p in tmp_path.iterdir()} == {"grey.png", "photo.png", "pictures"}


def test_damaged_and_foreign_latents(cli, refuses, faces, photo, tmp_path):
    z = tmp_path / "z.safetensors"
    cli("encode", faces, photo, "--out", z)
    with safe_open(z, "pt") as opened:
        about, values = opened.metadata(), opened.get_tensor("latent.0")
    refuses("encode", faces, photo, "--out", z, says="--force")
    values[0, 0, 0] = float("nan")
    save_file({"latent.0": values}, tmp_path / "nan.safetensors", about)
    refuses("decode", faces, tmp_path / "nan.safetensors", "--out", tmp_path / "d", says=["photo", "is not finite: 1 of"])
    save_file({"latent.0": torch.zeros(1)}, tmp_path / "other.safetensors", {**about, "model": "0"})
    refuses("decode", faces, tmp_path / "other.safetensors", "--out", tmp_path / "d", says="another model")
    save_file({"x": torch.zeros(1)}, tmp_path / "plain.safetensors")
    refuses("decode", faces, tmp_path / "plain.safetensors", "--out", tmp_path / "d", says="holds no latents")
    save_file({"latent.0": values.nan_to_num()}, tmp_path / "bits.safetensors", {**about, "bits": "[77]"})
    refuses("decode", faces, tmp_path / "bits.safetensors", "--out", tmp_path / "d", says="77 bits")
    refuses("decode", faces, z, "--out", tmp_path / "d.png", says="must name a folder")
    refuses("decode", faces, tmp_path, "--out", tmp_path / "d", says="is a folder")
    save_file({"latent.0": torch.zeros(1)}, tmp_path / "part.safetensors", {k: v for k, v in about.items() if k != "sizes"})
    refuses("decode", faces, tmp_path / "part.safetensors", "--out", tmp_path / "d", says=["damaged", "'sizes'"])
    values[0, 0, 0] = 0
    three = {f"latent.{i}": values.clone() for i in range(3)}
    lists = {"names": '["../evil", "a", "a-2"]', "sizes": "[[40, 56], [40, 56], [40, 56]]", "bits": "[8, 8, 8]"}
    save_file(three, tmp_path / "names.safetensors", {**about, **lists})
    assert cli("decode", faces, tmp_path / "names.safetensors", "--out", tmp_path / "n")[0] == 0
    assert {p.name for p in (tmp_path / "n").iterdir()} == {"evil.png", "a.png", "a-2.png"}
    save_file({"latent.0": values.double()}, tmp_path / "double.safetensors", about)
    assert cli("decode", faces, tmp_path / "double.safetensors", "--out", tmp_path / "m")[0] == 0
    save_file({"latent.0": torch.zeros(5)}, tmp_path / "short.safetensors", about)
    refuses("decode", faces, tmp_path / "short.safetensors", "--out", tmp_path / "d", says="(5,) numbers for 56×40 pixels")
    save_file({"latent.0": values.long()}, tmp_path / "whole.safetensors", about)
    refuses("decode", faces, tmp_path / "whole.safetensors", "--out", tmp_path / "d", says="floating-point")
    save_file({"latent.0": values}, tmp_path / "size.safetensors", {**about, "sizes": "[[80, 56]]"})
    refuses("decode", faces, tmp_path / "size.safetensors", "--out", tmp_path / "d", says="don't fit together")
    (tmp_path / "text.safetensors").write_text("no tensors")
    refuses("decode", faces, tmp_path / "text.safetensors", "--out", tmp_path / "d", says="no safetensors file, or a damaged one")
    assert not (tmp_path / "d").exists()


def test_too_many_kept_dimensions_are_refused_before_training(refuses, tmp_path):
    refuses("train", "reversible_faces", "--smoke", "--model.prior.dims", "1000", "--out", tmp_path / "r", says=["768 dimensions", "1000"])
    refuses("train", "reversible_faces", "--smoke", "--task.edge", "12", "--out", tmp_path / "r", says=["model.size is 16, task.edge 12"])
    refuses("train", "reversible_mnist_ot", "--smoke", "--data", "photos", "--data.pad", "false", "--out", tmp_path / "r", says="classes")
    assert not (tmp_path / "r").exists()


def test_vary_leaves_out_what_can_t_be_read_in_a_folder(cli, faces, folder, tmp_path):
    (folder / "broken.png").write_bytes(b"no picture")
    status, _, err = cli("vary", folder, "--model", faces, "--dims", "0", "--out", tmp_path / "v")
    assert status == 0 and "left out" in err and "broken.png" in err
    assert "broken.png" not in {p.name for p in (tmp_path / "v").iterdir()} and (tmp_path / "v" / "b.png").exists()


def test_a_first_stage_goes_on_by_name(cli, refuses, tmp_path):
    out = tmp_path / "r"
    assert cli("train", "reversible_faces_reconstruct", "--smoke", "--cpu", "--out", out)[0] == 0
    refuses("train", "reversible_gan", "--smoke", "--cpu", "--out", out, "--resume", says=["run of reversible_faces_reconstruct"])
    assert cli("train", "reversible_faces", "--smoke", "--cpu", "--out", out, "--resume", "--keep-every", "10")[0] == 0
    assert [json.loads(line)["stage"] for line in (out / "metrics.jsonl").read_text().splitlines()][-1] == "match"
    assert json.loads((out / "recipe.json").read_text())["name"] == "reversible_faces" and (out / "checkpoints" / "step-0000020").exists()
