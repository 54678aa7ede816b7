"""From days to steps: the start of a season, the step of a date, and the year of a season.

The year of a season is the calendar year in which its last step begins (`season_year = "end"`, the harvest year), or in
which its first step begins (`"start"`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.card import DatasetCard, StepDays
from pipeline.errors import InputError

YEAR_DAYS = 365.25
_STEPS_A_YEAR = {"month": 12, "dekad": 36}
_SHARE_OF_LAST_STEP = 0.6  # makes 46 steps of 8 days, 23 of 16 days, and 36 of 10 days in a year
# The usual `step_days` of a number of columns.
USUAL_STEPS = {365: 1, 366: 1, 73: 5, 52: 7, 53: 7, 46: 8, 37: 10, 36: 10, 24: 15, 23: 16, 26: 14, 12: "month"}

Dates = NDArray[np.datetime64]  # datetime64[D]


@dataclass(frozen=True)
class Calendar:
    """The step grid of a data set. `row_start` is the first day of a stored row, `season_start` that of a season."""

    step_days: StepDays = 10.0
    season_start: str = "01-01"
    row_start: str = "01-01"
    season_year: Literal["end", "start"] = "end"

    @classmethod
    def of(cls, card: DatasetCard) -> Calendar:
        """The grid of a card. Without `season_start`, the season starts with the stored rows."""
        return cls(card.step_days, card.season_start or card.calendar_start, card.calendar_start, card.season_year)

    @property
    def days(self) -> float:
        """Days per step, on average."""
        if isinstance(self.step_days, str):
            return YEAR_DAYS / _STEPS_A_YEAR[self.step_days]
        return self.step_days

    @property
    def steps_a_year(self) -> int:
        """Steps per year. A last step that the next year cuts short counts if most of it remains (23 x 16 days)."""
        whole = int(YEAR_DAYS / self.days + 1e-9)
        return whole + (YEAR_DAYS / self.days - whole > _SHARE_OF_LAST_STEP)

    @property
    def offset(self) -> int:
        """Number of steps of a stored row before the season starts, to the nearest whole step."""
        first = _days(np.array([2001]), self.row_start)
        begin = _days(np.array([2001]), self.season_start)
        if begin[0] < first[0]:
            begin = _days(np.array([2002]), self.season_start)
        if isinstance(self.step_days, str):
            return int(self._between(first, begin)[0])
        return round(float((begin - first).astype(np.int64)[0]) / self.days)

    def days_until(self, month_day: str) -> float:
        """Days from the start of a season to the next day `month_day` (MM-DD), 1 to 365."""
        start, day = (_days(np.array([2001]), one)[0] for one in (self.season_start, month_day))
        return float((day - start).astype(np.int64) % 365 or 365)

    def refuse_longer_than_a_year(self, steps: int, where: str) -> None:
        """Raise `InputError` if seasons of consecutive years would overlap."""
        # The next season may cut the last step short, as in the 23 x 16 days of a MODIS year.
        if (steps - 1) * self.days >= 365:
            raise InputError(
                f"{where}: a season of {steps} steps of {self.days:g} days takes {steps * self.days:g} days, more than "
                f"a year{likely_meaning(steps)}. Set `season_steps` to {self.steps_a_year} or less, or `step_days` in "
                "a dataset card to the real length of a step."
            )

    def refuse_rows_of_another_length(self, stored: int, where: str) -> None:
        """Raise `InputError` if a stored row would last over a year, but would be one year with another step length."""
        if (stored - 1) * self.days >= 365 and stored in USUAL_STEPS:
            raise InputError(
                f"{where}: a row holds {stored} steps, which at {self.days:g} days each are "
                f"{stored * self.days:g} days, more than a year{likely_meaning(stored)}. Correct `step_days` in the "
                "dataset card."
            )

    def season_of(self, dates: Dates, steps: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(year, step) of each date [R]: the year of the latest season that had started, and the step in it from 0.

        Steps of `steps` or more lie after the end of that season.
        """
        day = dates.view(np.int64)
        first, last = int(day.min(initial=0)), int(day.max(initial=0))
        if last - first >= len(day):
            return self._seasons(dates, steps)
        # Each day is computed once, however many rows it has.
        year, step = self._seasons(np.arange(first, last + 1).astype("datetime64[D]"), steps)
        at = day - first
        return year[at], step[at]

    def _seasons(self, dates: Dates, steps: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        start_year = dates.astype("datetime64[Y]").astype(np.int64) + 1970
        start_year -= dates < _days(start_year, self.season_start)
        return start_year + self._year_shift(steps), self._between(_days(start_year, self.season_start), dates)

    def step_in(self, year: NDArray[np.int64], dates: Dates, steps: int) -> NDArray[np.int64]:
        """The step of each date [R] in the season of `year` [R]. Outside the season it is below 0 or >= `steps`."""
        return self._between(_days(year - self._year_shift(steps), self.season_start), dates)

    def season_days(self, year: int, steps: int) -> tuple[np.datetime64, np.datetime64]:
        """The first and the last day of the season that is called `year`."""
        opens = np.array([year - self._year_shift(steps)])
        first, following = _days(np.array([opens[0], opens[0] + 1]), self.season_start)
        (last,) = replace(self, row_start=self.season_start).last_days(opens, np.array([steps - 1]))
        return first, min(last, following - 1)

    def last_known_days(self, year: NDArray[np.int64], step: NDArray[np.int64]) -> Dates:
        """The last day of each step [R] of a stored row. The last step of a row ends with it, as 23 x 16 days do."""
        last, end = self.last_days(year, step), _days(year + 1, self.row_start) - 1
        begins_within = self.last_days(year, step - 1) < end
        days: Dates = np.where(begins_within, np.minimum(last, end), last)
        return days

    def last_days_from(self, dates: Dates) -> Dates:
        """The last day of the step that begins on each date [R], or of the month or dekad in which it lies."""
        if self.step_days == "month":
            return _end_of_month(_month(dates))
        if self.step_days == "dekad":
            return _end_of_dekad(_dekad(dates))
        days: Dates = dates + (int(np.ceil(self.days)) - 1)
        return days

    def last_days(self, year: NDArray[np.int64], step: NDArray[np.int64]) -> Dates:
        """The last day of each step [R], from 0, of a stored row that begins in `year` [R]."""
        start = _days(year, self.row_start)
        if self.step_days == "month":
            return _end_of_month(_month(start) + step)
        if self.step_days == "dekad":
            return _end_of_dekad(_dekad(start) + step)
        day: Dates = start + (np.ceil((step + 1) * self.days).astype(np.int64) - 1)
        return day

    def _year_shift(self, steps: int) -> int:
        """The difference between the year of a season and the calendar year in which it starts."""
        if self.season_year == "start":
            return 0
        month, day = (int(part) for part in self.season_start.split("-"))
        if isinstance(self.step_days, str):
            a_year = _STEPS_A_YEAR[self.step_days]
            return ((month - 1) * a_year // 12 + (day - 1) // 10 * (a_year == 36) + steps - 1) // a_year
        day_of_year = int((_days(np.array([2001]), self.season_start)[0] - np.datetime64("2001-01-01")).astype(int))
        return int(day_of_year + (steps - 1) * self.days >= 365)

    def _between(self, start: Dates, dates: Dates) -> NDArray[np.int64]:
        if self.step_days == "month":
            return _month(dates) - _month(start)
        if self.step_days == "dekad":
            return _dekad(dates) - _dekad(start)
        return np.floor((dates - start).astype(np.int64) / self.days).astype(np.int64)


def likely_meaning(steps: int) -> str:
    """The usual meaning of this number of steps in a year, as the end of a clause; empty if there is none."""
    days = USUAL_STEPS.get(steps)
    if days is None:
        return ""
    what = {1: "days", 7: "weeks", 8: "8-day composites", 16: "16-day composites", "month": "months"}.get(days)
    return f" ({steps} steps in a year are {what or f'steps of {days} days'}, step_days = {days!r})".replace("'", '"')


def _days(year: NDArray[np.int64], month_day: str) -> Dates:
    """The day `MM-DD` of each year."""
    month, day = (int(part) for part in month_day.split("-"))
    months = (year - 1970).astype("datetime64[Y]").astype("datetime64[M]") + (month - 1)
    return months.astype("datetime64[D]") + (day - 1)


def _month(dates: Dates) -> NDArray[np.int64]:
    return dates.astype("datetime64[M]").astype(np.int64)


def _dekad(dates: Dates) -> NDArray[np.int64]:
    """Thirds of a month: day 1-10, 11-20, 21 to the end."""
    day = (dates - dates.astype("datetime64[M]").astype("datetime64[D]")).astype(np.int64)
    thirds: NDArray[np.int64] = _month(dates) * 3 + np.minimum(day // 10, 2)
    return thirds


def _end_of_month(month: NDArray[np.int64]) -> Dates:
    """The last day of each month, counted from January 1970."""
    last: Dates = (month + 1).astype("datetime64[M]").astype("datetime64[D]") - 1
    return last


def _end_of_dekad(third: NDArray[np.int64]) -> Dates:
    """The last day of each dekad, counted from January 1970."""
    following = third + 1
    month: Dates = (following // 3).astype("datetime64[M]").astype("datetime64[D]")
    last: Dates = month + following % 3 * 10 - 1
    return last
