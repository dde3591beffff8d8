"""What a run tells: a progress line, metrics.jsonl, sample sheets, the environment it ran in."""

import json
import logging
import os
import platform
import subprocess
import time
from pathlib import Path

import torch
from torch import Tensor

from predella.atomic import write_text
from predella.image.files import Picture, write

log = logging.getLogger("predella.train")
SILENCE = 10.0  # seconds of training without a word, before the first row


class RunLog:
    """The visible side of a run, for the main process.

    Args:
        folder: the run folder.
        steps: in all stages together.
        elapsed: seconds of training before this session.
    """

    def __init__(self, folder: Path, steps: int, elapsed: float = 0.0):
        self.folder, self.steps, self._before = folder, steps, elapsed
        self._start = self._last = time.monotonic()
        self._last_step: int | None = None
        self._said = self._start
        self.enter(0)

    def enter(self, step: int, pause: int = 1, preparing: str = "") -> None:
        """From `step` on, what every `pause` steps need is made before them: `preparing`, if that is worth a word."""
        self._first, self._pause, self._entered, self._waited = step, pause, time.monotonic(), 0.0
        if preparing:
            log.info("step %d/%d · %s", step, self.steps, preparing)

    def waited(self, seconds: float) -> None:
        """Of them nothing was trained: batches were made."""
        self._waited += seconds

    def early(self, step: int) -> None:
        """Before the first row, a word every SILENCE seconds: how far it is, and how long it will take."""
        now = time.monotonic()
        if self._last_step is None and now > self._said + SILENCE and step > self._first:
            self._said = now
            log.info("step %d/%d · %s left at this speed", step, self.steps, duration(self._left(step, now)))

    def _left(self, step: int, now: float) -> float:
        """Seconds to the last step, if steps and what is made before `pause` of them go on as since `enter`."""
        done, whole = step - self._first, self.steps - self._first
        made = -(-done // self._pause)
        return (now - self._entered - self._waited) * (whole - done) / done + self._waited * (-(-whole // self._pause) - made) / made

    @property
    def elapsed(self) -> float:
        """Seconds of training, earlier sessions included."""
        return self._before + time.monotonic() - self._start

    def rewind(self, step: int) -> None:
        """Begin at `step`: rows after it are forgotten, for a resumed run writes them again."""
        file = self.folder / "metrics.jsonl"
        if file.exists():
            rows = [line for line in file.read_text().splitlines() if _step(line) <= step]
            write_text(file, "".join(line + "\n" for line in rows))

    def row(self, step: int, batch_size: int, values: dict) -> None:
        """Append to metrics.jsonl and say it in one line, with speed and time left."""
        now = time.monotonic()
        speed = None
        if self._last_step is not None and step > self._last_step:
            speed = (step - self._last_step) / (now - self._last)
        self._last, self._last_step = now, step
        record = {"step": step, **values, "elapsed_s": round(self.elapsed, 1)}
        if speed is not None:
            record["images_per_s"] = round(speed * batch_size, 1)
        append_row(self.folder / "metrics.jsonl", record)
        terms = " ".join(f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in values.items())
        left = "" if speed is None else f" · {speed * batch_size:.0f} images/s · {duration(self._left(step, now))} left"
        log.info("step %d/%d · %s%s", step, self.steps, terms, left)

    def sheet(self, step: int, image: Tensor) -> None:
        """Write samples/step-N.png from (B, C, H, W), one item a row."""
        tall = image.detach().float().cpu().permute(1, 0, 2, 3).flatten(1, 2)[None]
        write(Picture(tall), self.folder / "samples" / f"step-{step:07d}.png", force=True)


def last_step(folder: Path) -> dict:
    """The last row of training in a folder's metrics.jsonl: step, elapsed_s and losses; {} if there is none."""
    return next((r for r in reversed(read_rows(folder / "metrics.jsonl")) if "step" in r and "protocol" not in r), {})


def read_rows(file: Path) -> list[dict]:
    """The rows of a .jsonl file; [] if there is none. A line cut short by a kill is passed over."""
    rows = []
    for line in file.read_text().splitlines() if file.exists() else []:
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue
    return rows


def append_row(file: Path, row: dict) -> None:
    """Add a line to a .jsonl file, on a line of its own if the last one was cut short."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with open(file, "ab+") as stream:
        if stream.tell():
            stream.seek(-1, os.SEEK_END)
            if stream.read(1) != b"\n":
                stream.write(b"\n")
        stream.write((json.dumps(row) + "\n").encode())


def _step(line: str) -> int:
    try:
        return int(json.loads(line).get("step", 0))
    except ValueError:
        return 1 << 62  # a line cut short by a kill


def duration(seconds: float) -> str:
    """`3 s`, `12 min`, `2.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def environment(command: str, on: str = "") -> dict:
    """Versions, hardware (`on`, or what a lone process finds), commit and command: what a number needs to be believed."""
    import predella

    return {
        "predella": predella.__version__,
        "commit": _git("rev-parse", "--short=12", "HEAD"),
        "changed_files": len((_git("status", "--porcelain", "--untracked-files=no") or "").splitlines()),
        "command": command,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "hardware": on or hardware(torch.device("cuda" if torch.cuda.is_available() else "cpu")),
    }


def hardware(device: torch.device, processes: int = 1) -> str:
    """`2 CPU cores`, or the accelerators' number and name, of so many processes with a device each."""
    if device.type == "cuda":
        return f"{processes} × {torch.cuda.get_device_name(device)}"
    return f"{os.cpu_count()} CPU cores ({platform.machine()})"


def _git(*words: str) -> str | None:
    """git's answer about predella's own repository; None when predella is installed, perhaps inside another one."""
    if words[0] != "ls-files" and _git("ls-files", "--error-unmatch", Path(__file__).name) is None:
        return None
    try:
        found = subprocess.run(["git", *words], cwd=Path(__file__).parent, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() if found.returncode == 0 else None
