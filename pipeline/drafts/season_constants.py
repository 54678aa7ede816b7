"""Columns of a long table that repeat one number on all dates of a season, as yields and amounts of fertilizer do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NEARLY_ALL = 0.95  # share of the seasons; a few may have a typing error

Index = NDArray[np.int64]


@dataclass(frozen=True)
class SeasonGroups:
    """The rows sorted by place and season. order [R]: the rows; starts [S]: where each season begins in `order`."""

    order: Index
    starts: Index


def season_groups(place: Index, year: Index | None, dates: NDArray[np.datetime64] | None) -> list[SeasonGroups]:
    """The rows [R] grouped into seasons, once by the year's column and once for each month that may begin a season."""
    years = [] if year is None else [year]
    if dates is not None:
        months = np.where(np.isnat(dates), 0, dates.astype("datetime64[M]").astype(np.int64))
        years += [(months - first) // 12 for first in range(12)]
    return [_grouped(place, one) for one in years]


def is_constant_in_seasons(numbers: NDArray[np.float64], groupings: Sequence[SeasonGroups]) -> bool:
    """Whether nearly all seasons with two or more numbers have the same number throughout, in one of the groupings."""
    return any(share >= NEARLY_ALL for share in _shares(numbers, groupings))


def _shares(numbers: NDArray[np.float64], groupings: Sequence[SeasonGroups]) -> Iterator[float]:
    for seasons in groupings:
        sorted_numbers = numbers[seasons.order]
        several = np.add.reduceat(~np.isnan(sorted_numbers), seasons.starts, dtype=np.int64) > 1
        if several.any():
            lowest = np.fmin.reduceat(sorted_numbers, seasons.starts)
            highest = np.fmax.reduceat(sorted_numbers, seasons.starts)
            yield float((lowest == highest)[several].mean())


def _grouped(place: Index, year: Index) -> SeasonGroups:
    group = place * (int(np.ptp(year)) + 1) + year - year.min()
    order = np.argsort(group, kind="stable").astype(np.int64)
    return SeasonGroups(order, np.flatnonzero(np.diff(group[order], prepend=group[order[0]] - 1)))
