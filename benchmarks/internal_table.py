"""Tables 1–3 of meta internal learning at small scale: trains and measures every row that the record lacks, by the command line.

    python -m benchmarks.internal_table --data PICTURES --few 0,3 --many 0,40 --unseen 40,49     # 2 CPU cores, hours
    python -m benchmarks.internal_table … --rows batch_2 batch_5 --steps 300 --window 32 --named short

Rows: plain (the single-image GAN, a training a picture) and single (a hypernetwork a picture), means over the pictures `--few`;
batch_K (the first K pictures together; _dense: the paper's heads, and its rate), dataset (the pictures `--many` together), photos (the
shipped model of hundreds, not trained here, without and with `--tune` steps of each picture's own) and patch (nearest patches), on the
same few; dataset, photos and patch on the pictures `--unseen`, too, the first with tuning as well. Minutes are those of training by
picture, with all runs that a run began from, and those of tuning. Stop it at any time: what is in the record is not done again. Rows of
other steps, windows or numbers of samples are known by what `--named` says.
"""

import argparse
import json
import shlex
import subprocess
import sys
from pathlib import Path

from benchmarks.tables import trained, windowed
from predella.atomic import write_text
from predella.card import START, last_step
from predella.metrics.fidelity import mean
from predella.models.base import find_source
from predella.recipe import read_recipe
from predella.recipes.meta_internal import MODEL, RECIPES

BATCHES = tuple(f"batch_{k}{heads}" for heads in ("", "_dense") for k in range(1, 6))
ROWS = ("plain", "single", *BATCHES, "dataset", "photos", "patch")
USUAL = ("plain", "single", "batch_1", "batch_3", "batch_5", "dataset", "photos", "patch")
DENSE_RATE = "5e-5"  # the paper's, of dense heads and of the encoder
SHIPPED = "meta_internal_photos"
SAMPLES = 20


def main() -> None:
    options = _options()
    if (options.steps or options.window or options.more or options.samples != SAMPLES) and not options.named:
        raise SystemExit("--steps, --window, --more and --samples want --named, for rows are known by their names")
    first, last = options.few
    for row in options.rows:
        kind, size = (*row.split("_"), "")[:2]
        if kind in ("plain", "single"):
            parts = [(i, i + 1) for i in range(first, last)]
        else:
            parts = [(first, first + int(size)) if size else options.many]
        given = {"patch": "patch", "photos": SHIPPED}.get(row)
        runs = [given or _trained(options, row, kind, part) for part in parts]
        few = (first, min(last, parts[0][1])) if kind == "batch" else options.few
        for tune in (0, options.tune) if row == "photos" else (0,):
            _measure(options, row, runs, parts if len(runs) > 1 else [few], tune)
        for tune in (0, options.tune) if row in ("dataset", "photos") else (0,) if row == "patch" else ():
            _measure(options, row, runs, [options.unseen], tune)


def _trained(options: argparse.Namespace, row: str, kind: str, part: tuple[int, int]) -> str:
    """The folder of a run on pictures FIRST … LAST - 1, trained now if it is not there."""
    out = options.out / f"seed{options.seed}" / (f"{row}_{part[0]}" + f"_{options.named}" * bool(options.named))
    recipe, scales = f"meta_internal_{kind}", range(MODEL.scales)
    fields = {"data.part": f"{part[0]},{part[1]}", "data.terms": options.terms, "seed": str(options.seed)}
    if options.steps:
        fields |= {f"stages.{i}.steps": str(options.steps) for i in range(len(RECIPES[recipe]().stages))}
    fields |= windowed(options.window, MODEL.scales)
    if row.endswith("_dense"):
        fields["model.heads"] = "dense"
        parts, rates = ("generator", "critic"), ("lr", "slow_lr")
        fields |= {f"stages.{i}.optim.{p}.{rate}": DENSE_RATE for i in scales for p in parts for rate in rates}
    return str(trained(out, recipe, options.data, fields, options.more))


def _measure(options: argparse.Namespace, row: str, runs: list[str], parts: list[tuple[int, int]], tune: int) -> None:
    """Append the means over `runs`, each measured on its part, if the record lacks them."""
    among = f"{Path(options.data).stem} {parts[0][0]}–{parts[-1][1]}"
    name = (row if row == "patch" else f"meta_internal_{row}") + f"_{options.named}" * bool(options.named) + f", tuned {tune}" * bool(tune)
    if any((r["run"], r["set"], r["seed"]) == (name, among, options.seed) for r in _rows(options.record)):
        return
    found: dict[str, list[dict]] = {}
    for run, part in zip(runs, parts, strict=True):
        words = ["evaluate", run, "--data", options.data, "--part", f"{part[0]},{part[1]}",
                 "--samples", str(options.samples), "--json", "--seed", str(options.seed)]  # fmt: skip
        if tune:
            words += ["--tune", str(tune)]
        for measured in json.loads(_evaluated(*words))["rows"]:
            found.setdefault(measured["measure"], []).append(measured)
    minutes = None
    if row != "patch":
        took, pictures = (sum(x) for x in zip(*map(_cost, runs)))
        tuning = mean([m["value"] for m in found["tuning_seconds"]]) / 60 if tune else 0.0
        minutes = round(took / pictures + tuning, 2)
        protocol = f"wall clock of training on {pictures} pictures, by picture" + ", and of tuning" * bool(tune)
        found["minutes_per_picture"] = [{**found[next(iter(found))][-1], "value": minutes, "images": pictures, "protocol": protocol}]
    rows = _rows(options.record)
    for measure, measured in found.items():
        values = {"value": mean([m["value"] for m in measured]), "images": sum(m["images"] for m in measured)}
        made = {"command": "python -m benchmarks.internal_table " + shlex.join(sys.argv[1:]), "minutes": minutes}
        rows.append({**measured[-1], "run": name, "set": among, "measure": measure, "seed": options.seed, **values, **made})
    write_text(options.record, "".join(f"{json.dumps(row)}\n" for row in rows))  # all of them, or none


def _cost(run: str) -> tuple[float, int]:
    """Minutes that a run and those it began from were trained, and on how many pictures the last was."""
    folder = find_source(run)
    first, last = read_recipe((folder / "recipe.json").read_text()).data.part
    seconds = 0.0
    while (folder / "metrics.jsonl").exists():
        seconds += last_step(folder)["elapsed_s"]
        folder = folder / START
    return seconds / 60, last - first


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.internal_table")
    parser.add_argument("--data", required=True, help="a folder of pictures")
    parser.add_argument("--few", type=_part, default=(0, 3), help="first,last picture that all rows are measured on (default: 0,3)")
    parser.add_argument("--many", type=_part, default=(0, 40), help="first,last picture of the data set (default: 0,40)")
    parser.add_argument("--unseen", type=_part, default=(40, 49), help="first,last picture of those held out (default: 40,49)")
    parser.add_argument("--terms", default="", help="of the pictures")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(USUAL))
    parser.add_argument("--steps", type=int, default=0, help="a stage (default: those of the recipes)")
    parser.add_argument("--window", type=int, default=0, help="pixels that a step looks at from the second scale on (default: 0 = all)")
    parser.add_argument("--samples", type=int, default=SAMPLES, help=f"of each picture (default: {SAMPLES})")
    parser.add_argument("--tune", type=int, default=50, help="steps (default: 50)")
    parser.add_argument("--more", default="", help="further options of predella train, in one argument")
    parser.add_argument("--named", default="", help="what follows a row's name")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/internal_table"))
    parser.add_argument("--record", type=Path, default=Path("results/internal_table.jsonl"))
    return parser.parse_args()


def _part(text: str) -> tuple[int, int]:
    first, last = text.split(",")
    return int(first), int(last)


def _rows(record: Path) -> list[dict]:
    return [json.loads(line) for line in record.read_text().splitlines()] if record.exists() else []


def _evaluated(*words: str) -> str:
    """What it prints; progress goes through."""
    print("predella", *words, flush=True)
    return subprocess.run([sys.executable, "-m", "predella", *words], check=True, stdout=subprocess.PIPE, text=True).stdout


if __name__ == "__main__":
    main()
