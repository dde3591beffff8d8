"""How near samples come at best that have nothing to do with the reference pictures: true pictures from others of the same kind.

    python -m benchmarks.distance_floor --data FACES --box L,T,R,B --edge 64 --counts 300 1000

A Fréchet distance of few pictures is too large: the covariances of N pictures' features are estimated with an error that does not
average out (Chong and Forsyth 2020). Keys: `METRIC_N`, the mean over disjoint pairs of sets of N pictures each. Answers, blends and
reconstructions that are made of the reference pictures themselves share what is in them, and may come nearer.
"""

from pathlib import Path

import torch
from torch import Tensor

from benchmarks.timing import parser_of, report
from predella.data.images import Source
from predella.metrics.features import collect
from predella.metrics.generation import batches
from predella.metrics.sets import count_name, extractor, measure_sets, parse

PAIRS = 10  # at most, of sets of one size


def disjoint(total: int, count: int, generator: torch.Generator) -> list[tuple[Tensor, Tensor]]:
    """Up to PAIRS pairs of sets of `count` of `total` indices each; no index is in two sets.

    Raises:
        ValueError: fewer than 2 · count pictures.
    """
    if total < 2 * count:
        raise ValueError(f"two sets of {count} pictures need {2 * count}, got {total}")
    pairs = min(PAIRS, total // (2 * count))
    sets = torch.randperm(total, generator=generator)[: 2 * pairs * count].split(count)
    return list(zip(sets[::2], sets[1::2], strict=True))


def main() -> None:
    parser = parser_of("distance_floor")
    parser.add_argument("--data", required=True)
    parser.add_argument("--part", default="", help="first,last picture (default: all)")
    parser.add_argument("--box", default="", help="cut from each picture first: left,top,right,bottom")
    parser.add_argument("--edge", type=int, default=0, help="of the square that each picture is then made (default: as it is)")
    parser.add_argument("--counts", type=int, nargs="+", default=[300, 1000], help="pictures a set (default: 300 1000)")
    parser.add_argument("--metric", default="fd_vgg16_relu4_3", help="see predella.metrics.sets (default: fd_vgg16_relu4_3)")
    parser.add_argument("--weights", type=Path, help="the folder of the features' weights")
    options = parser.parse_args()
    part, box = (tuple(map(int, t.split(","))) if t else () for t in (options.part, options.box))
    images = Source(paths=(options.data,), part=part, box=box, edge=options.edge).open()
    name = parse(options.metric)[1]
    with torch.inference_mode():
        known = collect(extractor(options.weights)(name), batches(images))
    generator, figures = torch.Generator().manual_seed(0), {}
    for count in options.counts:
        found = [
            measure_sets([options.metric], lambda _, a=a: known[a], lambda _, b=b: known[b])
            for a, b in disjoint(len(known), count, generator)
        ]
        figures[f"{options.metric}_{count_name(count)}"] = sum(value for f in found for value in f.values()) / len(found)
    options.model = Path(options.data).stem
    report(options, figures, [f"{len(known)} pictures of {options.data}; sets that have none in common"])


if __name__ == "__main__":
    main()
