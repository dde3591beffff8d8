"""What benchmarks that train and measure tables by the command line have in common."""

import json
import subprocess
import sys
from pathlib import Path


def recorded(record: Path, run: str, seed: int | None) -> bool:
    """Whether the last of a run's rows, recall, is in the record."""
    rows = [json.loads(line) for line in record.read_text().splitlines()] if record.exists() else []
    return any((r["run"], r["seed"]) == (run, seed) and r["measure"].startswith("recall_") for r in rows)


def predella(*words: str) -> None:
    """Run a verb, and stop if it fails."""
    print("predella", *words, flush=True)
    subprocess.run([sys.executable, "-m", "predella", *words], check=True)
