"""Atomic writing: a file is written completely, or not at all."""

from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

from pipeline.errors import InputError


def refuse_unless_possible(path: Path, endings: Sequence[str], replace: bool, flag: str = "--out") -> None:
    """Raises InputError if `path` has the wrong ending, its folder does not exist, or it must not be replaced."""
    if path.suffix.lower() not in endings:
        raise InputError(f"{flag} {path} must end in {' or '.join(endings)}; it ends in {path.suffix or 'nothing'}.")
    if not path.parent.is_dir():
        raise InputError(f"{flag} {path} is in {path.parent}, which is no folder. Make it (mkdir -p) or name another.")
    if not _takes_files(path.parent):
        raise InputError(f"{flag} {path} is in {path.parent}, where no file can be written. Name another folder.")
    if path.is_dir() or (path.exists() and not replace):
        raise InputError(f"{flag} {path} exists; name another file or delete this one.")


def _takes_files(folder: Path) -> bool:
    """Whether a file can be made in the folder. Permissions alone do not show a read-only disk."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Call `write` with a temporary path beside `path`, sync that file, and rename it.

    Raises OSError, and leaves no file behind, if writing fails, for example on a full disk.
    """
    temporary = path.with_name(f".{path.stem}-{uuid.uuid4().hex}{path.suffix}")
    try:
        write(temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise OSError(error.errno, f"{path} could not be written: {error.strerror or error}") from error
