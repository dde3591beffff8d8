"""What there is: predella list [recipes|models|tasks|metrics|pretrained] [--json]"""

import inspect
import json
from itertools import takewhile

KINDS = ("recipes", "models", "tasks", "metrics", "pretrained")


def add_arguments(parser) -> None:
    parser.add_argument("kind", nargs="?", help=", ".join(KINDS))
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(options, rest) -> int:
    from predella.errors import UserError, did_you_mean

    if options.kind is not None and options.kind not in KINDS:
        raise UserError(f"nothing is listed as '{options.kind}'{did_you_mean(options.kind, KINDS)}")
    kinds = KINDS if options.kind is None else (options.kind,)
    found = {kind: _rows(kind) for kind in kinds}
    if options.json:
        print(json.dumps(found))
        return 0
    for kind, rows in found.items():
        print(kind)
        rows = _grouped(rows) if kind == "recipes" else rows
        width = max((len(name) for name in rows), default=0)
        for name, text in rows.items():
            print(f"  {name:{width}}  {text}")
    return 0


def _grouped(rows: dict[str, str]) -> dict[str, str]:
    """Names with one text become one line: tower_color_cimle and tower_jpeg_cimle, tower_*_cimle."""
    names: dict[str, list[str]] = {}
    for name, text in rows.items():
        names.setdefault(text, []).append(name)
    return {group[0] if len(group) == 1 else _starred(group): text for text, group in names.items()}


def _starred(names: list[str]) -> str:
    """What all begin with, a star, what all end with."""

    def shared(words: list[str]) -> str:
        return "".join(c[0] for c in takewhile(lambda c: len(set(c)) == 1, zip(*words)))

    return f"{shared(names)}*{shared([n[::-1] for n in names])[::-1]}"


def _rows(kind: str) -> dict[str, str]:
    """Name → first line of what it says of itself."""

    def first(thing) -> str:
        return (thing.__doc__ or "").strip().splitlines()[0] if thing.__doc__ else ""

    if kind == "recipes":
        from predella.recipes import RECIPES

        return {name: first(function) for name, function in RECIPES.items()}
    if kind == "models":
        from predella.models.base import MODELS, model_class

        return {name: first(model_class(name)) for name in MODELS}
    if kind == "tasks":
        from typing import get_args

        from predella.recipe import Task

        return {task().kind: first(inspect.getmodule(task)) for task in get_args(Task)}
    if kind == "metrics":
        from predella.metrics.fidelity import LPIPS, METRICS
        from predella.metrics.sets import NAMES, STATISTICS
        from predella.metrics.sets import SHORT as INCEPTION

        pairs = {name: first(function) for name, function in METRICS.items()}
        pairs |= {
            name: f"(B,): LPIPS 0.1 of {which} (Zhang et al. 2018); its weights are foreign (--weights)" for name, which in LPIPS.items()
        }
        what = {"fd": "Fréchet distance", "kd": "kernel distance", "precision": "precision", "recall": "recall"}
        sets = {name: f"{what[statistic]} of two sets of images, Inception features" for name, (statistic, _) in INCEPTION.items()}
        sets |= {f"{s}_FEATURES": f"{what[s]} of two sets of images, FEATURES as below" for s in STATISTICS}
        return pairs | sets | {"FEATURES": ", ".join(name.removeprefix("fd_") for name in NAMES if name.startswith("fd_"))}
    from predella.models.base import PRETRAINED, list_pretrained

    return {name: f"{(PRETRAINED / name / 'model.safetensors').stat().st_size / 1e6:.1f} MB" for name in list_pretrained()}
