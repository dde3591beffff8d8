"""Decode what `predella encode` wrote.

predella decode MODEL FILE --out DIR
"""

import json
from pathlib import Path

from predella.cli.shared import add_common


def add_arguments(parser) -> None:
    parser.add_argument("model", help="the model that encoded")
    parser.add_argument("file", type=Path, help="a .safetensors file written by `predella encode`")
    parser.add_argument("--out", type=Path, required=True, help="a folder; one PNG an image")
    add_common(parser)


def run(options, rest) -> int:
    from predella.apps.latents import decode, read_latents
    from predella.atomic import check_folder
    from predella.cli.shared import check_outputs, is_file, open_model
    from predella.errors import UserError
    from predella.image.files import Picture, write

    if is_file(options.out):
        raise UserError(f"--out must name a folder (each picture gets its name back), got {options.out}")
    check_folder(options.out)
    model = open_model(options.model, "decode", options.cpu)
    latents = list(read_latents(options.file, model))
    paths = [options.out / f"{name}.png" for name in _unique([k.name for k in latents])]
    check_outputs(paths, options.force)
    for latent, path in zip(latents, paths):
        write(Picture(decode(model, latent), bits=latent.bits), path, options.force)
    if options.json:
        print(json.dumps({"model": options.model, "files": [str(p) for p in paths]}))
    else:
        print(f"{options.out}  {len(paths)} image{'s' * (len(paths) != 1)}")
    return 0


def _unique(names: list[str]) -> list[str]:
    """Two images of one name came from two folders: a, a-2, a-3, whatever else is called so."""
    out: list[str] = []
    for name in names:
        number, candidate = 1, name
        while candidate in out or (number > 1 and candidate in names):
            number += 1
            candidate = f"{name}-{number}"
        out.append(candidate)
    return out
