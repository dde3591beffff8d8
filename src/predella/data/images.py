"""A sequence of decoded pictures from folders, zips, npz files, lists and built-in sets; unusable files are named, not fatal."""

import io
import logging
import threading
import time
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterable
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from predella.config import config
from predella.data.builtin import BUILTIN
from predella.data.named import NAMED, fetch
from predella.errors import UserError, not_found
from predella.image.contract import from_uint8, to_uint8
from predella.image.files import MAX_PIXELS
from predella.image.opening import opened, upright
from predella.image.resize import resize

log = logging.getLogger(__name__)
SILENCE = 10.0  # seconds of reading without a word
LARGEST_MEMBER = 500_000_000  # bytes of one file in a zip, unpacked
Opener = Callable[[], Tensor]  # → (C, H, W) uint8
Entry = tuple[str, Opener, int | None]  # name, opener, label


@config
class Source:
    """Where pictures come from.

    Args:
        paths: folders (searched recursively), .zip, .npz, .txt lists of files, single images, `photos`, `digits`,
            or the name of a public set; several are joined.
        channels: 3 = RGB, 1 = grey.
        smallest: pictures with an edge below this many pixels are left out.
        bright: leave out pictures that are black, which are no distribution.
        terms: under which the pictures may be used; stands in the model card.
        memory_mb: decoded pictures are kept in memory up to this size; the rest is decoded when needed.
        box: (left, top, right, bottom) in pixels, cut out of every picture first; () = nothing is cut.
        edge: make every picture a square of this many pixels: its central square, resampled; or, with `pad`, the whole picture
            in the middle of a black square. 0 = pictures keep their size.
        pad: surround with black instead of cutting and resampling (MNIST's 28 to 32).
        longest: resample every picture so that its longest edge has so many pixels; its aspect is kept. 0 = not.
        stretch: (height, width): resample every picture to this, whatever its aspect; () = not.
        paired: each file shows two pictures of equal size side by side, such as photo and label map; they are stacked to 2 · channels.
        part: (first, last), picture numbers in order, last excluded; () = all. Keeps test pictures out of training.
    """

    paths: tuple[str, ...] = ("photos",)
    channels: int = 3
    smallest: int = 32
    bright: bool = False
    terms: str = ""
    memory_mb: int = 6000
    box: tuple[int, ...] = ()
    edge: int = 0
    pad: bool = False
    longest: int = 0
    stretch: tuple[int, ...] = ()
    paired: bool = False
    part: tuple[int, ...] = ()

    def __post_init__(self):
        if self.box and not (len(self.box) == 4 and 0 <= self.box[0] < self.box[2] and 0 <= self.box[1] < self.box[3]):
            raise ValueError(f"box must be (left, top, right, bottom) with left < right and top < bottom, got {self.box}")
        if self.part and not (len(self.part) == 2 and 0 <= self.part[0] < self.part[1]):
            raise ValueError(f"part must be (first, last) with 0 ≤ first < last, got {self.part}")
        if self.edge < 0 or (self.pad and not self.edge):
            raise ValueError(f"edge must be positive, and given with pad; got edge={self.edge}, pad={self.pad}")

        if self.stretch and not (len(self.stretch) == 2 and min(self.stretch) > 0):
            raise ValueError(f"stretch must be (height, width) in pixels, got {self.stretch}")
        if self.longest < 0 or bool(self.edge) + bool(self.longest) + bool(self.stretch) > 1:
            raise ValueError(f"one of edge, longest and stretch may be given, got {self.edge}, {self.longest}, {self.stretch}")

    def shaped(self, pixels: Tensor) -> Tensor:
        """(C, H, W) uint8 as `box`, `edge` and `pad` ask.

        Raises:
            ValueError: a picture smaller than `smallest` or the box, black if `bright`, of odd width if paired, or, with pad, larger
                than the edge.
        """
        if self.paired:
            if pixels.shape[2] % 2:
                raise ValueError(f"{pixels.shape[2]}×{pixels.shape[1]} has an odd width, so it is no pair of equal pictures side by side")
            pixels = torch.cat(pixels.chunk(2, 2))
        if self.box:
            left, top, right, bottom = self.box
            if pixels.shape[2] < right or pixels.shape[1] < bottom:
                raise ValueError(f"{pixels.shape[2]}×{pixels.shape[1]} does not contain the box {self.box}")
            pixels = pixels[:, top:bottom, left:right]
        height, width = pixels.shape[1:]
        if min(height, width) < self.smallest:
            size = f"{width}×{height}"
            subject = f"a half of it (a pair is a photo left and its label map right) is {size}," if self.paired else f"{size} is"
            raise ValueError(f"{subject} smaller than {self.smallest} pixels")
        if self.bright and not pixels.any():
            raise ValueError("black")
        if self.longest or self.stretch:
            times = self.longest / max(height, width)
            size = max(1, round(height * times)), max(1, round(width * times))
            if self.stretch:
                size = self.stretch[0], self.stretch[1]
            return pixels.contiguous() if size == (height, width) else to_uint8(resize(from_uint8(pixels)[None], size))[0]
        if self.edge == 0 or height == width == self.edge:
            return pixels.contiguous()
        if self.pad:
            rest = self.edge - height, self.edge - width
            if min(rest) < 0:
                raise ValueError(f"{width}×{height} is larger than {self.edge} pixels")
            top, left = rest[0] // 2, rest[1] // 2
            return torch.nn.functional.pad(pixels, (left, rest[1] - left, top, rest[0] - top))
        short = min(height, width)
        top, left = (height - short) // 2, (width - short) // 2
        square = from_uint8(pixels[:, top : top + short, left : left + short])
        return to_uint8(resize(square[None], (self.edge, self.edge)))[0]

    def open(self) -> "Images":
        """Decode and check the pictures."""
        return Images(self)


def _remedy(source: Source, why: str) -> str:
    """What helps when no picture could be used."""
    if "smaller than" in why and source.paired:
        return "give pairs in one file, or pictures large enough"
    if "smaller than" in why:
        return f"take larger pictures, or in training lower --data.smallest ({source.smallest})"
    if "contain the box" in why:
        return "give the box of these pictures (--data.box, or --box of evaluate)"
    if "larger than" in why:
        return f"this recipe takes pictures of at most {source.edge} pixels"
    return "give a folder, zip or npz of images"


class Images:
    """The usable pictures of a `Source`, in a fixed order: `len`, `[i]` → (C, H, W) uint8, `names`, `sizes` (height, width),
    `labels` (N,) int64 or None.

    Raises:
        UserError: a path that doesn't exist, or nothing usable in all of them.
    """

    def __init__(self, source: Source):
        if source.channels not in (1, 3):
            raise UserError(f"channels must be 1 or 3, got {source.channels}")
        self.source = source
        self.names: list[str] = []
        self.skipped: list[tuple[str, str]] = []  # (name, why)
        self.sizes: list[tuple[int, int]] = []
        self._kept: list[Tensor | Opener] = []
        self._recent: OrderedDict[int, Tensor] = OrderedDict()
        self._lock = threading.Lock()
        for path in source.paths:
            if path in BUILTIN and Path(path).is_dir():
                log.warning("%s are the pictures that come with predella, not the folder here; ./%s names that", path, path)
        budget = source.memory_mb * 2**20
        labels: list[int | None] = []
        entries: Iterable[Entry] = (e for path in source.paths for e in _entries(path, source.channels))
        if source.part:
            entries = list(islice(entries, *source.part))
            if not entries:
                where, part = ", ".join(source.paths), ",".join(map(str, source.part))
                count = sum(1 for path in source.paths for _ in _entries(path, source.channels))
                less = f": it has {count}; take an earlier part" if count else "; name a folder with pictures in it"
                raise UserError(f"{where} has no pictures in the part {part}{less}")
        said = time.monotonic()
        for name, opener, label in entries:
            if time.monotonic() > said + SILENCE:
                said = time.monotonic()
                log.info("reading pictures: %s so far", f"{len(self.names):,}")
            opener = partial(_shaped, source, opener)
            try:
                pixels = opener()
            except Exception as error:
                self.skipped.append((name, str(error) or type(error).__name__))
                continue
            self.names.append(name)
            self.sizes.append((pixels.shape[-2], pixels.shape[-1]))
            labels.append(label)
            keep = pixels.numel() <= budget
            budget -= pixels.numel() if keep else 0
            self._kept.append(pixels if keep else opener)
        known = [v for v in labels if v is not None]
        self.labels = torch.tensor(known) if known and len(known) == len(labels) else None
        if self.skipped and self._kept:
            shown = "; ".join(f"{name} ({why})" for name, why in self.skipped[:5])
            more = f"; and {len(self.skipped) - 5} more" if len(self.skipped) > 5 else ""
            log.warning("skipped %d of %d files: %s%s", len(self.skipped), len(self.skipped) + len(self), shown, more)
        if not self._kept:
            where = ", ".join(source.paths)
            why = f", such as {self.skipped[0][0]}: {self.skipped[0][1]}" if self.skipped else ""
            raise UserError(f"{where}: no usable picture among {len(self.skipped)} files{why}; {_remedy(source, why)}")

    def __len__(self) -> int:
        return len(self._kept)

    def __getitem__(self, i: int) -> Tensor:
        kept = self._kept[i]
        if isinstance(kept, Tensor):
            return kept
        found = self._recent.get(i)
        if found is None:
            found = kept()
            with self._lock:
                self._recent[i] = found
                while len(self._recent) > 32:
                    self._recent.popitem(last=False)
        return found


def _shaped(source: Source, opener: Opener) -> Tensor:
    return source.shaped(opener())


def _decode(stream, channels: int) -> Tensor:
    """(C, H, W) uint8, upright."""
    with opened(stream) as image:
        if image.width * image.height > MAX_PIXELS:
            raise ValueError(f"{image.width}×{image.height} pixels, more than {MAX_PIXELS:,}")
        if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":
            raise ValueError("animated")
        image = upright(image)
        if image.mode == "F":
            raise ValueError("floating-point pixels, 8 or 16 bits are needed")
        if image.mode.startswith("I"):  # 16 bits, which Pillow would clip
            values = np.asarray(image).astype(np.int64)
            if values.min() < 0 or values.max() > 65535:
                raise ValueError("32-bit integers, 8 or 16 bits are needed")
            return _tensor(((values + 128) // 257).astype(np.uint8), channels)
        if "A" in image.mode or "transparency" in image.info:  # what is transparent shows white
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
        array = np.asarray(image.convert("RGB" if channels == 3 else "L"))
    return _tensor(array, channels)


def _tensor(array: np.ndarray, channels: int) -> Tensor:
    """(H, W) or (H, W, 1|3) uint8 → (channels, H, W)."""
    array = array[..., None] if array.ndim == 2 else array
    if array.shape[2] not in (1, 3):
        raise ValueError(f"{array.shape[2]} channels, 1 or 3 are needed")
    if channels == 1 and array.shape[2] == 3:
        array = np.asarray(Image.fromarray(array).convert("L"))[..., None]
    out = torch.from_numpy(np.require(array.transpose(2, 0, 1), requirements=["C", "W"]))
    return out.expand(3, -1, -1).contiguous() if channels == 3 and len(out) == 1 else out


def count_pictures(path: str) -> int:
    """How many files or arrays `path` holds, usable or not: what `Source.part` counts.

    Raises:
        UserError: no such path.
    """
    return sum(1 for _ in _entries(path, 3))


def _entries(path: str, channels: int) -> Iterable[Entry]:
    if path in BUILTIN:
        for name, array, label in BUILTIN[path]():
            yield name, (lambda array=array: _tensor(array, channels)), label
        return
    path, _, key = path.partition("#") if ".npz#" in path or path.partition("#")[0] in NAMED else (path, "", "")
    file = Path(path)
    if not file.exists():
        if path in NAMED:
            file = fetch(path)
        else:
            known = ", ".join([*BUILTIN, *NAMED])
            raise not_found(path, f"give a folder, zip, npz or list of files, or one of: {known}")
    if file.is_dir():
        files = sorted(f for f in file.rglob("*") if f.is_file() and not any(p.startswith(".") for p in f.relative_to(file).parts))
        for f in files:
            yield str(f.relative_to(file)), (lambda f=f: _decode(f, channels)), None
    elif file.suffix.lower() == ".zip":
        yield from _zip_entries(file, channels)
    elif file.suffix.lower() == ".npz":
        yield from _npz_entries(file, channels, key)
    elif file.suffix.lower() == ".txt":
        for line in file.read_text().splitlines():
            if line.strip():
                f = file.parent / line.strip()
                yield line.strip(), (lambda f=f: _decode(f, channels)), None
    else:
        yield file.name, (lambda: _decode(file, channels)), None


def _zip_entries(file: Path, channels: int) -> Iterable[Entry]:
    try:
        archive = zipfile.ZipFile(file)
    except zipfile.BadZipFile:
        raise UserError(f"{file} is not a readable zip archive; pack it again") from None
    for name in sorted(archive.namelist()):
        base = name.rsplit("/", 1)[-1]
        if base and not base.startswith(".") and not name.startswith("__MACOSX/"):
            yield name, (lambda name=name: _decode(io.BytesIO(_member(archive, name)), channels)), None


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    size = archive.getinfo(name).file_size
    if size > LARGEST_MEMBER:
        raise ValueError(f"{size / 1e6:.0f} MB unpacked, more than {LARGEST_MEMBER / 1e6:.0f} MB")
    return archive.read(name)


def _npz_entries(file: Path, channels: int, key: str) -> Iterable[Entry]:
    """Every array (N, H, W), (N, H, W, C) or (N, C, H, W) of uint8; the one called `key`, or `x_train` alone if there is one.

    Classes come from the array of whole numbers that is called y… where the images are x….
    """
    try:
        with np.load(file, allow_pickle=False) as archive:
            names = [key] if key else ["x_train"] if "x_train" in archive.files else archive.files
            if key and key not in archive.files:
                raise UserError(f"{file} has no array '{key}'; it has: {', '.join(archive.files)}")
            arrays = {name: archive[name] for name in names}
            classes = {n: archive["y" + n[1:]] for n in names if n.startswith("x") and "y" + n[1:] in archive.files}
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{file} is not a readable npz file of plain arrays ({error}); save it with numpy.savez") from None
    stacks = {k: a for k, a in arrays.items() if a.dtype == np.uint8 and a.ndim in (3, 4)}
    if not stacks:
        shapes = ", ".join(f"{k} {a.dtype}{a.shape}" for k, a in arrays.items())
        raise UserError(f"{file} holds no uint8 array of images (N, H, W[, C]), only {shapes}; save images as uint8")
    for name, stack in stacks.items():
        if stack.ndim == 4 and stack.shape[3] not in (1, 3) and stack.shape[1] in (1, 3):
            stack = stack.transpose(0, 2, 3, 1)
        labels = classes.get(name)
        known = labels is not None and labels.shape == (len(stack),) and np.issubdtype(labels.dtype, np.integer)
        for i, array in enumerate(stack):
            yield f"{name}[{i}]", (lambda array=array: _tensor(array, channels)), int(labels[i]) if known else None
