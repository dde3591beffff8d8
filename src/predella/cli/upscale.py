"""Enlarge photos to any size.

predella upscale IMAGE … (--scale S | --scale SX,SY | --size WxH) --out PATH [--box L,T,R,B] [--model M]

PATH is a file for one image, or a folder. With --box a part of each image is enlarged alone. A model with one network an image
(functional_faces_places) makes any size, smaller ones, too, and anew also the image's own. Transparency, colour profile, EXIF and bit depth
are kept.
"""

import json
import sys
import time
from pathlib import Path

from predella.cli.shared import LOSSY, add_common, check_most, open_model, parse_box, parse_size


def add_arguments(parser) -> None:
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE", help="files, or folders of images")
    parser.add_argument("--scale", help="S, or SX,SY for width and height apart; 1 to 64, fractions allowed")
    parser.add_argument("--size", help="WxH in pixels")
    parser.add_argument("--box", help="LEFT,TOP,RIGHT,BOTTOM to cut from each image first: the face, for a model of faces")
    parser.add_argument("--out", type=Path, required=True, help="a file, or a folder (needed for several images)")
    parser.add_argument("--model", default="functional_sr", help="a shipped name or a run folder (default: functional_sr)")
    parser.add_argument("--ensemble", action="store_true", help="mean over four rotations: four times the work, a little better")
    parser.add_argument("--max-pixels", type=int, default=200_000_000, help="largest input that is opened (default: 200 million)")
    parser.add_argument("--quality", type=int, default=95, help="of JPEG and WebP, 1 to 100")
    add_common(parser)


def run(options, rest) -> int:
    from predella.errors import UserError

    scale, wanted, box = parse_scale(options.scale), parse_size(options.size), parse_box(options.box)
    check_most(options.max_pixels)
    if not 1 <= options.quality <= 100:
        raise UserError(f"--quality must be from 1 to 100, got {options.quality}")
    from predella.apps.upscale import target_size, upscale_array
    from predella.cli.progress import progress
    from predella.cli.shared import all_usable, check_outputs, cut, expand, leave_out, output_paths, say
    from predella.image.files import Picture, check_output, file_bits, read, write_array
    from predella.models.functional_whole import WholeNetworks

    def look(source: Path) -> Picture:
        picture = cut(read(source, options.max_pixels), box, source)
        check_output(paths[source], picture, True, target_size(picture.size, scale, wanted, model.enlarges_only))
        return picture

    images, lenient = expand(options.images)
    outputs = output_paths(images, options.out)
    if not any(p.suffix.lower() in LOSSY for p in outputs):
        leave_out(options, "--quality", "files without loss")
    check_outputs(outputs, options.force)
    model = open_model(options.model, "upscale", options.cpu, "functional_sr")
    rows = []
    paths = dict(zip(images, outputs))
    for source, picture in all_usable(images, lenient, look):  # all before anything is written
        path = paths[source]
        size = target_size(picture.size, scale, wanted, model.enlarges_only)
        if isinstance(field := model.config.field, WholeNetworks) and picture.size != (field.edge, field.edge):
            say(f"{source} is seen whole, as {field.edge}×{field.edge} pixels, of which {options.model} makes one function")
        start = time.monotonic()
        with progress(f"{source.name} → {size[1]}×{size[0]}") as tell:
            array = upscale_array(picture, model, size, file_bits(path, picture.bits), self_ensemble=options.ensemble, progress=tell)
        write_array(array, path, picture, options.force, options.quality)
        if picture.bits > file_bits(path, picture.bits):
            print(f"predella: {path} holds 8 bits, {source} had 16; write a .png or .tif to keep them", file=sys.stderr)
        seconds = time.monotonic() - start
        rows.append({"input": str(source), "output": str(path), "width": size[1], "height": size[0], "seconds": round(seconds, 2)})
        if not options.json:
            print(f"{path}  {size[1]}×{size[0]}  {seconds:.1f} s")
    if options.json:
        print(json.dumps({"model": options.model, "files": rows}))
    return 0


def parse_scale(text: str | None) -> tuple[float, float] | None:
    """`S` or `SX,SY` → (vertical, horizontal)."""
    from predella.errors import UserError

    if text is None:
        return None
    try:
        numbers = [float(t) for t in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in (1, 2):
        raise UserError(f"--scale must be a number or two with a comma, such as 2.5 or 2.5,1; got '{text}'")
    return numbers[-1], numbers[0]
