"""RESULTS.md from the recorded runs in results/*.jsonl: no number in it is typed by hand."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from statistics import mean, stdev

from predella.curves import curves_svg
from predella.errors import UserError, not_found

MARK = "<!-- made by predella; do not edit -->"
SETS = ("Set5", "Set14", "B100")
SCALES = ("x1.5", "x2", "x2.5", "x3", "x3.5", "x4", "x6", "x8")
HOLES = ("strokes", "boxes", "text")
TASKS = ("super_resolution", "colorization", "decompression", "pca", "layout")  # with many answers
TWINS = {"_cimle": "conditional IMLE", "_cimle_single": "conditional IMLE at a single scale"}  # part of a run's name → in words
OF_SETS = ("fd_", "fid_", "precision_", "recall_")  # measures that compare all pictures with all
COMPARED = ("fd_", "lpips_diversity", "faithful_variance")
MEASURED = ("run", "set", "ask", "measure", "value", "protocol")  # of a published figure its source instead of the protocol
BENCHMARK = ("run", "ask", "value", "command", "commit", "hardware")
Rows = list[dict]


def read_records(folder: Path) -> Rows:
    """All rows of the folder's .jsonl files; of rows that measure the same thing the last one counts.

    Raises:
        UserError: no such folder, nothing in it, or a line that is no JSON object.
    """
    files = sorted(Path(folder).glob("*.jsonl"))
    if not Path(folder).exists():
        raise not_found(folder)
    if not files:
        raise UserError(f"{folder} holds no .jsonl record; make some with `predella evaluate … --record {folder}/NAME.jsonl`")
    rows: dict[tuple, dict] = {}
    for file in files:
        for number, line in enumerate(file.read_text().splitlines(), 1):
            try:
                row = json.loads(line)
                needed = BENCHMARK if row["measure"] == "benchmark" else MEASURED[: -1 if "source" in row else None]
                if lacking := [field for field in needed if field not in row]:
                    raise KeyError(lacking)
                which = _pictures(row) if row["ask"] in TASKS else None  # answers to some and to other pictures stand side by side
                how = row["command"] if row["measure"] == "benchmark" else None  # with other options a benchmark measures something else
                key = (row["run"], row["set"], row["ask"], row["measure"], row.get("at"), row.get("seed"), which, how)
            except (ValueError, KeyError, TypeError):
                raise UserError(
                    f"{file}, line {number} is no record; each line is a JSON object with {', '.join(MEASURED)}, or of a benchmark "
                    f"{', '.join(BENCHMARK)}"
                ) from None
            rows.pop(key, None)
            rows[key] = row
    found = list(rows.values())
    seeds: dict[str, set] = {}
    for row in found:
        seeds.setdefault(row["run"], set()).add(row.get("seed"))
    shown = lambda r: f"{r['run']}, seed {r['seed']}" if len(seeds[r["run"]]) > 1 else r["run"]  # noqa: E731
    return [{**r, "run": shown(r), "name": r["run"]} for r in found]


def results(folder: Path) -> str:
    """RESULTS.md as text."""
    rows = read_records(folder)
    curve, rows = [r for r in rows if r.get("at") is not None], [r for r in rows if r.get("at") is None]
    parts = [MARK, "", "# Results", "", f"Made by `predella report` from the records in `{Path(folder).name}/`."]
    parts += ["Of several seeds: mean ± standard deviation (n - 1).", ""]
    parts += _enlarging([r for r in rows if r["measure"] in ("psnr_y", "ssim_y")])
    parts += _filling([r for r in rows if r["measure"] == "psnr_holes"])
    parts += _answering([r for r in rows if r["ask"] in TASKS])
    parts += _generating([r for r in rows if r["measure"] not in ("psnr_y", "ssim_y", "psnr_holes", "benchmark") and r["ask"] not in TASKS])
    for name in curves(curve):
        parts += [f"![Learning curves]({Path(folder).name}/{name})", ""]
    parts += _benchmarks([r for r in rows if r["measure"] == "benchmark"])
    return "\n".join(parts)


def curves(rows: Rows) -> dict[str, str]:
    """File name → SVG, one a measure, of the rows that were taken along a training ("at" is the step): distances, bits per dimension."""
    taken = [r for r in rows if r.get("at") is not None and r["value"] is not None]
    distances = dict.fromkeys(str(r["measure"]) for r in taken if str(r["measure"]).startswith(("fd_", "fid_", "bpd_")))
    return {f"curve_{m}.svg": curves_svg(taken, m) for m in distances}


def _enlarging(rows: Rows) -> list[str]:
    if not rows:
        return []
    out = ["## Enlarging: one model for all scales", ""]
    protocol = next((r["protocol"] for r in rows if r.get("source") is None), "")
    out += [f"Protocol: {protocol}.", ""]
    for measure, digits, title in (("psnr_y", 2, "PSNR-Y, dB"), ("ssim_y", 4, "SSIM-Y")):
        for name in _ordered({r["set"] for r in rows}, SETS):
            here = [r for r in rows if r["measure"] == measure and r["set"] == name]
            table = _table(here, _ordered({r["ask"] for r in here}, SCALES), lambda v, digits=digits: f"{v:.{digits}f}")
            out += [f"### {name}: {title}", "", *table, ""] if table else []
    return [*out, *_provenance(rows)]


def _ordered(found: set[str], known: tuple[str, ...]) -> tuple[str, ...]:
    """The known names first, in their order, then all others."""
    return (*[k for k in known if k in found], *sorted(found - set(known)))


def _filling(rows: Rows) -> list[str]:
    if not rows:
        return []
    out = ["## Filling holes", "", f"Protocol: {rows[0]['protocol']}.", ""]
    for name in sorted({r["set"] for r in rows}):
        out += [
            f"### {name}: PSNR inside the holes, dB",
            "",
            *_table([r for r in rows if r["set"] == name], HOLES, lambda v: f"{v:.2f}"),
            "",
        ]
    return [*out, *_provenance(rows)]


def _answering(rows: Rows) -> list[str]:
    """One table a task and set of pictures: a line a run, a column a measure; how far the tower is before conditional IMLE."""
    if not rows:
        return []
    out, shown, ratios = ["## Many answers", ""], [], {}  # (twin, measure) → task → one a seed
    for task, name in sorted({(r["ask"], r["set"]) for r in rows}, key=lambda k: (TASKS.index(k[0]), k[1])):
        here = _by_pictures([_with_count(r) for r in rows if (r["ask"], r["set"]) == (task, name)])
        shown += here
        measures = list(dict.fromkeys(r["measure"] for r in here))
        out += [f"### {task}, {name}", "", "| run | " + " | ".join(measures) + " |", "|---|" + "---|" * len(measures)]
        out += [f"| {run} | {' | '.join(cells)} |" for run, _, cells in _lines(here, measures)]
        out += ["", *_protocols(here), ""]
        for twin, words in TWINS.items():
            for measure, setting, ratio in _over(twin, here):
                ratios.setdefault((words + setting, measure), {}).setdefault(f"{task} ({name})", []).append(ratio)
    for (words, measure), by_task in sorted(ratios.items(), key=lambda kv: kv[0][0]):
        tasks = ", ".join(f"{task} {mean(r):.3f}" for task, r in by_task.items())
        out.append(f"* {measure} over that of {words}: {tasks}; mean {mean(mean(r) for r in by_task.values()):.3f}.")
    return [*out, "", *_provenance(shown)]


def _pictures(row: dict) -> str:
    """Which ones were looked at: the part that the command names, else how many."""
    part = re.search(r"--part (\d+,\d+)", row.get("command") or "")
    return f"pictures {part[1]}" if part else f"{row.get('images')} pictures"


def _with_count(row: dict) -> dict:
    """The same; what is a mean over conditions says of how many, for sets may be of more."""
    return row if row["measure"].startswith(OF_SETS) else {**row, "protocol": f"{row['protocol']}; {row.get('images')} conditions"}


def _by_pictures(rows: Rows) -> Rows:
    """The same; runs that were measured on several parts of the pictures, or numbers of them, are told apart by these."""
    seen: dict[str, set] = {}
    for r in rows:
        seen.setdefault(r["run"], set()).add(_pictures(r))
    return [{**r, "run": f"{r['run']}, {_pictures(r)}"} if len(seen[r["run"]]) > 1 else r for r in rows]


def _over(twin: str, rows: Rows) -> list[tuple[str, str, float]]:
    """(measure, setting, ratio) of each run to the one whose name has `twin` besides, of the same seed, setting and pictures.

    A setting is what follows the steps in a run's name: tower_jpeg_cimle_800_lpips.
    """
    values = {(r["name"], r.get("seed"), r["measure"], _pictures(r), r.get("images")): r["value"] for r in rows}
    out = []
    for (name, seed, measure, *which), theirs in values.items():
        ours = values.get((name.replace(twin, ""), seed, measure, *which))
        found = re.search(rf"{twin}(?:_\d+(_.+)?)?$", name)
        if found and measure.startswith(COMPARED) and ours is not None and theirs:
            out.append((measure, f" ({found[1][1:]})" if found[1] else "", ours / theirs))
    return out


def _generating(rows: Rows) -> list[str]:
    """One table a set: a line for each run and way of asking, a column for each measure."""
    if not rows:
        return []
    out = ["## Generating", ""]
    for name in sorted({r["set"] for r in rows}):
        here = [r for r in rows if r["set"] == name]
        measures = list(dict.fromkeys(r["measure"] for r in here))
        out += [f"### {name}", "", "| run | of | " + " | ".join(measures) + " |", "|---|---|" + "---|" * len(measures)]
        out += [f"| {run} | {ask} | {' | '.join(cells)} |" for run, ask, cells in _lines(here, measures)]
        out += ["", *_protocols(here), ""]
    return [*out, *_provenance(rows)]


def _protocols(rows: Rows) -> list[str]:
    """What was measured how; of runs that differ in it, which."""
    ways: dict[str, dict[str, list[str]]] = {}  # measure → protocol → runs
    for r in rows:
        ways.setdefault(r["measure"], {}).setdefault(r["protocol"], []).append(r["run"])
    said: dict[tuple[str, str], list[str]] = {}  # (protocol, of whom) → measures
    for measure, by_protocol in ways.items():
        for protocol, runs in by_protocol.items():
            whom = f" ({', '.join(dict.fromkeys(runs))})" if len(by_protocol) > 1 else ""
            said.setdefault((protocol, whom), []).append(f"`{measure}`")
    return [f"* {', '.join(measures)}: {protocol}{whom}." for (protocol, whom), measures in said.items()]


def _lines(rows: Rows, measures: list[str]) -> list[tuple[str, str, list[str]]]:
    """(run, ask, a cell a measure); the seeds of one run one below the other, then their mean and standard deviation (n - 1)."""
    groups: dict[tuple[str, str], dict[str, dict[str, float]]] = {}  # (run without seed, ask) → run → measure → value
    for r in rows:
        of_seeds = r["run"].replace(f", seed {r.get('seed')}", "")
        groups.setdefault((of_seeds, r["ask"]), {}).setdefault(r["run"], {})[r["measure"]] = r["value"]
    out = []
    for (of_seeds, ask), runs in groups.items():
        out += [(run, ask, [_number(values[m]) if m in values else "" for m in measures]) for run, values in runs.items()]
        if len(runs) > 1:
            each = [[values[m] for values in runs.values() if values.get(m) is not None] for m in measures]
            cells = [f"{mean(v):.4g} ± {stdev(v):.2g}" if len(v) == len(runs) else "" for v in each]
            out.append((f"{of_seeds}, mean of {len(runs)} seeds", ask, cells))
    return out


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def _benchmarks(rows: Rows) -> list[str]:
    if not rows:
        return []
    out = [
        "## Speed and memory",
        "",
        "Each ratio from one run of `python -m benchmarks.NAME`.",
        "",
        "| benchmark | of | figure | value | hardware | command |",
        "|---|---|---|---|---|---|",
    ]
    by = lambda r: f"`{r['command']}` (commit {(r['commit'] or 'unknown')[:12]})"  # noqa: E731
    commands = list(dict.fromkeys(map(by, rows)))
    out += [
        f"| {r['run']} | {r.get('set') or ''} | {r['ask']} | {r['value']:.4g} | {r['hardware']} | {commands.index(by(r)) + 1} |"
        for r in rows
    ]
    return [*out, "", *[f"{number}. {command}" for number, command in enumerate(commands, 1)], ""]


def _table(rows: Rows, columns: tuple[str, ...], show: Callable[[float], str]) -> list[str]:
    """One line a run, one column an ask; the best of each column in bold."""
    runs = list(dict.fromkeys(r["run"] for r in rows))
    values = {(r["run"], r["ask"]): r["value"] for r in rows}
    used = [c for c in columns if any((run, c) in values for run in runs)]
    if not used:
        return []
    best = {c: max((v for (_, ask), v in values.items() if ask == c and v is not None), default=None) for c in used}
    lines = ["| | " + " | ".join(c.replace("x", "×") if c[0] == "x" else c for c in used) + " |", "|---|" + "---|" * len(used)]
    for run in runs:
        cells = []
        for c in used:
            value = values.get((run, c))
            text = ("–" if (run, c) in values else "") if value is None else show(value)
            cells.append(f"**{text}**" if value is not None and value == best[c] else text)
        lines.append(f"| {run} | " + " | ".join(cells) + " |")
    return lines


def _provenance(rows: Rows) -> list[str]:
    """Where the lines of the tables above come from; a run that was measured by several commands has a line for each."""
    lines = ["| run | steps | minutes | seed | commit | command or source |", "|---|---|---|---|---|---|"]
    for r in rows:
        cells = [r.get("steps"), r.get("minutes"), r.get("seed"), r.get("commit")]
        shown = ["–" if c is None or (c == 0 and i < 2) else str(c) for i, c in enumerate(cells)]
        lines.append(f"| {' | '.join([r['run'], *shown])} | {r['source'] if r.get('source') else '`' + r.get('command', '') + '`'} |")
    return [*dict.fromkeys(lines), ""]
