"""What benchmarks that train and measure tables by the command line have in common."""

import json
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from zlib import crc32

from predella.atomic import write_text


def recorded(record: Path, run: str, seed: int | None, recalls: int = 1, asked: Mapping[str, str] | None = None) -> bool:
    """Whether all of a run's rows are in the record; those of an evaluation that was stopped on its way are taken out.

    Args:
        recalls: of how many sets and kinds of samples a recall, the last of their rows, is measured.
        asked: options of the evaluation, such as "--part": "0,1000"; rows that were measured in other ways are others.
    """
    lines = record.read_text().splitlines() if record.exists() else []
    own = [line for line in lines if _is(json.loads(line), run, seed, asked or {})]
    if sum(json.loads(line)["measure"].startswith("recall_") for line in own) >= recalls:
        return True
    if own:
        write_text(record, "".join(f"{line}\n" for line in lines if line not in own))
    return False


def _is(row: dict, run: str, seed: int | None, asked: Mapping[str, str]) -> bool:
    words = row["command"].split() if asked else []
    return (row["run"], row["seed"]) == (run, seed) and asked.items() <= set(zip(words, words[1:]))


def trained(out: Path, recipe: str, data: str, fields: Mapping[str, object], more: str = "") -> Path:
    """The folder of a run, its name `out`'s and a number of all that it was told; trained now if it is not there.

    Args:
        fields: dotted field of the recipe → value; "" leaves the recipe's.
        more: further options of predella train.
    """
    words = [*[w for k, v in fields.items() if v != "" for w in (f"--{k}", str(v))], *shlex.split(more)]
    folder = out.with_name(f"{out.name}_{crc32(repr((recipe, data, words)).encode()):08x}")
    if not (folder / "README.md").exists():  # written last
        predella("train", recipe, "--data", data, *words, "--out", str(folder), *goes_on(folder))
    return folder


def goes_on(folder: Path) -> list[str]:
    """What `predella train` is told of a folder that may be there: to go on, or to begin anew."""
    return ["--resume"] if (folder / "state").exists() else ["--force"] if folder.exists() else []


def predella(*words: str) -> None:
    """Run a verb, and stop if it fails."""
    print("predella", *words, flush=True)
    subprocess.run([sys.executable, "-m", "predella", *words], check=True)


def windowed(window: int, scales: int) -> dict[str, str]:
    """Fields of internal learning that looks at windows of so many pixels from the second scale on; 0 = none."""
    each = {"window": str(window), "accumulate": "false", "embed": "false"} if window else {}
    return {f"stages.{i}.objective.{k}": v for i in range(1, scales) for k, v in each.items()}
