"""Metrics of pairs of images, or of two sets of images.

predella measure METRIC … --pairs A B [--border N] [--weights DIR] [--json]
predella measure METRIC … --real A --generated B [--weights DIR] [--json]

Pairs: A (sample) and B (true image) are two files, or two folders whose files have the same names; psnr_y, ssim_y, psnr_rgb,
lpips_vgg16, lpips_alexnet.
Sets: folders, zips or npz of images of one size; fid, kid (Inception), or fd_, kd_, precision_, recall_ with a network and layer,
such as fd_vgg16_relu4_3. The number of images becomes part of the result's name.
"""

import json
import math
from pathlib import Path

FEW = 1000  # images of a set, below which a Fréchet distance says little by itself


def add_arguments(parser) -> None:
    parser.add_argument("metrics", nargs="+", metavar="METRIC", help="see above; `predella list metrics`")
    parser.add_argument("--pairs", nargs=2, type=Path, metavar=("A", "B"))
    parser.add_argument("--real", metavar="SRC", help="the set of true images")
    parser.add_argument("--generated", metavar="SRC", help="the set to judge")
    parser.add_argument("--weights", type=Path, help="a folder with the features' weights (default: $PREDELLA_WEIGHTS, else fetched)")
    parser.add_argument("--border", type=int, default=0, help="pixels to shave (the tables shave as many as the scale)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(options, rest) -> int:
    from predella.errors import UserError

    sets = options.real is not None or options.generated is not None
    if sets == (options.pairs is not None):
        raise UserError("give either --pairs A B, or --real A and --generated B")
    return _sets(options) if sets else _of_pairs(options)


def _sets(options) -> int:
    from predella.cli.shared import leave_out, say
    from predella.data.images import Source
    from predella.errors import UserError
    from predella.image.contract import from_uint8
    from predella.metrics.features import collect
    from predella.metrics.fidelity import LPIPS, METRICS
    from predella.metrics.sets import extractor, measure_sets, parse

    leave_out(options, "--border", "sets, whose features see whole pictures")
    for name in options.metrics:
        _alone(name)
        if name in (*METRICS, *LPIPS):
            raise UserError(f"{name} compares pairs of images: give --pairs A B instead of two sets")
        parse(name)
    if options.real is None or options.generated is None:
        raise UserError("two sets are needed: --real A and --generated B")
    paths = {"real": options.real, "generated": options.generated}
    images = {which: Source(paths=(path,), smallest=8).open() for which, path in paths.items()}
    shapes = {tuple(found[i].shape[1:]) for found in images.values() for i in range(len(found))}
    if len(shapes) > 1:
        sizes = ", ".join(f"{w}×{h}" for h, w in sorted(shapes)[:3])
        raise UserError(f"all images must have one size, found {sizes}; make them one size first")
    features = extractor(options.weights)

    def of(which: str):
        return lambda name: collect(features(name), (from_uint8(images[which][i]) for i in range(len(images[which]))))

    values = measure_sets(options.metrics, of("real"), of("generated"))
    counts = {which: len(found) for which, found in images.items()}
    if min(counts.values()) < FEW and any(name == "fid" or name.startswith("fd_") for name in options.metrics):
        say(f"Fréchet distances of {min(counts.values())} images are too large and vary; compare them with those of as many alone")
    if options.json:
        print(json.dumps({**counts, "values": values}))
    else:
        for name, value in values.items():
            print(f"{name}={value:.4f}  ({counts['real']} real, {counts['generated']} generated)")
    return 0


def _of_pairs(options) -> int:
    from predella.cli.shared import say
    from predella.errors import UserError, did_you_mean
    from predella.image.files import read
    from predella.metrics.fidelity import LPIPS, METRICS, fidelity, mean
    from predella.metrics.sets import NAMES

    for name in options.metrics:
        _alone(name)
        if name in NAMES:
            raise UserError(f"{name} compares two sets of images: give --real A --generated B instead of --pairs")
        if name not in (*METRICS, *LPIPS):
            raise UserError(f"no metric of pairs is called '{name}'{did_you_mean(name, (*METRICS, *LPIPS))}")
    if options.border < 0:
        raise UserError(f"--border must be 0 or more, got {options.border}")
    rows, metrics = [], {name: fidelity(name, options.weights) for name in options.metrics}
    for a, b in _pairs(*options.pairs):
        x, y = read(a), read(b)
        for file, picture in ((a, x), (b, y)):
            if picture.alpha is not None and (picture.alpha < 1).any():
                say(f"{file} is transparent in parts; colours alone are compared, also where they do not show")
        if x.size != y.size:
            raise UserError(f"{a} is {x.size[1]}×{x.size[0]} and {b} is {y.size[1]}×{y.size[0]}; make them one size")
        try:
            values = {name: metric(x.rgb(), y.rgb(), options.border).item() for name, metric in metrics.items()}
        except ValueError as error:
            raise UserError(f"{a}: {error}") from None
        rows.append((a, b, values))
    means = {name: mean([values[name] for _, _, values in rows]) for name in options.metrics}
    if options.json:
        print(json.dumps({"pairs": [{"a": str(a), "b": str(b), **_finite(v)} for a, b, v in rows], "mean": _finite(means)}))
        return 0
    for a, _, values in rows:
        print(a.name.ljust(28), *(f"{name}={values[name]:.4f}" for name in options.metrics))
    if len(rows) > 1:
        print(f"mean of {len(rows)}".ljust(28), *(f"{name}={means[name]:.4f}" for name in options.metrics))
    return 0


def _alone(name: str) -> None:
    if "," in name:
        from predella.errors import UserError

        raise UserError(f"metrics are separated by spaces, got '{name}': {name.replace(',', ' ')}")


def _finite(values: dict[str, float]) -> dict[str, float | None]:
    """JSON knows no infinity: null, the PSNR of equal images."""
    return {k: v if math.isfinite(v) else None for k, v in values.items()}


def _pairs(a: Path, b: Path) -> list[tuple[Path, Path]]:
    from predella.errors import UserError, not_found
    from predella.image.files import LOOKED_FOR

    for path in (a, b):
        if not path.exists():
            raise not_found(path)
    if a.is_dir() != b.is_dir():
        raise UserError(f"{a} and {b} must both be files or both be folders")
    if not a.is_dir():
        return [(a, b)]
    first, second = ({f.name: f for f in p.iterdir() if f.suffix.lower() in LOOKED_FOR} for p in (a, b))
    if first.keys() != second.keys() or not first:
        alone = sorted(first.keys() ^ second.keys())[:3] or ["nothing"]
        raise UserError(f"{a} and {b} must hold images of the same names; only one of them has {', '.join(alone)}")
    return [(first[k], second[k]) for k in sorted(first)]
