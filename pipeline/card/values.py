"""The types of values in a card, with what is allowed for each."""

from __future__ import annotations

import codecs
import json
import unicodedata
from collections.abc import Sequence
from datetime import date
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator

from pipeline.card.safe_names import LONGEST_NAME, control_character, safe_name
from pipeline.table import FIRST_YEAR, LAST_YEAR

StepDays = float | Literal["month", "dekad"]

_AND = " + "  # between the columns that name a place


def _month_day(text: str) -> str:
    try:
        day = date.fromisoformat(f"2001-{text}")
    except ValueError:
        raise ValueError('a day of the year as "MM-DD", such as "07-01" (not 02-29)') from None
    return f"{day:%m-%d}"


def _step_days(value: Any) -> StepDays:
    if value in ("month", "dekad"):
        return value  # type: ignore[no-any-return]
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 366:
        return float(value)
    raise ValueError('a number of days (over 0, at most 366), or "month" or "dekad" (10 days, three a month)')


def _encoding(text: str) -> str:
    try:
        return codecs.lookup(text).name
    except LookupError:
        raise ValueError('the name of an encoding, such as "utf-8", "latin-1", "cp1252" or "utf-16"') from None


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _texts_by_column(value: Any) -> Any:
    if not isinstance(value, dict):
        text = json.dumps(value, ensure_ascii=False) if isinstance(value, str) else '"..."'
        raise ValueError(f"columns with the texts to keep, as in keep = {{ crop = {text} }}")
    return {name: _listed(texts) for name, texts in value.items()}


def _place_columns(value: Any) -> tuple[str, ...]:
    columns = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list | tuple) else ()
    if not columns or not all(isinstance(column, str) and column for column in columns):
        raise ValueError('the name of a column, or a list of names, as in ["state", "county"]')
    if twice := next((column for column in columns if columns.count(column) > 1), None):
        raise ValueError(f"a list of different columns; {twice!r} is named twice")
    return columns


def _place_parts(value: Any) -> tuple[str, ...]:
    parts = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list | tuple) else ()
    if not parts or not all(isinstance(part, str) and part for part in parts):
        raise ValueError('the name of a place, or a list of its parts, as in ["Illinois", "Adams"]')
    return parts


def place_key(columns: Sequence[str]) -> str:
    """The name of the place among the columns of a table: its column, or several as in `state + county`."""
    return _AND.join(columns)


def columns_of(key: str) -> list[str]:
    """The columns of `place_key`."""
    return key.split(_AND)


def _table_name(text: str) -> str:
    if (safe := safe_name(text)) == unicodedata.normalize("NFC", text):
        return safe
    raise ValueError(
        f"letters, digits, spaces and _ . + - only, {LONGEST_NAME} at most and no dot or space in front, because run "
        "folders are named after it"
    )


def _one_line(text: str) -> str:
    if control_character(text) is not None:
        raise ValueError("one line without tabs or other control characters")
    return text


Finite = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Text = Annotated[str, Field(min_length=1)]
TableName = Annotated[str, Field(min_length=1), AfterValidator(_table_name)]
Line = Annotated[str, Field(min_length=1), AfterValidator(_one_line)]
Encoding = Annotated[str, AfterValidator(_encoding)]
MonthDay = Annotated[str, AfterValidator(_month_day)]
Files = Annotated[list[Text], BeforeValidator(_listed), Field(min_length=1)]
Keep = Annotated[dict[Text, Annotated[list[Text], Field(min_length=1)]], BeforeValidator(_texts_by_column)]
Year = Annotated[int, Field(ge=FIRST_YEAR, le=LAST_YEAR)]
PlaceColumns = Annotated[tuple[str, ...], PlainValidator(_place_columns)]
PlaceParts = Annotated[tuple[str, ...], PlainValidator(_place_parts)]
StepLength = Annotated[StepDays, PlainValidator(_step_days)]
Separator = Literal[",", ";", "\t", "|"]
Decimal = Literal[".", ","]
