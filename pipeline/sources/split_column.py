"""The side of a split that the data assigns to each sample: a column with train, valid or test."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.sources.aggregate import Index
from pipeline.sources.files.columns import Columns, Text
from pipeline.table import SIDES


def sides_of(columns: Columns, column: str) -> Text:
    """The column as SIDES, with code -1 for an empty cell. Raises `InputError` for any other word."""
    text = columns.text[column]
    words = [name.strip().lower() for name in text.names.tolist()]
    side = np.array([*(SIDES.index(word) if word in SIDES else -1 for word in words), -1], np.int64)
    strange = (text.codes >= 0) & (side[text.codes] < 0)
    if strange.any():
        row = int(np.argmax(strange))
        raise InputError(
            f"{columns.where(row)}, column {column}: {str(text.names[text.codes[row]])!r} is none of "
            f"{', '.join(SIDES)}, which say on what side of `--split card` a sample stands. Correct it, or leave the "
            "cell empty to leave the sample out."
        )
    return Text(np.array(SIDES), side[text.codes])


def side_per_sample(columns: Columns, column: str, sample: Index, names: NDArray[np.str_]) -> NDArray[np.str_]:
    """The side of each sample [N], empty if no row names one. Raises `InputError` if its rows differ."""
    sides = sides_of(columns, column)
    found = np.full(len(names), -1)
    said = np.flatnonzero(sides.codes >= 0)
    found[sample[said[::-1]]] = sides.codes[said[::-1]]
    other = said[sides.codes[said] != found[sample[said]]]
    if len(other):
        row = int(other[0])
        raise InputError(
            f"{columns.where(row)}, column {column}: sample {names[sample[row]]} is on the side "
            f"{SIDES[sides.codes[row]]} here and {SIDES[found[sample[row]]]} in another row; a sample has one."
        )
    return named(found)


def named(codes: Index) -> NDArray[np.str_]:
    """SIDES by code [N], empty for -1."""
    return np.array([*SIDES, ""], np.str_)[codes]
