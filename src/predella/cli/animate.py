"""A picture that moves: a slow walk of its model's noise.

predella animate IMAGE --out FILE.gif|.png|.webp [--frames N] [--fps F] [--model M] [--tune STEPS]
                [--from-scale M] [--size WxH]

PNG is written as APNG. Scales below M stand still: the larger M, the smaller what moves. Without --model a model of the image is
trained first, which takes minutes; --keep RUN keeps it. --tune trains a model's weights for the image on.
"""

import json
import time
from pathlib import Path

from predella.cli.shared import add_common, add_own_model


def add_arguments(parser) -> None:
    parser.add_argument("image", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="a .gif, .png or .webp")
    parser.add_argument("--frames", type=int, default=40, help="default: 40")
    parser.add_argument("--fps", type=float, default=10.0, help="frames a second (default: 10)")
    parser.add_argument("--from-scale", type=int, metavar="M", help="the first scale that moves (default: 2)")
    parser.add_argument("--size", help="WxH in pixels (default: the image's aspect at the model's own size)")
    parser.add_argument("--back", type=float, default=0.1, help="how strongly it is drawn back to the image, 0…1 (default: 0.1)")
    parser.add_argument("--inertia", type=float, default=0.7, help="how steadily, and slowly, it moves, 0…1 (default: 0.7)")
    add_own_model(parser, "the image")
    add_common(parser, "an existing file")


def run(options, rest) -> int:
    import torch

    from predella.apps import internal
    from predella.atomic import check_free
    from predella.cli.internal import check_tuning, coarsest_edge, own_weights, scale_of, train_on
    from predella.cli.progress import progress
    from predella.cli.shared import check_seed, leave_out, on_white, open_model, parse_size
    from predella.errors import UserError
    from predella.image.files import MOVING, check_ending, read, write_frames

    check_seed(options.seed)
    check_tuning(options)
    check_ending(options.out, MOVING, "pictures that move")
    check_free(options.out, options.force)
    if not 2 <= options.frames <= 10_000:
        raise UserError(f"--frames must lie in 2…10000, got {options.frames}")
    if not 0.1 <= options.fps <= 50:
        raise UserError(f"--fps must lie in 0.1…50, got {options.fps:g}")
    for name in ("back", "inertia"):
        if not 0 <= getattr(options, name) <= 1:
            raise UserError(f"--{name} must lie in 0…1, got {getattr(options, name):g}")
    wanted = parse_size(options.size)
    picture, start = on_white(read(options.image), options.image), time.monotonic()
    model = open_model(options.model, "animate", options.cpu) if options.model else None
    if model is not None:
        leave_out(options, "--train-steps --keep", "a model that is trained already")
    internal.check_picture(picture, coarsest_edge(model), str(options.image))
    if wanted:
        internal.check_size(wanted, least=coarsest_edge(model))
    scale = scale_of(model, options.from_scale, 2)
    if wanted:
        internal.check_together(options.frames, wanted)
    model = model or train_on(options.image, options, options.out.parent)
    source = internal.at_home(model, picture, str(options.image))
    size = wanted or (source.shape[-2], source.shape[-1])
    internal.check_together(options.frames, size)
    generator, made = torch.Generator().manual_seed(options.seed), []
    weights = own_weights(model, source, options.image, options, generator)
    walk = internal.frames(model, weights, size, options.frames, generator,
                           scale, options.back, options.inertia)  # fmt: skip
    with progress(f"{options.image.name}: {options.frames} frames") as tell:
        for frame in walk:
            made.append(internal.without_colour(frame, picture))
            tell(len(made) / options.frames)
    write_frames(torch.cat(made), options.out, options.fps, options.force)
    seconds = time.monotonic() - start
    if options.json:
        print(
            json.dumps(
                {"model": options.model, "tune": options.tune, "frames": options.frames, "output": str(options.out)}
                | {"seconds": round(seconds, 2)}
            )
        )
    else:
        print(f"{options.out}  {options.frames} frames of {size[1]}×{size[0]}  {seconds:.1f} s")
    return 0
