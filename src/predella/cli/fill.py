"""Fill holes of a photo: scratches, captions, things that should not be there.

predella fill IMAGE --mask MASK --out FILE

MASK is an image of the same size: white is filled, black is kept exactly. What is thin vanishes; a hole of some forty pixels each way
becomes a smooth patch. What is filled is opaque.
"""

import json
import time
from pathlib import Path

from predella.cli.shared import LOSSY, add_common, check_most, open_model, say


def add_arguments(parser) -> None:
    parser.add_argument("image", type=Path)
    parser.add_argument("--mask", type=Path, required=True, help="white where the image is to be filled")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", default="functional_fill", help="a shipped name or a run folder (default: functional_fill)")
    parser.add_argument("--max-pixels", type=int, default=200_000_000, help="largest input that is opened (default: 200 million)")
    add_common(parser, "an existing file")


def run(options, rest) -> int:
    from predella.apps.fill import fill, read_mask
    from predella.image.files import check_output, read, write

    check_most(options.max_pixels)
    picture = read(options.image, options.max_pixels)
    known = read_mask(read(options.mask, options.max_pixels), picture.size)
    check_output(options.out, picture, options.force)
    if picture.alpha is not None and bool((picture.alpha[known < 1] < 1).any()):
        say(f"{options.image} is transparent in places of the mask; what is filled there is opaque")
    if options.out.suffix.lower() in LOSSY:
        say(f"{options.out} is stored with losses, so known pixels change a little, too; .png keeps them exactly")
    model = open_model(options.model, "fill", options.cpu, "functional_fill")
    start = time.monotonic()
    write(fill(picture, known, model), options.out, options.force)
    seconds = time.monotonic() - start
    filled = 1 - known.mean().item()
    if options.json:
        print(json.dumps({"model": options.model, "output": str(options.out), "filled": round(filled, 4), "seconds": round(seconds, 2)}))
    else:
        print(f"{options.out}  {filled:.1%} filled  {seconds:.1f} s")
    return 0
