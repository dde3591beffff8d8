"""Pictures between two pictures.

predella interpolate MODEL A B --steps N --out PATH [--space restricted|full|weights|pixels]
predella interpolate MODEL A B --steps N --out PATH [--from-scale M] [--tune STEPS] [--seed N]

PATH is a file for one row of pictures, or a folder for one file each. A reversible network goes from code to code. A model of pictures'
own patches (meta_internal) goes from A's generator to B's, at the scales from M on, with one noise for all: 0 changes the layout, too,
the last only the finest texture; --tune trains both pictures' weights on first. A density (coverage_quality) goes between the middles
of both posteriors, a model of point sets (functional_points) from one curve's weights to the other's, a model of faces as functions
(functional_image) from one image's to the other's, at any --size: --layers K blends the first K layers alone, --layers all makes a
sheet with a row for each K; --path arc keeps as far from the mean face as both are, --path line comes nearer to it, to a face with
less of its own.
"""

import json
from pathlib import Path

from predella.cli.shared import add_common, add_tuning, add_zoom


def add_arguments(parser) -> None:
    parser.add_argument("model", help="a shipped name or a run folder")
    parser.add_argument("a", type=Path, metavar="A", help="the first image or shape")
    parser.add_argument("b", type=Path, metavar="B", help="the second")
    parser.add_argument("--steps", type=int, default=9, help="pictures, both ends included (default: 9)")
    parser.add_argument("--out", type=Path, required=True, help="a file for one row, or a folder")
    parser.add_argument("--space", help="restricted (default; with classes: full): the prior's dimensions; full; weights; pixels")
    parser.add_argument("--from-scale", type=int, default=0, metavar="M", help="the first scale that goes over to B (default: 0)")
    add_tuning(parser)
    parser.add_argument("--layers", metavar="K", help="only the first K layers of the generated network go over; all = a row for each K")
    parser.add_argument("--path", choices=("arc", "line"), help="of weights of images as functions, around their mean (default: arc)")
    parser.add_argument("--invert", action="store_true", help="of shapes: dark is probable, for ink on paper")
    parser.add_argument("--size", help="WxH in pixels, for images as functions and generators of pictures (default: the model's)")
    parser.add_argument("--seed", type=int, default=0, help="of the noise that all pictures share (default: 0)")
    parser.add_argument("--box", action="append", help="LEFT,TOP,RIGHT,BOTTOM to cut from both first; given twice: one for each")
    add_zoom(parser)
    add_common(parser)


def run(options, rest) -> int:
    import torch

    from predella.apps.latents import prepared
    from predella.cli.shared import check_outputs, check_seed, check_zoom, is_file, leave_out, open_model, parse_box, say, write_pictures
    from predella.errors import UserError, did_you_mean
    from predella.image.files import read
    from predella.models.coverage_quality import CoverageQuality
    from predella.models.functional_image import FunctionalImage
    from predella.models.functional_points import FunctionalPoints
    from predella.models.meta_internal import MetaInternal
    from predella.models.reversible import SPACES, Reversible

    if not 2 <= options.steps <= 10_000:
        raise UserError(f"--steps must lie in 2…10000, got {options.steps}")
    if options.space not in (None, *SPACES, "weights"):
        raise UserError(f"--space can't be '{options.space}'{did_you_mean(options.space, (*SPACES, 'weights'))}")
    boxes = [parse_box(b) for b in options.box or [None]]
    if len(boxes) > 2:
        raise UserError(f"--box can be given once or twice, got {len(boxes)}")
    check_zoom(options.zoom)
    paths = [options.out] if is_file(options.out) else [options.out / f"{i:04}.png" for i in range(options.steps)]
    check_outputs(paths, options.force)
    check_seed(options.seed)
    model = open_model(options.model, "interpolate", options.cpu)
    useless = ["--space", "--box", "--from-scale", "--tune", "--layers", "--path", "--invert", "--size", "--seed"]
    for kind, (what, uses) in {
        CoverageQuality: ("a density, which goes from latent to latent", "--box"),
        FunctionalPoints: ("curves, which go from weights to weights", "--layers --invert"),
        FunctionalImage: ("images as functions", "--space --box --layers --path --size"),
        Reversible: ("a reversible network", "--space --box"),
        MetaInternal: ("generators of whole pictures", "--from-scale --tune --seed --size"),
    }.items():
        if isinstance(model, kind):
            leave_out(options, " ".join(w for w in useless if w not in uses.split()), what)
    if isinstance(model, CoverageQuality):
        return _posteriors(options, model, paths, (boxes[0], boxes[-1]))
    if isinstance(model, FunctionalPoints):
        return _curves(options, model, paths)
    if isinstance(model, FunctionalImage):
        return _functions(options, model, paths, (boxes[0], boxes[-1]))
    if not isinstance(model, Reversible):
        return _mixtures(options, model, paths)
    if options.space == "weights":
        raise UserError(f"--space weights is for images as functions; {options.model} has {', '.join(SPACES)}")
    space = options.space or ("full" if hasattr(model.config.prior, "classes") else "restricted")
    pairs = zip((options.a, options.b), (boxes[0], boxes[-1]))
    a, b = (prepared(read(f), str(f), model, True, box, say) for f, box in pairs)
    with torch.no_grad():
        pictures = model.interpolate(a, b, options.steps, space).cpu()
    write_pictures([pictures], paths, options.out, options.force, options.zoom)
    if options.json:
        print(json.dumps({"model": options.model, "steps": options.steps, "space": space, "output": str(options.out)}))
    else:
        print(f"{options.out}  {options.steps} pictures")
    return 0


def _posteriors(options, model, paths: list[Path], boxes) -> int:
    """From the middle of one picture's posterior to that of the other's."""
    from predella.apps import density
    from predella.cli.shared import say, write_pictures
    from predella.image.files import read

    ready = [density.prepared(read(f), model, str(f), box) for f, box in zip((options.a, options.b), boxes)]
    for note in (note for _, _, notes in ready for note in notes):
        say(note)
    (a, *_), (b, *_) = ready
    write_pictures([density.between(model, a, b, options.steps)], paths, options.out, options.force, options.zoom)
    if options.json:
        print(json.dumps({"model": options.model, "steps": options.steps, "output": str(options.out)}))
    else:
        print(f"{options.out}  {options.steps} pictures")
    return 0


def _layers(text: str | None, count: int) -> list[int | None]:
    """`3` → [3], `all` → [1, …, count], nothing → [None]."""
    from predella.errors import UserError

    if text == "all":
        return list(range(1, count + 1))
    if text is None:
        return [None]
    layers = int(text) if text.isdecimal() and len(text) < 10 else 0
    if not 1 <= layers <= count:
        raise UserError(f"--layers must lie in 1…{count} for this model, or be 'all'; got {text}")
    return [layers]


def _all_layers(options, count: int) -> list[int | None]:
    """A row each."""
    from predella.cli.shared import is_file
    from predella.errors import UserError

    layers = _layers(options.layers, count)
    if len(layers) > 1 and not is_file(options.out):
        raise UserError(f"--layers all makes one sheet; --out must name a file, got {options.out}")
    return layers


def _functions(options, model, paths: list[Path], boxes) -> int:
    """From the weights of one image's function to those of the other's."""
    from predella.apps.blend import blends
    from predella.cli.shared import cut, parse_size, say, write_pictures
    from predella.errors import UserError
    from predella.image.files import read
    from predella.models.functional_whole import WholeNetworks

    assert isinstance(model.config.field, WholeNetworks)
    if options.space not in (None, "weights", "pixels"):
        raise UserError(f"--space must be weights or pixels for this model, got '{options.space}'")
    layers = _all_layers(options, len(model.config.field.target) + 1)
    if options.space == "pixels" and layers != [None]:
        raise UserError(f"--layers {options.layers} blends weights; leave out --layers or --space pixels")
    if options.space == "pixels" and options.path:
        raise UserError(f"--path {options.path} is a way between weights; leave out --path or --space pixels")
    way = "pixels" if options.space == "pixels" else options.path or "arc"
    files = options.a, options.b
    pictures = [read(f) for f in files]
    sizes = [f"{p.size[1]}×{p.size[0]}" for p in pictures]
    if sizes[0] != sizes[1] and len(options.box or []) < 2:
        raise UserError(f"{options.a} is {sizes[0]}, {options.b} {sizes[1]}; make them one size, or give --box twice: the face in each")
    first, last = pictures = [cut(p, box, f) for p, box, f in zip(pictures, boxes, files)]
    rows = blends(model, first, last, options.steps, layers, way, parse_size(options.size))
    for file, picture, box in zip(files, pictures, boxes):
        height, width = picture.size
        for note in picture.notes_on_white(str(file)):
            say(note)
        if height != width:
            part = f"has {width}×{height} pixels; its" if box is None else f"is cut to {width}×{height} pixels; their"
            say(f"{file} {part} central square is seen; --box LEFT,TOP,RIGHT,BOTTOM: the face")
    write_pictures(rows, paths, options.out, options.force, options.zoom)
    if options.json:
        record = {"model": options.model, "steps": options.steps, "path": way, "layers": options.layers, "output": str(options.out)}
        print(json.dumps(record))
    else:
        print(f"{options.out}  {options.steps} pictures" + _named(rows))
    return 0


def _curves(options, model, paths: list[Path]) -> int:
    """From the weights of one shape's curve to those of the other's."""
    import torch

    from predella.apps import trace
    from predella.cli.shared import leave_out, trace_notes, write_pictures

    if all(f.suffix.lower() in trace.POINT_FILES for f in (options.a, options.b)):
        leave_out(options, "--invert", "files of points")
    asked = _all_layers(options, len(model.config.target) + 1)
    shapes = [trace.shape_of(f, model, options.invert) for f in (options.a, options.b)]
    trace_notes(shapes, (options.a, options.b), options.invert)
    a, b = shapes
    rows = []
    for layers in asked:
        curves = [trace.curve(model, w, 2000) for w in trace.between(model, a, b, options.steps, layers)]
        rows.append(torch.cat([trace.drawing(c.flip(1), (2.0, 2.0), (-1.0, -1.0), False, 128).pixels for c in curves]))
    write_pictures(rows, paths, options.out, options.force, options.zoom)
    if options.json:
        print(json.dumps({"model": options.model, "steps": options.steps, "layers": options.layers, "output": str(options.out)}))
    else:
        print(f"{options.out}  {options.steps} pictures" + _named(rows))
    return 0


def _named(rows: list) -> str:
    """What the rows of a sheet of layers are."""
    return f"; {len(rows)} rows, from the top: the first 1…{len(rows)} layers go over" if len(rows) > 1 else ""


def _mixtures(options, model, paths: list[Path]) -> int:
    """From the generator of one picture to that of the other."""
    import torch

    from predella.apps import internal
    from predella.cli.internal import check_tuning, own_weights
    from predella.cli.shared import on_white, parse_size, write_pictures
    from predella.errors import UserError
    from predella.image.files import read

    internal.check_scale(int(model.grown), options.from_scale)
    check_tuning(options)
    if model.config.heads == "table":
        raise UserError(f"{options.model} was trained on one picture without a hypernetwork; pictures between need a model of both")
    if size := parse_size(options.size):
        internal.check_size(size, least=model.edges[0])
        internal.check_together(options.steps, size)
    a, b = (internal.at_home(model, on_white(read(f), f), str(f)) for f in (options.a, options.b))
    generator, remedy = torch.Generator().manual_seed(options.seed), "predella train meta_internal_batch makes a model of both"
    own = tuple(own_weights(model, seen, file, options, generator, remedy) for file, seen in ((options.a, a), (options.b, b)))
    pictures = internal.between(model, a, b, options.steps, options.from_scale, options.seed, size, own if options.tune else None)
    write_pictures([pictures], paths, options.out, options.force, options.zoom)
    if options.json:
        print(
            json.dumps(
                {"model": options.model, "steps": options.steps, "from_scale": options.from_scale, "tune": options.tune}
                | {"output": str(options.out)}
            )
        )
    else:
        print(f"{options.out}  {options.steps} pictures, from scale {options.from_scale}")
    return 0
