"""Draw a shape as one closed line.

predella trace IMAGE|POINTS --out FILE … [--points N] [--model M] [--invert]

IMAGE is read as a distribution: bright is probable (--invert: dark). POINTS is a .npy or .csv of N rows x, y. A FILE that ends in .npy or
.csv gets N points of the curve, in order, as x, y in the input's own units; .svg the line through them, for a plotter; .png a picture
of it. N is free: the curve is a function of the circle.
"""

import json
import time
from pathlib import Path

from predella.cli.shared import add_common


def add_arguments(parser) -> None:
    parser.add_argument("shape", type=Path, metavar="IMAGE|POINTS")
    parser.add_argument("--out", type=Path, nargs="+", required=True, metavar="FILE", help=".npy, .csv, .svg or .png; several at once")
    parser.add_argument("--points", type=int, default=2000, metavar="N", help="of the curve (default: 2000)")
    parser.add_argument("--model", default="functional_digits", help="a shipped name or a run folder (default: functional_digits)")
    parser.add_argument("--invert", action="store_true", help="dark is probable: for ink on paper")
    parser.add_argument("--edge", type=int, default=512, help="pixels of a .png's longer edge (default: 512)")
    add_common(parser)


def run(options, rest) -> int:
    from predella.apps import trace
    from predella.atomic import atomic_write, check_free
    from predella.cli.shared import leave_out, open_model, trace_notes
    from predella.errors import UserError, did_you_mean
    from predella.image.files import Picture, write

    if not 3 <= options.points <= 10_000_000:
        raise UserError(f"--points must lie in 3…10000000, got {options.points}")
    if not 16 <= options.edge <= 8192:
        raise UserError(f"--edge must lie in 16…8192 pixels, got {options.edge}")
    for out in options.out:
        if out.suffix.lower() not in trace.ENDINGS:
            raise UserError(f"{out} ends in '{out.suffix}', which no trace is written as{did_you_mean(out.suffix, trace.ENDINGS)}")
        check_free(out, options.force)
    if len({out.resolve() for out in options.out}) < len(options.out):
        raise UserError(f"--out names one file twice: {', '.join(map(str, options.out))}")
    if options.shape.suffix.lower() in trace.POINT_FILES:
        leave_out(options, "--invert", "a file of points")
    if not any(out.suffix.lower() == ".png" for out in options.out):
        leave_out(options, "--edge", "files other than .png")
    model = open_model(options.model, "trace", options.cpu)
    shape, start = trace.shape_of(options.shape, model, options.invert), time.monotonic()
    trace_notes([shape], [options.shape], options.invert)
    places = shape.places(trace.curve(model, trace.weights_of(model, shape), options.points))
    seconds = time.monotonic() - start
    for out in options.out:
        made = trace.encoded(shape, places, out.suffix.lower(), options.edge)
        if isinstance(made, Picture):
            write(made, out, options.force)
            continue
        with atomic_write(out, options.force) as stream:
            stream.write(made)
    if options.json:
        about = {"model": options.model, "points": options.points, "seconds": round(seconds, 4)}
        print(json.dumps({**about, "outputs": [str(out) for out in options.out]}))
    else:
        print(f"{', '.join(map(str, options.out))}  {options.points} points  {seconds:.2f} s")
    return 0
