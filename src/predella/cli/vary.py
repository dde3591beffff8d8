"""Variations of a picture, as the model can make them.

predella vary IMAGE … --count N [--size WxH] [--model M] [--tune STEPS] [--from-scale M] --out DIR
predella vary IMAGE … --method patch --count N --out DIR
predella vary [IMAGE …] --model reversible_faces --dims 0,1,2 [--steps N] --out PATH

New pictures of an image's own patches, of any size: DIR gets NAME-1.png … NAME-N.png and NAME-sheet.png. A model of many pictures
(meta_internal) makes them at once, also of an image it has never seen; without --model one is trained on each image first, which takes
minutes (--keep RUN keeps it); --method patch needs no network. --tune trains the image's own weights on for a few steps;
--from-scale keeps the image's layout, the more the larger.

A reversible network walks along single latent dimensions instead, from -3 to +3 deviations: one row a dimension, on one sheet an
image. Without an image it walks around the prior's mean. Of a model with classes it walks around one class: --label, or the image's
likeliest.
"""

import json
from pathlib import Path

from predella.cli.shared import add_common, add_training, add_tuning, add_zoom


def add_arguments(parser) -> None:
    parser.add_argument("images", nargs="*", type=Path, metavar="IMAGE")
    parser.add_argument("--model", help="a shipped name or a run folder (default: one trained on the image; with --dims: reversible_faces)")
    parser.add_argument("--out", type=Path, required=True, help="a folder; for --dims also a file")
    parser.add_argument("--count", type=int, default=4, help="variations of an image (default: 4)")
    parser.add_argument("--size", help="WxH in pixels (default: the image's aspect at the model's own size)")
    parser.add_argument(
        "--from-scale", type=int, default=0, metavar="M", help="begin with the image at this scale (default: 0 = with noise)"
    )
    add_tuning(parser)
    parser.add_argument("--method", choices=("model", "patch"), default="model", help="patch = nearest patches, no network")
    parser.add_argument("--seed", type=int, default=0, help="the same seed gives the same variations (default: 0)")
    add_training(parser)
    parser.add_argument("--dims", help="latent dimensions, with classes by falling deviation (default: 0,1,2,3,4)")
    parser.add_argument("--steps", type=int, default=7, help="pictures a row (default: 7)")
    parser.add_argument("--reach", type=float, default=3.0, help="deviations to either side (default: 3)")
    parser.add_argument("--box", help="LEFT,TOP,RIGHT,BOTTOM to cut first")
    parser.add_argument("--label", type=int, help="the class, for models with classes")
    add_zoom(parser)
    add_common(parser)


def run(options, rest) -> int:
    from predella.cli import internal
    from predella.cli.shared import open_model
    from predella.errors import UserError
    from predella.models.reversible import Reversible

    asked = options.dims is not None or options.label is not None
    if not options.images and not asked and options.model is None:
        raise UserError("give an image to vary, or --dims (0,1,2) to walk along a reversible network's latent dimensions")
    latent = asked or not options.images
    if options.method == "patch" and (options.model or latent):
        raise UserError("--method patch varies images and needs no model; leave out --model, --dims and --label, and give an image")
    if options.model is None and not latent:
        return internal.vary(options, None)
    model = open_model(options.model or "reversible_faces", "vary", options.cpu)
    if not isinstance(model, Reversible):
        if asked:
            raise UserError("--dims and --label are for reversible networks; this model varies images, leave them out")
        if not options.images:
            raise UserError(f"{options.model} varies images; give one")
        return internal.vary(options, model)
    return _walk(options, model)


def _walk(options, model) -> int:
    """Along latent dimensions."""
    import torch

    from predella.apps.latents import prepared
    from predella.apps.sheet import sheet
    from predella.cli.shared import check_outputs, check_zoom, expand, leave_out, output_paths, parse_box, say, usable, whole_numbers
    from predella.errors import UserError
    from predella.image.files import Picture, read, write

    leave_out(options, "--count --size --from-scale --tune --train-steps --keep --seed", "a walk along latent dimensions")
    dims, box = whole_numbers(options.dims or "0,1,2,3,4", "--dims", "0,1,2"), parse_box(options.box)
    if not 2 <= options.steps <= 100:
        raise UserError(f"--steps must lie in 2…100, got {options.steps}")
    if not 0 < options.reach <= 100:
        raise UserError(f"--reach must be positive and at most 100, got {options.reach}")
    check_zoom(options.zoom)
    images, lenient = expand(options.images) if options.images else ([Path("mean.png")], set())
    paths = output_paths([i.with_suffix(".png") for i in images], options.out)
    check_outputs(paths, options.force)
    written = []
    notes: list[str] = []
    ready = usable(
        images, lenient, lambda file: prepared(read(file), str(file), model, True, box, notes.append) if options.images else None
    )
    for path, x in [(paths[images.index(file)], x) for file, x in ready]:  # all are looked at before anything is written
        try:
            with torch.no_grad():
                rows = model.traverse(x, dims, options.steps, options.reach, options.label).cpu()
        except ValueError as error:
            raise UserError(str(error).replace("dims must", "--dims must")) from None
        while notes:
            say(notes.pop(0))
        write(Picture(sheet(rows, zoom=options.zoom)), path, options.force)
        written.append(str(path))
        if not options.json:
            print(f"{path}  {len(dims)} dimensions × {options.steps}")
    if options.json:
        print(json.dumps({"model": options.model or "reversible_faces", "dims": dims, "files": written}))
    return 0
