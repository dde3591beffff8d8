"""Several plausible answers to one picture.

predella restore TASK IMAGE … --answers K --out DIR [--model M] [--seed N]

TASK is colorization (a grey photo, or the lightness of a colour one), decompression (a JPEG that was compressed too far) or
super_resolution (16 times as large, from few pixels). For each image, DIR gets NAME-1.png … NAME-K.png and NAME-sheet.png: the
input, the answers, and where they differ.
"""

import json
import sys
import time
from pathlib import Path

MODELS = {"colorization": "tower_color", "decompression": "tower_jpeg", "super_resolution": "tower_sr16"}


def add_arguments(parser) -> None:
    parser.add_argument("task", help="colorization, decompression or super_resolution")
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE", help="files, or folders of images")
    parser.add_argument("--answers", type=int, default=8, help="how many (default: 8)")
    parser.add_argument("--out", type=Path, required=True, help="a folder")
    parser.add_argument("--model", help="a run folder or a shipped name (default: tower_color, tower_jpeg or tower_sr16)")
    parser.add_argument("--seed", type=int, default=0, help="the same seed gives the same answers (default: 0)")
    parser.add_argument("--cpu", action="store_true", help="do not use an accelerator")
    parser.add_argument("--force", action="store_true", help="overwrite existing files")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(options, rest) -> int:
    import torch

    from predella.apps.restore import RESTORATIONS, answers, condition_of, overview, times_of
    from predella.atomic import check_folder
    from predella.cli.latents import check_outputs, check_seed, is_file, open_model
    from predella.cli.progress import progress
    from predella.cli.upscale import expand
    from predella.errors import UserError, did_you_mean
    from predella.image.files import Picture, read, write

    if options.task not in RESTORATIONS:
        raise UserError(f"no restoration is called '{options.task}'{did_you_mean(options.task, RESTORATIONS)}")
    if not 1 <= options.answers <= 1000:
        raise UserError(f"--answers must lie in 1…1000, got {options.answers}")
    check_seed(options.seed)
    if is_file(options.out):
        raise UserError(f"--out must name a folder (each image gets several files), got {options.out}")
    check_folder(options.out)
    images, lenient = expand(options.images)
    paths = [[options.out / f"{i.stem}-{what}.png" for what in (*range(1, options.answers + 1), "sheet")] for i in images]
    twice = sorted({i.stem for i in images if [k.stem for k in images].count(i.stem) > 1})
    if twice:
        raise UserError(f"two inputs are called {twice[0]}; restore them into different folders")
    check_outputs([p for row in paths for p in row], options.force)
    model = open_model(options.model or MODELS[options.task], "restore", options.cpu)
    ready = []
    for file, row in zip(images, paths):  # all are looked at before anything is written
        try:
            picture = read(file)
            ready.append((file, row, picture, condition_of(options.task, picture, model, str(file))))
        except UserError as error:
            if file not in lenient:
                raise
            print(f"predella: left out: {error}", file=sys.stderr)
    if not ready:
        raise UserError(f"none of {len(images)} images could be used; see the lines above")
    done = []
    for file, row, picture, condition in ready:
        if options.task == "colorization" and picture.pixels.shape[1] == 3:
            print(f"predella: {file} is in colour; only its lightness is used", file=sys.stderr)
        start, found = time.monotonic(), []
        generator = torch.Generator().manual_seed(options.seed)
        with progress(f"{file.name}: {options.answers} answers") as tell:
            for answer in answers(model, condition, options.answers, generator, times_of(options.task, model)):
                found.append(answer)
                tell(len(found) / options.answers)
        for answer, path in zip(found, row):
            write(Picture(answer), path, options.force)
        write(Picture(overview(condition, torch.cat(found))), row[-1], options.force)
        done.append({"input": str(file), "answers": [str(p) for p in row[:-1]], "sheet": str(row[-1])})
        if not options.json:
            print(f"{row[-1]}  {options.answers} answers  {time.monotonic() - start:.1f} s")
    if options.json:
        print(json.dumps({"task": options.task, "model": options.model or MODELS[options.task], "files": done}))
    return 0
