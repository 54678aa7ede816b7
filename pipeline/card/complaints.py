"""Validation errors of pydantic as sentences with the key, the value and what is allowed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError

from pipeline.card.sections import (
    CalendarCard,
    DriverCard,
    ExcludeCard,
    HistoryCard,
    RadiometryCard,
    Section,
    SourceCard,
    TargetCard,
    VariateCard,
)

_PARTS: dict[str, type[Section]] = {
    "sources": SourceCard,
    "calendar": CalendarCard,
    "variates": VariateCard,
    "drivers": DriverCard,
    "target": TargetCard,
    "exclude": ExcludeCard,
    "history": HistoryCard,
    "radiometry": RadiometryCard,
}


def complaints(error: ValidationError, card: type[Section]) -> str:
    """One sentence per invalid key, at most five."""
    sentences: dict[str, str] = {}
    for problem in error.errors(include_url=False):
        key = _spell(problem["loc"])
        sentences.setdefault(key or problem["msg"], _sentence(key, dict(problem), card))
    return " ".join([*sentences.values()][:5])


def _spell(location: tuple[int | str, ...]) -> str:
    """`variates entry 2 scale` for ("variates", 1, "scale"). Entries count from 1. Kinds of `missing` are left out."""
    location = location[:-1] if _is_of_kinds(location) else location
    words = [f"entry {part + 1}" if isinstance(part, int) else str(part) for part in location]
    return " ".join(words)


def _is_of_kinds(location: tuple[int | str, ...]) -> bool:
    """Whether a value may be of two kinds, as an entry of `missing`; pydantic ends the location with one of them."""
    return len(location) > 2 and location[-3] == "missing" and location[-1] in ("float", "constrained-str")


def _sentence(key: str, problem: Mapping[str, Any], card: type[Section]) -> str:
    allowed = problem["msg"].removeprefix("Value error, ")
    location = problem["loc"]
    if problem["type"] == "missing":
        return f"The key `{key}` is missing."
    if problem["type"] == "extra_forbidden":
        return _unknown_key(location, card)
    if isinstance(problem["input"], Mapping):
        place = f"In `{key}`: " if key else ""
        return f"{place}{allowed[0].upper()}{allowed[1:]}."
    if _is_of_kinds(location):
        return f"The key `{key}` is {_shown(problem['input'])}; it must be a number or a text that is not empty."
    if problem["type"] in ("too_short", "string_too_short"):
        wanted = "a list of at least 1 item" if problem["type"] == "too_short" else "a text that is not empty"
        return f"The key `{key}` is {_shown(problem['input'])}; it must be {wanted}."
    return f"The key `{key}` is {_shown(problem['input'])}; it must be {allowed.removeprefix('Input should be ')}."


def _unknown_key(location: tuple[int | str, ...], card: type[Section]) -> str:
    part = next((_PARTS[str(key)] for key in reversed(location[:-1]) if key in _PARTS), card)
    valid = list(part.model_fields)
    near = get_close_matches(str(location[-1]), valid, n=1, cutoff=0.5)
    hint = f"did you mean `{near[0]}`?" if near else f"valid keys here are {', '.join(valid)}."
    return f"The key `{_spell(location)}` is not known; {hint}"


def _shown(value: object) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
