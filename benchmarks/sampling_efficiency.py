"""Samples that vanilla sampling needs to come as near to the observation as hierarchical sampling does (Peng et al., Fig. 3).

    python -m benchmarks.sampling_efficiency --data FACES --part 9000,9016 [--box L,T,R,B] [--model tower_sr16]

A trained tower. For m = 2, 4, 8, 16, 32 samples a level: the last answer's distance that hierarchical sampling attains, mean over
pictures and ten draws, and the n of vanilla samples whose expected nearest, over all choices of n among 2048, is as near;
`ratio_m` = n / m. `reached_m` is 0 where 2048 do not suffice: the ratio is then a lower bound.
"""

import math
from dataclasses import replace

import torch
from torch import Tensor

from benchmarks.timing import parser_of, report
from predella.image.contract import from_uint8
from predella.image.fit import cut_square, fit_square
from predella.models.base import find_source, load
from predella.models.tower import Tower
from predella.objectives.tower import TowerObjectiveConfig
from predella.recipe import read_recipe
from predella.tasks.base import Batch

LEVELWISE, VANILLA, RUNS, BLOCK = (2, 4, 8, 16, 32), 2048, 10, 16


def expected_nearest(distances: Tensor) -> Tensor:
    """(B, N) distances of N samples → (N,): mean over items of the expected least of n = 1 … N of them, drawn without replacement."""
    ordered, total = distances.double().sort(1).values.mean(0), distances.shape[1]
    log_choose = lambda a, b: math.lgamma(a + 1) - math.lgamma(b + 1) - math.lgamma(a - b + 1)  # noqa: E731
    out = []
    for n in range(1, total + 1):  # the k-th nearest is the least of n with probability C(N - k, n - 1) / C(N, n)
        weights = [math.exp(log_choose(total - k, n - 1) - log_choose(total, n)) for k in range(1, total - n + 2)]
        out.append((torch.tensor(weights, dtype=torch.float64) * ordered[: len(weights)]).sum())
    return torch.stack(out)


@torch.no_grad()
def vanilla(tower: Tower, batch: Batch, embed, count: int) -> Tensor:
    """(B, count): distance of the last answer for independent codes of all levels."""
    assert batch.condition is not None
    generator, size = torch.Generator().manual_seed(7), (batch.target.shape[-2], batch.target.shape[-1])
    wanted, out = embed(batch.target), []
    for _ in range(count // BLOCK):
        condition = batch.condition.repeat_interleave(BLOCK, 0)
        answer = tower(condition, tower.draw(len(condition), size, generator), size)[-1]
        out.append((embed(answer) - wanted.repeat_interleave(BLOCK, 0)).square().sum(1).view(-1, BLOCK))
    return torch.cat(out, 1)


def main() -> None:
    parser = parser_of("sampling_efficiency")
    parser.add_argument("--data", required=True)
    parser.add_argument("--part", default="0,16", help="first,last picture")
    parser.add_argument("--box", help="cut from each picture first: left,top,right,bottom")
    parser.add_argument("--model", default="tower_color")
    options = parser.parse_args()
    tower, recipe = load(options.model), read_recipe((find_source(options.model) / "recipe.json").read_text())
    trained = recipe.stages[0].objective
    assert isinstance(tower, Tower) and isinstance(trained, TowerObjectiveConfig)
    task = recipe.task
    part, box = (tuple(map(int, t.split(","))) if t else () for t in (options.part, options.box))
    images, edge = replace(recipe.data, paths=(options.data,), part=part, box=box).open(), task.crop(torch.Generator())
    square = cut_square if recipe.data.paired else fit_square  # label maps can't be resampled
    batch = task(torch.cat([square(from_uint8(images[i])[None], edge) for i in range(len(images))]))
    levels, figures = len(tower.levels), {}
    objective = TowerObjectiveConfig(samples=(1,) * levels, block=BLOCK, distance=trained.distance).build(tower)
    nearest = expected_nearest(vanilla(tower, batch, objective.distance.embed, VANILLA))
    for m in LEVELWISE:
        chooser = TowerObjectiveConfig(samples=(m,) * levels, block=BLOCK, distance=trained.distance).build(tower)
        runs = [chooser.choose(Batch(batch.target, batch.condition, seed))[1].mean() for seed in range(RUNS)]
        attained = torch.stack(runs).mean().item()
        enough = (nearest <= attained).nonzero()
        needed = int(enough[0]) + 1 if len(enough) else VANILLA
        figures |= {f"ratio_{m}": needed / m, f"reached_{m}": float(len(enough) > 0), f"distance_{m}": attained}
        print(f"{m} samples a level: {attained:.4f}, which takes {needed} vanilla samples", flush=True)
    report(options, figures, [f"{len(images)} pictures, {RUNS} draws, {options.model}"])


if __name__ == "__main__":
    main()
