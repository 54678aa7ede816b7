"""Reject wide tables whose columns are named after dates. The message explains how to make a long table of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from pipeline.errors import InputError

LEAST = 2
_ISO = re.compile(r"(?<!\d)((?:19|20)\d\d)([-_./]?)(\d\d)\2(\d\d)(?!\d)")
_DAY_OF_YEAR = re.compile(r"(?<!\d)((?:19|20)\d\d)[-_]?([0-3]\d\d)(?!\d)")
_WRITTEN = re.compile(r"(?<!\d)(\d{1,2})[./-](\d{1,2})[./-]((?:19|20)\d\d)(?!\d)")


def refuse_dates_in_header(path: Path, header: Sequence[str]) -> None:
    """Raise `InputError` if several columns are named after a date."""
    dated = [name for name in header if _is_dated(name)]
    if len(dated) < LEAST:
        return
    raise InputError(
        f"{path}: {len(dated)} columns are named after dates ({', '.join(dated[:3])}, ...). A wide table counts steps "
        "(ndvi_00, ndvi_01, ...) and cannot hold dates. Write it as a long table, one row per place and date "
        '(columns place, date, ndvi, yield), with format = "long" and date = "date" in its dataset card; '
        '`pandas.melt(table, id_vars=["place", "yield"], var_name="date", value_name="ndvi")` does it.'
    )


def _is_dated(name: str) -> bool:
    if match := _ISO.search(name):
        return _is_date(int(match[1]), int(match[3]), int(match[4]))
    if match := _DAY_OF_YEAR.search(name):
        return 1 <= int(match[2]) <= 366
    if match := _WRITTEN.search(name):
        one, two, year = (int(part) for part in match.groups())
        return _is_date(year, one, two) or _is_date(year, two, one)
    return False


def _is_date(year: int, month: int, day: int) -> bool:
    try:
        date(year, month, day)
    except ValueError:
        return False
    return True
