"""Files: every depth, mode, profile and orientation survives; every broken file has its one line."""

import errno
import os

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from conftest import picture
from predella.atomic import atomic_write
from predella.errors import UserError
from predella.image.files import Picture, read, write

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
