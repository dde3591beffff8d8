"""Several plausible answers to one picture.

predella restore TASK IMAGE … --answers K --out DIR [--exact] [--invert] [--shrink [--box L,T,R,B]] [--from-level N] [--between]
                [--model M] [--seed N]

TASK is colorization (a grey photo, or the lightness of a colour one), decompression (a JPEG that was compressed too far),
super_resolution (16 times as large, from few pixels), pca (a digit from its first ten principal components) or layout (a photo of
a label map, a quarter of its size; the colours of its classes stand in docs/tower.md). For each image, DIR gets NAME-1.png …
NAME-K.png and NAME-sheet.png: the input, the answers, and where they differ. --exact moves each answer until it has the input's
own data: its lightness, its pixels once made small again, its components, or the quantised coefficients of the JPEG file. --invert
reads a digit that is dark on bright. --shrink makes a larger face (--box: where it is) as small as super_resolution knows them
first, and shows it at the end of the sheet. --from-level N keeps what the levels below N decide, so answers differ in finer
things; with --between the answers are the way from one to another.
"""

import json
import time
from argparse import ArgumentTypeError
from pathlib import Path

from predella.cli.shared import add_common, add_zoom

ROUNDING = 0.3  # of 255: an answer that has the input's own data may be as far from them in 8 bits


def add_arguments(parser) -> None:
    parser.add_argument("task", type=_task, help="colorization, decompression, super_resolution, pca, layout, or that of --model")
    parser.add_argument(
        "images", nargs="+", type=Path, metavar="IMAGE", help="files, or folders of images (theirs alone, not those of folders in them)"
    )
    parser.add_argument("--answers", type=int, default=8, help="how many (default: 8)")
    parser.add_argument("--out", type=Path, required=True, help="a folder")
    parser.add_argument("--exact", action="store_true", help="keep the input's own data exactly, up to rounding to 8 bits")
    parser.add_argument("--invert", action="store_true", help="read a digit that is dark on bright")
    parser.add_argument("--shrink", action="store_true", help="make a face as small as super_resolution knows them first")
    parser.add_argument("--box", help="LEFT,TOP,RIGHT,BOTTOM to cut before --shrink: the face, framed as those of the training")
    parser.add_argument("--from-level", type=int, default=0, help="answers differ from this level on, 0 = the coarsest (default: 0)")
    parser.add_argument("--between", action="store_true", help="the answers lead from one to another, by codes on an arc between theirs")
    parser.add_argument("--model", help="a run folder or a shipped name (default: the shipped one of the task)")
    parser.add_argument("--seed", type=int, default=0, help="the same seed gives a picture the same answers (default: 0)")
    add_zoom(parser)
    add_common(parser)


def _task(word: str) -> str:
    """What stands first, unless it is one of the pictures."""
    path = Path(word)
    if path.is_file() or path.suffix or path.name != word:
        raise ArgumentTypeError(f"{word} is a path, but the task comes first: predella restore TASK {word} …; see --help")
    return word


def run(options, rest) -> int:
    from predella.cli.shared import check_seed, check_zoom, open_model, parse_box, say, several_each, usable
    from predella.errors import UserError

    if not 1 <= options.answers <= 1000:
        raise UserError(f"--answers must lie in 1…1000, got {options.answers}")
    if options.between and options.answers < 2:
        raise UserError("--between leads from one answer to another; ask for two or more --answers")
    check_seed(options.seed)
    check_zoom(options.zoom)
    box = parse_box(options.box)
    if box and not options.shrink:
        raise UserError("--box goes with --shrink (super_resolution); leave it out, or cut the picture first")
    from predella.apps import restore
    from predella.cli.progress import progress
    from predella.image.files import Picture, write
    from predella.image.jpeg import check_jpeglib
    from predella.recipe import task_of
    from predella.tasks.super_resolution import SuperResolution

    if options.task not in restore.MODELS and not options.model:
        raise UserError(f"no restoration is called '{options.task}' (a task of your own needs --model RUN){_meant(options.task)}")
    images, lenient, paths = several_each(options.images, options.answers, options.out, options.force)
    if options.exact and options.task == "decompression":
        check_jpeglib()
    source = options.model or restore.MODELS[options.task]
    model = open_model(source, "restore", options.cpu)
    task = _checked(task_of(source), source, options.task)
    if options.invert and task.kind != "pca":
        raise UserError(f"--invert is for digits that are dark on bright (pca); {options.task} takes pictures as they are, leave it out")
    if not 0 <= options.from_level < len(model.levels):
        raise UserError(
            f"--from-level must lie in 0…{len(model.levels) - 1}, for {source} has {len(model.levels)} levels; got {options.from_level}"
        )
    if options.shrink and not isinstance(task, SuperResolution):
        raise UserError(f"--shrink is for super_resolution; {options.task} takes pictures at their size, leave it out")
    told: set[str] = set()
    done, many = [], f"{options.answers} answer" + "s" * (options.answers > 1)

    def look(file: Path):
        made = _prepare(task, model, file, options, box, say)
        return made if len(images) == 1 else None  # of several it is made again, so that one at a time is in memory

    looked = []
    with progress(f"looking at {len(images)} images") as tell:
        for each in usable(images, lenient, look):  # all of them before anything is written
            looked.append(each)
            tell(len(looked) / len(images))
    for file, made in looked:
        row = paths[file]
        picture, condition, own, truth = made or _prepare(task, model, file, options, box)
        for note in restore.notes(task, picture, file, model, options.invert):
            if note not in told:  # of no picture alone
                say(note)
            told.add(note)
        start, off, overview = time.monotonic(), [], restore.Overview(task, picture, condition, truth)
        generator, size = restore.draws(picture, options.seed), restore.size_of(task, picture, model)
        with progress(f"{file.name}: {many}") as tell:
            drawn = restore.answers(task, model, condition, size, options.answers, generator, options.from_level, options.between)
            for path, answer in zip(row, drawn):
                if own and options.exact:
                    answer = own.keep(answer)
                off.append(own.departure(answer).item() if own else None)
                overview.add(answer)
                write(restore.as_file(task, picture, answer), path, options.force)
                tell(len(off) / options.answers)
        write(Picture(overview.picture(options.zoom)), row[-1], options.force)
        done.append({"input": str(file), "answers": [str(p) for p in row[:-1]], "sheet": str(row[-1]), "departure": off})
        if not options.json:
            nearer = "; --exact moves answers there" if own and not options.exact and max(off) > ROUNDING else ""
            away = f"  off the input's data by {max(off):.2f} of 255 (RMS; up to {ROUNDING} is rounding{nearer})" if own else ""
            apart = f"  standard deviation up to {overview.deviation().max() * 127.5:.1f} of 255" if options.answers > 1 else ""
            print(f"{row[-1]}  {many}  {time.monotonic() - start:.1f} s{away}{apart}")
    if options.json:
        print(json.dumps({"task": options.task, "model": source, "exact": options.exact, "files": done}))
    return 0


def _prepare(task, model, file: Path, options, box, say=lambda note: None):
    """The picture, its condition, its own data (None where it has none, which --exact refuses), and the truth if it was --shrink'ed;
    what of the picture --shrink leaves out is said."""
    from predella.apps import restore
    from predella.cli.shared import cut
    from predella.errors import UserError
    from predella.image.files import read

    picture = read(file)
    picture = picture.with_pixels(-picture.on_white()) if options.invert else picture
    truth = None
    if options.shrink:
        part = cut(picture, box, file)
        for note in part.notes_on_white(str(file)):
            say(note)
        height, width = part.size
        if max(part.size) <= task.patch:
            say(f"{file} is as small as the model knows pictures; --shrink changes nothing")
            picture = part
        else:
            picture, truth = restore.shrunk(task, part, model, str(file))
            if height != width:
                what = "the box of " if box else ""
                say(f"{what}{file} has {width}×{height} pixels; its central square is taken")
    condition = restore.condition_of(task, picture, model, str(file))
    try:
        return picture, condition, restore.own_data(task, condition, file), truth
    except UserError:
        if options.exact:
            raise
        return picture, condition, None, truth


def _checked(task, source: str, kind: str):
    """The task of a model, if it is `kind`.

    Raises:
        UserError: it is another.
    """
    from predella.apps.restore import MODELS
    from predella.errors import UserError
    from predella.models.base import list_pretrained

    if task.kind != kind:
        own = MODELS.get(kind)
        shipped = f", or leave it out for {own}" if own in list_pretrained() else f" of the recipe {own}" if own else _meant(kind)
        raise UserError(f"{source} was not trained for {kind} but for {task.kind}; name another run with --model{shipped}")
    return task


def _meant(word: str) -> str:
    """The tasks, and the one that a recipe's or a common name means."""
    from predella.apps.restore import MODELS
    from predella.errors import did_you_mean

    others = {"jpeg": "decompression", "colour": "colorization", "color": "colorization", "sr16": "super_resolution", "digit": "pca"}
    for kind, recipe in MODELS.items():
        others[recipe] = kind
    likely = next((kind for name, kind in sorted(others.items(), key=lambda x: -len(x[0])) if name in word.lower()), word)
    return did_you_mean(likely, MODELS)
