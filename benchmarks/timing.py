"""Time and peak memory of calls."""

import json
import os
import shlex
import statistics
import subprocess
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping
from pathlib import Path


def seconds(call: Callable[[], object], repeat: int = 5, warm: bool = True) -> float:
    """Median time of a call, after one to warm up."""
    if warm:
        call()
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def interleaved(calls: Mapping[str, Callable[[], object]], repeat: int = 5) -> dict[str, float]:
    """Median times of several calls, taken in turn so that a busy moment falls on all of them."""
    for call in calls.values():
        call()
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeat):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(t) for name, t in times.items()}


# glibc gives freed blocks back at once: the peak is of memory in use, not of what the allocator keeps in reserve
GIVE_BACK = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "0"}


def peak_mb(code: str, give_back: bool = False) -> float:
    """Peak resident memory of a fresh Python process that runs `code`, in MB (Linux); see GIVE_BACK."""
    # not ru_maxrss: a child starts with its parent's
    code += "\nprint(next(line for line in open('/proc/self/status') if line.startswith('VmHWM')).split()[1])"
    environment = {**os.environ, **(GIVE_BACK if give_back else {})}
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True, env=environment)
    return int(done.stdout.split()[-1]) / 1024


def parser_of(name: str) -> ArgumentParser:
    """With the options that every benchmark takes."""
    parser = ArgumentParser(prog=f"python -m benchmarks.{name}")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    parser.add_argument("--record", help="append the figures to this .jsonl file, for RESULTS.md")
    parser.set_defaults(name=name)
    return parser


def arguments(name: str) -> Namespace:
    """The options of a benchmark that takes no other."""
    return parser_of(name).parse_args()


def report(options: Namespace, figures: dict[str, float], notes: list[str]) -> None:
    """Print the figures; with --json the last line is one object, with --record FILE they are appended for RESULTS.md."""
    name = options.name
    for note in notes:
        print(note)
    for key, value in figures.items():
        print(f"{key}: {value:.4g}")
    if options.record:
        from predella.train.log import append_row, environment

        made = environment(shlex.join(["python", "-m", f"benchmarks.{name}", *sys.argv[1:]]))
        made = {k: v for k, v in made.items() if k in ("commit", "command", "hardware", "torch")}
        for key, value in figures.items():
            row = {"run": name, "set": getattr(options, "model", ""), "ask": key, "measure": "benchmark", "value": value}
            append_row(Path(options.record), {**row, "protocol": "one run", **made})
    if options.json:
        print(json.dumps({k: round(v, 4) for k, v in figures.items()}))
