"""Tables 2–5 of the tower at small scale: trains and measures every row that the record lacks, by the command line.

    python -m benchmarks.tower_table --data FACES --box L,T,R,B --train 0,9000 --test 9000,10000     # 2 CPU cores, hours
    python -m benchmarks.tower_table … --tasks sr16 --rows cimle --seeds 1 --steps 100
    python -m benchmarks.tower_table … --named lpips --set stages.0.objective.distance=vgg16 precision=bf16

Faces of 64 pixels; a row is one training of `--steps` steps, with as many evaluations of levels to choose codes, and one
evaluation. Rows "" (the tower), cimle, cimle_single, regression, and the ablations no_hs, no_hs_mn, no_hs_mn_is, no_hs_mn_is_wn;
beside them the input by itself. `--set` changes fields of the task's tower; the other rows are made of the tower so changed, so they
have as many parameters and evaluations as it has then. Rows that are so made are known by what `--named` says. Stop it at any time:
what is in the record is not done again.
"""

import argparse
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from benchmarks.tables import goes_on, predella, recorded
from predella.recipe import Recipe, override
from predella.recipes import find_recipe, tower_variants

GIVEN = {"sr16": "bicubic_16", "color": "grey", "jpeg": "jpeg"}
RECORD = Path("results/tower_table.jsonl")


def main() -> None:
    options = _options()
    settings = dict(field.split("=", 1) for field in options.set if "=" in field)
    if len(settings) != len(options.set) or (settings and not options.named):
        raise SystemExit("--set takes FIELD=VALUE, each field once, and wants --named, for rows are known by their names")
    if named := {"seed", "stages.0.steps"} & settings.keys():
        raise SystemExit(f"{', '.join(sorted(named))}: rows are named by them; set them by --seeds and --steps")
    source = ["--data", options.data]
    box = ["--box", options.box] if options.box else []
    asked = {"--part": options.test} | ({"--conditions": options.conditions} if options.conditions else {})
    measured = [word for option in asked.items() for word in option] + ["--record", str(options.record)]
    for task in options.tasks:
        for seed in options.seeds:
            for row in options.rows:
                recipe = f"tower_{task}" + f"_{row}" * bool(row)
                run = options.out / f"seed{seed}" / (f"{recipe}_{options.steps}" + f"_{options.named}" * bool(options.named))
                if recorded(options.record, run.name, seed, asked=asked):
                    continue
                pictures = {"data.part": options.train, "data.box": options.box, "data.terms": options.terms}
                fields = {"seed": str(seed), "stages.0.steps": str(options.steps), **settings}
                changed = changes(find_recipe(recipe)(), made(task, row, {k: v for k, v in (pictures | fields).items() if v}))
                words = [w for field, value in changed.items() for w in (f"--{field}", value)]
                predella("train", recipe, *source, *words, "--out", str(run), *goes_on(run))
                predella("evaluate", str(run), *source, *measured)
        if task in GIVEN and not recorded(options.record, GIVEN[task], None, asked=asked):
            predella("evaluate", GIVEN[task], *source, *box, *measured)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tower_table")
    parser.add_argument("--data", required=True, help="pictures of faces")
    parser.add_argument("--box", default="", help="cut from each picture first: left,top,right,bottom")
    parser.add_argument("--train", required=True, help="first,last picture of training")
    parser.add_argument("--test", required=True, help="first,last picture of measuring")
    parser.add_argument("--conditions", default="", help="of how many of these answers are compared (default: all)")
    parser.add_argument("--terms", default="", help="of the pictures")
    parser.add_argument("--tasks", nargs="+", default=["sr16", "color", "jpeg"])
    parser.add_argument("--rows", nargs="+", default=["", "cimle", "regression"], help="'' is the tower itself")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--steps", type=int, default=240)
    parser.add_argument("--set", nargs="+", default=[], metavar="FIELD=VALUE", help="of the tower's recipe")
    parser.add_argument("--named", default="", help="what follows the steps in a row's name")
    parser.add_argument("--out", type=Path, default=Path("runs/tower_table"))
    parser.add_argument("--record", type=Path, default=RECORD)
    return parser.parse_args()


def made(task: str, row: str, fields: dict[str, str]) -> Recipe:
    """The recipe of a row: of the task's tower at 64 pixels, with `fields` set, the variant that the row names."""
    small = {"data.edge": "64", "augment.shrink": "1", "stages.0.objective.pool": "10", "stages.0.objective.replay": "4"}
    whole = override(find_recipe(f"tower_{task}")(), small | fields)
    return replace(getattr(tower_variants, row)(whole), name=f"tower_{task}_{row}") if row else whole


def changes(old: Recipe, new: Recipe) -> dict[str, str]:
    """What `predella train` must be told to make `new` of `old`: dotted field → word."""
    before, after = (dict(_leaves(asdict(recipe))) for recipe in (old, new))
    return {field: word for field, word in after.items() if before.get(field) != word}


def _leaves(value: Any, path: str = ""):
    """(dotted field, word) of a recipe's values; those of a model's levels and other rows of numbers are one word."""
    nested = value.items() if isinstance(value, dict) else enumerate(value) if path == "stages" else None
    if nested is None:
        yield path, value if isinstance(value, str) else json.dumps(value)
        return
    for key, inner in nested:
        yield from _leaves(inner, f"{path}.{key}" if path else str(key))


if __name__ == "__main__":
    main()
