"""Variations of a picture, as the model can make them.

predella vary [IMAGE …] --model M --dims 0,1,2 --out PATH [--steps N]

A reversible network walks along single latent dimensions, from -3 to +3 deviations: one row a dimension, on one sheet an image.
Without an image it walks around the prior's mean.
"""

import json
from pathlib import Path


def add_arguments(parser) -> None:
    parser.add_argument("images", nargs="*", type=Path, metavar="IMAGE")
    parser.add_argument("--model", default="reversible_faces", help="a shipped name or a run folder (default: reversible_faces)")
    parser.add_argument("--dims", default="0,1,2,3,4", help="which latent dimensions (default: 0,1,2,3,4)")
    parser.add_argument("--steps", type=int, default=7, help="pictures a row (default: 7)")
    parser.add_argument("--reach", type=float, default=3.0, help="deviations to either side (default: 3)")
    parser.add_argument("--box", help="LEFT,TOP,RIGHT,BOTTOM to cut first")
    parser.add_argument("--out", type=Path, required=True, help="a file, or a folder (needed for several images)")
    parser.add_argument("--cpu", action="store_true", help="do not use an accelerator")
    parser.add_argument("--force", action="store_true", help="overwrite existing files")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(options, rest) -> int:
    import torch

    from predella.apps.latents import prepared
    from predella.apps.sheet import sheet
    from predella.cli.latents import check_outputs, open_model, parse_box
    from predella.cli.upscale import expand, output_paths
    from predella.errors import UserError
    from predella.image.files import Picture, read, write

    if not all(p.strip().isdigit() for p in options.dims.split(",")):
        raise UserError(f"--dims must be whole numbers with commas between, such as 0,1,2; got '{options.dims}'")
    if not 2 <= options.steps <= 100:
        raise UserError(f"--steps must lie in 2…100, got {options.steps}")
    if not 0 < options.reach <= 100:
        raise UserError(f"--reach must be positive and at most 100, got {options.reach}")
    dims, box = [int(p) for p in options.dims.split(",")], parse_box(options.box)
    images = expand(options.images)[0] if options.images else [Path("mean.png")]
    paths = output_paths(images, options.out)
    check_outputs(paths, options.force)
    model = open_model(options.model, "vary", options.cpu)
    for file, path in zip(images, paths):
        x = prepared(read(file), str(file), model, True, box) if options.images else None
        try:
            with torch.no_grad():
                rows = model.traverse(x, dims, options.steps, options.reach).cpu()
        except ValueError as error:
            raise UserError(str(error)) from None
        write(Picture(sheet(rows)), path, options.force)
        if not options.json:
            print(f"{path}  {len(dims)} dimensions × {options.steps}")
    if options.json:
        print(json.dumps({"model": options.model, "dims": dims, "files": [str(p) for p in paths]}))
    return 0
