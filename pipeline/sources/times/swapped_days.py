"""Reject dates of which those up to the 12th have day and month exchanged, as `pandas.to_datetime` and Excel do.

Both read 04/03/2019 in an order of their own, and 13/03/2019 in the only possible one. Such dates leave a regular grid,
such as one date every ten days, and return to it if day and month of those up to the 12th are exchanged.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.sources.times.calendar import Dates

Index = NDArray[np.int64]

LAST_MONTH = 12
LEAST_MOVED = 6  # dates that the exchange of day and month changes
LEAST_SHARE = 0.1  # of the dates, both of those that it changes and of those after the 12th
LEAST_OFF = 6  # gaps between dates that are off the grid as the dates are written
MOST_STILL_OFF = 0.1  # share of these gaps that may be off it after the exchange
MOST_OFF = 0.05  # share of all gaps that may be off it then
NEAR = 0.2  # of the usual gap; dekads are 8 to 11 days apart
MOST_PLACES = 100  # whose dates are looked at
DAYS = 100_000  # a group and a day are one whole number, group * DAYS + day


def refuse_swapped_days(
    texts: NDArray[np.str_], dates: Dates, place: Index, code: Index, where: Callable[[int], str]
) -> None:
    """Raise `InputError` if the dates lie on a regular grid only after the exchange, together or place by place.

    texts, dates [D]    the distinct dates, as they are written and read
    place, code [R]     the place of each row, and which of the dates it has
    where               the file, line and column of a date, for messages
    """
    moved = _exchanged(dates)
    changed = moved != dates
    late = (dates - dates.astype("datetime64[M]").astype("datetime64[D]")).astype(np.int64) + 1 > LAST_MONTH
    if changed.sum() < LEAST_MOVED or min(changed.sum(), late.sum()) < LEAST_SHARE * len(dates):
        return
    rows = np.flatnonzero(place < MOST_PLACES)
    pairs = np.unique(place[rows] * len(dates) + code[rows])
    for group, at in ((np.zeros(len(dates), np.int64), np.arange(len(dates))), np.divmod(pairs, len(dates))):
        off, still_off, gaps = _off_grid(group, dates[at]), _off_grid(group, moved[at]), len(at)
        if off >= LEAST_OFF and still_off <= min(MOST_STILL_OFF * off, MOST_OFF * gaps):
            break
    else:
        return
    one = int(np.argmax(changed))
    raise InputError(
        f"{where(one)}: {changed.sum():,} of {len(dates):,} dates, those up to the {LAST_MONTH}th of a month such as "
        f"{texts[one]}, are off the regular grid of the later ones, and lie on it with day and month exchanged "
        f"({moved[one]}). They are probably swapped, as Excel and pandas.to_datetime do with texts such as "
        f"{_day_first(moved[one])}. Import the original file with this column as text (in pandas, with dayfirst=True "
        "or a `format`), and write all dates as YYYY-MM-DD."
    )


def _exchanged(dates: Dates) -> Dates:
    """The dates [D], with day and month exchanged up to the 12th."""
    months = dates.astype("datetime64[M]")
    day = (dates - months.astype("datetime64[D]")).astype(np.int64) + 1
    years = months.astype("datetime64[Y]")
    month = (months - years.astype("datetime64[M]")).astype(np.int64) + 1
    swapped: Dates = (years.astype("datetime64[M]") + (day - 1)).astype("datetime64[D]") + (month - 1)
    return np.where(day <= LAST_MONTH, swapped, dates)


def _off_grid(group: Index, dates: Dates) -> int:
    """The number of gaps between neighbouring dates of one group and year that differ from the usual gap."""
    first = dates.min()
    ordered = np.unique(group * DAYS + (dates - first).astype(np.int64))
    years = (first + ordered % DAYS).astype("datetime64[Y]").astype(np.int64)
    same = (np.diff(ordered // DAYS) == 0) & (np.diff(years) == 0)
    gaps = np.diff(ordered)[same]
    if not len(gaps):
        return 0
    usual = np.median(gaps)
    return int((np.abs(gaps - usual) > NEAR * usual).sum())


def _day_first(day: np.datetime64) -> str:
    year, month, number = str(day).split("-")
    return f"{number}/{month}/{year}"
