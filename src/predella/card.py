"""The model card of a run folder: data, terms, steps, time, hardware, seed, protocol and measured numbers."""

import json
from pathlib import Path

from predella.train.log import last_step, read_rows

START = "start"  # folder of the records of the run that a run's weights come from


def model_card(folder: Path) -> str:
    """Markdown from the folder's recipe.json, environment.json, metrics.jsonl."""
    recipe = json.loads((folder / "recipe.json").read_text())
    environment = json.loads((folder / "environment.json").read_text())
    last = last_step(folder)
    measured = _measured(folder, last.get("step"))
    lines = [
        "<!-- made by predella; do not edit -->",
        "",
        f"# {recipe['name']}",
        "",
        f"Trained by `{environment['command']}` (commit {environment['commit'] or 'unknown'}, predella {environment['predella']},"
        f" torch {environment['torch']}).",
        *_started(folder / START),
        *(f"Then by `{again['command']}` (commit {again['commit'] or 'unknown'})." for again in environment.get("resumed", [])),
        "",
        "| | |",
        "|---|---|",
        f"| data | {', '.join(Path(p).name for p in recipe['data']['paths'])} |",
        f"| terms of the data | {recipe['data'].get('terms') or 'see the owners of the data'} |",
        f"| steps | {last.get('step', 0):,} ({'; '.join(map(_stage, recipe['stages']))}) |",
        f"| time | {last.get('elapsed_s', 0) / 60:.0f} min |",
        f"| hardware | {environment['hardware']} |",
        f"| seed | {recipe['seed']} |",
        "",
    ]
    if measured:
        lines += ["Measured (the protocol is in the name):", "", "| set | ask | measure | value |", "|---|---|---|---|"]
        asks = [r["ask"] + (" (four rotations)" if r["run"].endswith("+ensemble") else "") for r in measured]
        values = ["–" if r["value"] is None else f"{r['value']:.4g}" for r in measured]
        lines += [f"| {r['set']} | {ask} | {r['measure']} | {value} |" for r, ask, value in zip(measured, asks, values)]
        protocols = dict.fromkeys(r["protocol"] for r in measured)
        lines += ["", *[f"* Protocol: {p}." for p in protocols], ""]
    return "\n".join(lines)


def _measured(folder: Path, step: int | None) -> list[dict]:
    """What was measured of the model as it is: of rows that measure the same thing the last, none of earlier steps."""
    rows: dict[tuple, dict] = {}
    for row in read_rows(folder / "metrics.jsonl"):
        if "protocol" in row and "at" not in row and row.get("steps") in (None, step):
            key = tuple(row.get(k) for k in ("run", "set", "ask", "measure", "protocol"))
            rows.pop(key, None)
            rows[key] = row
    return list(rows.values())


def _started(records: Path) -> list[str]:
    """Where the first weights come from: one line a run, the nearest first."""
    if not (records / "environment.json").exists():
        return []
    about = json.loads((records / "environment.json").read_text())
    last = last_step(records)
    how = f"{last['step']:,} steps, {last['elapsed_s'] / 60:.0f} min" if last else "how long is not recorded"
    return [
        f"It started from the weights of `{about['command']}` (commit {about['commit'] or 'unknown'}; {how}).",
        *_started(records / START),
    ]


def _stage(stage: dict) -> str:
    return f"{stage['name']}: {stage['steps']:,} of " + (f"batch {stage['batch_size']}" if stage["batch_size"] else "all pictures")
