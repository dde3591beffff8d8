"""Evaluate a run, a shipped model or a baseline on named sets; every row says how it was made."""

import json
from collections.abc import Iterator
from pathlib import Path

from torch import Tensor

from predella.apps.device import device_of, placed
from predella.apps.fill import fill as fill_picture
from predella.data.images import Source
from predella.errors import UserError
from predella.image.files import Picture
from predella.metrics import filling
from predella.metrics import super_resolution as sr
from predella.models.base import PRETRAINED, find_source, load
from predella.models.functional_image import FunctionalImage
from predella.recipe import read_recipe
from predella.train.log import environment

BASELINES = {"bicubic": "super_resolution", **dict.fromkeys(filling.CLASSICAL, "fill")}
SETS = {"super_resolution": ["Set5", "Set14", "B100"], "fill": ["B100"]}


def evaluate(run: str, data: list[str] | None = None, *, command: str = "", scales: tuple[float, ...] | None = None,
             ensemble: bool = False, record: Path | None = None) -> Iterator[dict]:  # fmt: skip
    """Rows {"run", "set", "ask", "measure", "value", "images", "protocol", "command", "commit", "seed", "hardware", …}.

    Each row is appended to the run's metrics.jsonl (not for baselines and shipped models) and to `record`.
    """
    kind, seed, folder, training = _what(run)
    if ensemble and kind != "super_resolution":
        raise UserError(f"--ensemble is for enlarging; {run} is measured by '{kind}'")
    model = None if folder is None else placed(load(folder))
    if kind == "super_resolution":
        enlarge = sr.bicubic if model is None else lambda x, size: model(x.to(device_of(model)), size).cpu()
        enlarge = sr.ensemble(enlarge) if ensemble else enlarge
        rows = lambda images: sr.measure(enlarge, images, scales or sr.SCALES)  # noqa: E731
    else:
        fill = filling.CLASSICAL[run] if model is None else lambda x, known: _fill(model, x, known)
        rows = lambda images: filling.measure(fill, images)  # noqa: E731
    made = {k: v for k, v in environment(command).items() if k in ("predella", "commit", "command", "hardware", "torch")}
    name = Path(run).name + ("+ensemble" if ensemble else "")
    for one in data or SETS[kind]:
        images = Source(paths=(one,), smallest=16).open()
        for row in rows(images):
            full = {"run": name, "set": _set_name(one), **row, "seed": seed, **made, **training}
            if folder is not None and (folder / "recipe.json").exists() and not folder.is_relative_to(PRETRAINED):
                _append(folder / "metrics.jsonl", full)
            if record is not None:
                _append(record, full)
            yield full


def _fill(model: FunctionalImage, image: Tensor, known: Tensor) -> Tensor:
    """As a user gets it, by tiles."""
    return fill_picture(Picture(image), known, model).pixels


def _set_name(path: str) -> str:
    """`…/Set5/HR` is Set5."""
    parts = [p for p in Path(path).parts if p not in ("HR", "/", "..", ".")]
    return Path(parts[-1]).stem if parts else path


def _what(run: str) -> tuple[str, int | None, Path | None, dict]:
    if run in BASELINES:
        return BASELINES[run], None, None, {}
    folder = find_source(run)
    if not (folder / "recipe.json").exists():
        raise UserError(f"{run} has no recipe.json that says how to measure it; evaluate a folder made by `predella train`")
    recipe = read_recipe((folder / "recipe.json").read_text())
    file = folder / "metrics.jsonl"
    steps = [json.loads(r) for r in file.read_text().splitlines() if '"protocol"' not in r] if file.exists() else []
    last = steps[-1] if steps else {}
    minutes = round(last["elapsed_s"] / 60, 1) if "elapsed_s" in last else None
    return recipe.measures, recipe.seed, folder, {"steps": last.get("step"), "minutes": minutes}


def _append(file: Path, row: dict) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with open(file, "a") as stream:
        stream.write(json.dumps(row) + "\n")
