"""Crop calendars: the season of each place has its own start and end, so that step 0 is the same crop stage."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.card import DatasetCard, SourceCard, place_key
from pipeline.errors import InputError
from pipeline.sources.files.columns import Columns
from pipeline.sources.labels import refuse_empty, years_of
from pipeline.sources.times.calendar import Dates

LONGEST_SEASON = 365  # days; seasons of one place must not overlap
OWN_START = "each place's own start"  # `season_start` of a table whose seasons start on different days
LEAST_PLACES = 3  # whose numbers are compared with those of dekads
DEKADS, MONTHS = 36, 12  # per year
_NUMBER = re.compile(r"\d+(\.\d+)?")
_MONTH_DAY = re.compile(r"(\d{1,2})-(\d{1,2})")

Index = NDArray[np.int64]
Day = int | tuple[int, int] | date  # a day of the year, (month, day), or a date


@dataclass(frozen=True)
class CropCalendar:
    """The seasons of places. A row with dates or a year is for one season; any other row is for every year.

    place       [C] str
    year        [C] the year of the season, 0 for every year
    start, end  C days each, as the file spells them
    where       returns the file and row of an entry
    """

    place: NDArray[np.str_]
    year: Index
    start: Sequence[Day]
    end: Sequence[Day]
    days_before: int
    season_year: Literal["end", "start"]
    where: Callable[[int], str]

    @classmethod
    def of(cls, card: DatasetCard, source: SourceCard, columns: Columns) -> CropCalendar:
        """From the columns of the calendar file. Raises `InputError` for an empty or invalid day."""
        assert source.calendar is not None
        named = source.calendar
        for column in (named.start, named.end):
            refuse_empty(columns, column)
        start, end = _parsed(columns, named.start), _parsed(columns, named.end)
        places = columns.text[place_key(source.place or card.place)].strings()
        _refuse_dekads_and_months(columns, (named.start, named.end), start, end, len(np.unique(places)))
        years = np.zeros(len(columns), np.int64)
        if source.year is not None:
            years = years_of(columns.exact[source.year], source.year, columns.where)
        return cls(
            place=places,
            year=years,
            start=start,
            end=end,
            days_before=named.days_before,
            season_year=card.season_year,
            where=columns.where,
        )

    def seasons(self, places: NDArray[np.str_], first: int, last: int) -> PlaceSeasons:
        """The sorted seasons of the places [P] that end in the years `first` to `last`.

        Raises `InputError` if a season is too long, or if two seasons of a place overlap.
        """
        codes = {name: code for code, name in enumerate(places.tolist())}
        entries: list[tuple[int, date, date, int, int]] = []
        for row, name in enumerate(self.place.tolist()):
            if name not in codes:
                continue
            start, end, year = self.start[row], self.end[row], int(self.year[row])
            ends = [end.year] if isinstance(end, date) else [year] if year else range(first, last + 1)
            entries += [(codes[name], *self._season(row, start, end, ending), row) for ending in ends]
        entries.sort(key=lambda one: one[:2])
        return PlaceSeasons.of(entries, places, self.where)

    def _season(self, row: int, start: Day, end: Day, ending: int) -> tuple[date, date, int]:
        """(first day, last day, year) of the season that ends in the calendar year `ending`."""
        closes = _in_year(end, ending)
        opens = _in_year(start, ending)
        if opens >= closes and not isinstance(start, date):
            opens = _in_year(start, ending - 1)
        year = closes.year if self.season_year == "end" else opens.year
        if self.year[row] and (isinstance(start, date) or isinstance(end, date)):
            year = int(self.year[row])
        first = date.fromordinal(opens.toordinal() - self.days_before)
        length = closes.toordinal() - first.toordinal() + 1
        if not 0 < length <= LONGEST_SEASON:
            before = f", {self.days_before} days earlier (`days_before`)" if self.days_before else ""
            raise InputError(
                f"{self.where(row)}: the season of place {self.place[row]} runs from {opens}{before} to {closes}, "
                f"which is {length} days; it must be 1 to {LONGEST_SEASON} days. Correct the calendar, or give fewer "
                "`days_before` in the dataset card."
            )
        return first, closes, year


@dataclass(frozen=True)
class PlaceSeasons:
    """S seasons, sorted by place and first day: place codes [S], year [S], first and last day `start`, `end` [S]."""

    place: Index
    year: Index
    start: Dates
    end: Dates

    @classmethod
    def of(
        cls, found: Sequence[tuple[int, date, date, int, int]], places: NDArray[np.str_], where: Callable[[int], str]
    ) -> PlaceSeasons:
        """From sorted (place, start, end, year, row). Raises `InputError` if two seasons of a place overlap."""
        for one, other in pairwise(found):
            if one[0] == other[0] and (other[1] <= one[2] or one[3] == other[3]):
                raise InputError(
                    f"{where(other[4])}: place {places[one[0]]} has a season from {one[1]} to {one[2]} (year "
                    f"{one[3]}), and another from {other[1]} to {other[2]} (year {other[3]}), but a place has one "
                    "season per year. Keep one row per place, or correct its days."
                )
        place, start, end, year, _ = zip(*found, strict=True) if found else ((), (), (), (), ())
        return cls(
            np.array(place, np.int64),
            np.array(year, np.int64),
            np.array(start, "datetime64[D]"),
            np.array(end, "datetime64[D]"),
        )

    @property
    def longest(self) -> int:
        """Length of the longest season, in days."""
        return int(((self.end - self.start).astype(np.int64) + 1).max(initial=0))

    def running(self, place: Index, dates: Dates) -> Index:
        """The season in which each (place, date) [R] lies, or -1."""
        if len(self.place) == 0:
            return np.full(len(place), -1, np.int64)
        day, first = dates.astype(np.int64), self.start.astype(np.int64)
        low = min(int(first.min()), int(day.min(initial=0)))
        width = max(int(first.max()), int(day.max(initial=0))) - low + 1
        latest = np.searchsorted(self.place * width + first - low, place * width + day - low, side="right") - 1
        at = np.maximum(latest, 0)
        runs = (latest >= 0) & (self.place[at] == place) & (dates <= self.end[at])
        return np.where(runs, latest, -1)

    def days_of(self, place: int, year: int) -> tuple[np.datetime64, np.datetime64]:
        """The first and the last day of the season of a place that is called `year`."""
        at = int(np.argmax((self.place == place) & (self.year == year)))
        return self.start[at], self.end[at]

    def days_to_harvest(self, place: Index, year: Index) -> NDArray[np.float64]:
        """Days from the first to the last day of the season of each (place, year) [N]; NaN without a season."""
        known = {
            key: float(days)
            for *key_parts, days in zip(
                self.place.tolist(), self.year.tolist(), (self.end - self.start).astype(np.int64).tolist(), strict=True
            )
            for key in [tuple(key_parts)]
        }
        return np.array([known.get(key, np.nan) for key in zip(place.tolist(), year.tolist(), strict=True)])


def steps_of(seasons: PlaceSeasons, step_days: float) -> int:
    """T: the number of whole steps in the longest season, at least 2."""
    return max(2, int(seasons.longest / step_days))


def _in_year(day: Day, year: int) -> date:
    """The day in a year. If the year is no leap year, day 366 becomes its last day and 02-29 becomes 02-28."""
    if isinstance(day, date):
        return day
    if isinstance(day, tuple):
        month, number = day
        return date(year, month, 28 if (month, number) == (2, 29) and not _leap(year) else number)
    return date.fromordinal(date(year, 1, 1).toordinal() + min(day, 365 + _leap(year)) - 1)


def _leap(year: int) -> bool:
    return date(year, 12, 31).timetuple().tm_yday == 366


def _parsed(columns: Columns, column: str) -> list[Day]:
    text = columns.text[column]
    days: dict[int, Day] = {}
    for code in np.unique(text.codes).tolist():
        day = _day(str(text.names[code]).strip())
        if day is None:
            row = int(np.argmax(text.codes == code))
            raise InputError(
                f"{columns.where(row)}, column {column}: {str(text.names[code])!r} is not a day; write a day of the "
                "year (1 to 366), MM-DD, or a date such as 2018-05-17."
            )
        days[code] = day
    return [days[code] for code in text.codes.tolist()]


def _refuse_dekads_and_months(
    columns: Columns, named: tuple[str, str], start: Sequence[Day], end: Sequence[Day], places: int
) -> None:
    """Raise `InputError` if all days of several places are numbers up to 36, which are dekads, or months up to 12."""
    numbers = [day for day in (*start, *end) if isinstance(day, int)]
    if places < LEAST_PLACES or len(numbers) < len(start) + len(end) or max(numbers) > DEKADS:
        return
    what, example = ("months (1 to 12)", "month 4") if max(numbers) <= MONTHS else ("dekads (1 to 36)", "dekad 10")
    raise InputError(
        f"{columns.where(0)}, columns {named[0]} and {named[1]}: {start[0]} and {end[0]} would be read as days of the "
        f"year, but none of the numbers of {places} places is above {max(numbers)}, so all seasons would begin and end "
        f"around January. They look like {what}. Write the first and the last day as MM-DD ({example} begins on "
        "04-01). If they really are days of the year, MM-DD says so, too."
    )


def _day(text: str) -> Day | None:
    try:
        if _NUMBER.fullmatch(text) and float(text) < 1000:
            return int(float(text)) if 1 <= float(text) < 367 else None
        if match := _MONTH_DAY.fullmatch(text):
            month, day = int(match[1]), int(match[2])
            date(2000, month, day)
            return month, day
        return datetime.fromisoformat(text).date()
    except ValueError:
        return None
