"""Forms of dates that are not read, because each needs a conversion, and how to convert them."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta

from pipeline.table import FIRST_YEAR, LAST_YEAR

_PARTS = re.compile(r"(\d{4})([-_ ])(\d{1,2})\2(\d{1,2})")
_DAY_OF_YEAR = re.compile(r"A?(\d{4})[-_. ]?(\d{3})")  # A: as in names of MODIS files
_MONTH = re.compile(r"(\d{4})[-_./ ](\d{1,2})")
_SIX_DIGITS = re.compile(r"\d{6}")
_TWO_DIGIT_YEAR = re.compile(r"\d{1,2}([-_./ ])\d{1,2}\1\d{2}")
_EXCEL_DAYS = re.compile(r"(\d{5})(?:\.\d+)?")
_SECONDS = re.compile(r"(\d{9,10})(?:\.0)?")
_EXCEL_DAY_0 = date(1899, 12, 30)


def conversion(text: str) -> str:
    """A sentence about what a text that is not read as a date probably means; empty if nothing is recognised."""
    text = text.strip()
    for form, meaning in _MEANINGS.items():
        try:
            if (match := form.fullmatch(text)) and (found := meaning(match)):
                return found
        except (ValueError, OverflowError):  # no day
            continue
    return ""


def _parts(match: re.Match[str]) -> str:
    return _written(date(int(match[1]), int(match[3]), int(match[4])), "It looks like a date in another form")


def _month(match: re.Match[str]) -> str:
    return _written(date(int(match[1]), int(match[2]), 1), "It looks like a year and a month without a day")


def _day_of_year(match: re.Match[str]) -> str:
    first = date(int(match[1]), 1, 1)
    day = first + timedelta(int(match[2]) - 1)
    return _written(day, "It looks like a year and a day of the year") if day.year == first.year else ""


def _excel_days(match: re.Match[str]) -> str:
    return _written(_EXCEL_DAY_0 + timedelta(int(match[1])), "It looks like a day number of Excel")


def _seconds(match: re.Match[str]) -> str:
    return _written(datetime.fromtimestamp(int(match[1]), UTC).date(), "It looks like seconds since 1970")


def _six_digits(match: re.Match[str]) -> str:
    return "It looks like a year and a month, or like a date whose year has two digits; write YYYY-MM-DD"


def _two_digit_year(match: re.Match[str]) -> str:
    return "It looks like a date whose year has two digits; write all four"


def _written(day: date, looks: str) -> str:
    return f"{looks}; write {day.isoformat()}" if FIRST_YEAR <= day.year <= LAST_YEAR else ""


_MEANINGS = {
    _PARTS: _parts,
    _DAY_OF_YEAR: _day_of_year,
    _MONTH: _month,
    _SIX_DIGITS: _six_digits,
    _TWO_DIGIT_YEAR: _two_digit_year,
    _EXCEL_DAYS: _excel_days,
    _SECONDS: _seconds,
}
