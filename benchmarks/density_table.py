"""The ablation table of coverage and quality at small scale: trains and measures every row that the record lacks, by the command line.

    python -m benchmarks.density_table --set mnist --data mnist.npz --terms "…"        # 2 CPU cores, an hour
    python -m benchmarks.density_table --set cifar --data cifar10.npz --terms "…" --seeds 0 1 2 --rows vae vaef

Rows vae, vaef, gan, cq, cqf of `recipes.coverage_quality`; each is measured on pictures of the training and of the test set: bits per
dimension by the ELBO and by `--samples` importance-weighted draws, the classifier score, Fréchet distance, precision and recall. Stop it
at any time: what is in the record is not done again, a row measured in part is measured anew.
"""

import argparse
from pathlib import Path

from benchmarks.tables import goes_on, predella, recorded
from predella.metrics.generation import NEIGHBOURS
from predella.recipes.coverage_quality import ROWS


def main() -> None:
    options = _options()
    for seed in options.seeds:
        for row in options.rows:
            recipe = f"cq_{options.set}_{row}"
            run = options.out / f"seed{seed}" / recipe
            asked = {"--part": f"0,{options.pictures}", "--samples": str(options.samples)}
            if recorded(options.record, run.name, seed, recalls=2 * 2, asked=asked):
                continue
            words = [recipe, "--data", f"{options.data}#x_train", "--seed", str(seed), "--data.terms", options.terms, "--out", str(run)]
            predella("train", *words, *options.more, *goes_on(run))
            both = ["--data", f"{options.data}#x_train", f"{options.data}#x_test"]
            predella("evaluate", str(run), *both, *[w for pair in asked.items() for w in pair], "--record", str(options.record))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.density_table")
    parser.add_argument("--set", choices=("mnist", "cifar"), required=True)
    parser.add_argument("--data", required=True, help="an npz with x_train and x_test")
    parser.add_argument("--terms", default="", help="of the pictures")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--pictures", type=int, default=1000, help="of the training and of the test set (default: 1000)")
    parser.add_argument("--samples", type=int, default=50, help="draws of z a picture (default: 50)")
    parser.add_argument("--out", type=Path, default=Path("runs/density_table"))
    parser.add_argument("--record", type=Path, default=Path("results/density_table.jsonl"))
    options, options.more = parser.parse_known_args()  # what is left are fields of the recipes
    if options.pictures <= NEIGHBOURS:
        parser.error(f"precision and recall look at {NEIGHBOURS} neighbours; --pictures must be more, got {options.pictures}")
    return options


if __name__ == "__main__":
    main()
