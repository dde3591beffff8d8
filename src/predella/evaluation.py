"""Evaluate a run, a shipped model or a baseline on named sets; every row says how it was made."""

import logging
import math
import os
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path

from predella.apps.device import placed
from predella.data.images import Source, count_pictures
from predella.errors import UserError
from predella.metrics import filling
from predella.models.base import PRETRAINED, Model, find_source, load
from predella.protocols import Asked, as_given, measure_by
from predella.recipe import Recipe, read_recipe
from predella.train.log import append_row, environment, last_step

log = logging.getLogger(__name__)
BASELINES = {"bicubic": "super_resolution", **dict.fromkeys(filling.CLASSICAL, "fill")}
OWN_PATCHES = {"patch": 128}  # varied without a network, the longest edge in pixels
SERVES = {  # options → what they are for, and the measures that have a use for them
    "ensemble": ("enlarging", ("super_resolution",)),
    "scales": ("enlarging", ("super_resolution",)),
    "features": ("answers, blends and densities", ("restoration", "blends", "density")),
    "samples": ("variations and densities", ("internal", "density")),
    "tune": ("internal learning", ("internal",)),
    "conditions": ("a tower's answers", ("restoration",)),
}
SETS = {"super_resolution": ["Set5", "Set14", "B100"], "fill": ["B100"]}
OWN = (
    "faces",
    "digits",
    "classes",
    "restoration",
    "internal",
    "density",
    "points",
    "blends",
)  # measured on pictures like those of training


def evaluate(run: str, data: list[str] | None = None, asked: Asked | None = None, *, command: str = "",
             record: Path | None = None, named: Collection[str] = ()) -> Iterator[dict]:  # fmt: skip
    """Rows {"run", "set", "ask", "measure", "value", "images", "protocol", "command", "commit", "seed", "hardware", …}.

    A value that is not finite is None. Each row is appended to the run's metrics.jsonl (not for baselines and shipped models) and to
    `record`. Options that the run's measure has no use for are refused if they differ from their defaults, or are `named` ("--features").
    """
    asked = asked or Asked()
    kind, recipe, folder, training = _what(run)
    for option, (what, kinds) in SERVES.items():
        useless = kind not in kinds or (option == "tune" and folder is None)
        if useless and (f"--{option}" in named or getattr(asked, option) != getattr(Asked, option)):
            raise UserError(f"--{option} is for {what}; {run} is measured by '{kind}': leave it out")
    steps = _along(run, folder) if asked.curve else []
    whole = [] if asked.curve else [({}, measure_by(kind, run, _model(folder), asked, recipe))]
    made = {k: v for k, v in environment(command).items() if k in ("predella", "commit", "command", "hardware", "torch")}
    own = folder is not None and Path(run).exists() and (folder / "recipe.json").exists() and not folder.is_relative_to(PRETRAINED)
    name = Path(os.path.abspath(run) if own else run).name + ("+ensemble" if asked.ensemble else "")
    source = recipe.data if recipe is not None and kind in OWN else Source(smallest=16, longest=OWN_PATCHES.get(run, 0))
    if asked.box is not None:
        source = replace(source, box=asked.box)
    if source.box:
        log.info("each picture is cut to the box %s; other pictures want another --box, or --box none", ",".join(map(str, source.box)))
    for one in data or []:
        count_pictures(one)  # that all are there, before the first is measured
    for one in data or SETS.get(kind) or list(source.paths):
        try:
            images = replace(source, paths=(one,), part=asked.part).open()
        except UserError as error:
            if data:
                raise
            raise UserError(f"{run} is measured on {one} unless --data names other pictures, and: {error}") from None
        seen = recipe is not None and kind in OWN and _overlap(recipe, one, asked.part)
        if seen:
            log.warning("%s: these pictures were trained on; give others with --data or --part", one)
        measures = whole or ((at, measure_by(kind, run, _model(one), asked, recipe)) for at, one in steps)  # one model at a time
        for row in (row | at for at, measure in measures for row in measure(images)):
            of = {"run": name, "set": _set_name(one) + " (trained on)" * seen}
            row["value"] = row["value"] if math.isfinite(row["value"]) else None  # JSON has no infinity, the PSNR of equal pictures
            full = {**of, **row, "seed": None if recipe is None else recipe.seed, **made, **training}
            if own:
                append_row(folder / "metrics.jsonl", full)
            if record is not None:
                append_row(record, full)
            yield full


def _overlap(recipe: Recipe, path: str, part: tuple[int, ...]) -> bool:
    """Whether pictures of `path` were among those of training, as far as paths and parts tell; parts count over joined paths."""
    first, last = recipe.data.part or (0, 1 << 62)
    for mine in recipe.data.paths:
        if _holds(Path(mine), Path(path)):
            here = part or (0, 1 << 62)
            return max(0, first) < here[1] and here[0] < last
        if recipe.data.part and len(recipe.data.paths) > 1:
            try:
                before = count_pictures(mine)
                first, last = first - before, last - before
            except UserError:  # not at hand: what follows may begin anywhere
                first, last = -(1 << 62), 1 << 62
    return False


def _holds(mine: Path, other: Path) -> bool:
    """Whether pictures of `other` are among those of `mine`; of a place that is not here (any more) its last name decides."""
    if not mine.exists():
        return mine.name == other.name
    return other.resolve().is_relative_to(mine.resolve()) or mine.resolve().is_relative_to(other.resolve())


def _model(folder: Path | None) -> Model | None:
    return None if folder is None else placed(load(folder))


def _along(run: str, folder: Path | None) -> list[tuple[dict, Path]]:
    """({"at": step}, its folder) of each kept checkpoint."""
    kept = sorted((folder / "checkpoints").glob("step-*")) if folder is not None else []
    if not kept:
        raise UserError(f"{run} has no checkpoints; train with --keep-every STEPS to draw a learning curve")
    return [({"at": int(one.name.removeprefix("step-"))}, one) for one in kept]


def _set_name(path: str) -> str:
    """`…/Set5/HR` is Set5; `mnist.npz#x_test` is mnist x_test."""
    path, _, key = path.partition("#")
    parts = [p for p in Path(path).parts if p not in ("HR", "/", "..", ".")]
    return (Path(parts[-1]).stem if parts else path) + (f" {key}" if key else "")


def _what(run: str) -> tuple[str, Recipe | None, Path | None, dict]:
    if run in BASELINES:
        return BASELINES[run], None, None, {}
    if as_given(run) is not None:
        return "restoration", None, None, {}
    if run in OWN_PATCHES:
        return "internal", None, None, {}
    folder = find_source(run)
    if not (folder / "recipe.json").exists():
        raise UserError(f"{run} has no recipe.json that says how to measure it; evaluate a folder made by `predella train`")
    recipe = read_recipe((folder / "recipe.json").read_text())
    last = last_step(folder)
    minutes = round(last["elapsed_s"] / 60, 1) if "elapsed_s" in last else None
    return recipe.measures, recipe, folder, {"steps": last.get("step"), "minutes": minutes}
