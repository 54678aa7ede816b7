"""Reject CSV files with titles or comments above the header, and explain footnotes below the table."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from pipeline.errors import InputError
from pipeline.plural import plural
from pipeline.sources.files.csv_format import SEPARATORS

MOST_LINES = 30  # are searched for a header
_NUMBER = re.compile(r"[+-]?[\d.,]*\d[\d.,]*")

Cells = Sequence[str]


def refuse_titles(path: Path, lines: Sequence[str], is_header: Callable[[Cells], bool]) -> None:
    """Raise `InputError` if one of the first lines, but not the first one, is a header: it names columns only.

    is_header  whether the cells of a line without numbers are those of a header, with the separator that splits them
    """
    first = next((number for number, line in enumerate(lines) if line.strip()), 0)
    for number, line in enumerate(lines[:MOST_LINES]):
        if number > first and any(_names_columns(cells) and is_header(cells) for cells in _splits(line)):
            above = "the line" if number == 1 else f"the {plural(number, 'line')}"
            raise InputError(
                f"{path}: line {first + 1} is {lines[first].strip()[:60]!r}, and the header seems to be line "
                f"{number + 1}. Remove {above} above the header."
            )


def title_or_footnote(cells: Cells) -> str:
    """What a row with one text and nothing else seems to be, with a blank in front; empty for another row."""
    texts = [cell.strip() for cell in cells if cell.strip()]
    if len(texts) != 1 or _NUMBER.fullmatch(texts[0]):
        return ""
    return f" It holds nothing but {texts[0][:60]!r}: if that is a footnote or a title, remove the line."


def _splits(line: str) -> list[list[str]]:
    return [cells for separator in SEPARATORS for cells in csv.reader([line], delimiter=separator)]


def _names_columns(cells: Cells) -> bool:
    texts = [cell.strip() for cell in cells if cell.strip()]
    return len(texts) > 1 and not any(_NUMBER.fullmatch(text) for text in texts)
