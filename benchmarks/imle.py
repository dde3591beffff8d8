"""Choosing codes for a pool, level by level, against recomputing the levels below for every candidate; memory against m.

A tower of four levels in the paper's proportions (a quarter of its channels, one RRDB a level), answers of 64 pixels.
`speedup_vs_no_prefix_cache`: seconds without over seconds with what the winners below make computed once. `memory_growth_m`:
peak memory beyond the network's with 256 candidates a level over that with 16, in blocks of 8, each in a fresh process.
"""

import torch

from benchmarks.timing import arguments, interleaved, peak_mb, report
from predella.losses.imle import Nearest, blocks
from predella.models.tower import Tower, TowerConfig, TowerLevel
from predella.objectives.tower import TowerObjective, TowerObjectiveConfig
from predella.tasks.base import Batch

LEVELS = tuple(TowerLevel(width=w, growth=g, blocks=1) for w, g in ((32, 64), (16, 48), (16, 32), (16, 16)))
EDGE, ITEMS, CANDIDATES = 64, 4, 24


def build(candidates: int, block: int = 8) -> tuple[TowerObjective, Batch]:
    torch.manual_seed(0)
    tower = Tower(TowerConfig(levels=LEVELS)).eval()
    objective = TowerObjectiveConfig(samples=(candidates,) * 4, block=block, distance="pixels").build(tower)
    image = torch.rand(ITEMS, 3, EDGE, EDGE) * 2 - 1
    return objective, Batch(image, image, 1)


@torch.no_grad()
def without_cache(objective: TowerObjective, batch: Batch) -> list[torch.Tensor]:
    """The same choice; every candidate is computed from the first level on, as the released code does."""
    tower, generators, codes = objective.model, batch.generators(len(LEVELS)), []
    size = (EDGE, EDGE)
    assert batch.condition is not None
    for level, count in enumerate(objective.config.samples):
        nearest = Nearest()
        wanted = torch.nn.functional.adaptive_avg_pool2d(batch.target, EDGE >> (3 - level))
        for k in blocks(count, objective.config.block):
            draw = torch.stack([torch.cat([tower.draw_level(level, (1,), size, g[level]) for _ in range(k)]) for g in generators])
            below = [c.repeat_interleave(k, 0) for c in codes]
            answer = tower(batch.condition.repeat_interleave(k, 0), [*below, draw.flatten(0, 1)], size)[-1]
            far = (answer - wanted.repeat_interleave(k, 0)).square().flatten(1).mean(1)
            nearest.offer(draw, far.view(ITEMS, k))
        codes.append(nearest.code)
    return codes


def peak(candidates: int) -> float:
    start = "import sys; sys.path[:0] = ['.']\nfrom benchmarks.imle import *\n"
    return peak_mb(start + f"o, b = build({candidates})\no.choose(b)", give_back=True)


def main() -> None:
    options = arguments("imle")
    objective, batch = build(CANDIDATES)
    for a, b in zip(objective.choose(batch)[0], without_cache(objective, batch)):
        assert torch.equal(a, b), "both choose the same codes"
    times = interleaved({"ours": lambda: objective.choose(batch), "without": lambda: without_cache(objective, batch)}, repeat=5)
    base = peak_mb("import sys; sys.path[:0] = ['.']\nfrom benchmarks.imle import *\nbuild(16)", give_back=True)
    few, many = peak(16) - base, peak(256) - base
    figures = {
        "speedup_vs_no_prefix_cache": times["without"] / times["ours"],
        "memory_growth_m": many / few,
        "seconds_an_image": times["ours"] / ITEMS,
    }
    report(options, figures, [f"{torch.get_num_threads()} threads, {CANDIDATES} candidates a level, {EDGE} pixels"])


if __name__ == "__main__":
    main()
