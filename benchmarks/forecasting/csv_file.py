"""Read a benchmark's CSV: the column `date`, then one column of numbers per variate, rows in order of time."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.errors import InputError

FORM = "A benchmark's CSV has the column `date` first, then one column of numbers per variate."


@dataclass(frozen=True, eq=False)
class Table:
    """values [R,V] as in the file; step: median seconds from one row to the next; digest: SHA-256 of the file."""

    variates: tuple[str, ...]
    values: NDArray[np.float64]
    step: float
    digest: str


def read_csv(path: Path) -> Table:
    """Read and check a file. Raises InputError, which names the column and the row of the first bad value."""
    if not path.is_file():
        raise InputError(f"{path} does not exist; --csv names a file. {FORM}")
    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (ValueError, OSError) as error:  # pandas' errors of parsing and decoding are ValueErrors
        raise InputError(f"{path} cannot be read as CSV ({error}). {FORM}") from error
    first = str(frame.columns[0]).strip()
    if first.lower() != "date":
        raise InputError(f"{path}: the first column is {first!r}, not `date`. {FORM}")
    if len(frame.columns) < 2 or len(frame) < 2:
        raise InputError(f"{path} has {len(frame.columns) - 1} variates and {len(frame)} rows; it needs at least 1 "
                         f"and 2. {FORM}")  # fmt: skip
    step = _step(path, frame.iloc[:, 0])
    names = tuple(map(str, frame.columns[1:]))
    values = np.stack([_numbers(path, name, frame[name]) for name in names], 1)
    return Table(names, values, step, hashlib.sha256(path.read_bytes()).hexdigest())


def _step(path: Path, dates: pd.Series[str]) -> float:
    """Median seconds between rows."""
    times = pd.to_datetime(dates, errors="coerce", format="mixed")
    if times.isna().any():
        row = int(np.argmax(times.isna()))
        raise InputError(f"{path}, line {row + 2}: the date {dates.iloc[row]!r} is not a date. {FORM}")
    seconds = times.diff().dt.total_seconds().to_numpy()[1:]
    if (seconds <= 0).any():
        row = int(np.argmax(seconds <= 0)) + 1
        raise InputError(
            f"{path}, line {row + 2}: the date {dates.iloc[row]!r} is not later than the one before it. Sort the rows "
            "by date, with one row per date."
        )
    return float(np.median(seconds))


def _numbers(path: Path, name: str, column: pd.Series[str]) -> NDArray[np.float64]:
    """One column [R]."""
    numbers: NDArray[np.float64] = pd.to_numeric(column, errors="coerce").to_numpy(np.float64)
    bad = ~np.isfinite(numbers)
    if bad.any():
        row = int(np.argmax(bad))
        raise InputError(
            f"{path}, column {name!r}, line {row + 2}: {column.iloc[row]!r} is not a finite number ({int(bad.sum())} "
            f"such values in this column). Fill gaps first. {FORM}"
        )
    return numbers
