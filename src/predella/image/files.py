"""Image files: 8 and 16 bit, grey, colour, palette, alpha, orientation, colour profile; PNG, JPEG, WebP, TIFF."""

import io
import logging
import struct
import warnings
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile
from torch import Tensor

from predella.atomic import atomic_write, check_free
from predella.errors import UserError, not_found
from predella.image.color import luma
from predella.image.fit import Box, cut_box
from predella.image.opening import ORIENTATION, TURNS, opened

log = logging.getLogger(__name__)
FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF"}
LOOKED_FOR = (*FORMATS, ".jfif", ".bmp", ".gif", ".avif", ".heic", ".heif")  # in folders; of what can't be read a user is told
MOVING = {".gif": "GIF", ".png": "PNG", ".webp": "WEBP"}  # several frames; PNG as APNG
MAX_PIXELS = 200_000_000
PLANAR, ICC, RESOLUTION, RESOLUTION_UNIT = 284, 34675, (282, 283), 296  # TIFF tags
# of a TIFF's own tags, those that describe the picture and not its storage: title, maker, model, software, date, artist, rights
DESCRIPTIVE = (0x010E, 0x010F, 0x0110, ORIENTATION, 0x0131, 0x0132, 0x013B, 0x8298)


@dataclass(frozen=True)
class Picture:
    """A decoded image file, upright, with what a faithful copy of it needs.

    Attributes:
        pixels: (1, C, H, W) float32 in [-1, 1]; C = 1 grey or 3 RGB.
        alpha: (1, 1, H, W) float32 in [-1, 1] (-1 = transparent), or None.
        bits: 8 or 16, a channel.
        icc: the colour profile's bytes, or None.
        exif: EXIF bytes with the orientation set upright, or None.
        dpi: horizontal and vertical dots per inch, or None.
    """

    pixels: Tensor
    alpha: Tensor | None = None
    bits: int = 8
    icc: bytes | None = None
    exif: bytes | None = None
    dpi: tuple[float, float] | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.pixels.shape[-2], self.pixels.shape[-1]

    def with_pixels(self, pixels: Tensor, alpha: Tensor | None = None) -> "Picture":
        """The same file with other pixels (any size), and their alpha."""
        return replace(self, pixels=pixels, alpha=alpha)

    def cut(self, box: Box) -> "Picture":
        """The same file's part (left, top, right, bottom).

        Raises:
            ValueError: a box outside the picture.
        """
        return self.with_pixels(cut_box(self.pixels, box), None if self.alpha is None else cut_box(self.alpha, box))

    def on_white(self) -> Tensor:
        """(1, 3, H, W): grey repeated, what is transparent shows white; as pictures to train on are read."""
        return self.rgb() if self.alpha is None else torch.lerp(torch.ones_like(self.rgb()), self.rgb(), (self.alpha + 1) / 2)

    def notes_on_white(self, name: str) -> list[str]:
        """What a user is told where `on_white` is all that is seen of the file; nothing of one without transparency."""
        return [] if self.alpha is None or self.alpha.min() >= 1 else [f"{name} is transparent in places; they are seen as white"]

    def rgb(self) -> Tensor:
        """(1, 3, H, W): grey repeated."""
        return self.pixels.expand(-1, 3, -1, -1)

    def grey_on_white(self) -> Tensor:
        """(1, 1, H, W): the luma (BT.601) of `on_white`; as grey pictures to train on are read."""
        return luma(self.on_white()) if self.pixels.shape[1] == 3 else self.on_white()[:, :1]


def read(path: Path | str, max_pixels: int = MAX_PIXELS) -> Picture:
    """Decode one still image.

    Raises:
        UserError: missing, not an image, damaged, animated, or larger than `max_pixels`.
    """
    path = Path(path)
    if not path.exists():
        raise not_found(path)
    if path.is_dir():
        raise UserError(f"{path} is a folder, an image file is needed; name a file in it")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # damage is judged by the decoder's errors
        try:
            with opened(path) as image:
                return _decode(path, image, max_pixels)
        except UserError:
            raise
        except UnidentifiedImageError:
            if path.suffix.lower() in (".tif", ".tiff"):
                return _tiff16(path, max_pixels)
            raise UserError(f"{path} is not an image in a known format; give a PNG, JPEG, WebP, TIFF, BMP or GIF file") from None
        except PermissionError:
            raise UserError(f"{path} can't be read: permission denied; change its permissions") from None
        except Exception as error:
            raise UserError(f"{path} is damaged and can't be decoded: {error}; get the file again") from None


def _check_size(path: Path, width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise UserError(
            f"{path} claims {width}×{height} pixels, more than the limit of {max_pixels:,}; if you trust it, raise --max-pixels"
        )


def _decode(path: Path, image: Image.Image, max_pixels: int) -> Picture:
    _check_size(path, *image.size, max_pixels)
    if getattr(image, "n_frames", 1) > 1 and image.format not in ("MPO",):
        raise UserError(f"{path} is animated or has several pages ({getattr(image, 'n_frames', 2)}), one still is needed; extract a frame")
    exif, icc = image.getexif(), image.info.get("icc_profile")
    turned = exif.get(ORIENTATION, 1)
    if image.format == "TIFF":
        described = Image.Exif()
        described.update({tag: exif[tag] for tag in DESCRIPTIVE if tag in exif and not _of_storage(exif[tag])})
        exif = described
    if image.format == "PNG" and path.read_bytes()[24:26] in (b"\x10\x02", b"\x10\x04", b"\x10\x06"):  # 16 bits, not plain grey
        array, bits = _png16(path), 16
    elif isinstance(image, TiffImageFile) and 16 in np.atleast_1d(image.tag_v2.get(258, 8)) and not image.mode.startswith("I"):
        return _tiff16(path, max_pixels)
    elif image.mode.startswith("I"):
        array, bits = np.asarray(image).astype(np.int64)[..., None], 16
        if array.min() < 0 or array.max() > 65535:
            raise UserError(f"{path} holds 32-bit integers, 8 or 16 bits are needed; convert it first")
    elif image.mode == "F":
        raise UserError(f"{path} holds floating-point pixels, 8 or 16 bits are needed; convert it first")
    else:
        if image.mode in ("CMYK", "LAB") or (icc and icc[16:20] in (b"CMYK", b"Lab ")):
            icc = None  # it describes inks, or Lab, not the RGB made here
        array, bits = np.asarray(_eight_bit(image)), 8
        array = array[..., None] if array.ndim == 2 else array
    picture = _picture(array, bits, icc)
    if image.format == "TIFF":
        turned = image.getexif().get(ORIENTATION, 1)  # most of them are turned as they are loaded, which the tag then says
    picture = picture.with_pixels(_upright(picture.pixels, turned), None if picture.alpha is None else _upright(picture.alpha, turned))
    if ORIENTATION in exif:
        exif[ORIENTATION] = 1
    dpi = image.info.get("dpi")
    dpi = (float(dpi[0]), float(dpi[1])) if dpi and min(dpi) > 0 else None
    return replace(picture, exif=_bytes(exif, path), dpi=dpi)


def _bytes(exif: Image.Exif, path: Path) -> bytes | None:
    """None of no tags, and of those that say what can't be written again: a picture is worth more than its description."""
    try:
        return exif.tobytes() if len(exif) else None
    except Exception:  # Pillow's encoder fails in many ways on tags of a wrong kind
        _tell_lost(path)
        return None


@cache
def _tell_lost(path: Path) -> None:
    """Once a file, which some verbs read twice."""
    log.warning("%s: its EXIF has tags of a wrong kind, and is left out of what is made of it", path)


def _eight_bit(image: Image.Image) -> Image.Image:
    if image.mode in ("RGBA", "LA"):
        return image
    if "transparency" in image.info or image.mode in ("PA", "La", "RGBa"):
        return image.convert("LA" if image.mode in ("L", "La", "1") else "RGBA")
    return image.convert("L" if image.mode in ("1", "L") else "RGB")


def _picture(array: np.ndarray, bits: int, icc: bytes | None) -> Picture:
    top = 2**bits - 1
    values = torch.from_numpy(array.astype(np.float32)).permute(2, 0, 1)[None].contiguous() / (top / 2) - 1
    if values.shape[1] in (2, 4):
        return Picture(values[:, :-1], values[:, -1:], bits, icc)
    return Picture(values, None, bits, icc)


def _upright(x: Tensor, orientation: object) -> Tensor:
    """(1, C, H, W) as EXIF's `orientation` says it is seen: Pillow's own turn of an image of the places."""
    turn = TURNS.get(orientation)
    if turn is None:
        return x
    height, width = x.shape[-2:]
    turned = np.asarray(Image.fromarray(np.arange(height * width, dtype=np.int32).reshape(height, width)).transpose(turn)).astype(np.int64)
    return x.flatten(2)[:, :, torch.from_numpy(turned).flatten()].view(*x.shape[:2], *turned.shape)


def _png16(path: Path) -> np.ndarray:
    import png

    width, height, rows, info = png.Reader(filename=str(path)).read()
    return np.vstack([np.asarray(row, dtype=np.uint16) for row in rows]).reshape(height, width, info["planes"])


def _tiff_dpi(tags: dict) -> tuple[float, float] | None:
    """Dots per inch from the tags of resolution and its unit (2 = inch, 3 = centimetre)."""
    per = {2: 1.0, 3: 2.54}.get(int(tags.get(RESOLUTION_UNIT, 2)))
    found = [r for r in (tags.get(tag) for tag in RESOLUTION) if isinstance(r, tuple) and min(r) > 0]
    if per is None or len(found) != 2:
        return None
    x, y = (per * r[0] / r[1] for r in found)
    return x, y


def _of_storage(value: object) -> bool:
    """A description some programs write of the array, which an enlarged picture contradicts."""
    return str(value).startswith(('{"shape"', "ImageJ=", "<?xml"))


def _tiff16(path: Path, max_pixels: int) -> Picture:
    import tifffile

    try:
        with tifffile.TiffFile(path) as file:
            page = file.pages[0].aspage()
            _check_size(path, page.shape[1], page.shape[0], max_pixels)
            array = page.asarray()
            tags = {tag.code: tag.value for tag in page.tags.values()}
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{path} is not an image in a known format ({error}); give a PNG, JPEG, WebP, TIFF, BMP or GIF file") from None
    array = array[..., None] if array.ndim == 2 else array
    if array.ndim == 3 and tags.get(PLANAR) == 2:
        array = array.transpose(1, 2, 0)
    if array.dtype != np.uint16 or array.ndim != 3 or not 1 <= array.shape[2] <= 4:
        raise UserError(f"{path} holds {array.dtype} pixels of shape {array.shape}; convert it to 8- or 16-bit grey or RGB")
    picture = _picture(array, 16, tags.get(ICC))
    exif = Image.Exif()
    exif.update({tag: str(tags[tag]) for tag in DESCRIPTIVE if tag in tags and tag != ORIENTATION and not _of_storage(tags[tag])})
    picture = replace(picture, exif=_bytes(exif, path), dpi=_tiff_dpi(tags))
    orientation = int(tags.get(ORIENTATION, 1))
    alpha = None if picture.alpha is None else _upright(picture.alpha, orientation)
    return picture.with_pixels(_upright(picture.pixels, orientation), alpha)


def write(picture: Picture, path: Path | str, force: bool = False, quality: int = 95) -> None:
    """Encode to the format of the name's ending, atomically; profile and EXIF are kept.

    16-bit pictures stay 16-bit in PNG and TIFF and become 8-bit in JPEG and WebP, which hold no more.

    Raises:
        UserError: unknown ending, an existing file without `force`, transparency into JPEG, or a full disk.
    """
    check_output(path, picture, force)
    channels = picture.pixels if picture.alpha is None else torch.cat([picture.pixels, picture.alpha], 1)
    write_array(to_array(channels, file_bits(path, picture.bits)), path, picture, force, quality)


def file_bits(path: Path | str, bits: int) -> int:
    """8 or 16: what the format of `path`'s ending makes of a picture of `bits`."""
    return bits if check_ending(Path(path)) in ("PNG", "TIFF") else 8


def to_array(channels: Tensor, bits: int) -> np.ndarray:
    """(1, C, H, W) in [-1, 1], clamped → (H, W, C) uint8 or uint16."""
    top = 2**bits - 1
    array = ((channels[0].clamp(-1, 1).double() + 1) * (top / 2) + 0.5).floor().permute(1, 2, 0).numpy()
    return array.astype(np.uint16 if bits == 16 else np.uint8)


LARGEST_EXIF = 65_533  # bytes, of a JPEG
LARGEST_EDGE = {"WEBP": 16_383, "JPEG": 65_500}


def check_output(path: Path | str, picture: Picture, force: bool, size: tuple[int, int] | None = None) -> None:
    """Everything about writing `picture` to `path` that can be known before the work is done.

    Raises:
        UserError: see `write`.
    """
    path = Path(path)
    kind = check_ending(path)
    check_free(path, force)
    height, width = size or picture.size
    if max(height, width) > LARGEST_EDGE.get(kind, 1 << 31):
        raise UserError(f"{path}: {width}×{height} is more than {kind} holds ({LARGEST_EDGE[kind]} pixels); write a .png or .tif")
    if picture.alpha is not None and kind == "JPEG":
        raise UserError(f"{path}: the image has transparency, which JPEG can't hold; write a .png, .webp or .tif")


def write_array(array: np.ndarray, path: Path | str, picture: Picture, force: bool = False, quality: int = 95) -> None:
    """Encode (H, W, C) uint8 or uint16 (see `file_bits`) with the profile and EXIF of `picture`, atomically."""
    path = Path(path)
    kind = check_ending(path)
    with atomic_write(path, force) as stream:
        if array.dtype == np.uint16 and kind == "PNG":
            _write_png16(stream, array, picture)
        elif array.dtype == np.uint16:
            _write_tiff16(stream, array, picture)
        else:
            exif = picture.exif
            if kind == "JPEG" and exif and len(exif) > LARGEST_EXIF:
                log.warning("%s: a JPEG holds %d bytes of EXIF, the picture has %d; it is left out", path, LARGEST_EXIF, len(exif))
                exif = None
            extra: dict[str, object] = {k: v for k, v in (("icc_profile", picture.icc), ("exif", exif), ("dpi", picture.dpi)) if v}
            if kind in ("JPEG", "WEBP"):
                extra["quality"] = quality
            Image.fromarray(array[..., 0] if array.shape[2] == 1 else array).save(stream, kind, **extra)


def write_frames(frames: Tensor, path: Path | str, fps: float, force: bool = False) -> None:
    """(N, 3, H, W) in [-1, 1] as one moving picture, which repeats without end; .gif, .png or .webp, atomically.

    A frame lasts whole milliseconds, of a GIF hundredths of a second: some last longer than others, so that `fps` holds over all.
    """
    path = Path(path)
    tick = 10 if path.suffix.lower() == ".gif" else 1
    ends = [round(i * 1000 / fps / tick) * tick for i in range(len(frames) + 1)]
    durations = [b - a for a, b in pairwise(ends)]
    images = [Image.fromarray(to_array(f[None], 8)) for f in frames]
    extra = {"quality": 90} if path.suffix.lower() == ".webp" else {}
    with atomic_write(path, force) as stream:
        images[0].save(stream, MOVING[path.suffix.lower()], save_all=True, append_images=images[1:], duration=durations, loop=0, **extra)


def check_ending(path: Path, known: Mapping[str, str] = FORMATS, what: str = "image files") -> str:
    """Pillow's name for the format of `path`'s ending, one of those `known`.

    Raises:
        UserError: naming the endings that can be written.
    """
    kind = known.get(path.suffix.lower())
    if kind is None:
        fault = "is a folder" if path.is_dir() else f"ends in '{path.suffix}'" if path.suffix else "has no ending"
        raise UserError(f"{path} {fault}; {what} end in {', '.join(known)}")
    return kind


def _write_png16(stream, array: np.ndarray, picture: Picture) -> None:
    import png

    height, width, planes = array.shape
    writer = png.Writer(width, height, greyscale=planes < 3, alpha=planes in (2, 4), bitdepth=16)
    plain = io.BytesIO()
    writer.write(plain, array.reshape(height, width * planes))
    plain.seek(0)
    head, *rest = png.Reader(file=plain).chunks()
    extra = [(b"iCCP", b"profile\0\0" + zlib.compress(picture.icc))] if picture.icc else []
    if picture.exif:
        extra.append((b"eXIf", picture.exif.removeprefix(b"Exif\0\0")))
    if picture.dpi:
        extra.append((b"pHYs", struct.pack(">IIB", *(round(d / 0.0254) for d in picture.dpi), 1)))  # per metre
    png.write_chunks(stream, [head, *extra, *rest])


def _write_tiff16(stream, array: np.ndarray, picture: Picture) -> None:
    import tifffile

    planes = array.shape[2]
    exif = Image.Exif()
    exif.load(picture.exif or b"")
    whole = io.BytesIO()  # tifffile asks an open file for its name, which an unnamed one lacks
    tifffile.imwrite(
        whole, array[..., 0] if planes == 1 else array,
        photometric="minisblack" if planes < 3 else "rgb", planarconfig=None if planes == 1 else "contig",
        extrasamples=["unassalpha"] if planes in (2, 4) else None, iccprofile=picture.icc, compression="zlib", metadata=None,
        extratags=[(tag, "s", 0, str(exif[tag]), True) for tag in DESCRIPTIVE if tag in exif and tag != ORIENTATION],
        software=False, resolution=picture.dpi, resolutionunit="INCH" if picture.dpi else None,
    )  # fmt: skip
    stream.write(whole.getbuffer())
