"""What transparency hides is not used as if it were seen, and what is made over it can be seen."""

import numpy as np
import pytest
from PIL import Image

HIDDEN = (0, 255, 0)


@pytest.fixture
def clear(tmp_path):
    """64 × 64, its left half transparent over green, its right half grey noise."""
    noise = np.random.default_rng(0).integers(60, 200, (64, 64, 1), dtype=np.uint8).repeat(3, 2)
    alpha = np.full((64, 64, 1), 255, np.uint8)
    noise[:, :32], alpha[:, :32] = HIDDEN, 0
    Image.fromarray(np.concatenate([noise, alpha], 2)).save(tmp_path / "clear.png")
    return tmp_path / "clear.png"


@pytest.fixture
def mask(tmp_path):
    """White on a part that is transparent and a part that is not."""
    white = np.zeros((64, 64), np.uint8)
    white[24:40, 16:48] = 255
    Image.fromarray(white).save(tmp_path / "mask.png")
    return tmp_path / "mask.png"


def alpha(path):
    return np.asarray(Image.open(path))[..., 3]


def test_a_filled_hole_can_be_seen(cli, runs, clear, mask, tmp_path):
    words = ("--mask", mask, "--out", tmp_path / "filled.png", "--model", runs / "functional_fill")
    assert cli("fill", clear, *words)[0] == 0
    found = alpha(tmp_path / "filled.png")
    assert (found[24:40, 16:48] == 255).all() and (found[:24, :32] == 0).all()


@pytest.mark.parametrize("verb", ["harmonize", "edit"])
def test_a_paste_over_nothing_can_be_seen(cli, internals, clear, mask, tmp_path, verb):
    pasted = np.asarray(Image.open(clear)).copy()
    pasted[24:40, 16:48] = (200, 30, 30, 255)
    Image.fromarray(pasted).save(tmp_path / "pasted.png")
    words = ("--mask", mask, "--onto", clear, "--out", tmp_path / "o.png", "--model", internals / "meta_internal_dataset")
    status, _, err = cli(verb, tmp_path / "pasted.png", *words)
    assert status == 0, err
    found, before = (np.asarray(Image.open(p)) for p in (tmp_path / "o.png", clear))
    assert (found[24:40, 16:48, 3] == 255).all()
    far = np.s_[:12, :12]
    assert (found[far] == before[far]).all()  # hidden colours, too, stay where nothing was changed


def test_a_reversible_network_sees_white(cli, runs, clear, tmp_path):
    model = runs / "reversible_faces"
    status, _, err = cli("encode", model, clear, "--out", tmp_path / "z.safetensors")
    assert status == 0 and f"{clear} is transparent in places; they are seen as white" in err
    cli("decode", model, tmp_path / "z.safetensors", "--out", tmp_path / "back")
    (back,) = (np.asarray(Image.open(p)) for p in (tmp_path / "back").iterdir())
    assert (back[:, :32] == 255).all()
    for words in (("interpolate", model, clear, clear), ("vary", clear, "--model", model, "--dims", "0")):
        assert "seen as white" in cli(*words, "--out", tmp_path / f"{words[0]}.png", "--cpu")[2]


def test_an_alpha_channel_that_hides_nothing_is_no_news(cli, runs, photo, tmp_path):
    Image.open(photo).convert("RGBA").save(tmp_path / "opaque.png")
    status, _, err = cli("encode", runs / "reversible_faces", tmp_path / "opaque.png", "--out", tmp_path / "z.safetensors")
    assert status == 0 and "transparent" not in err


def test_an_enlarged_face_sees_white(cli, towers, clear, tmp_path):
    small = np.zeros((4, 4, 4), np.uint8)
    small[..., :3], small[:, 2:] = HIDDEN, (90, 60, 200, 255)
    Image.fromarray(small).save(tmp_path / "few.png")
    words = ("--answers", "1", "--model", towers / "tower_sr16", "--out")
    for image, more in ((tmp_path / "few.png", ()), (clear, ("--shrink",))):
        _, _, err = cli("restore", "super_resolution", image, *more, *words, tmp_path / "o")
        assert f"{image} is transparent in places; they are seen as white" in err
    Image.fromarray(np.where(small[..., 3:] == 0, 255, small[..., :3]).astype(np.uint8)).save(tmp_path / "white.png")
    cli("restore", "super_resolution", tmp_path / "white.png", *words, tmp_path / "o")
    sheets = [np.asarray(Image.open(tmp_path / "o" / f"{name}-sheet.png"))[:, :64] for name in ("few", "white")]
    assert (sheets[0] == sheets[1]).all()
