"""What benchmarks that train and measure tables by the command line have in common."""

import json
import subprocess
import sys
from pathlib import Path

from predella.atomic import write_text


def recorded(record: Path, run: str, seed: int | None, recalls: int = 1) -> bool:
    """Whether all of a run's rows are in the record; those of an evaluation that was stopped on its way are taken out.

    Args:
        recalls: of how many sets and kinds of samples a recall, the last of their rows, is measured.
    """
    lines = record.read_text().splitlines() if record.exists() else []
    own = [line for line in lines if (json.loads(line)["run"], json.loads(line)["seed"]) == (run, seed)]
    if sum(json.loads(line)["measure"].startswith("recall_") for line in own) >= recalls:
        return True
    if own:
        write_text(record, "".join(f"{line}\n" for line in lines if line not in own))
    return False


def predella(*words: str) -> None:
    """Run a verb, and stop if it fails."""
    print("predella", *words, flush=True)
    subprocess.run([sys.executable, "-m", "predella", *words], check=True)
