"""Explain a text in a column of numbers: what it seems to be, and how to correct it."""

from __future__ import annotations

import re

_SEASON = re.compile(r"\s*((?:19|20)\d\d)\s*[-/–_]\s*((?:19|20)?\d\d)\s*")
_THOUSANDS = re.compile(r"\s*[+-]?\d{1,3}(?:([.,' \u00a0\u2009\u202f’])\d{3})+([.,]\d*)?\s*")
_MARKED = re.compile(r"\s*([+-]?\d+(?:[.,]\d+)?)\s*(\*+|[†‡§¹²³⁴⁵]|\(?[A-Za-z]\)?|\[\w+\]|\(\d\))\s*")
_PERCENT = re.compile(r"\s*[+-]?\d+(?:[.,]\d+)?\s*%\s*")


def hint(text: str) -> str:
    """A sentence about a text that is not a number, with a blank in front; empty if nothing is known about it."""
    if not any(character.isdigit() for character in text):
        return f' If it stands for missing data, name it in the dataset card: missing = ["{text.strip()}"].'
    if match := _SEASON.fullmatch(text):
        return (
            " It names two years, and only you know which one the season is called after: write the year of the "
            f"harvest alone, {match[1]} or {_later(int(match[1]), match[2])}."
        )
    if match := _THOUSANDS.fullmatch(text):
        return f" {_thousands(text.strip(), match[1], match[2])}"
    if _PERCENT.fullmatch(text):
        return " Write it without the sign, and `scale = 0.01` in the dataset card if it is a percentage."
    if match := _MARKED.fullmatch(text):
        return (
            f" {match[2]!r} seems to be a footnote of {match[1]}: remove it if the number holds, or empty the cell if "
            f'it does not. missing = ["{text.strip()}"] in the dataset card leaves such cells out.'
        )
    return ""


def _later(first: int, written: str) -> int:
    """The second year of 1999/00, 2015/16 or 2015/2016."""
    if len(written) == 4:
        return int(written)
    year = first // 100 * 100 + int(written)
    return year if year >= first else year + 100


def _thousands(text: str, separator: str, decimals: str | None) -> str:
    """A number without its thousands separators. A single comma or point may also be a decimal sign."""
    plain = text.replace(separator, "")
    if separator in ",." and text.count(separator) == 1 and decimals is None:
        return f"It may be {plain} with a separator of thousands, or {text.replace(',', '.')}: write which one it is."
    return f"{separator!r} seems to separate thousands: write {plain} instead."
