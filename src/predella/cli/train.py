"""Train a recipe on your pictures.

predella train RECIPE [--data SRC …] [--out DIR] [--smoke] [--resume] [--dry-run] [--any.recipe.field VALUE]

Any field of the recipe, by its path: --stages.0.steps 1000, --model.memory flat, --seed 1, --start RUN (begin with a run's
weights); `predella train RECIPE --dry-run` prints them all.

Several processes: torchrun --nproc-per-node 2 -m predella train RECIPE …
"""

import ctypes
import os
import shlex
import sys
from dataclasses import replace
from pathlib import Path

TAKES_FIELDS = True


def add_arguments(parser) -> None:
    parser.add_argument("recipe", help="a name from `predella list recipes`, or a recipe.json")
    parser.add_argument("--data", nargs="+", metavar="SRC", help="folders, zips, npz, lists, images, photos, digits, or named sets")
    parser.add_argument("--out", type=Path, help="the run folder (default: runs/RECIPE, with --smoke runs/RECIPE-smoke)")
    parser.add_argument("--smoke", action="store_true", help="the recipe's seconds-long variant")
    parser.add_argument("--resume", action="store_true", help="go on from the run folder's last state")
    parser.add_argument("--force", action="store_true", help="start again in a folder that holds a run")
    parser.add_argument("--dry-run", action="store_true", help="print the resolved recipe and stop")
    parser.add_argument("--weights", type=Path, metavar="DIR", help="where LPIPS' weights are (default: $PREDELLA_WEIGHTS, else fetched)")
    parser.add_argument("--cpu", action="store_true", help="do not use an accelerator")


def run(options, rest: list[str]) -> int:
    from predella.errors import UserError, not_found
    from predella.recipe import override
    from predella.recipes import RECIPES, find_recipe
    from predella.run import start
    from predella.train.checkpoint import STATE
    from predella.train.trainer import Interrupted, NotFinite

    folder = options.out
    if options.recipe.isdigit():
        raise UserError(f"'{options.recipe}' is no recipe; write the recipe's name first, then its fields")
    changes = fields_of(rest)
    if options.data:
        if "data.paths" in changes:
            raise UserError("--data and --data.paths say the same; give one of them")
        changes["data.paths"] = _json(options.data)
    if options.resume and folder is None:
        beside = Path(options.recipe).parent
        recorded = options.recipe.endswith(".json") and (beside / STATE).exists()
        folder = beside if recorded else Path("runs") / (options.recipe + "-smoke" * options.smoke)
    if options.resume and options.force:
        raise UserError("--resume goes on with a run, --force replaces it; give one of them")
    if options.resume and (folder / "recipe.json").exists():
        recipe = _recorded(folder / "recipe.json")
        if options.recipe in RECIPES:
            recipe = _going_on(recipe, RECIPES[options.recipe](smoke=options.smoke))
    elif options.recipe.endswith(".json"):
        if not Path(options.recipe).exists():
            raise not_found(options.recipe, "give a recipe's name or its recorded recipe.json")
        recipe = _recorded(Path(options.recipe))
    else:
        recipe = find_recipe(options.recipe)(smoke=options.smoke)
    recipe = override(recipe, changes)
    if options.dry_run:
        print(recipe.to_json(), end="")
        return 0
    keep_freed_memory()
    if options.weights:
        os.environ["PREDELLA_WEIGHTS"] = str(options.weights)
    command = "predella " + shlex.join(sys.argv[1:])
    if options.resume and recipe.name != options.recipe and not options.recipe.endswith(".json"):
        raise UserError(f"{folder} holds a run of {recipe.name}, not of {options.recipe}; name that recipe, or another --out")
    try:
        start(
            recipe,
            folder or Path("runs") / (recipe.name + "-smoke" * options.smoke),
            command,
            resume=options.resume,
            force=options.force,
            cpu=options.cpu,
        )
    except Interrupted as error:
        print(f"predella: {error}", file=sys.stderr)
        return 130
    except NotFinite as error:
        raise UserError(f"{error}; {error.kept}") from None
    except ValueError as error:  # a config that its own parts refuse
        raise UserError(str(error)) from None
    return 0


def _recorded(file: Path):
    """The recipe of a recorded recipe.json.

    Raises:
        UserError: it can't be read; the line names it.
    """
    from predella.errors import UserError
    from predella.recipe import read_recipe

    try:
        return read_recipe(file.read_text())
    except (UserError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: {error}; restore that file, or train anew into another --out") from None


def keep_freed_memory() -> None:
    """Have glibc keep what tensors leave, which it would hand back and ask for anew at each step: 1.35 times as fast on 2 cores."""
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # not in every C library
        if mallopt:
            for parameter, value in ((-3, 2**30), (-1, 2**31 - 1)):  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD
                mallopt(parameter, value)


def _going_on(before, named):
    """The recorded recipe with the stages that `named` has beyond it: its own later form, or one that begins like it."""
    stages = (*before.stages, *named.stages[len(before.stages) :])
    begins = all(replace(a, steps=1) == replace(b, steps=1) for a, b in zip(before.stages, named.stages))
    if before.name != named.name and before.model == named.model and begins and len(named.stages) > len(before.stages):
        return replace(before, name=named.name, stages=stages)
    return replace(before, stages=stages) if before.name == named.name else before


def fields_of(rest: list[str]) -> dict[str, str]:
    """`--a.b 3 --c=4` → {"a.b": "3", "c": "4"}."""
    from predella.errors import UserError

    changes, words = {}, list(rest)
    while words:
        word = words.pop(0)
        if not word.startswith("--"):
            raise UserError(f"'{word}' is not an option; recipe fields are written --field VALUE")
        name, equals, value = word[2:].partition("=")
        name = name.replace("-", "_")
        if not equals:
            if not words:
                raise UserError(f"--{name} needs a value; write --{name} VALUE")
            value = words.pop(0)
        if name in changes:
            raise UserError(f"--{name} is given twice; only the last would count")
        changes[name] = value
    return changes


def _json(values: list[str]) -> str:
    import json

    return json.dumps(values)
