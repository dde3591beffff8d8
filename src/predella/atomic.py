"""Files appear whole or not at all, and a user's file is replaced only on request."""

import os
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from predella.errors import UserError

ROOM = 2**20  # bytes that a long work wants to find before it begins


def check_free(path: Path, force: bool) -> Path:
    """Raise UserError if `path` can't be written: it exists and `force` is off, or its folder is a file or takes none."""
    path = check_name(path, force)
    check_folder(path.parent)
    return path


def check_name(path: Path, force: bool) -> Path:
    """Raise UserError if `path` is a folder, or exists and `force` is off; `check_folder` is asked apart."""
    path = Path(path)
    if path.is_dir():
        raise UserError(f"{path} is a folder; give the name of a file in it")
    if path.exists() and not force:
        raise UserError(f"{path} exists; choose another name or overwrite it with --force")
    return path


def check_folder(folder: Path, room: int = 0) -> Path:
    """Raise UserError if `folder`, or a folder above it, is a file, or if a file of `room` bytes can't be made where it is or would be.

    It is tried, and nothing stays of it: permissions do not say so everywhere (such as in /proc), nor that a disk is full.
    """
    folder = Path(folder)
    for part in (folder, *folder.absolute().parents):
        if part.exists():
            if not part.is_dir():
                raise UserError(f"{part} is a file, a folder is needed there; choose another place")
            try:
                with tempfile.TemporaryFile(dir=part) as stream:
                    stream.write(bytes(room))
                    stream.flush()
            except OSError as error:
                reason = error.strerror or error
                raise UserError(f"{part} can't be written to ({reason}); choose another place or change its permissions") from None
            break
    return folder


@contextmanager
def atomic_write(path: Path | str, force: bool = True) -> Generator[BinaryIO]:
    """A binary file that takes the name `path` only when the block ends without an error; missing folders are made.

    Raises:
        UserError: `path` exists and `force` is off, its folder is a file, or the disk is full.
    """
    path = check_free(Path(path), force)
    made: list[Path] = [p for p in path.parent.parents if not p.exists()]
    made = ([path.parent] if not path.parent.exists() else []) + made
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        with os.fdopen(handle, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        for folder in made:  # innermost first; only folders this call made, and only while empty
            try:
                folder.rmdir()
            except OSError:
                break
        if isinstance(error, OSError) and not isinstance(error, UserError):
            raise UserError(f"{path} could not be written: {error.strerror or error}; nothing was changed; choose another place") from error
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_text(path: Path | str, text: str, force: bool = True) -> None:
    """Write `text` as UTF-8 with `atomic_write`."""
    with atomic_write(path, force) as stream:
        stream.write(text.encode())
