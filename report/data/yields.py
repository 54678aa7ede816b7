"""Summaries of the yields: spread by year, outliers, number of distinct yields, and duplicate seasons."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.duplicates import twins
from pipeline.table import SeasonTable
from report.data.series import Spread, evenly, spreads

FENCE = 1.5  # a yield this many interquartile ranges beyond the quartiles of its year is an outlier (Tukey)
LEAST_YIELDS = 5  # yields that a year needs for quartiles
LEAST_RANGE = 0.01  # least interquartile range, as a share of the median, if nearly all yields are equal
MOST_POINTS = 1_500  # in a chart


@dataclass(frozen=True)
class Outlier:
    """A yield in t/ha, `ranges` interquartile ranges beyond the quartile of its year."""

    sample: str
    place: str
    year: int
    value: float
    median: float
    ranges: float


@dataclass(frozen=True)
class YearOfLabels:
    """The number of rows with a yield in a year, of distinct yields, and of groups of rows that share a yield."""

    year: int
    rows: int
    distinct: int
    groups: int


@dataclass(frozen=True, eq=False)
class Yields:
    """The yields of a table. `points` [P] are the rows that a chart draws, out of `labelled` rows with a yield."""

    labelled: int
    by_year: tuple[Spread, ...]
    labels: tuple[YearOfLabels, ...]
    outliers: tuple[Outlier, ...]
    points: NDArray[np.int64]


@dataclass(frozen=True)
class Copy:
    """A sample whose season has the same numbers and gaps as that of an earlier one; yields in t/ha."""

    sample: str
    same_as: str
    value: float
    other: float


def yields_of(table: SeasonTable) -> Yields:
    """Summarise the yields; empty if no yield is known. Outliers are sorted, the most extreme first."""
    rows = np.flatnonzero(np.isfinite(table.target))
    return Yields(
        labelled=len(rows),
        by_year=spreads(table.target[rows], table.year[rows], len(table)) if len(rows) else (),
        labels=_labels(table, rows),
        outliers=_outliers(table, rows),
        points=evenly(rows, MOST_POINTS),
    )


def copies_of(table: SeasonTable) -> tuple[Copy, ...]:
    """The duplicate seasons, in the order of the table."""
    first = twins(table)
    again = np.flatnonzero(first != np.arange(len(table)))
    return tuple(
        Copy(
            sample=str(table.sample_id[row]),
            same_as=str(table.sample_id[first[row]]),
            value=float(table.target[row]),
            other=float(table.target[first[row]]),
        )
        for row in again.tolist()
    )


def _labels(table: SeasonTable, rows: NDArray[np.int64]) -> tuple[YearOfLabels, ...]:
    found = []
    for year in np.unique(table.year[rows]).tolist():
        mine = rows[table.year[rows] == year]
        distinct, groups = (len(np.unique(column[mine])) for column in (table.target, table.group))
        found.append(YearOfLabels(year=year, rows=len(mine), distinct=distinct, groups=groups))
    return tuple(found)


def _outliers(table: SeasonTable, rows: NDArray[np.int64]) -> tuple[Outlier, ...]:
    found = []
    for year in np.unique(table.year[rows]).tolist():
        mine = rows[table.year[rows] == year]
        if len(mine) < LEAST_YIELDS:
            continue
        low, median, high = np.quantile(table.target[mine], (0.25, 0.5, 0.75)).tolist()
        size = max(high - low, LEAST_RANGE * median)
        beyond = np.maximum(low - table.target[mine], table.target[mine] - high) / size
        for row, far in zip(mine[beyond > FENCE].tolist(), beyond[beyond > FENCE].tolist(), strict=True):
            sample, place = str(table.sample_id[row]), str(table.place[row])
            value = float(table.target[row])
            found.append(Outlier(sample=sample, place=place, year=year, value=value, median=median, ranges=far))
    return tuple(sorted(found, key=lambda one: -one.ranges))
