"""When each row of a table was measured, and questions about columns that may say it."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from pipeline.drafts.read_columns import EMPTY, Column
from pipeline.sources.times.dates import DateError, parse_days

_LIKE_A_DATE = re.compile(r"(19|20)\d\d([-_/.]?)(0\d|1[0-2])\2([0-2]\d|3[01])|\d{1,2}([./-])\d{1,2}\5(19|20)\d\d")
_PARTS_OF_DATES = ("doy", "dayofyear", "day_of_year", "mo", "month", "dy", "day")


def dates_of(column: Column, questions: list[str]) -> NDArray[np.datetime64] | None:
    """The days of a column; None where they are not written as the reader needs them."""
    days = np.full(len(column.texts) + 1, np.datetime64("NaT"), "datetime64[D]")
    written = [code for code, text in enumerate(column.texts) if text.strip() not in EMPTY]
    try:
        days[written] = np.array(parse_days([column.texts[code] for code in written]), "datetime64[D]")
    except DateError as error:
        questions.append(f"column {column.name}: {error.text!r} {error}")
        return None
    found: NDArray[np.datetime64] = days[column.codes]
    return found


def several_dates_a_year(dates: NDArray[np.datetime64], place: Column) -> bool:
    """Whether places have several dates in a year, as in a long table. A wide one may have a date of sowing a row."""
    seasons = np.unique(np.stack([place.codes, dates.astype("datetime64[Y]").astype(np.int64)], axis=1), axis=0)
    return len(dates) >= 2 * len(seasons)


def times_of(columns: Mapping[str, Column]) -> list[str]:
    """Questions about columns that seem to hold dates or parts of dates, in a table without a date and a step."""
    dated = [
        name for name, column in columns.items() if (texts := [text.strip() for text in column.texts if text.strip()])
        and all(_LIKE_A_DATE.match(text) for text in texts)
    ]  # fmt: skip
    found = [
        f'{name} holds {columns[name].texts[0]!r}; is that the date? date = "{name}", with days such as 2018-05-17'
        for name in dated
    ]
    parts = [name for name, column in columns.items() if name.lower() in _PARTS_OF_DATES and column.whole]
    if parts and not dated:
        listed = " and ".join(parts)
        found.append(f"{listed} may say when a row was measured; write a column of dates such as 2018-05-17?")
    return found
