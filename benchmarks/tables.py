"""What benchmarks that train and measure tables by the command line have in common."""

import json
import subprocess
import sys
from pathlib import Path

from predella.atomic import write_text


def recorded(record: Path, run: str, seed: int | None, recalls: int = 1, part: str = "") -> bool:
    """Whether all of a run's rows are in the record; those of an evaluation that was stopped on its way are taken out.

    Args:
        recalls: of how many sets and kinds of samples a recall, the last of their rows, is measured.
        part: first,last picture that was measured; rows of other pictures are others. "" = any.
    """
    lines = record.read_text().splitlines() if record.exists() else []
    own = [line for line in lines if _is(json.loads(line), run, seed, part)]
    if sum(json.loads(line)["measure"].startswith("recall_") for line in own) >= recalls:
        return True
    if own:
        write_text(record, "".join(f"{line}\n" for line in lines if line not in own))
    return False


def _is(row: dict, run: str, seed: int | None, part: str) -> bool:
    words = row["command"].split() if part else []
    return (row["run"], row["seed"]) == (run, seed) and (not part or part in words)


def predella(*words: str) -> None:
    """Run a verb, and stop if it fails."""
    print("predella", *words, flush=True)
    subprocess.run([sys.executable, "-m", "predella", *words], check=True)


def windowed(window: int, scales: int) -> dict[str, str]:
    """Fields of internal learning that looks at windows of so many pixels from the second scale on; 0 = none."""
    each = {"window": str(window), "accumulate": "false", "embed": "false"} if window else {}
    return {f"stages.{i}.objective.{k}": v for i in range(1, scales) for k, v in each.items()}
