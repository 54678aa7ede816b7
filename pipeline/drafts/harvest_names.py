"""Columns that are called a yield or another amount of the harvest. Such numbers are known only after the season."""

from __future__ import annotations

import re
from collections.abc import Sequence

_YIELD = re.compile(
    r"yield|(?<![a-z])yld(?![a-z])|ertrag|rendimiento|rendimento|rendement|rendita|opbrengst|produtividade",
    re.IGNORECASE,
)
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
# Forecasts, averages and other numbers that are called a yield but were not measured in the season.
_NOT_MEASURED = re.compile(
    r"forecast|predict|expect|estim|prognos|pr[eé]vision|previs[aã]o|pron[oó]stico|erwartet|gesch[aä]tzt|sch[aä]tzung"
    r"|average|durchschnitt|mittelwert|moyenne|promedio|simulat|previous|vorjahr"
    r"|(?<![^\W\d_])(?:est|pred|fcst|sim|avg|mean|mittel|media|median|min|max|prev|prior|last|lag|trend|anomaly|gap"
    r"|sd|std|stdev|cv|error)(?![^\W\d_])"
    r"|(?<!\d)\d{1,2}[ _-]?(?:yr|year|jahr|an|año|ano)s?(?![^\W\d_])",
    re.IGNORECASE,
)
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")


def is_called_yield(name: str) -> bool:
    """Whether the name of a column says that it holds a yield."""
    return _YIELD.search(name) is not None


def is_called_amount(name: str) -> bool:
    """Whether the name says that a column is measured at harvest, as `harvest_kg` and `Production_t` are."""
    return _AMOUNT.search(name) is not None and _NO_AMOUNT.search(name) is None


def choose_yield(names: Sequence[str], file: str) -> tuple[str | None, list[str]]:
    """The column that is taken for the yield, of all that are called one, and the questions that this leaves.

    A measured yield goes before a forecast or an average. Otherwise the first column is taken.
    """
    if not names:
        return None, []
    measured = [name for name in names if not _word_against(name)]
    target = (measured or names)[0]
    questions = []
    if len(names) > 1:
        others = [name for name in names if name not in measured]
        against = f" (by their names no measured yields: {', '.join(others)})" if measured and others else ""
        questions.append(
            f"{', '.join(names)} of {file} may all be the yield; {target} is taken{against}. The rest is left out, as "
            "yields are known only after the season"
        )
    if word := _word_against(target):
        questions.append(
            f"{target} of {file} is taken for the yield, but its name has {word!r}. Is it the yield that was measured "
            "in this season? A forecast or an average of years is no yield to learn from"
        )
    return target, questions


def _word_against(name: str) -> str:
    """The word in a name that speaks against a measured yield; empty if there is none."""
    match = _NOT_MEASURED.search(_CAMEL.sub("_", name))
    return match[0] if match else ""
