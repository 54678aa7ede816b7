"""A place that several columns name together: state and county, country and district.

The parts are joined by a comma and two blanks. A normal name never has two blanks in a row, so a separator is never
part of a name: different parts give different places, and no name of one column is taken for a joined one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

SEPARATOR = ",  "
Codes = NDArray[np.int64]


def joined_name(parts: Sequence[str]) -> str:
    """One name of the normal names of all parts."""
    return SEPARATOR.join(parts)


def parts_of(name: str) -> list[str]:
    """The parts that were joined; a name of one column is its only part."""
    return name.split(SEPARATOR)


def in_each_part(name: str, change: Callable[[str], str]) -> str:
    """The name with each of its parts changed."""
    return joined_name([change(part) for part in parts_of(name)])


def joined_columns(columns: Sequence[tuple[NDArray[np.str_], Codes]]) -> tuple[NDArray[np.str_], Codes]:
    """(distinct joined names, which of them each row is [R]) of columns of normal names and codes [R].

    The code is -1 in rows in which a part is empty.
    """
    codes = np.stack([code for _, code in columns])
    whole = (codes >= 0).all(axis=0)
    distinct, index = np.unique(codes[:, whole], axis=1, return_inverse=True)
    names = [
        joined_name([str(part[code]) for (part, _), code in zip(columns, row, strict=True)])
        for row in distinct.T.tolist()
    ]
    found = np.full(codes.shape[1], -1, np.int64)
    found[whole] = index.reshape(-1)
    return np.array(names, np.str_), found
