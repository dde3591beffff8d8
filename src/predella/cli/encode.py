"""Encode images: the full latent of each, or the dimensions the prior describes.

predella encode MODEL IMAGE … --out FILE.safetensors [--restricted]

A reversible network's full latents take images of any size; decoding gives them back to rounding. With --restricted the central
square (or --box) is resampled to the model's size first. A density's latent is the middle of its posterior, a few numbers: decoding
gives a picture of the model's size that resembles the image as far as those numbers go.
"""

import json
from pathlib import Path

from predella.cli.shared import add_common


def add_arguments(parser) -> None:
    parser.add_argument("model", help="a shipped name or a run folder")
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE", help="files, or folders of images")
    parser.add_argument("--out", type=Path, required=True, help="a .safetensors file")
    parser.add_argument("--restricted", action="store_true", help="keep the prior's dimensions only")
    parser.add_argument("--box", help="LEFT,TOP,RIGHT,BOTTOM to cut first; of a reversible network with --restricted")
    add_common(parser, "an existing file")


def run(options, rest) -> int:
    from predella.apps.latents import encode, write_latents
    from predella.atomic import check_free
    from predella.cli.progress import progress
    from predella.cli.shared import expand, open_model, parse_box, say, usable
    from predella.errors import UserError
    from predella.image.files import read
    from predella.models.reversible import Reversible

    if options.out.suffix != ".safetensors":
        raise UserError(f"--out must name a .safetensors file, got {options.out}")
    box = parse_box(options.box)
    check_free(options.out, options.force)
    model = open_model(options.model, "encode", options.cpu)
    if box and not options.restricted and isinstance(model, Reversible):
        raise UserError("--box goes with --restricted; full latents keep the whole image")
    if options.restricted and not isinstance(model, Reversible):
        raise UserError("--restricted is for reversible networks; this model's latents are small as they are, leave it out")
    images, lenient = expand(options.images)
    latents = []
    with progress(f"encoding {len(images)} image{'s' * (len(images) != 1)}") as tell:
        for file, latent in usable(images, lenient, lambda file: encode(model, read(file), str(file), options.restricted, box, say)):
            latents.append(latent)
            tell((images.index(file) + 1) / len(images))
    write_latents(latents, model, options.out, options.force)
    numbers = sum(k.values.numel() for k in latents)
    if options.json:
        files = [{"name": k.name, "width": k.size[1], "height": k.size[0], "numbers": k.values.numel()} for k in latents]
        print(json.dumps({"model": options.model, "output": str(options.out), "images": files}))
    else:
        print(f"{options.out}  {len(latents)} image{'s' * (len(latents) != 1)}, {numbers:,} numbers")
    return 0
