"""Reject columns of dates that were changed, or that are not days, although each of them can be read as a date.

Numbers of dekads look like days, as in the names of CHIRPS files (2019.04.1). Excel swaps day and month of dates that
it can read in its own order, and leaves the others as texts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.sources.times.calendar import Dates

LEAST_MONTHS = 2  # of the calendar in which the days 1, 2 and 3 occur
LEAST_YEARS = 2  # in which all dates lie in one month
LEAST_DAYS = 4  # in that month, in each year
MOST_STEPS = 2  # that these dates fill
MONTHS = 12
_YEAR_FIRST = re.compile(r"\s*\d{4}([./-]?)\d{1,2}\1(\d{1,2})(?:[ T].*)?\s*")
_YEAR_LAST = re.compile(r"\s*\d{1,2}([./-])\d{1,2}\1\d{4}(?:[ T].*)?\s*")


def refuse_misread_dates(texts: Sequence[str], dates: Dates, step_days: float, where: Callable[[int], str]) -> None:
    """Raise `InputError` if the dates [D] read from distinct texts are dekads, or have day and month swapped.

    step_days   days per step of the season grid; dates that fill several steps are taken as they are
    where       the file, line and column of a text, for messages
    """
    months = dates.astype("datetime64[M]")
    days = (dates - months.astype("datetime64[D]")).astype(np.int64) + 1
    _refuse_dekads(texts, months.astype(np.int64), days, where)
    if len(days) and days.max() - days.min() < MOST_STEPS * step_days:
        _refuse_swapped(texts, months.astype(np.int64), days, where)


def refuse_two_forms(texts: Sequence[str], where: Callable[[int], str]) -> None:
    """Raise `InputError` if some dates of a file start with the year, all on days up to 12, and others end with it."""
    first = [(at, match) for at, text in enumerate(texts) if (match := _YEAR_FIRST.fullmatch(text))]
    last = next((at for at, text in enumerate(texts) if _YEAR_LAST.fullmatch(text)), None)
    if not first or last is None or any(int(match[2]) > MONTHS for _, match in first):
        return
    raise InputError(
        f"{where(first[0][0])}: {len(first)} dates start with the year, such as {texts[first[0][0]]!r}, and others end "
        f"with it, such as {texts[last]!r}. No date of the first form has a day after the {MONTHS}th, so Excel has "
        "probably swapped their day and month, and could not read the others. Import the original file with this "
        "column as text, and write all dates as YYYY-MM-DD."
    )


def _refuse_dekads(
    texts: Sequence[str], month: NDArray[np.int64], day: NDArray[np.int64], where: Callable[[int], str]
) -> None:
    """Raise `InputError` if all dates lie on days 1 to 3 of their months, and all three occur in several months."""
    if not len(day) or day.max() > 3:
        return
    full = [one for one in np.unique(month).tolist() if len(np.unique(day[month == one])) == 3]
    if len({one % MONTHS for one in full}) < LEAST_MONTHS:
        return
    at = [int(np.flatnonzero((month == full[0]) & (day == one))[0]) for one in (1, 2, 3)]
    first = str(np.datetime64(full[0], "M"))
    raise InputError(
        f"{where(at[0])}: all dates lie on day 1, 2 or 3 of a month, such as {', '.join(texts[one] for one in at)}. "
        "These look like dekads (thirds of a month), and would be read as three days in a row. Write the first day of "
        f"each dekad: {first}-01, {first}-11, {first}-21. If they are days, write the first of the month for all three."
    )


def _refuse_swapped(
    texts: Sequence[str], month: NDArray[np.int64], day: NDArray[np.int64], where: Callable[[int], str]
) -> None:
    """Raise `InputError` if the dates of all years lie on several of the first twelve days of one and the same month.

    Dates on the first of each month become such dates if day and month are swapped.
    """
    if day.max() > MONTHS or len(np.unique(month % MONTHS)) > 1:
        return
    years = np.unique(month)
    if len(years) < LEAST_YEARS or any(len(np.unique(day[month == one])) < LEAST_DAYS for one in years.tolist()):
        return
    year, number = (int(part) for part in str(np.datetime64(int(years[0]), "M")).split("-"))
    second = int(np.unique(day[month == years[0]])[1])
    at = int(np.flatnonzero((month == years[0]) & (day == second))[0])
    raise InputError(
        f"{where(at)}: all dates of all years lie between day {day.min()} and day {day.max()} of month {number}, such "
        f"as {texts[at]}. Day and month are probably swapped, as Excel does: this one would be "
        f"{year}-{second:02d}-{number:02d}. Import the original file with this column as text, and write all dates as "
        "YYYY-MM-DD."
    )
