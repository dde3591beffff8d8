"""Lines of the command line, run for the page, each in a folder of its own."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import mkdtemp
from threading import Lock

from predella.errors import UserError
from predella.image.files import LOOKED_FOR

OUT = "answers"  # the folder, within the line's own, of what it writes
OWN = "line-"  # begins the name of a line's folder
KEPT = 3600.0  # seconds after which a new line clears away what an old one left
AWAKE = 0.3  # seconds between two looks at a line that runs
REFUSED, STOPPED = 2, 130  # statuses of lines that say in their last words why they ended


class Lines:
    """Args:
    root: the folder in which each line gets one.
    home: where paths of models that the user names begin.
    """

    def __init__(self, root: Path, home: Path):
        self.root, self.home = root, home
        self._running, self._lock, self._closed = set[subprocess.Popen](), Lock(), False

    def run(self, words: Sequence[str], given: Mapping[str, Path]) -> Iterator[tuple[str, list[Path]]]:
        """(the line and what it has said so far, the files that it has written: none before it ends), again and again until it ends.

        A caller who stops listening ends it, and nothing of it stays.

        Args:
            words: after `predella`.
            given: the name by which the words know a file → the file.

        Raises:
            UserError: the line was refused, in its words, or failed.
        """
        self._forget()
        folder = Path(mkdtemp(prefix=OWN, dir=self.root))
        line, said, done, began = f"$ predella {shlex.join(words)}", folder / "said.txt", False, time.monotonic()
        try:
            for name, file in given.items():
                _copy(file, folder / name)
            yield line, []
            process = self._start(words, folder, said)
            try:
                while process.poll() is None:
                    yield f"{line}\n{_text(said)}\n… {time.monotonic() - began:.0f} s", []
                    time.sleep(AWAKE)
            finally:
                process.kill()
                process.wait()
                self._running.discard(process)
            if process.returncode:
                raise UserError(_reason(process.returncode, _text(said)))
            done = True
        finally:
            if not done:
                shutil.rmtree(folder, ignore_errors=True)
        yield f"{line}\n{_text(said)}", sorted((f for f in (folder / OUT).rglob("*") if f.is_file()), key=_in_order)

    def _start(self, words: Sequence[str], folder: Path, said: Path) -> subprocess.Popen:
        """The line in a process that looks for no code where the user's files lie (-P), and fetches nothing."""
        for name in (OUT, "tmp"):
            (folder / name).mkdir()
        own = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(folder / "tmp"))
        command = [sys.executable, "-P", "-m", "predella", *words]
        with self._lock, open(said, "w") as stream:
            if self._closed:
                raise UserError("the page is being closed")
            process = subprocess.Popen(
                command, cwd=folder, env={**os.environ, **own, "HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1"},
                stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT,
            )  # fmt: skip
            self._running.add(process)
        return process

    def close(self) -> None:
        """End what runs; nothing more is begun."""
        with self._lock:
            self._closed = True
        for process in list(self._running):
            process.kill()
            process.wait()

    def model(self, named: str | None) -> str:
        """A shipped name as it is; a run folder as a path that holds anywhere.

        Raises:
            UserError: no word.
        """
        word = (named or "").strip()
        if not word:
            raise UserError("name a model: a shipped one, or the folder of a run")
        folder = self.home / word
        return str(folder) if folder.is_dir() else word

    def _forget(self) -> None:
        """Lines that ended long ago."""
        for folder in self.root.glob(f"{OWN}*"):
            if time.time() - folder.stat().st_mtime > KEPT:
                shutil.rmtree(folder, ignore_errors=True)


def named(file: str | None) -> dict[str, Path]:
    """The picture that was handed in, under a name that no line takes for an option, and nothing for code.

    Raises:
        UserError: none was, or one whose name ends as no picture's.
    """
    if not file:
        raise UserError("choose a picture first")
    path = Path(file)
    if path.suffix.lower() not in LOOKED_FOR:
        raise UserError(f"{path.name} ends in '{path.suffix}'; a picture's name ends in {', '.join(LOOKED_FOR)}")
    stem = re.sub(r"[^\w.-]+", "_", path.stem).lstrip("-.") or "picture"
    return {f"{stem}{path.suffix.lower()}": path}


def number(value: float | None, what: str) -> str:
    """A whole number as a word.

    Raises:
        UserError: there is none.
    """
    if value is None:
        raise UserError(f"give a number: {what}")
    return str(int(value))


def option(flag: str, text: str | None) -> list[str]:
    """`flag` and its value without blanks; nothing where the field is empty."""
    value = (text or "").replace(" ", "")
    return [flag, value] if value else []


def _copy(file: Path, to: Path) -> None:
    try:
        shutil.copyfile(file, to)
    except FileNotFoundError:
        raise UserError(f"{to.name} was chosen too long ago; choose it again") from None


def _text(file: Path) -> str:
    return file.read_text(errors="replace").strip()


def _reason(status: int, said: str) -> str:
    """Why a line ended with `status`."""
    lines = said.splitlines()
    if status in (REFUSED, STOPPED) and (told := [x for x in lines if x.startswith("predella: ")]):
        return told[-1].removeprefix("predella: ")
    if status < 0:
        return f"the line was ended by signal {-status}; perhaps memory ran out"
    return lines[-1] if lines else f"the line ended with status {status}"


def _in_order(file: Path) -> tuple:
    """Sheets first, then by number."""
    numbers = [int(n) for n in re.findall(r"\d+", file.stem)]
    return not file.stem.endswith("sheet"), numbers[-1:], file.name
