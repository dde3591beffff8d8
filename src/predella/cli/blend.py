"""Make a paste or an edit of a picture look as if it had always been there.

predella harmonize PASTED --mask MASK --onto PICTURE --out FILE [--model M] [--tune STEPS] [--from-scale M]
predella edit EDITED --mask MASK --onto PICTURE --out FILE [--model M] [--tune STEPS] [--from-scale M]

PASTED is the picture with something foreign put on it, EDITED one whose parts were copied, moved or painted; MASK is white where
it was changed. The change is made anew of PICTURE's patches at the scales from M on: the larger M, the more of it stays. Without
--model a model of PICTURE is trained first, which takes minutes; --keep RUN keeps it. --tune trains a model's weights for PICTURE
on. What the model changes is laid over the picture at its full size.
"""

import json
import sys
import time
from pathlib import Path

from predella.cli.shared import add_common, add_own_model

MOST = 0.5  # of the picture under the mask, from which on it may be the wrong way round
FROM = {"harmonize": 3, "edit": 2}  # of five scales: what is foreign keeps its shape, what is moved is fitted in


def add_arguments(parser) -> None:
    parser.set_defaults(verb=parser.prog.split()[-1])
    parser.add_argument("image", type=Path, help="the picture with the change")
    parser.add_argument("--mask", type=Path, required=True, help="white where it was changed")
    parser.add_argument("--onto", type=Path, required=True, metavar="PICTURE", help="the picture without the change, of the same size")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--from-scale", type=int, metavar="M", help="the scale that is given the change (default: harmonize 3, edit 2)")
    add_own_model(parser, "PICTURE")
    add_common(parser, "an existing file")


def run(options, rest) -> int:
    import torch

    from predella.apps import internal
    from predella.apps.fill import read_mask
    from predella.cli.internal import check_tuning, coarsest_edge, own_weights, scale_of, train_on
    from predella.cli.shared import check_seed, leave_out, open_model, say
    from predella.errors import UserError
    from predella.image.files import check_output, read, write

    check_seed(options.seed)
    check_tuning(options)
    changed, picture = read(options.image), read(options.onto)
    if changed.size != picture.size:
        sizes = [f"{p.size[1]}×{p.size[0]}" for p in (changed, picture)]
        raise UserError(
            f"{options.image} is {sizes[0]}, {options.onto} {sizes[1]}; --onto is the same picture without the change, as large"
        )
    mask = 1 - read_mask(read(options.mask), picture.size)
    check_output(options.out, picture, options.force)
    start = time.monotonic()
    model = open_model(options.model, options.verb, options.cpu) if options.model else None
    if model is not None:
        leave_out(options, "--train-steps --keep", "a model that is trained already")
    internal.check_picture(picture.pixels, coarsest_edge(model), str(options.onto))
    scale = scale_of(model, options.from_scale, FROM[options.verb], 1)
    model = model or train_on(options.onto, options, options.out.parent)
    generator, whole, pasted = torch.Generator().manual_seed(options.seed), picture.on_white(), changed.on_white()
    weights = own_weights(model, internal.at_home(model, whole, str(options.onto)), options.onto, options, generator)
    made, beyond = internal.made_own(
        model, weights, whole, pasted, mask, scale, internal.GROWTH[options.verb], generator, str(options.onto)
    )
    if (share := float(mask.mean())) > MOST:
        say(f"the mask covers {share:.0%} of {options.onto}; if the rest is what is to change, swap its black and white")
    if torch.equal(whole, pasted):
        say(f"{options.image} and {options.onto} are the same; the masked part is made anew all the same")
    if beyond > 0.01:
        print(f"predella: {options.image} differs from {options.onto} in {beyond:.0%} of the pixels far from the mask; "
              "they stay as in the latter", file=sys.stderr)  # fmt: skip
    made = made + (picture.rgb() - whole) * (1 - mask)  # colours under transparency stay; what was changed is opaque
    alpha = None if picture.alpha is None else torch.where(mask > 0, 1.0, picture.alpha)
    made = made if picture.pixels.shape[1] == 3 else made[:, :1]
    write(picture.with_pixels(made, alpha), options.out, options.force)
    seconds = time.monotonic() - start
    if options.json:
        record = {
            "model": options.model,
            "verb": options.verb,
            "from_scale": scale,
            "tune": options.tune,
            "output": str(options.out),
            "seconds": round(seconds, 2),
        }
        print(json.dumps(record))
    else:
        grown = internal.grown_by(internal.GROWTH[options.verb], picture.size)
        print(f"{options.out}  {options.verb}, from scale {scale}, mask grown by {grown} pixels  {seconds:.1f} s")
    return 0
