"""When each row of a table was measured: its date or step, or what is wrong with the columns that may say it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pipeline.drafts.read_columns import EMPTY, Column
from pipeline.sources.times.dates import DateError, parse_days
from pipeline.sources.times.step_length import length_in_name

DATE = "date"  # the column that a person is asked to write, if several columns hold parts of the date
MOST_STEPS = 366  # of a year
_LIKE_A_DATE = re.compile(r"(19|20)\d\d([-_/.]?)(0\d|1[0-2])\2([0-2]\d|3[01])|\d{1,2}([./-])\d{1,2}\5(19|20)\d\d")
_YEAR_AND_NUMBER = re.compile(r"(?:19|20)\d\d(\d{1,2})")
_PARTS_OF_DATES = ("doy", "dayofyear", "day_of_year", "mo", "month", "dy", "day", "dekad")


@dataclass(frozen=True)
class RowTimes:
    """The time of the rows of a table that is not wide.

    date      the column to name as `date`; None in a table with steps, and without any time
    step      the column to name as `step`
    dates     [R] the days; None where they are not read
    parts     other columns of the time, which measure nothing
    problem   why the time cannot be read, and what to write; empty if it can
    question  what is unsure about the column of the date
    """

    date: str | None = None
    step: str | None = None
    dates: NDArray[np.datetime64] | None = None
    parts: tuple[str, ...] = ()
    problem: str = ""
    question: str = ""


def row_times(columns: Mapping[str, Column], roles: Mapping[str, str]) -> RowTimes:
    """The time of the rows. roles: the columns that are called `date`, `step`, `place` and `year`, if any."""
    parts = tuple(name for name, column in columns.items() if name.lower() in _PARTS_OF_DATES and column.whole)
    date, step = roles.get("date"), roles.get("step")
    if date is not None and not _counts(columns[date], 1, 31):
        days, problem = _days_of(columns[date])
        return RowTimes(date=date, dates=days, parts=parts, problem=problem)
    if date is None and step is not None and (found := _by_step(columns, step)) is not None:
        return replace(found, parts=(*found.parts, *parts))
    named = [name for name, column in columns.items() if name not in roles.values() and _looks_like_dates(column)]
    for name in named if "place" in roles else ():
        days, _ = _days_of(columns[name])
        if days is not None and several_dates_a_year(days, columns[roles["place"]]):
            others = [other for other in named if other != name]
            question = f"is that the date? {'It may be ' + ' or '.join(others) + ', too' if others else ''}".strip()
            return RowTimes(date=name, dates=days, parts=(*others, *parts), question=question)
    if parts and not named and _several_rows_a_year(columns, roles):
        problem = (
            f"{' and '.join(parts)} may say when a row was measured; write one column of dates, called {DATE}, such as "
            "2018-05-17"
        )
        return RowTimes(date=DATE, parts=parts, problem=problem)
    return RowTimes()


def times_of(columns: Mapping[str, Column]) -> list[str]:
    """Questions about columns that seem to hold dates, in a table without a date and a step."""
    return [
        f'{name} holds {column.texts[0]!r}; is that the date? date = "{name}", with days such as 2018-05-17'
        for name, column in columns.items()
        if _looks_like_dates(column)
    ]


def several_dates_a_year(dates: NDArray[np.datetime64], place: Column) -> bool:
    """Whether places have several dates in a year, as in a long table. A wide one may have a date of sowing a row."""
    seasons = np.unique(np.stack([place.codes, dates.astype("datetime64[Y]").astype(np.int64)], axis=1), axis=0)
    return len(dates) >= 2 * len(seasons)


def _several_rows_a_year(columns: Mapping[str, Column], roles: Mapping[str, str]) -> bool:
    keys = [columns[roles[role]].codes for role in ("place", "year") if role in roles]
    return not keys or len(keys[0]) >= 2 * len(np.unique(np.stack(keys, axis=1), axis=0))


def _by_step(columns: Mapping[str, Column], step: str) -> RowTimes | None:
    """The time by a column that is called a step; None if it is none."""
    column = columns[step]
    if column.whole and column.known.min() >= 0:
        months = [name for name in columns if length_in_name(name) == "month" and _counts(columns[name], 1, 12)]
        if length_in_name(step) == "dekad" and column.known.max() <= 3 and months:
            return RowTimes(
                date=DATE,
                parts=(*months, step),
                problem=f"column {step} counts the dekads of a month, and {months[0]} the months. Write one column of "
                f"dates, called {DATE}, with the first day of each dekad, such as 2018-05-01, 2018-05-11 and "
                "2018-05-21. Or write one number of the dekad in the year, 1 to 36, and name it as `step`",
            )
        if column.known.max() <= MOST_STEPS:
            return RowTimes(step=step)
        return RowTimes(date=step, problem=_of_high_numbers(column))
    days, problem = _days_of(column)
    if days is not None and column.texts:
        return RowTimes(date=step, dates=days, question=f"is that the date? {column.texts[0]} is read as {days[0]}")
    text = next((text for text in column.texts if text.strip() not in EMPTY), "")
    if not text or (length_in_name(step) is None and not re.search(r"\d", text)):
        return None
    if not re.search(r"\d", text):
        problem = f"column {step} holds {text!r}; steps are whole numbers, such as 1 to 12"
    return RowTimes(date=step, problem=problem)


def _of_high_numbers(column: Column) -> str:
    """What to write for step numbers beyond those of a year, such as 201604."""
    first = f"{column.known[0]:.0f}"
    match = _YEAR_AND_NUMBER.fullmatch(first)
    if match and length_in_name(column.name) == "month" and 1 <= int(match[1]) <= 12:
        return (
            f"column {column.name} holds {first}, a year and a month, which is no step of a season; write a date, "
            f"such as {first[:4]}-{int(match[1]):02d}-01"
        )
    return (
        f"column {column.name} holds {first}, which is no step of a season (at most {MOST_STEPS}); write dates such as "
        "2018-05-17, or the number of the step in its year"
    )


def _days_of(column: Column) -> tuple[NDArray[np.datetime64] | None, str]:
    """(The days of a column, or None where they are not written as the reader needs them, and the reason)"""
    days = np.full(len(column.texts) + 1, np.datetime64("NaT"), "datetime64[D]")
    written = [code for code, text in enumerate(column.texts) if text.strip() not in EMPTY]
    try:
        days[written] = np.array(parse_days([column.texts[code] for code in written]), "datetime64[D]")
    except DateError as error:
        return None, f"column {column.name}: {error.text!r} {error}"
    return days[column.codes], ""


def _looks_like_dates(column: Column) -> bool:
    texts: Sequence[str] = [text.strip() for text in column.texts if text.strip()]
    return bool(texts) and all(_LIKE_A_DATE.match(text) for text in texts)


def _counts(column: Column, least: int, most: int) -> bool:
    """Whether all numbers of a column are whole and within limits, as days of a month are."""
    return column.whole and bool(column.known.min() >= least and column.known.max() <= most)
