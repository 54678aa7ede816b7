"""Columns that may hold the yield although none is called so, such as `Value` and `Winterweizen (dt/ha)`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from pipeline.drafts.harvest_names import is_called_yield
from pipeline.drafts.read_columns import Column
from pipeline.units import TONNES_PER_HECTARE, spell_unit, unit_in_name

_VALUES = ("value", "values", "obs_value", "obs value", "wert", "valor", "valeur", "valore")


def likely_yields(columns: Mapping[str, Column], names: Sequence[str]) -> tuple[str, ...]:
    """Those of `names` that are numbers and have a unit of yields in their name, or are called a value."""
    return tuple(
        name
        for name in names
        if (columns[name].numbers is not None and unit_in_name(name) is not None)
        or (name.strip().lower() in _VALUES and any(re.search(r"\d", text) for text in columns[name].texts))
    )


def most_like_a_yield(values: Sequence[str]) -> str | None:
    """The value that names a yield or its unit, such as Yield beside Area harvested; None if none does."""
    known = (*TONNES_PER_HECTARE, "bu/ac")
    return next((value for value in values if is_called_yield(value) or spell_unit(value) in known), None)
