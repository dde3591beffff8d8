"""How fast samples change along interpolations, by the scale that they begin at (Bensadoun et al. 2021, App. F and Fig. 8).

    python -m benchmarks.internal_slopes --model runs/meta_internal_dataset --data PICTURES --pairs 50

For random pairs of pictures: s = mean |H(α + .1) - H(α)| / .1 at α = .1 … .8, of one noise, in units of [-1, 1]. `slope_m` is its mean
over pairs and α for interpolation from scale m on, `steepest_m` the mean of a pair's largest, `deviation_m` the deviation over pairs.
"""

import torch

from benchmarks.timing import parser_of, report
from predella.apps.internal import at_home, mixed, variations
from predella.data.images import Source
from predella.image.contract import from_uint8
from predella.metrics.internal import slopes
from predella.models.base import load
from predella.models.meta_internal import MetaInternal

SHARES = [j / 10 for j in range(1, 10)]


@torch.no_grad()
def main() -> None:
    parser = parser_of("internal_slopes")
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", required=True, help="a folder of pictures")
    parser.add_argument("--part", help="first,last picture")
    parser.add_argument("--pairs", type=int, default=50)
    options = parser.parse_args()
    model, part = load(options.model), tuple(map(int, options.part.split(","))) if options.part else ()
    assert isinstance(model, MetaInternal)
    images = Source(paths=(options.data,), longest=model.edges[-1], part=part).open()
    generator, figures = torch.Generator().manual_seed(0), {}
    pairs = [torch.randperm(len(images), generator=generator)[:2].tolist() for _ in range(options.pairs)]
    for start in range(int(model.grown)):
        rows = []
        for seed, (i, j) in enumerate(pairs):
            a, b = (at_home(model, from_uint8(images[k])[None], images.names[k]) for k in (i, j))
            size, made, ends = (a.shape[-2], a.shape[-1]), [], [model.embed(x) for x in (a, b)]
            for share in SHARES:
                weights = mixed(model, *ends, share, start)
                made += variations(model, weights, size, 1, torch.Generator().manual_seed(seed))
            way = SHARES[-1] - SHARES[0]
            rows.append(slopes(torch.cat(made)) / way)
        each = torch.stack(rows)
        figures |= {f"slope_{start}": each.mean().item(), f"steepest_{start}": each.amax(1).mean().item(),
                    f"deviation_{start}": each.mean(1).std().item()}  # fmt: skip
        print(f"from scale {start}: {figures[f'slope_{start}']:.4f} ± {figures[f'deviation_{start}']:.4f}", flush=True)
    report(options, figures, [f"{len(pairs)} pairs"])


if __name__ == "__main__":
    main()
