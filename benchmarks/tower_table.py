"""Tables 2–5 of the tower at small scale: trains and measures every row that the record lacks, by the command line.

    python -m benchmarks.tower_table --data FACES --box L,T,R,B --train 0,9000 --test 9000,10000     # 2 CPU cores, hours
    python -m benchmarks.tower_table … --tasks sr16 --rows cimle --seeds 1 --steps 100

Faces of 64 pixels; a row is one training of `--steps` steps, with as many evaluations of levels to choose codes, and one
evaluation. Rows "" (the tower), cimle, regression, and the ablations no_hs, no_hs_mn, no_hs_mn_is, no_hs_mn_is_wn; beside them the
input by itself. With `--distance` the rows are trained by other features than the recipe's, with `--times` on so many times as many
candidates, with `--deeper` on a network of one more level, with `--muon` at another learning rate, with `--unnormalised` without
weight normalisation, with `--below` on levels below the last that count less, with `--precision` mixed; they are named after it, or as
`--named` says. Stop it at any time: what is in the record is not done again.
"""

import argparse
import json
import math
from dataclasses import asdict
from pathlib import Path

from benchmarks.tables import predella, recorded
from predella.models.tower import TowerConfig
from predella.objectives.tower import TowerObjectiveConfig
from predella.recipe import override
from predella.recipes import find_recipe

GIVEN = {"sr16": "bicubic_16", "color": "grey", "jpeg": "jpeg"}
RECORD = Path("results/tower_table.jsonl")
FOUR = (24, 16, 8, 6)  # candidates a level, of four


def main() -> None:
    options = _options()
    if options.levels and (not options.named or options.deeper):
        raise SystemExit("--levels wants --named, for rows are known by their names, and goes without --deeper")
    source = ["--data", options.data]
    box = ["--box", options.box] if options.box else []
    for task in options.tasks:
        for seed in options.seeds:
            for row in options.rows:
                recipe = f"tower_{task}" + f"_{row}" * bool(row)
                run = options.out / f"seed{seed}" / f"{recipe}_{options.steps}{_made(options)}"
                if recorded(options.record, run.name, seed):
                    continue
                fields = _fields(options, recipe, seed)
                words = [w for field, value in fields.items() for w in (f"--{field}", value)]
                resume = ["--resume"] if (run / "state").exists() else ["--force"] if run.exists() else []
                predella("train", recipe, *source, *words, "--out", str(run), *resume)
                predella("evaluate", str(run), *source, "--part", options.test, "--record", str(options.record))
        if task in GIVEN and not recorded(options.record, GIVEN[task], None):
            predella("evaluate", GIVEN[task], *source, *box, "--part", options.test, "--record", str(options.record))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tower_table")
    parser.add_argument("--data", required=True, help="pictures of faces")
    parser.add_argument("--box", default="", help="cut from each picture first: left,top,right,bottom")
    parser.add_argument("--train", required=True, help="first,last picture of training")
    parser.add_argument("--test", required=True, help="first,last picture of measuring")
    parser.add_argument("--terms", default="", help="of the pictures")
    parser.add_argument("--tasks", nargs="+", default=["sr16", "color", "jpeg"])
    parser.add_argument("--rows", nargs="+", default=["", "cimle", "regression"], help="'' is the tower itself")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--steps", type=int, default=240)
    parser.add_argument("--times", type=int, default=1, help="as many candidates as the recipe's (default: 1)")
    parser.add_argument("--deeper", action="store_true", help="one more level, half as fine as the coarsest")
    parser.add_argument("--levels", default="", help="of the tower, as JSON (default: the recipe's); wants --named")
    parser.add_argument("--muon", default="", help="learning rate of Muon (default: the recipe's)")
    parser.add_argument("--unnormalised", action="store_true", help="without weight normalisation; wants --muon 0.02")
    parser.add_argument("--pool", type=int, default=10)
    parser.add_argument("--replay", type=int, default=4)
    parser.add_argument("--distance", default="", help="features that train, such as vgg16 (default: the recipe's)")
    parser.add_argument("--below", type=float, default=1.0, help="weight of each level below the last, where all are supervised")
    parser.add_argument("--precision", default="", help="of training, such as bf16 (default: the recipe's)")
    parser.add_argument("--named", default="", help="what follows the steps in a row's name (default: the settings)")
    parser.add_argument("--out", type=Path, default=Path("runs/tower_table"))
    parser.add_argument("--record", type=Path, default=RECORD)
    return parser.parse_args()


def _fields(options: argparse.Namespace, recipe: str, seed: int) -> dict[str, str]:
    """Of the recipe, what the options change."""
    fields = {"data.part": options.train, "data.edge": "64", "augment.shrink": "1", "data.terms": options.terms, "data.box": options.box,
              "seed": str(seed), "stages.0.steps": str(options.steps), "stages.0.objective.pool": str(options.pool),
              "stages.0.objective.replay": str(options.replay), "stages.0.objective.distance": options.distance,
              "stages.0.optim.generator.muon_lr": options.muon, "model.weight_norm": "false" * options.unnormalised,
              "model.levels": options.levels, "precision": options.precision}  # fmt: skip
    if options.deeper:
        fields |= _deeper(recipe)
    fields = {k: v for k, v in fields.items() if v}
    objective = override(find_recipe(recipe)(), fields).stages[0].objective
    assert isinstance(objective, TowerObjectiveConfig)
    if options.times > 1 and not recipe.endswith("_regression"):
        fields["stages.0.objective.samples"] = json.dumps([options.times * m for m in objective.samples])
    if options.below != 1 and objective.supervise == "all":
        fields["stages.0.objective.weights"] = json.dumps([options.below] * (len(objective.samples) - 1) + [1.0])
    return fields


def _made(options: argparse.Namespace) -> str:
    """What a row's name says of its settings."""
    if options.named:
        return f"_{options.named}"
    return (
        f"_{options.distance}" * bool(options.distance)
        + f"_x{options.times}" * (options.times > 1)
        + "_deeper" * options.deeper
        + f"_muon{options.muon}" * bool(options.muon)
        + "_unnormalised" * options.unnormalised
        + f"_below{options.below:g}" * (options.below != 1)
        + f"_{options.precision}" * bool(options.precision)
    )


def _deeper(recipe: str) -> dict[str, str]:
    """Fields of a network whose coarsest level stands twice, with as many candidates a level as four levels have."""
    made = find_recipe(recipe)()
    objective = made.stages[0].objective
    assert isinstance(made.model, TowerConfig) and isinstance(objective, TowerObjectiveConfig)
    if len(made.model.levels) != len(FOUR) - 1:
        raise SystemExit(f"--deeper is for towers of {len(FOUR) - 1} levels, {recipe} has {len(made.model.levels)}; leave it out")
    each = FOUR if objective.sampling == "hierarchical" else (math.ceil(sum(FOUR) / len(FOUR)),) * len(FOUR)
    each = (1,) * len(FOUR) if made.model.regression else each
    levels = [asdict(level) for level in (made.model.levels[0], *made.model.levels)]
    return {"model.levels": json.dumps(levels), "stages.0.objective.samples": json.dumps(each)}


if __name__ == "__main__":
    main()
