"""Files: every depth, mode, profile and orientation survives; every broken file has its one line."""

import errno
import os

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from conftest import picture
from predella.atomic import atomic_write
from predella.data.images import _decode
from predella.errors import UserError
from predella.image.files import Picture, read, write, write_frames

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.mark.parametrize("ending", [".png", ".tif", ".webp"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("alpha", [False, True])
def test_eight_bits_round_trip(tmp_path, ending, channels, alpha):
    pixels = torch.randint(0, 256, (1, channels, 9, 7)).float() / 127.5 - 1
    mask = torch.randint(0, 256, (1, 1, 9, 7)).float() / 127.5 - 1 if alpha else None
    path = tmp_path / f"x{ending}"
    write(Picture(pixels, mask), path, quality=100)
    back = read(path)
    assert (back.alpha is not None) == alpha
    if ending != ".webp":  # WebP is lossy and always colour
        assert torch.equal(back.pixels, pixels)
        assert mask is None or torch.equal(back.alpha, mask)


@pytest.mark.parametrize("ending", [".png", ".tif"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("alpha", [False, True])
def test_sixteen_bits_round_trip(tmp_path, ending, channels, alpha):
    values = torch.randint(0, 65536, (1, channels + alpha, 9, 7)).float() / 32767.5 - 1
    path = tmp_path / f"x{ending}"
    write(Picture(values[:, :channels], values[:, channels:] if alpha else None, bits=16), path)
    back = read(path)
    assert back.bits == 16
    assert (back.pixels - values[:, :channels]).abs().max() < 1e-6  # one level is 3e-5
    assert not alpha or (back.alpha - values[:, channels:]).abs().max() < 1e-6


@pytest.mark.parametrize("ending", [".png", ".jpg", ".webp", ".tif"])
@pytest.mark.parametrize("bits", [8, 16])
def test_profile_is_kept(tmp_path, ending, bits):
    path = tmp_path / f"x{ending}"
    write(Picture(torch.zeros(1, 3, 16, 16), bits=bits, icc=SRGB), path)
    assert read(path).icc == SRGB


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_and_other_exif_kept(tmp_path, orientation):
    array = picture(8, 12)
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = orientation, "maker"
    path = tmp_path / "x.png"
    Image.fromarray(array).save(path, exif=exif)
    got = read(path)
    assert got.size == ((8, 12) if orientation < 5 else (12, 8))
    if orientation == 6:  # turned right by a quarter
        expected = np.rot90(array, -1).transpose(2, 0, 1)
        assert np.array_equal(((got.pixels[0] + 1) * 127.5).round().numpy(), expected)
    out = tmp_path / "y.jpg"
    write(got, out)
    with Image.open(out) as again:
        assert again.getexif()[0x0112] == 1 and again.getexif()[0x010F] == "maker"


def test_sixteen_bit_tiff_keeps_orientation_and_exif(tmp_path):
    import tifffile

    array = picture(8, 12).astype(np.uint16) * 257
    tifffile.imwrite(tmp_path / "x.tif", array, photometric="rgb", extratags=[(0x0112, "H", 1, 6, True)])
    got = read(tmp_path / "x.tif")
    assert got.bits == 16 and got.size == (12, 8)
    assert np.array_equal(((got.pixels[0].double() + 1) * 32767.5).round().numpy(), np.rot90(array, -1).transpose(2, 0, 1))
    tifffile.imwrite(tmp_path / "p.tif", array.transpose(2, 0, 1), photometric="rgb", planarconfig="separate")
    assert read(tmp_path / "p.tif").size == (8, 12)
    exif = Image.Exif()
    exif[0x010F] = "maker"
    write(Picture(got.pixels, bits=16, exif=exif.tobytes()), tmp_path / "y.tif")
    again = Image.Exif()
    again.load(read(tmp_path / "y.tif").exif)
    assert again[0x010F] == "maker"


def test_formats_refuse_what_they_cannot_hold_before_the_work(tmp_path):
    from predella.image.files import check_output

    with pytest.raises(UserError, match="16383"):
        check_output(tmp_path / "x.webp", Picture(torch.zeros(1, 3, 4, 4)), False, (100, 20_000))


def test_palette_transparency_bilevel_and_cmyk(tmp_path):
    image = Image.fromarray(picture(8, 8))
    image.quantize(16).save(tmp_path / "p.png")
    assert read(tmp_path / "p.png").pixels.shape == (1, 3, 8, 8)
    image.quantize(16).save(tmp_path / "t.png", transparency=0)
    assert read(tmp_path / "t.png").alpha is not None
    image.convert("1").save(tmp_path / "b.png")
    assert read(tmp_path / "b.png").pixels.shape == (1, 1, 8, 8)
    image.convert("CMYK").save(tmp_path / "c.jpg", icc_profile=SRGB)
    got = read(tmp_path / "c.jpg")
    assert got.pixels.shape == (1, 3, 8, 8) and got.icc is None


def test_every_broken_file_has_its_line(tmp_path):
    def says(path, *words, **options):
        with pytest.raises(UserError) as caught:
            read(path, **options)
        text = str(caught.value)
        assert str(path) in text and "\n" not in text and all(w in text for w in words), text

    says(tmp_path / "no.png", "does not exist")
    says(tmp_path, "is a folder")
    (tmp_path / "text.png").write_text("hello")
    says(tmp_path / "text.png", "not an image")
    Image.fromarray(picture(64, 64)).save(tmp_path / "x.jpg")
    whole = (tmp_path / "x.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    says(tmp_path / "cut.jpg", "damaged")
    says(tmp_path / "x.jpg", "64×64", "--max-pixels", max_pixels=100)
    frames = [Image.fromarray(picture(8, 8, k)) for k in range(3)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    says(tmp_path / "a.gif", "animated")
    Image.fromarray(np.zeros((4, 4), np.float32)).save(tmp_path / "f.tif")
    says(tmp_path / "f.tif", "floating-point")


def test_writing_refuses_in_the_users_words(tmp_path):
    plain = Picture(torch.zeros(1, 3, 4, 4))
    with pytest.raises(UserError, match=r"'\.xyz'.*\.png"):
        write(plain, tmp_path / "a.xyz")
    with pytest.raises(UserError, match="transparency"):
        write(Picture(plain.pixels, torch.zeros(1, 1, 4, 4)), tmp_path / "a.jpg")
    write(plain, tmp_path / "a.png")
    with pytest.raises(UserError, match="--force"):
        write(plain, tmp_path / "a.png")
    write(plain, tmp_path / "a.png", force=True)
    with pytest.raises(UserError, match="is a file, a folder is needed"):
        write(plain, tmp_path / "a.png" / "b.png")


def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    old = tmp_path / "old.txt"
    old.write_text("mine")
    monkeypatch.setattr(os, "fsync", full)
    for path in (old, tmp_path / "new" / "deep" / "x.txt"):
        with pytest.raises(UserError, match="No space left on device; nothing was changed"), atomic_write(path) as stream:
            stream.write(b"half")
    assert old.read_text() == "mine" and [p.name for p in tmp_path.iterdir()] == ["old.txt"]


@pytest.mark.parametrize("ending", [".png", ".tif"])
@pytest.mark.parametrize("bits", [8, 16])
def test_dots_per_inch_are_kept(tmp_path, ending, bits):
    picture = Picture(torch.rand(1, 3, 5, 7) * 2 - 1, bits=bits, dpi=(300.0, 150.0))
    write(picture, tmp_path / f"a{ending}")
    again = read(tmp_path / f"a{ending}")
    assert again.bits == bits and again.dpi == pytest.approx((300, 150), rel=1e-3)


@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "I;16"])
@pytest.mark.parametrize("orientation", [3, 5, 6, 8])
def test_a_tiff_is_turned_once(tmp_path, mode, compression, orientation):
    """However Pillow reads it: it turns TIFFs as it loads them, and maps some by the size after turning."""
    array = np.random.default_rng(0).integers(0, 255, (5, 7, {"RGB": 3, "RGBA": 4}.get(mode, 1)), dtype=np.uint8).squeeze()
    array = array.astype(np.uint16) * 257 if mode == "I;16" else array
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(array).save(tmp_path / "a.tif", exif=exif, **({"compression": compression} if compression else {}))
    upright = {3: np.rot90(array, 2), 5: array.swapaxes(0, 1), 6: np.rot90(array, -1), 8: np.rot90(array, 1)}[orientation]
    found = read(tmp_path / "a.tif")
    pixels = found.pixels if found.alpha is None else torch.cat([found.pixels, found.alpha], 1)
    top = 65535 if mode == "I;16" else 255
    assert ((pixels[0].permute(1, 2, 0).numpy().squeeze() + 1) * top / 2).round().tolist() == upright.tolist()
    if mode != "RGBA":
        trained = _decode(tmp_path / "a.tif", 3 if mode == "RGB" else 1).permute(1, 2, 0).numpy().squeeze()
        assert (trained == (upright // 257 if mode == "I;16" else upright)).all()


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_description_of_a_wrong_kind_costs_the_description_alone(tmp_path, caplog, orientation):
    """In training, too: a resolution that is text, which can't be written again."""
    exif = Image.Exif()
    exif[0x0112], exif[0x011A] = orientation, 72.0
    Image.new("RGB", (7, 5), "red").save(tmp_path / "a.jpg", exif=exif)
    raw = (tmp_path / "a.jpg").read_bytes()
    big = b"MM" in raw[:40]
    tag, kind = (b"\x01\x1a\x00\x05", b"\x01\x1a\x00\x02") if big else (b"\x1a\x01\x05\x00", b"\x1a\x01\x02\x00")
    assert raw.count(tag) == 1
    (tmp_path / "wrong.jpg").write_bytes(raw.replace(tag, kind))
    for _ in range(2):
        found = read(tmp_path / "wrong.jpg")
    assert found.size == ((5, 7) if orientation == 1 else (7, 5))
    assert tuple(_decode(tmp_path / "wrong.jpg", 3).shape[1:]) == found.size
    if found.exif is None:
        assert caplog.text.count("its EXIF has tags of a wrong kind") == 1 and "wrong.jpg" in caplog.text


def test_more_exif_than_a_jpeg_holds_is_left_out(tmp_path, caplog):
    exif = Image.Exif()
    exif[0x010E] = "a" * 70_000
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png", exif=exif)
    write(read(tmp_path / "a.png"), tmp_path / "a.jpg")
    assert read(tmp_path / "a.jpg").exif is None and "70" in caplog.text and "it is left out" in caplog.text


@pytest.mark.parametrize(("ending", "fps"), [("gif", 15), ("gif", 40), ("png", 30), ("webp", 24)])
def test_frames_pass_at_the_asked_rate(tmp_path, ending, fps):
    frames = torch.rand(24, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    write_frames(frames, tmp_path / f"a.{ending}", fps)
    with Image.open(tmp_path / f"a.{ending}") as moving:
        seconds = 0.0
        for i in range(moving.n_frames):
            moving.seek(i)
            moving.load()
            seconds += moving.info["duration"] / 1000
    assert moving.n_frames == 24 and abs(seconds - 24 / fps) < 0.006
