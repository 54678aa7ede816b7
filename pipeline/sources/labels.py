"""The id, the year and the yield column of rows, with their checks."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.card import DatasetCard, columns_of, control_character
from pipeline.errors import InputError
from pipeline.findings import Finding
from pipeline.sources.files.columns import Columns, require
from pipeline.sources.files.csv_text import MISSING, MISSING_NAMES
from pipeline.sources.names.place_names import lost_digits
from pipeline.table import FIRST_YEAR, LAST_YEAR

MOST_NAMELESS = 0.5  # of the rows of a source may lack their place
_YEAR_IN_NAME = re.compile(r"(?<!\d)(?:19\d\d|20\d\d|2100)(?!\d)")


def year_in_name(path: Path) -> int | None:
    """The year in a file's name, or None if it has none or several."""
    years = {int(text) for text in _YEAR_IN_NAME.findall(path.name)}
    return years.pop() if len(years) == 1 else None


def refuse_odd_year(year: float, where: str) -> None:
    """Raise `InputError` if a year is missing, not a whole number, or out of range."""
    if np.isnan(year):
        raise InputError(f"{where}: the year is missing; every row needs one. Remove the line if it is a footnote.")
    if year != int(year) or not FIRST_YEAR <= year <= LAST_YEAR:
        raise InputError(f"{where}: the year {year:g} is not a whole number in {FIRST_YEAR}-{LAST_YEAR}; correct it.")


def years_of(numbers: NDArray[np.float64], column: str, where: Callable[[int], str]) -> NDArray[np.int64]:
    """A column of years [R] as whole numbers; the first bad one is named."""
    bad = ~((numbers >= FIRST_YEAR) & (numbers <= LAST_YEAR) & (numbers == np.floor(numbers)))
    if bad.any():
        row = int(np.argmax(bad))
        refuse_odd_year(float(numbers[row]), f"{where(row)}, column {column}")
    return numbers.astype(np.int64)


def default_ids(place: NDArray[np.str_], year: NDArray[np.int64]) -> NDArray[np.str_]:
    """[N] `place|year`, the id of a sample without another one."""
    pairs = zip(place.tolist(), year.tolist(), strict=True)
    return np.array([f"{p}|{y}" for p, y in pairs], np.str_)


def refuse_empty(columns: Columns, name: str, missing: Collection[str] = MISSING) -> None:
    """Raise `InputError` for the first row that lacks the text which places it. missing: texts read as empty cells."""
    empty = columns.text[name].codes < 0
    if empty.any():
        read = " or ".join(map(repr, _read_as_empty(columns, name, missing)))
        marks = f" or holds {read}, which is read as a missing value" if read else ""
        raise InputError(
            f"{columns.where(int(np.argmax(empty)))}, column {name}: the cell is empty{marks}; every row needs it. "
            "Fill it in, or remove the row."
        )


def _read_as_empty(columns: Columns, name: str, missing: Collection[str]) -> list[str]:
    """The texts of a column that were read as empty cells, such as nan. A place may have several columns."""
    parts = [text for key, text in columns.text.items() if key == name or key in columns_of(name)]
    unused = [text.names[np.setdiff1d(np.arange(len(text.names)), text.codes)] for text in parts]
    return sorted({text for names in unused for text in names.tolist() if text} & set(missing))


def refuse_bad_names(columns: Columns, name: str) -> None:
    """Raise `InputError` for an empty place or id, and for one with a line break, a tab or the like in it.

    Names stay as they are in the data; these would break every table that is written from them.
    """
    refuse_empty(columns, name, MISSING_NAMES)
    text = columns.text[name]
    bad = {code: c for code, written in enumerate(text.names.tolist()) if (c := control_character(written))}
    short = [code for code, written in enumerate(text.names.tolist()) if lost_digits(written)]
    rows = np.flatnonzero(np.isin(text.codes, short)) if short else np.empty(0, np.int64)
    if len(rows):
        row = int(rows[0])
        raise InputError(
            f"{columns.where(row)}, column {name}: {str(text.names[text.codes[row]])!r} is how Excel shows a long "
            "code; its last digits are lost, and different places may have become one. Export the column as text."
        )
    rows = np.flatnonzero(np.isin(text.codes, list(bad))) if bad else np.empty(0, np.int64)
    if len(rows):
        row = int(rows[0])
        code = int(text.codes[row])
        raise InputError(
            f"{columns.where(row)}, column {name}: {str(text.names[code])!r} holds the control character "
            f"{bad[code]!r}, which would break the tables that are written from it; take it out of the name."
        )


def without_nameless(columns: Columns, name: str, source: str) -> tuple[Columns, tuple[Finding, ...]]:
    """The rows that have a place, and a note on the others, such as a sum of "other counties".

    Only for numbers of a place: where no place stands, they belong to none. If most rows lack it, it is refused.
    """
    lacking = np.flatnonzero(columns.text[name].codes < 0)
    if not len(lacking) or len(lacking) > MOST_NAMELESS * len(columns):
        return columns, ()
    rows = f"{len(lacking)} row{'s' * (len(lacking) > 1)} without a place (column {name})"
    sentence = f"{source} has {rows}, such as {columns.where(int(lacking[0]))}; left out."
    return columns.rows(np.flatnonzero(columns.text[name].codes >= 0)), (Finding("note", sentence),)


def target_column(card: DatasetCard, path: Path, present: Sequence[str], for_prediction: bool) -> str | None:
    """The card's target column, or None if a table read for prediction does not have it."""
    if card.target is None:
        if for_prediction:
            return None
        raise InputError(
            f"{card.path}: the card names no [target]; add its `column` and `unit`, or read for prediction."
        )
    if for_prediction and card.target.column not in present:
        return None
    require(path, present, [card.target.column])
    return card.target.column
