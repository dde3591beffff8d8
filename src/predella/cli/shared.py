"""What several verbs share: their options, the images they take, and the files they write."""

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

LOSSY = (".jpg", ".jpeg", ".webp")  # endings of formats that keep pixels about as they are
INK = 0.35  # mean brightness over the largest, beyond which it hardly is a line: 300 digits of MNIST have .27 at most


def add_common(parser, writes: str = "existing files") -> None:
    """--cpu, --force and --json."""
    parser.add_argument("--cpu", action="store_true", help="do not use an accelerator")
    parser.add_argument("--force", action="store_true", help=f"overwrite {writes}")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def add_own_model(parser, image: str) -> None:
    """The options of verbs that train a model of one image where none is given."""
    parser.add_argument("--model", help=f"a shipped name or a run folder (default: one trained on {image})")
    add_tuning(parser)
    add_training(parser)
    parser.add_argument("--seed", type=int, default=0, help="the same seed gives the same answer (default: 0)")


def add_tuning(parser) -> None:
    """--tune, of the weights that a model has for an image."""
    parser.add_argument("--tune", type=int, default=0, metavar="STEPS", help="train the image's weights on first (default: 0)")


def add_training(parser) -> None:
    """--train-steps and --keep, of a model of one image."""
    parser.add_argument("--train-steps", type=int, default=600, help="a scale, of a model of one image (default: 600)")
    parser.add_argument("--keep", type=Path, metavar="RUN", help="keep the model that is trained here in this folder, for --model RUN")


def check_shipped(source: str) -> None:
    """Raise UserError for the name of a recipe whose weights are not shipped, and say how to get them."""
    from predella.errors import UserError
    from predella.models.base import list_pretrained
    from predella.recipes import RECIPES

    if source in RECIPES and source not in list_pretrained() and not Path(source).exists():
        like = [name for name in list_pretrained() if name.startswith(f"{source}_")]
        instead = f"take {' or '.join(like)}, or " if like else ""
        makes = f"predella train {source} --data PICTURES/ makes them in runs/{source}: name that as model"
        raise UserError(f"no weights of {source} are shipped; {instead}{makes}")


def open_model(source: str, verb: str, cpu: bool, instead: str = ""):
    """The model, on its device, if it serves `verb`; says so if its training has not ended.

    Args:
        instead: a shipped model that does serve it.

    Raises:
        UserError: nothing of that name; of a recipe whose weights are not shipped, how to get them.
    """
    from predella.apps.device import placed
    from predella.models.base import find_source, load
    from predella.train.checkpoint import unfinished

    check_shipped(source)
    folder = find_source(source)
    model = load(folder)
    model.check_verb(verb, source, instead)
    if note := unfinished(folder):
        say(note)
    return placed(model, cpu)


def say(note: str) -> None:
    """To the user, beside what is printed."""
    print(f"predella: {note}", file=sys.stderr)


def on_white(picture, file: Path):
    """(1, 3, H, W): the picture where that is all that is seen of the file; a user is told."""
    for note in picture.notes_on_white(str(file)):
        say(note)
    return picture.on_white()


def trace_notes(shapes, files: Sequence[Path], invert: bool) -> None:
    """Say of shapes that are bright nearly everywhere what would read them the other way round, of long pictures what is left out."""
    for shape, file in zip(shapes, files):
        width, height = shape.size
        if not shape.upward and width != height:
            say(f"{file} has {width:.0f}×{height:.0f} pixels; its central square is traced")
        ink = (shape.density / shape.density.amax()).mean().item()
        if not shape.upward and ink > INK:
            remedy = "leave out --invert" if invert else "--invert"
            say(f"{file} is ink in {ink:.0%} of it; {remedy}, if it is a drawing the other way round (a photo is no shape)")


def leave_out(options, words: str, what: str) -> None:
    """Refuse options that would change nothing.

    Args:
        words: the options, `--a --b`.
        what: that has no use for them.

    Raises:
        UserError: one of them was given.
    """
    from predella.errors import UserError

    if useless := [w for w in words.split() if w in options.given]:
        raise UserError(f"{', '.join(useless)}: of no use for {what}; leave {'it' if len(useless) == 1 else 'them'} out")


def whole_numbers(text: str, option: str, example: str, count: int | None = None) -> list[int]:
    """`3,5` → [3, 5].

    Raises:
        UserError: anything else than whole numbers below 2^31 with commas between, or another number of them than `count`.
    """
    from predella.errors import UserError

    parts = [p.strip() for p in text.split(",")]
    if not all(p.isdecimal() and int(p) < 2**31 for p in parts) or count not in (None, len(parts)):
        raise UserError(f"{option} must be {f'{count} ' * bool(count)}whole numbers with commas between, such as {example}; got '{text}'")
    return [int(p) for p in parts]


def parse_box(text: str | None):
    """`L,T,R,B` → (left, top, right, bottom), or None."""
    return None if text is None else tuple(whole_numbers(text, "--box (LEFT,TOP,RIGHT,BOTTOM)", "10,20,80,90", 4))


def cut(picture, box: tuple[int, int, int, int] | None, path: Path):
    """The picture of file `path`, cut to `box`.

    Raises:
        UserError: a box outside the picture; the line names the file.
    """
    from predella.errors import UserError

    try:
        return picture if box is None else picture.cut(box)
    except ValueError as error:
        raise UserError(f"{path}: {error}") from None


def check_seed(seed: int) -> None:
    """Raise UserError for a seed that the generator can't take."""
    from predella.errors import UserError

    if not 0 <= seed < 2**63:
        raise UserError(f"--seed must lie in 0…2^63 - 1, got {seed}")


def check_most(pixels: int) -> None:
    """Raise UserError for a --max-pixels that no picture has."""
    from predella.errors import UserError

    if pixels < 1:
        raise UserError(f"--max-pixels must be at least 1, got {pixels}")


def parse_size(text: str | None) -> tuple[int, int] | None:
    """`WxH` → (height, width)."""
    from predella.errors import UserError

    if text is None:
        return None
    found = re.fullmatch(r"(\d+)[xX×](\d+)", text.strip())
    if not found:
        raise UserError(f"--size must be WIDTHxHEIGHT in pixels, such as 1920x1080; got '{text}'")
    height, width = int(found[2]), int(found[1])
    if min(height, width) < 1:
        raise UserError(f"--size must be at least 1x1, got '{text}'")
    return height, width


def expand(given: list[Path]) -> tuple[list[Path], set[Path]]:
    """Folders become the image files in them; those may be left out when they can't be read."""
    from predella.errors import UserError
    from predella.image.files import LOOKED_FOR

    images: list[Path] = []
    lenient: set[Path] = set()
    for path in given:
        if not path.is_dir():
            images.append(path)
            continue
        found = sorted(f for f in path.iterdir() if f.suffix.lower() in LOOKED_FOR and not f.name.startswith("."))
        if not found:
            raise UserError(f"{path} holds no image file itself; endings looked for: {', '.join(LOOKED_FOR)}")
        images += found
        lenient |= set(found)
    return images, lenient


def usable(images: list[Path], lenient: set[Path], look: Callable[[Path], Any]) -> Iterator[tuple[Path, Any]]:
    """(image, what `look` makes of it), one after another; of `lenient` those that it refuses are left out with a line.

    Raises:
        UserError: one that was named by itself is refused, or all are.
    """
    from predella.errors import UserError

    found = left = 0
    for image in images:
        try:
            seen = look(image)
        except UserError as error:
            if image not in lenient:
                raise
            print(f"predella: left out: {error}", file=sys.stderr)
            left += 1
            continue
        found += 1
        yield image, seen
    if not found:
        raise UserError(f"none of {len(images)} images could be used; see the lines above")
    if left:
        say(f"{left} of {len(images)} left out")


def all_usable(images: list[Path], lenient: set[Path], look: Callable[[Path], Any],
               again: Callable[[Path], Any] | None = None) -> Iterator[tuple[Path, Any]]:  # fmt: skip
    """`usable`, but all are looked at before the first is given; of several each is looked at `again`, so that one at a time is in memory.

    Raises:
        UserError: see `usable`.
    """
    only = len(images) == 1
    found = [(image, seen if only else None) for image, seen in usable(images, lenient, look)]
    for image, seen in found:
        yield image, seen if only else (again or look)(image)


def is_file(out: Path) -> bool:
    """Whether --out names one image file (else it is a folder).

    Raises:
        UserError: an unknown ending.
    """
    from predella.errors import UserError
    from predella.image.files import FORMATS

    if out.is_dir() or not out.suffix:
        return False
    if out.suffix.lower() not in FORMATS:
        raise UserError(f"{out} ends in '{out.suffix}'; image files end in {', '.join(FORMATS)}; without an ending it is a folder")
    return True


def check_outputs(paths: list[Path], force: bool) -> None:
    """Refuse before the work what could not be written after it."""
    from predella.atomic import check_folder, check_name

    for path in paths:
        check_name(path, force)
    for folder in {p.parent for p in paths}:
        check_folder(folder)


def output_paths(images: list[Path], out: Path) -> list[Path]:
    """One file for one image, or files of the inputs' names in a folder."""
    from predella.atomic import check_folder
    from predella.errors import UserError
    from predella.image.files import FORMATS

    if len(images) == 1 and out.suffix.lower() in FORMATS and not out.is_dir():
        return [out]
    if out.suffix and len(images) == 1 and not out.is_dir():
        raise UserError(f"{out} ends in '{out.suffix}'; image files end in {', '.join(FORMATS)}; without an ending it is a folder")
    if len(images) > 1 and out.suffix.lower() in FORMATS and not out.is_dir():
        raise UserError(f"{out} is a file name, but {len(images)} images need a folder; write --out {out.with_suffix('')}")
    check_folder(out)
    names = [i.name if i.suffix.lower() in FORMATS else f"{i.stem}.png" for i in images]
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        raise UserError(f"two inputs are called {twice[0]}; write them into different folders")
    return [out / n for n in names]


def several_each(given: list[Path], count: int, out: Path, force: bool):
    """Images, those that may be left out, and for each NAME-1.png … NAME-count.png and NAME-sheet.png in the folder `out`.

    Raises:
        UserError: `out` is no folder, two images of one name, or what could not be written.
    """
    from predella.atomic import check_folder
    from predella.errors import UserError

    if is_file(out):
        raise UserError(f"--out must name a folder (each image gets several files), got {out}")
    check_folder(out)
    if any(g.is_dir() and out.is_dir() and g.samefile(out) for g in given):
        raise UserError(f"--out is {out}, where the images are; answers would be taken for images the next time: name another folder")
    images, lenient = expand(given)
    stems, names = [i.stem for i in images], dict[str, Path]()
    for image in images:
        name = image.stem if stems.count(image.stem) == 1 else image.name  # twins of a camera: a.jpg, a.png
        if name in names:
            if names[name] == image:
                raise UserError(f"{image} is given twice; name it once")
            both = f"{names[name]} and {image} would both be written as {name}-1.png"
            raise UserError(f"{both}; rename one, or write each to an --out of its own")
        names[name] = image
    paths = {i: [out / f"{n}-{what}.png" for what in (*range(1, count + 1), "sheet")] for n, i in names.items()}
    every = [p for row in paths.values() for p in row]
    if lost := {i.resolve() for i in images} & {p.resolve() for p in every}:
        raise UserError(f"{min(lost)} is one of the images and would be overwritten by an answer to another; name another --out")
    check_outputs(every, force)
    for name in names:
        older = [f.name for f in out.glob("*.png") if re.fullmatch(re.escape(name) + r"-\d+\.png", f.name) and f not in paths[names[name]]]
        if older:
            print(f"predella: {', '.join(sorted(older)[:3])} in {out}: not of this run, left as found", file=sys.stderr)
    return images, lenient, paths


def add_zoom(parser) -> None:
    """The option of the verbs that write sheets."""
    parser.add_argument(
        "--zoom", type=int, default=1, help="enlarge each pixel of what is there to look at, such as sheets, so many times (default: 1)"
    )


def check_zoom(zoom: int) -> None:
    """Raise UserError for a zoom that no sheet needs."""
    from predella.errors import UserError

    if not 1 <= zoom <= 16:
        raise UserError(f"--zoom must lie in 1…16, got {zoom}")


def write_pictures(rows, paths: list[Path], out: Path, force: bool, zoom: int = 1) -> None:
    """One sheet into the file `out`, or each picture of (N, C, H, W) rows into its path."""
    from predella.apps.sheet import sheet
    from predella.image.files import Picture, write

    if is_file(out):
        write(Picture(sheet(rows, zoom=zoom)), out, force)
        return
    pictures = [p for row in rows for p in row]
    for picture, path in zip(pictures, paths, strict=True):
        write(Picture(sheet([picture[None]], zoom=zoom)), path, force)
