"""Enlarging and measuring from the command line: transparency, folders, the same size."""

import errno
import shutil

import numpy as np
import torch
from PIL import Image

import predella
from predella import atomic
from test_cli import files


def test_hidden_colour_does_not_leak_from_transparent_pixels(cli, tmp_path):
    """Magenta under full transparency: enlarged, no visible pixel turns magenta. With the shipped weights."""
    array = np.zeros((24, 24, 4), np.uint8)
    array[:, 12:] = (40, 90, 40, 255)
    array[:, :12] = (255, 0, 255, 0)
    Image.fromarray(array).save(tmp_path / "a.png")
    assert cli("upscale", tmp_path / "a.png", "--scale", "3", "--out", tmp_path / "b.png")[0] == 0
    seen = np.asarray(Image.open(tmp_path / "b.png")).astype(int)
    visible = seen[..., 3] > 0
    assert np.abs(seen[visible][:, :3] - (40, 90, 40)).max() <= 12


def test_a_folder_of_pictures_and_what_is_left_out(cli, refuses, runs, photo, tmp_path):
    place = tmp_path / "in"
    place.mkdir()
    shutil.copy(photo, place / "a.png")
    (place / "b.png").write_text("no picture")
    (place / "notes.txt").write_text("x")
    (place / "phone.HEIC").write_bytes(b"no decoder has it")
    Image.open(photo).save(place / "old.bmp")
    status, said, err = cli("upscale", place, "--scale", "2", "--out", tmp_path / "out", "--model", runs / "functional_sr")
    assert status == 0 and "left out" in err and "b.png" in err and "phone.HEIC is not an image in a known format" in err
    assert files(tmp_path / "out") == ["a.png", "old.png"]
    words = ("upscale", photo, place / "a.png", "--scale", "2", "--model", runs / "functional_sr")
    refuses(*words, "--out", tmp_path / "o.png", says="2 images need a folder")
    assert not (tmp_path / "o.png").exists()


def test_a_place_that_takes_no_folder_is_found_before_the_work(refuses, runs, photo, tmp_path, monkeypatch):
    def refused(**_):
        raise OSError(errno.ENOENT, "No such file or directory")

    monkeypatch.setattr(atomic.tempfile, "TemporaryFile", refused)  # as /proc does, whatever its permissions say
    words = ("upscale", photo, "--scale", "2", "--model", runs / "functional_sr", "--out", tmp_path / "new" / "x.png")
    refuses(*words, says=f"{tmp_path} can't be written to (No such file or directory); choose another place")


def test_the_same_size_is_the_same_picture(cli, runs, photo, tmp_path):
    assert cli("upscale", photo, "--scale", "1", "--out", tmp_path / "s.png", "--model", runs / "functional_sr")[0] == 0
    assert np.array_equal(np.asarray(Image.open(photo)), np.asarray(Image.open(tmp_path / "s.png")))


def test_a_part_of_the_picture_alone(cli, refuses, runs, photo, tmp_path):
    array = np.asarray(Image.open(photo))
    Image.fromarray(array[2:18, 4:24]).save(tmp_path / "part.png")
    more = ("--scale", "2", "--model", runs / "functional_sr")
    assert cli("upscale", tmp_path / "part.png", *more, "--out", tmp_path / "a.png")[0] == 0
    assert cli("upscale", photo, "--box", "4,2,24,18", *more, "--out", tmp_path / "b.png")[0] == 0
    assert np.array_equal(np.asarray(Image.open(tmp_path / "a.png")), np.asarray(Image.open(tmp_path / "b.png")))
    refuses("upscale", photo, "--box", "0,0,4000,9", *more, "--out", tmp_path / "c.png", says=["photo", "4000", "does not lie inside"])
    assert not (tmp_path / "c.png").exists()
    (tmp_path / "in").mkdir()
    shutil.copy(photo, tmp_path / "in" / "b.png")
    Image.fromarray(np.dstack([array[:8, :8], np.full((8, 8), 99, np.uint8)])).save(tmp_path / "in" / "a.png")
    status, _, err = cli("upscale", tmp_path / "in", "--box", "4,2,24,18", *more, "--out", tmp_path / "out")
    assert status == 0 and files(tmp_path / "out") == ["b.png"] and "a.png" in err
    assert cli("upscale", tmp_path / "in" / "a.png", "--box", "1,2,5,5", *more, "--out", tmp_path / "d.png")[0] == 0
    assert Image.open(tmp_path / "d.png").size == (8, 6) and Image.open(tmp_path / "d.png").mode == "RGBA"


def test_filling_by_tiles_equals_the_whole_picture():
    """With the shipped weights, far below one of 255 levels: the halo is wide enough."""
    from predella.apps.fill import fill
    from predella.image.files import Picture
    from predella.tasks.masking import holes

    torch.set_default_dtype(torch.float32)
    model = predella.load("functional_fill")
    x = torch.nn.functional.interpolate(torch.rand(1, 3, 30, 40) * 2 - 1, scale_factor=8, mode="bicubic").clamp(-1, 1)
    known = holes((240, 320), "strokes", 0.1, 3)[None]
    with torch.inference_mode():
        whole = torch.where(known > 0, x, model(x, (240, 320), known).clamp(-1, 1))
    assert (fill(Picture(x), known, model, tile=100).pixels - whole).abs().max() * 127.5 < 0.1


def test_measuring_says_that_a_picture_is_transparent(cli, photo, tmp_path):
    picture = Image.open(photo).convert("RGB")
    picture.putalpha(9)
    picture.save(tmp_path / "clear.png")
    status, said, err = cli("measure", "psnr_y", "--pairs", tmp_path / "clear.png", photo)
    assert status == 0 and "inf" in said and "clear.png is transparent in parts; colours alone are compared" in err
    assert "transparent" not in cli("measure", "psnr_y", "--pairs", photo, photo)[2]
