"""Columns that are called a yield or another amount of the harvest. Such numbers are known only after the season."""

from __future__ import annotations

import re

_YIELD = re.compile(r"yield|ertrag|rendimiento|rendement|rendita|opbrengst|produtividade", re.IGNORECASE)
# A produced amount, or a part of the crop that is weighed or counted at harvest.
_AMOUNT = re.compile(
    r"harvest|tonnage|produktion|produc(?:e|ed|tion|tie|ci[oó]n)(?![a-z])|produzione|produ[cç][aã]o"
    r"|biomas|grain|kernel|straw|stroh|ernte|r[eé]colte|cosecha|colheita|raccolto|oogst"
    r"|(?<![a-z])(?:grano|granos|korn|k[oö]rner|grãos?)(?![a-z])",
    re.IGNORECASE,
)
# The day of a harvest, and the primary production that satellites report through the season, are no amounts of it.
_NO_AMOUNT = re.compile(
    r"primary|(?<![a-z])(?:date|day|days|doy|week|month|year|time|datum|tag|fecha|jour)(?![a-z])", re.IGNORECASE
)


def is_called_yield(name: str) -> bool:
    """Whether the name of a column says that it holds a yield."""
    return _YIELD.search(name) is not None


def is_called_amount(name: str) -> bool:
    """Whether the name says that a column is measured at harvest, as `harvest_kg` and `Production_t` are."""
    return _AMOUNT.search(name) is not None and _NO_AMOUNT.search(name) is None
