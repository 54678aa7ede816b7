"""Reject tables with one column per year, as statistical offices publish them. The message says how to melt them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from pipeline.errors import InputError

LEAST = 3
_YEAR = re.compile(r"\s*[xXyY]?(?:19|20)\d\d\s*")
_OF_A_YEAR = re.compile(r"(?:19|20)\d\d")


def refuse_years_in_header(path: Path, header: Sequence[str]) -> None:
    """Raise `InputError` if several columns are named after years, such as 2016, X2016 or Y2016.

    A wide table of series may hold yields of several years beside its steps; it is left to other checks.
    """
    years = [name for name in header if _YEAR.fullmatch(name)]
    others = [name for name in header if not _OF_A_YEAR.search(name)]
    steps = [name for name in others if re.search(r"\d", name)]
    if len(years) < LEAST or len(steps) >= LEAST:
        return
    named = ", ".join(f'"{name}"' for name in others[:3])
    joined = next((f" Split {name!r} at its commas first; geo names the place." for name in others if "\\" in name), "")
    raise InputError(
        f"{path}: {len(years)} of its columns are years ({', '.join(name.strip() for name in years[:3])}, ...). Write "
        "it as a long table, one row per place and year, with the columns place, year (a whole number) and yield: "
        f'`pandas.melt(table, id_vars=[{named}], value_vars=years, var_name="year", value_name="yield")` does it, '
        f"if `years` lists these columns.{joined}"
    )
