"""Shared by the verbs that work on a model's latents: opening the model, and where pictures go."""

from pathlib import Path


def open_model(source: str, verb: str, cpu: bool):
    """The model, on its device, if it serves `verb`."""
    from predella.apps.device import placed
    from predella.models.base import load

    model = load(source)
    model.check_verb(verb)
    return placed(model, cpu)


def whole_numbers(text: str, option: str, example: str, count: int | None = None) -> list[int]:
    """`3,5` → [3, 5].

    Raises:
        UserError: anything else than whole numbers below 2^31 with commas between, or another number of them than `count`.
    """
    from predella.errors import UserError

    parts = [p.strip() for p in text.split(",")]
    if not all(p.isdecimal() and int(p) < 2**31 for p in parts) or count not in (None, len(parts)):
        raise UserError(f"{option} must be {count or ''} whole numbers with commas between, such as {example}; got '{text}'")
    return [int(p) for p in parts]


def parse_box(text: str | None):
    """`L,T,R,B` → (left, top, right, bottom), or None."""
    return None if text is None else tuple(whole_numbers(text, "--box (LEFT,TOP,RIGHT,BOTTOM)", "10,20,80,90", 4))


def check_seed(seed: int) -> None:
    """Raise UserError for a seed that the generator can't take."""
    from predella.errors import UserError

    if not 0 <= seed < 2**63:
        raise UserError(f"--seed must lie in 0…2^63 - 1, got {seed}")


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
    from predella.atomic import check_free

    for path in paths:
        check_free(path, force)


def several_each(given: list[Path], count: int, out: Path, force: bool):
    """Images, those that may be left out, and for each NAME-1.png … NAME-count.png and NAME-sheet.png in the folder `out`.

    Raises:
        UserError: `out` is no folder, two images of one name, or what could not be written.
    """
    from predella.atomic import check_folder
    from predella.cli.upscale import expand
    from predella.errors import UserError

    if is_file(out):
        raise UserError(f"--out must name a folder (each image gets several files), got {out}")
    check_folder(out)
    images, lenient = expand(given)
    names: dict[str, Path] = {}
    for image in images:
        if image.stem in names:
            both = f"{names[image.stem]} and {image} would both be written as {image.stem}-1.png"
            raise UserError(f"{both}; rename one, or write each to an --out of its own")
        names[image.stem] = image
    paths = {i: [out / f"{i.stem}-{what}.png" for what in (*range(1, count + 1), "sheet")] for i in images}
    check_outputs([p for row in paths.values() for p in row], force)
    return images, lenient, paths


def add_zoom(parser) -> None:
    """The option of the verbs that write sheets."""
    parser.add_argument("--zoom", type=int, default=1, help="enlarge each pixel this many times, to look at (default: 1)")


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
