"""Check that the year column of a row is the year of the season of its date. Otherwise yields go to other seasons."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from pipeline.card import DatasetCard
from pipeline.errors import InputError
from pipeline.sources.aggregate import Index
from pipeline.sources.files.columns import Columns
from pipeline.sources.times.calendar import Calendar, Dates


class DatedRows(NamedTuple):
    """The date of each row [R], and the year and step of the season that it lies in."""

    dates: Dates
    year: Index
    step: Index

    @staticmethod
    def of(calendar: Calendar, dates: Dates, steps: int) -> DatedRows:
        """The season of each date."""
        return DatedRows(dates, *calendar.season_of(dates, steps))


def rows_of_other_seasons(
    card: DatasetCard,
    calendar: Calendar,
    seen: Columns,
    *,
    found: DatedRows,
    said: Index | None,
    group: Index,
    steps: int,
) -> int:
    """The number of rows whose date lies in another season than the year column names. said [R]: that column.

    Raises `InputError` if these are more than half of the rows. Only groups [R] in which no row agrees are counted; a
    group is a sample, or a place and season. If seasons cross New Year, a column of calendar years agrees with some
    rows of each group, and a column with another meaning with none.
    """
    if said is None:
        return 0
    dates, season, step = found
    inside = step < steps
    agrees = inside & (season == said)
    other = inside & (season != said)
    some_agree = np.bincount(group[agrees], minlength=int(group.max(initial=0)) + 1) > 0
    astray = other & ~some_agree[group]
    if 2 * astray.sum() <= inside.sum():
        return int(other.sum())
    row = int(np.argmax(astray))
    raise InputError(
        f"{seen.where(row)}: the date {dates[row]} lies in the season that is called {season[row]} here (it starts on "
        f"{calendar.season_start}), but column {card.year} says {said[row]}; so it is in {astray.sum():,} of "
        f"{inside.sum():,} rows, and their yields would go to other seasons. `season_year` is "
        f'"{calendar.season_year}" in {card.path}: "end" calls a season after the year in which its last step begins, '
        f'"start" after that of its first. {_advice(calendar, dates, said, steps, inside.sum())}'
    )


def _advice(calendar: Calendar, dates: Dates, said: Index, steps: int, rows: int) -> str:
    turned = replace(calendar, season_year="start" if calendar.season_year == "end" else "end")
    season, step = turned.season_of(dates, steps)
    if 2 * ((step < steps) & (season == said)).sum() > rows:
        return f'With `season_year = "{turned.season_year}"` they agree: set it, if that is what the column means.'
    return "Correct it, `season_start`, or the column that `year` names in the card."
