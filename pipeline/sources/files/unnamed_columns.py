"""Reject tables whose header has several empty names, as a second header row below merged cells leaves them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipeline.errors import InputError

LEAST = 2  # one empty name is the index that pandas writes


def refuse_unnamed_columns(path: Path, header: Sequence[str]) -> None:
    """Raise `InputError` if several columns have no name."""
    empty = sum(not name.strip() for name in header)
    if empty < LEAST:
        return
    named = [name for name in header if name.strip()]
    first = named[0].strip() if named else "NDVI"
    raise InputError(
        f"{path}: the header has {empty} empty names, but each column needs its own. If there are two header rows, as "
        f"below merged cells, join them into one name per column, such as {first}_1, and delete the other row. If the "
        "columns without a name are empty, delete them."
    )
