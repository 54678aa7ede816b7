"""Find rows that share one measured yield, such as fields that have the yield of their district.

For yields such rows count as one sample. A split must put them on the same side, and intervals must count groups
instead of rows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.findings import Finding

Index = NDArray[np.int64]

LEAST_ROWS = 8
MOST_DISTINCT = 0.5  # distinct yields per row, and per yield that rounding alone would leave distinct
LEAST_GRID = 5  # distinct yields from which a grid of rounding can be seen
DECIMALS = 6


def label_groups(
    target: NDArray[np.float64], year: Index, named: NDArray[np.str_] | None, column: str | None
) -> tuple[Index, tuple[Finding, ...]]:
    """Returns (group [N], findings). target [N]: yields as stored, NaN if unknown; named [N]: `[target] group`.

    The number of a group is its first row. A row without a yield or a group is a group of its own.
    """
    rows = np.arange(len(target))
    known = np.flatnonzero(~np.isnan(target))
    distinct = _distinct(target[known], year[known])
    if named is not None:
        group = _first_rows(named, year, np.flatnonzero(named != ""))
        return group, _named_findings(group, target, str(column))
    if len(known) < LEAST_ROWS or distinct > MOST_DISTINCT * len(known):
        return rows, ()
    finding = (
        f"{len(known)} rows have {distinct} different pair{'s' * (distinct != 1)} of year and yield, so the sample "
        f"size is nearer {distinct} than {len(known)}."
    )
    if distinct > MOST_DISTINCT * _expected(target[known], year[known]):
        sentence = f"{finding} The yields may be rounded; if they were copied from districts, name the column of these."
        return rows, (Finding("note", sentence, '[target] group = "<column>"'),)
    sentence = (
        f"{finding} Rows with equal year and yield are read as copies of one yield and stay on one side of a split."
    )
    return _first_rows(target, year, known), (Finding("warning", sentence, '[target] group = "<column>"'),)


def _distinct(target: NDArray[np.float64], year: Index) -> int:
    """The number of different pairs of yield and year [N]."""
    order = np.lexsort((target, year))
    target, year = target[order], year[order]
    return int(np.count_nonzero((np.diff(target) != 0) | (np.diff(year) != 0))) + (len(target) > 0)


def _first_rows(key: NDArray[np.generic], year: Index, rows: Index) -> Index:
    """[N]: for each of `rows`, the first row with the same key and year; for any other row, the row itself."""
    group = np.arange(len(year))
    first: dict[tuple[object, int], int] = {}
    for row, one, when in zip(rows.tolist(), key[rows].tolist(), year[rows].tolist(), strict=True):
        group[row] = first.setdefault((one, when), row)
    return group


def _named_findings(group: Index, target: NDArray[np.float64], column: str) -> tuple[Finding, ...]:
    groups = len(np.unique(group))
    if groups == len(group):
        return ()
    finding = Finding(
        "note", f"{len(group)} rows in {groups} groups of {column} and year: the sample size is nearer {groups}."
    )
    known = ~np.isnan(target)
    differ = len(np.unique(group[known & (target != target[group])]))
    if not differ:
        return (finding,)
    sentence = (
        f"In {differ} of {groups} groups of {column} the rows have different yields, so these were not copied. The "
        "groups still stay on one side of a split."
    )
    return finding, Finding("warning", sentence, f'[target] group = "{column}"')


def _expected(target: NDArray[np.float64], year: Index) -> float:
    """The expected number of distinct yields over all years if yields were independent, given their rounding."""
    grid = _grid(target)
    cells = 1.0 if grid == 0 else round(float(np.ptp(target)) / grid) + 1
    rows = np.unique(year, return_counts=True)[1]
    return float((cells * (1 - (1 - 1 / cells) ** rows)).sum()) if cells > 1 else float(len(rows))


def _grid(target: NDArray[np.float64]) -> float:
    """The step to which yields are rounded; 0 if they are all equal."""
    values = np.unique(np.round(target, DECIMALS))
    if len(values) == 1:
        return 0.0
    decimals = next((d for d in range(DECIMALS) if np.allclose(values * 10**d, np.round(values * 10**d))), DECIMALS)
    written, gaps = 10.0**-decimals, np.diff(values)
    smallest = float(gaps.min())
    times = gaps / smallest
    # Whole bushels in t/ha: every difference is a multiple of the smallest.
    multiples = bool((np.abs(times - np.round(times)) <= 0.02 * times + written / smallest).all())
    return smallest if multiples and len(values) >= LEAST_GRID else written
