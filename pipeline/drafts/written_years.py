"""Columns that hold years in a form that the readers do not take: 2014/15, or 16 for 2016."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_SEASON = re.compile(r"\s*(?:19|20)\d\d\s*[/–-]\s*(?:(?:19|20)\d\d|\d\d)\s*")


def are_seasons(texts: Sequence[str]) -> bool:
    """Whether all texts are seasons of two calendar years, such as 2014/15 or 2014-2015."""
    written = [text for text in texts if text.strip()]
    return bool(written) and all(_SEASON.fullmatch(text) for text in written)


def ask_for_seasons(name: str, text: str) -> str:
    """The question about a column with such seasons."""
    return (
        f"column {name} holds {text.strip()!r}, but a year is one number of four digits. Write the year of the harvest "
        "into that column; if the harvest is in the second year, 2014/15 becomes 2015"
    )


def are_two_digits(numbers: NDArray[np.float64]) -> bool:
    """Whether all numbers are whole and below 100, as years without their century are."""
    return len(numbers) > 0 and bool(((numbers >= 0) & (numbers < 100) & (numbers == np.floor(numbers))).all())


def ask_for_four_digits(name: str, number: float) -> str:
    """The question about a column of a year with two digits."""
    likely = (2000 if number < 50 else 1900) + number
    return f"column {name} holds {number:02.0f}, but a year needs four digits, such as {likely:.0f}"
