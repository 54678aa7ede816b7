"""Parse dates: 2018-05-17, 2018/05/17, 20180517, 17.05.2018, and 17/05/2018 if the order of day and month is clear.

Milliseconds since 1970 (`system:time_start` of Earth Engine) are converted to days in UTC.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Literal

from pipeline.errors import InputError
from pipeline.sources.times.date_forms import conversion

DateOrder = Literal["dmy", "mdy"]
NAMES: dict[DateOrder, str] = {"dmy": "day, month, year", "mdy": "month, day, year"}
_PARTS = re.compile(r"\s*(\d{1,2})([./-])(\d{1,2})\2(\d{4})(?:[ T].*)?\s*")
_YEAR_FIRST = re.compile(r"\s*(\d{4})([./])(\d{1,2})\2(\d{1,2})(?:[ T].*)?\s*")
# Dates since 2001. No other form of a date has so many digits. Earth Engine also writes 1.5540768E12.
_MILLISECONDS = re.compile(r"\s*(\d{13}|\d\.\d{1,12}E\+?12)(?:\.0)?\s*")
_SCIENTIFIC = re.compile(r"\s*(\d\.(\d{1,12})E\+?12)\s*")
_SHOWN_DECIMALS = 5  # of numbers that Excel shows; exact days of Earth Engine have more, but for one in 25
_DAY = 86_400_000  # milliseconds


class DateError(ValueError):
    """A text that is not a date, and the reason."""

    def __init__(self, text: str, why: str) -> None:
        super().__init__(why)
        self.text = text


def order_of(texts: Iterable[str], order: DateOrder | None = None) -> DateOrder | None:
    """The order of day and month in dates such as 17/05/2018; None if no text has this form.

    Dates with points start with the day. Dates with slashes or dashes occur in both orders, so a number above 12 or
    `order` decides. Raises `DateError` if nothing decides.
    """
    parts = [match for text in texts if (match := _PARTS.fullmatch(text))]
    if not parts:
        return None
    if order is not None:
        return order
    if any(match[2] == "." for match in parts):
        return "dmy"
    if any(int(match[1]) > 12 for match in parts):
        return "dmy"
    if any(int(match[3]) > 12 for match in parts):
        return "mdy"
    raise DateError(parts[0][0], 'may start with the day or the month; set `date_order = "dmy"` or "mdy" in the card')


def refuse_orders_by_file(files: Sequence[Path], texts: Sequence[Sequence[str]], column: str) -> None:
    """Raise `InputError` if files differ in the order of day and month, or if it is clear only in some of them."""
    found: dict[DateOrder, Path] = {}
    unclear: list[tuple[Path, str]] = []
    for path, written in zip(files, texts, strict=True):
        try:
            order = order_of(written)
        except DateError as error:
            unclear.append((path, error.text))
        else:
            found |= {order: path} if order else {}
    if len(found) > 1:
        raise InputError(
            f"{found['mdy']}, column {column}: its dates start with the month, those of {found['dmy']} with the day. "
            "Write them alike, or make each file a source of its own with its `date_order`."
        )
    if found and unclear:
        order, clear = next(iter(found.items()))
        path, text = unclear[0]
        raise InputError(
            f"{path}, column {column}: {text!r} may start with the day or the month. {clear} is written as "
            f'{NAMES[order]}; if all files are, set `date_order = "{order}"` in the card.'
        )


def parse_days(texts: Sequence[str], order: DateOrder | None = None) -> list[date]:
    """The day of each text. Raises `DateError` for the first text that is not a date."""
    order = order_of(texts, order)
    _refuse_rounded_milliseconds(texts)
    return [_day(text, order) for text in texts]


def time_of(text: str) -> datetime | None:
    """The time of a text in ISO form or in milliseconds since 1970, the latter in UTC; None for any other text."""
    try:
        if match := _MILLISECONDS.fullmatch(text):
            return datetime.fromtimestamp(float(match[1]) / 1000, UTC)
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _refuse_rounded_milliseconds(texts: Sequence[str]) -> None:
    """Raise `DateError` if most numbers such as 1.45947E+12 have few digits, and one of them is no whole day."""
    found = [match for text in texts if (match := _SCIENTIFIC.fullmatch(text))]
    short = [match for match in found if len(match[2]) <= _SHOWN_DECIMALS]
    rounded = next((match for match in short if round(float(match[1])) % _DAY), None)
    if rounded is not None and 2 * len(short) > len(found):
        raise DateError(
            rounded[0],
            "is how Excel shows milliseconds since 1970; its last digits are lost, so the day may be another one. "
            "Export the column as text, or write all dates as YYYY-MM-DD",
        )


def _day(text: str, order: DateOrder | None) -> date:
    try:
        if match := _PARTS.fullmatch(text):
            one, other = int(match[1]), int(match[3])
            return date(int(match[4]), other, one) if order == "dmy" else date(int(match[4]), one, other)
        if match := _YEAR_FIRST.fullmatch(text):
            return date(int(match[1]), int(match[3]), int(match[4]))
    except ValueError:
        pass
    if when := time_of(text):
        return when.date()
    if order is not None and _PARTS.fullmatch(text):
        how = f"is not a date in the order {NAMES[order]}, which `date_order` or another date of the column gives"
        raise DateError(text, f"{how}; write all dates as YYYY-MM-DD")
    hint = conversion(text)
    raise DateError(text, "is not a date; dates are written as in 2018-05-17" + (f". {hint}" if hint else ""))
