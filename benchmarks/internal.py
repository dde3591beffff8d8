"""One training step of many pictures' generators at once, against a loop over models of one picture; peak memory.

A step is one update of the critic and one of the generator at the last of five scales, all lower scales run, optimizers included, with
the default low-rank heads and what training asks of the allocator. Keys, by size (its longest edge) and batch: `step_seconds_64_5`;
`step_vs_loop_64_5`: seconds of as many single models (ordinary weights, one critic each), one after another, over that;
`peak_mb_64_5`: of a fresh process, in all.
"""

from dataclasses import replace

import torch

from benchmarks.timing import interleaved, parser_of, peak_mb, report
from predella.cli.train import keep_freed_memory
from predella.models.meta_internal import MetaInternal, MetaInternalConfig
from predella.objectives.meta_internal import MetaInternalObjectiveConfig
from predella.tasks.base import Batch
from predella.train.optim import Optim

SIZES, BATCHES = (64, 128), (1, 5, 16)


def step(longest: int, items: int, single: bool = False):
    """A call that makes one whole training step on `items` pictures of 3:4."""
    torch.manual_seed(0)
    config = MetaInternalConfig(coarsest=25 if longest > 64 else 20, finest=longest)
    model = MetaInternal(replace(config, heads="table") if single else config)
    objective = MetaInternalObjectiveConfig(scale=config.scales - 1, critic="shared" if single else "hyper").build(model)
    batch = Batch(torch.rand(items, 3, longest * 3 // 4, longest) * 2 - 1, seed=1)
    objective.begin(iter([batch] * 3))
    optimizers = {p.name: Optim(clip=1.0).build(p.trains) for p in objective.phases()}

    def call() -> None:
        for phase in objective.phases():
            optimizer = optimizers[phase.name]
            optimizer.zero_grad()
            phase.total(batch)[0].backward()
            optimizer.step(1.0)

    return call


def peak(longest: int, items: int) -> float:
    start = "import sys; sys.path[:0] = ['.']\nfrom benchmarks.internal import *\ntorch.set_num_threads(2)\nkeep_freed_memory()\n"
    return peak_mb(start + f"call = step({longest}, {items})\ncall()\ncall()")


def many(call, times: int):
    """`call` so many times."""
    return lambda: [call() for _ in range(times)]


def main() -> None:
    parser = parser_of("internal")
    parser.add_argument("--repeat", type=int, default=3)
    options, figures = parser.parse_args(), {}
    keep_freed_memory()
    for longest in SIZES:
        for items in BATCHES:
            alone = step(longest, 1, single=True)
            times = interleaved({"together": step(longest, items), "loop": many(alone, items)}, options.repeat)
            figures |= {
                f"step_seconds_{longest}_{items}": times["together"],
                f"step_vs_loop_{longest}_{items}": times["loop"] / times["together"],
                f"peak_mb_{longest}_{items}": peak(longest, items),
            }
            print(f"{longest} pixels, {items} pictures: {times['together']:.2f} s, loop {times['loop']:.2f} s", flush=True)
    report(options, figures, [f"{options.repeat} steps each, median; {torch.get_num_threads()} threads"])


if __name__ == "__main__":
    main()
