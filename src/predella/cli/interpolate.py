"""Pictures between two pictures.

predella interpolate MODEL A B --steps N --out PATH [--space restricted|full|pixels]

PATH is a file for one row of pictures, or a folder for one file each.
"""

import json
from pathlib import Path

from predella.cli.latents import add_zoom


def add_arguments(parser) -> None:
    parser.add_argument("model", help="a shipped name or a run folder")
    parser.add_argument("a", type=Path)
    parser.add_argument("b", type=Path)
    parser.add_argument("--steps", type=int, default=9, help="pictures, both ends included (default: 9)")
    parser.add_argument("--out", type=Path, required=True, help="a file for one row, or a folder")
    parser.add_argument("--space", help="restricted (default; with classes: full): the prior's dimensions; full; pixels")
    parser.add_argument("--box", action="append", help="LEFT,TOP,RIGHT,BOTTOM to cut from both first; given twice: one for each")
    add_zoom(parser)
    parser.add_argument("--cpu", action="store_true", help="do not use an accelerator")
    parser.add_argument("--force", action="store_true", help="overwrite existing files")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(options, rest) -> int:
    import torch

    from predella.apps.latents import prepared
    from predella.cli.latents import check_outputs, check_zoom, is_file, open_model, parse_box, write_pictures
    from predella.errors import UserError, did_you_mean
    from predella.image.files import read
    from predella.models.reversible import SPACES

    if not 2 <= options.steps <= 10_000:
        raise UserError(f"--steps must lie in 2…10000, got {options.steps}")
    if options.space not in (None, *SPACES):
        raise UserError(f"--space can't be '{options.space}'{did_you_mean(options.space, SPACES)}")
    boxes = [parse_box(b) for b in options.box or [None]]
    if len(boxes) > 2:
        raise UserError(f"--box can be given once or twice, got {len(boxes)}")
    check_zoom(options.zoom)
    paths = [options.out] if is_file(options.out) else [options.out / f"{i:04}.png" for i in range(options.steps)]
    check_outputs(paths, options.force)
    model = open_model(options.model, "interpolate", options.cpu)
    space = options.space or ("full" if hasattr(model.config.prior, "classes") else "restricted")
    pairs = zip((options.a, options.b), (boxes[0], boxes[-1]))
    a, b = (prepared(read(f), str(f), model, True, box) for f, box in pairs)
    with torch.no_grad():
        pictures = model.interpolate(a, b, options.steps, space).cpu()
    write_pictures([pictures], paths, options.out, options.force, options.zoom)
    if options.json:
        print(json.dumps({"model": options.model, "steps": options.steps, "space": space, "output": str(options.out)}))
    else:
        print(f"{options.out}  {options.steps} pictures")
    return 0
