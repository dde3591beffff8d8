"""What `predella restore` and `evaluate` take for what it is, and what they refuse before the work."""

import json
from dataclasses import replace

import numpy as np
import psutil
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from predella import weights as standard
from predella.apps.restore import Overview, own_data, restore
from predella.cli import main
from predella.image.files import Picture, read
from predella.models.base import load
from predella.nn.classics import AlexNet
from predella.recipe import task_of
from predella.tasks.colorization import Colorization, lightness
from predella.tasks.decompression import Decompression
from predella.tasks.layout import FACADES, Layout


def digit():
    light = np.zeros((28, 28), np.uint8)
    light[6:22, 12:16] = 255
    return light


def test_ink_on_nothing_is_ink_on_white(cli, towers, tmp_path):
    """Black strokes on transparency: what hides under it is black, too."""
    Image.merge("LA", (Image.new("L", (28, 28)), Image.fromarray(digit()))).save(tmp_path / "clear.png")
    Image.fromarray(255 - digit()).save(tmp_path / "white.png")
    Image.new("L", (28, 28)).save(tmp_path / "black.png")
    words = ("--answers", "1", "--seed", "3", "--model", towers / "tower_mnist_pca", "--out", tmp_path / "o")
    for name in ("clear", "white", "black"):
        _, _, err = cli("restore", "pca", tmp_path / f"{name}.png", *words)
        assert ("looks dark on bright" in err) is (name != "black"), err
    shown = [np.asarray(Image.open(tmp_path / "o" / f"{n}-sheet.png"))[4:20, 4:20] for n in ("clear", "white", "black")]
    assert (shown[0] == shown[1]).all() and (shown[0] != shown[2]).any()  # the input as it was taken


def test_white_ink_on_nothing_is_light(cli, towers, tmp_path):
    """Of which on white nothing would be left."""
    Image.merge("LA", (Image.new("L", (28, 28), 255), Image.fromarray(digit()))).save(tmp_path / "clear.png")
    Image.fromarray(digit()).save(tmp_path / "light.png")
    words = ("--answers", "1", "--model", towers / "tower_mnist_pca", "--out", tmp_path / "o")
    for name in ("clear", "light"):
        status, _, err = cli("restore", "pca", tmp_path / f"{name}.png", *words)
        assert status == 0 and err == ""
    clear, light = (np.asarray(Image.open(tmp_path / "o" / f"{n}-sheet.png"))[4:24, 4:24] for n in ("clear", "light"))
    assert (clear == light).all()


@pytest.mark.parametrize(("task", "model"), [("pca", "mnist_pca"), ("colorization", "color"), ("decompression", "jpeg")])
def test_what_is_made_of_one_colour_is_said_to_be_made_up(cli, towers, tmp_path, task, model):
    Image.new("L", (28, 28), 90).save(tmp_path / "flat.png")
    words = ("--answers", "1", "--model", towers / f"tower_{model}", "--out", tmp_path / "o")
    assert "has one colour only; what its answers show beyond that is made up" in cli("restore", task, tmp_path / "flat.png", *words)[2]


def test_no_answer_takes_the_place_of_an_image(refuses, towers, tmp_path):
    place = tmp_path / "in"
    place.mkdir()
    for name in ("p", "p-1"):
        Image.fromarray(digit()).save(place / f"{name}.png")
    before = {f.name: f.read_bytes() for f in place.iterdir()}
    words = ("restore", "colorization", "--answers", "1", "--model", towers / "tower_color", "--force", "--out", place)
    refuses(*words[:2], place, *words[2:], says="where the images are")
    refuses(*words[:2], place / "p.png", place / "p-1.png", *words[2:], says="p-1.png is one of the images and would be overwritten")
    assert {f.name: f.read_bytes() for f in place.iterdir()} == before


def test_what_is_no_label_map_is_refused(refuses, towers, tmp_path):
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(tmp_path / "noise.png")
    Image.fromarray(rng.integers(0, 12, (64, 64), dtype=np.uint8)).save(tmp_path / "numbers.png")
    words = ("--answers", "1", "--out", tmp_path / "o")
    refuses("restore", "layout", tmp_path / "noise.png", *words, says=["no label map", "has colours of no class"])
    refuses("restore", "layout", tmp_path / "numbers.png", *words, says=["map of the classes' numbers, 0…11", "facade #0032ff"])
    assert not (tmp_path / "o").exists()
    Layout(classes=(("ground", "000000"), ("sky", "0000ff"))).check(torch.full((1, 3, 8, 8), -1.0), "all ground")


def test_answers_that_do_not_fit_are_refused(cli, refuses, towers, tmp_path, monkeypatch):
    Image.new("RGB", (64, 48)).save(tmp_path / "a.png")
    words = ("restore", "decompression", tmp_path / "a.png", "--model", towers / "tower_jpeg", "--out", tmp_path / "o")
    with monkeypatch.context() as patch:
        patch.setattr(psutil, "virtual_memory", lambda: type("M", (), {"available": 5e5})())
        refuses(*words, says=["would have 64×48 pixels", "can be made at once", "make it at most"])
    assert not (tmp_path / "o").exists()
    assert cli(*words, "--answers", "1")[0] == 0


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory"), torch.OutOfMemoryError("CUDA out of memory.")]
)
def test_memory_that_runs_out_is_no_traceback(refuses, towers, photo, tmp_path, monkeypatch, error):
    def full(*_):
        raise error

    monkeypatch.setattr("predella.apps.restore.condition_of", full)
    words = ("restore", "decompression", photo, "--model", towers / "tower_jpeg", "--out", tmp_path / "o")
    refuses(*words, says="not enough memory")


def test_a_grey_model_restores_a_colour_jpeg(cli, photo, tmp_path):
    """By its luma, whose coefficients alone are compared."""
    with Image.open(photo) as image:
        image.convert("RGB").resize((32, 24)).save(tmp_path / "a.jpg", quality=5)
    words = ("--smoke", "--cpu", "--data.channels", "1", "--model.channels", "1", "--model.condition", "1", "--out", tmp_path / "grey")
    assert cli("train", "tower_jpeg", *words)[0] == 0
    asked = ("restore", "decompression", tmp_path / "a.jpg", "--model", tmp_path / "grey", "--answers", "1", "--exact", "--json")
    status, out, err = cli(*asked, "--out", tmp_path / "o")
    assert status == 0 and json.loads(out)["files"][0]["departure"][0] < 0.5, err


def test_other_errors_stay_visible(towers, photo, tmp_path, monkeypatch):
    def wrong(*_):
        raise RuntimeError("a bug")

    monkeypatch.setattr("predella.apps.restore.condition_of", wrong)
    words = ["restore", "decompression", photo, "--model", towers / "tower_jpeg", "--out", tmp_path / "o"]
    with pytest.raises(RuntimeError, match="a bug"):
        main([str(w) for w in words])


def test_an_exact_colouring_has_the_lightness_of_its_picture(tmp_path):
    """Of any colours, as vivid as they are: near black and white they are moved to the few that there are."""
    torch.set_default_dtype(torch.float32)
    grey = torch.linspace(-1, 1, 64).view(1, 1, 8, 8)
    vivid = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0)).round() * 2 - 1
    own = own_data(Colorization(), lightness(grey.expand(-1, 3, -1, -1)), tmp_path / "any.png")
    assert own.departure(vivid).item() > 50 and own.departure(own.keep(vivid)).item() < 0.8


def test_pictures_too_small_for_features_are_refused(refuses, towers, tmp_path, monkeypatch):
    folder = tmp_path / "weights"
    folder.mkdir()
    torch.manual_seed(0)
    trunk = {k: v.half() for k, v in AlexNet().state_dict().items()}
    heads = {f"alex.lin{i}": torch.rand(1, c, 1, 1).half() for i, c in enumerate((64, 192, 384, 256, 256))}
    save_file(trunk, folder / "alexnet_features.safetensors")
    save_file(heads, folder / "lpips_heads.safetensors")
    for known, tensors, prefix in ((standard.CLASSICS, trunk, "features."), (standard.LPIPS, heads, "alex.")):
        monkeypatch.setitem(known, "alexnet", replace(known["alexnet"], digest=standard.half_digest(tensors, prefix)))
    words = ("evaluate", towers / "tower_mnist_pca", "--data", "digits", "--part", "0,2", "--weights", folder, "--features", "alexnet")
    refuses(*words, says=["at least 31 pixels, got 28×28", "--features vgg16 or cifar_classifier"])


def test_python_has_what_the_command_line_has(cli, towers, photo, tmp_path):
    """The same answers: exact, of levels of their own, between two."""
    torch.set_default_dtype(torch.float32)
    with Image.open(photo) as image:
        image.convert("RGB").resize((32, 24)).save(tmp_path / "a.jpg", quality=5)
    model, picture, task = load(towers / "tower_jpeg"), read(tmp_path / "a.jpg"), Decompression()
    words = ("restore", "decompression", tmp_path / "a.jpg", "--answers", "2", "--model", towers / "tower_jpeg", "--cpu")
    asked = {"--exact": {"exact": True, "file": tmp_path / "a.jpg"}, "--from-level=1": {"from_level": 1}, "--between": {"between": True}}
    for k, (word, options) in enumerate(asked.items()):
        cli(*words, word, "--out", tmp_path / str(k))
        for n, answer in enumerate(restore(picture, model, task, 2, **options), 1):
            assert (answer.pixels - read(tmp_path / str(k) / f"a-{n}.png").pixels).abs().max() < 1.1 / 127.5
    wrong = {"give its path": {"exact": True}, "from_level must lie in": {"from_level": 9}, "at least 2": {"between": True}}
    for says, options in wrong.items():
        with pytest.raises(ValueError, match=says):
            restore(picture, model, task, 1, **options)


def test_exact_from_python(towers):
    torch.set_default_dtype(torch.float32)
    model, task = load(towers / "tower_sr16"), task_of(str(towers / "tower_sr16"))
    picture = Picture(torch.rand(1, 3, 4, 4, generator=torch.Generator().manual_seed(0)) - 0.5)  # within what pixels can be
    own = own_data(task, picture.pixels, None)
    exact, free = (restore(picture, model, task, 1, exact=e)[0].pixels for e in (True, False))
    assert own.departure(exact).item() < 1 < own.departure(free).item()


def test_a_sheet_shows_what_the_files_show(cli, towers, tmp_path):
    """Nothing of what transparency hides; of one answer no deviation."""
    clear = np.dstack([np.full((8, 8, 3), (0, 90, 200), np.uint8), np.repeat(np.uint8([[0] * 4 + [255] * 4]), 8, 0)])
    Image.fromarray(clear).save(tmp_path / "a.png")
    words = ("restore", "colorization", tmp_path / "a.png", "--model", towers / "tower_color")
    cli(*words, "--answers", "1", "--out", tmp_path / "one")
    cli(*words, "--answers", "2", "--out", tmp_path / "two")
    one, two = (np.asarray(Image.open(tmp_path / name / "a-sheet.png")) for name in ("one", "two"))
    assert two.shape[1] - one.shape[1] == 2 * (8 + 2)  # an answer and where they differ
    assert (one[:, :4] == 255).all() and (one[:, 10:14] == 255).all() and (one[:, 4:8] < 255).any()


def test_rows_of_a_sheet_are_even_and_answers_that_agree_leave_the_map_dark():
    overview = Overview(Decompression(), Picture(torch.zeros(1, 3, 8, 8)), torch.zeros(1, 3, 8, 8))
    for k in range(11):
        overview.add(torch.full((1, 3, 8, 8), k * 1e-4))
    assert -1 < overview.spread().max() < -0.8
    assert overview.picture().shape[-2:] == (8 + 2 + 8, 7 * (8 + 2) - 2)  # input, answers and map: 7 and 6, not 12 and 1
    overview.add(torch.ones(1, 3, 8, 8))
    assert overview.spread().max() == 1


def test_what_is_taken_of_a_picture_is_said(cli, towers, tmp_path):
    colours = [tuple(bytes.fromhex(c)) for _, c in FACADES]
    drawing = Image.new("RGB", (64, 64), colours[1])
    drawing.paste((255, 255, 255), (0, 0, 4, 4))  # .4 % of no class
    drawing.save(tmp_path / "map.png")
    words = ("--answers", "1", "--out", tmp_path / "o")
    assert "0.4% has colours of no class and is taken for the nearest" in cli("restore", "layout", tmp_path / "map.png", *words)[2]
    Image.effect_noise((90, 100), 60).convert("RGB").save(tmp_path / "face.png")
    sr = ("restore", "super_resolution", tmp_path / "face.png", "--shrink", "--force", *words)
    assert f"{tmp_path / 'face.png'} has 90×100 pixels; its central square is taken" in cli(*sr)[2]
    assert "the box of" in cli(*sr, "--box", "0,0,80,16")[2]
    assert "central square" not in cli(*sr, "--box", "5,5,85,85")[2]


def test_what_is_no_picture_is_refused_from_python():
    made, task = load("tower_color"), Colorization()
    picture = Picture(torch.zeros(1, 1, 8, 8))
    with pytest.raises(TypeError, match=r"picture must be a Picture, got Tensor; predella.image.files.read"):
        restore(picture.pixels, made, task)
    with pytest.raises(TypeError, match=r"model must be a Tower, got Classifier; predella.load\('tower_color'\)"):
        restore(picture, load("mnist_classifier"), task)
    for wrong in ({"count": 1.5}, {"count": 0}, {"seed": -1}):
        with pytest.raises(ValueError, match="must be a whole number of at least"):
            restore(picture, made, task, **wrong)
