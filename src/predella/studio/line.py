"""Lines of the command line, run for the page, each in a folder of its own."""

import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import mkdtemp

from predella.errors import UserError

OUT = "answers"  # what a line writes: this folder, or files whose names begin so
OWN = "line-"  # begins a line's folder
KEPT = 3600.0  # seconds that what was made stays, to be looked at and fetched
AWAKE = 0.3  # seconds between two looks at a line that runs


class Lines:
    """Args:
    root: the folder in which each line gets one.
    home: where paths of models that the user names begin.
    """

    def __init__(self, root: Path, home: Path):
        self.root, self.home = root, home
        self._running = set[subprocess.Popen]()

    def run(self, words: Sequence[str], given: Mapping[str, Path]) -> Iterator[tuple[str, list[Path]]]:
        """(the line and what it has said so far, the files that it has written: none before it ends), again and again until it ends.

        A caller who stops listening ends it.

        Args:
            words: after `predella`.
            given: the name by which the words know a file → the file.

        Raises:
            UserError: the line was refused, in its words, or failed.
        """
        self._forget()
        folder = Path(mkdtemp(prefix=OWN, dir=self.root))
        for name, file in given.items():
            shutil.copyfile(file, folder / name)
        line = f"$ predella {shlex.join(words)}"
        yield line, []
        said = folder / "said.txt"
        with open(said, "w") as stream:
            command = [sys.executable, "-m", "predella", *words]
            process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT)
        self._running.add(process)
        try:
            while process.poll() is None:
                yield f"{line}\n{_text(said)}", []
                time.sleep(AWAKE)
        finally:
            process.kill()
            process.wait()
            self._running.discard(process)
        if process.returncode:
            lines = _text(said).splitlines() or [f"ended with status {process.returncode}"]
            raise UserError(next((x for x in reversed(lines) if x.startswith("predella: ")), lines[-1]).removeprefix("predella: "))
        yield f"{line}\n{_text(said)}", sorted((f for f in folder.rglob("*") if _is_answer(f, folder)), key=_in_order)

    def model(self, named: str) -> str:
        """A shipped name as it is; a run folder as a path that holds anywhere.

        Raises:
            UserError: no word.
        """
        if not named.strip():
            raise UserError("name a model: a shipped one, or the folder of a run")
        folder = self.home / named.strip()
        return str(folder) if folder.is_dir() else named.strip()

    def stop(self) -> None:
        """End what runs."""
        for process in list(self._running):
            process.kill()

    def _forget(self) -> None:
        """Lines that ended long ago."""
        for folder in self.root.glob(f"{OWN}*"):
            if time.time() - folder.stat().st_mtime > KEPT:
                shutil.rmtree(folder, ignore_errors=True)


def named(file: str | None, what: str = "a picture") -> dict[str, Path]:
    """The file that was handed in, under a name that no line takes for an option.

    Raises:
        UserError: none was.
    """
    if not file:
        raise UserError(f"hand in {what} first")
    path = Path(file)
    stem = re.sub(r"[^\w.-]+", "_", path.stem).lstrip("-.") or "picture"
    return {f"{stem}{path.suffix.lower()}": path}


def _text(file: Path) -> str:
    return file.read_text(errors="replace").strip()


def _is_answer(file: Path, folder: Path) -> bool:
    return file.is_file() and file.relative_to(folder).parts[0].startswith(OUT) and file.suffix != ".json"


def _in_order(file: Path) -> tuple:
    """Sheets first, then by number."""
    numbers = [int(n) for n in re.findall(r"\d+", file.stem)]
    return not file.stem.endswith("sheet"), numbers[-1:], file.name
