"""Bits per dimension of images: how surprising a model finds them.

predella score IMAGE … --model M [--samples K] [--json]

Upper bounds, in bits a channel of a pixel: `elbo`, the mean over K draws of the latent, and `iwK`, which weighs the same draws by
importance and is tighter; each with a standard error from the draws: of eight groups of them, each at its own dequantisation of the
picture, what they differ by. A low number is no proof that a picture is of the model's kind: smooth pictures have few bits under any model.
"""

import json
import math
from pathlib import Path


def add_arguments(parser) -> None:
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE", help="files, or folders of images")
    parser.add_argument("--model", required=True, help="a shipped name or a run folder")
    parser.add_argument("--samples", type=int, default=32, metavar="K", help="draws of the latent an image (default: 32)")
    parser.add_argument("--box", help="LEFT,TOP,RIGHT,BOTTOM to cut first")
    parser.add_argument("--seed", type=int, default=0, help="of the draws (default: 0)")
    parser.add_argument("--cpu", action="store_true", help="do not use an accelerator")
    parser.add_argument("--json", action="store_true", help="print one JSON object a line, and one of the means")


def run(options, rest) -> int:
    import torch

    from predella.apps import density
    from predella.cli.shared import all_usable, check_seed, expand, open_model, parse_box, say
    from predella.errors import UserError
    from predella.image.files import read

    if not 1 <= options.samples <= 100_000:
        raise UserError(f"--samples must lie in 1…100000, got {options.samples}")
    check_seed(options.seed)
    box = parse_box(options.box)
    images, lenient = expand(options.images)
    model = open_model(options.model, "score", options.cpu)
    name, found = f"iw{options.samples}", []
    for file, (x, own, notes) in all_usable(images, lenient, lambda file: density.prepared(read(file), model, str(file), box)):
        for note in notes:
            say(note)
        one = density.score(model, x, own, options.samples, torch.Generator().manual_seed(options.seed))
        found.append(one)
        bits: dict[str, float | None] = {"bpd_elbo": one.elbo}
        if one.tighter is not None:
            bits |= {"bpd_elbo_error": one.elbo_error, f"bpd_{name}": one.tighter, f"bpd_{name}_error": one.error}
        if options.json:
            print(json.dumps({"input": str(file), **bits, "dims": one.dims}), flush=True)
        else:
            spread = "" if one.tighter is None else f" ± {one.elbo_error:.4f}  {name} {one.tighter:.3f} ± {one.error:.4f}"
            print(f"{file}  elbo {one.elbo:.3f}{spread}  bits per dimension", flush=True)
    tighter = [s.elbo if s.tighter is None else s.tighter for s in found]
    mean = math.fsum(tighter) / len(tighter)
    if options.json:
        print(json.dumps({"model": options.model, "images": len(found), "bound": name if options.samples > 1 else "elbo", "mean": mean}))
    elif len(found) > 1:
        bound = name if options.samples > 1 else "elbo"
        print(f"mean of {len(found)}: {bound} {mean:.3f} bits per dimension")
    return 0
