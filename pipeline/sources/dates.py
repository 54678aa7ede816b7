"""Dates as people write them: 2018-05-17, 20180517, 17.05.2018, and 17/05/2018 where only one reading is possible."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from typing import Literal

DateOrder = Literal["dmy", "mdy"]
NAMES: dict[DateOrder, str] = {"dmy": "day, month, year", "mdy": "month, day, year"}
_PARTS = re.compile(r"\s*(\d{1,2})([./])(\d{1,2})\2(\d{4})(?:[ T].*)?\s*")


class DateError(ValueError):
    """The text that is no date, and why."""

    def __init__(self, text: str, why: str) -> None:
        super().__init__(why)
        self.text = text


def order_of(texts: Iterable[str], order: DateOrder | None = None) -> DateOrder | None:
    """The order in which days and months stand in dates such as 17/05/2018; None where no text is written so.

    Points are day first wherever they are used. Slashes are used both ways: a number above 12 decides, or `order`.
    Raises `DateError` where nothing does.
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
    raise DateError(parts[0][0], 'may start with the day or the month: say `date_order = "dmy"` or "mdy" in the card')


def parse_days(texts: Sequence[str], order: DateOrder | None = None) -> list[date]:
    """The day of each text. Raises `DateError` for the first that is none."""
    order = order_of(texts, order)
    return [_day(text, order) for text in texts]


def _day(text: str, order: DateOrder | None) -> date:
    try:
        if match := _PARTS.fullmatch(text):
            one, other = int(match[1]), int(match[3])
            return date(int(match[4]), other, one) if order == "dmy" else date(int(match[4]), one, other)
        return datetime.fromisoformat(text).date()
    except ValueError:
        raise DateError(text, "is not a date; write it as 2018-05-17") from None
