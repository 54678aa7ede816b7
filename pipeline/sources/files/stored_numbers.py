"""From stored numbers to measurements: marks of missing data, scale and offset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Marks = Mapping[tuple[str, float], int]  # (column, number of `missing`) -> cells that hold it


def as_measured(numbers: NDArray[np.float64], missing: Sequence[float], scale: float) -> NDArray[np.float32]:
    """Convert stored numbers to measurements: NaN for marks of missing data, times `scale`, inf beyond float32."""
    with np.errstate(over="ignore"):
        # Plus zero, so that -0 and 0 have the same fingerprint.
        return (without_marks(numbers, missing) * scale + 0.0).astype(np.float32)


def without_marks(numbers: NDArray[np.float64], missing: Sequence[float]) -> NDArray[np.float64]:
    """The numbers with NaN for each of the stored numbers that `missing` names."""
    if not missing:
        return numbers
    with np.errstate(over="ignore"):
        marks = np.array(missing, np.float64)
        # Also compared as float32, because a file with float32 numbers does not hold exactly the card's 1e20.
        narrow = marks.astype(np.float32)
        marked = np.isin(numbers, marks) | np.isin(numbers.astype(np.float32), narrow[np.isfinite(narrow)])
    return np.where(marked, np.nan, numbers)


def count_marks(column: str, numbers: NDArray[np.float64], missing: Sequence[float]) -> dict[tuple[str, float], int]:
    """The number of cells of a column with each number of `missing`."""
    with np.errstate(over="ignore"):
        narrow = numbers.astype(np.float32) if missing else numbers
        return {(column, mark): int(((numbers == mark) | (narrow == np.float32(mark))).sum()) for mark in missing}


def shifted(measured: NDArray[np.float32], offsets: Sequence[float]) -> NDArray[np.float32]:
    """Add the offset of each variate to measured [...,V]: the last step from stored numbers to measurements.

    Marks of missing data are searched before this step, when numbers are still multiples of the stored ones.
    """
    if not any(offsets):
        return measured
    moved: NDArray[np.float32] = (measured.astype(np.float64) + np.array(offsets)).astype(np.float32)
    return moved
