"""Flatten the [[sources]] of a card: gather their variates, drivers and so on at the top, as in a card without them."""

from __future__ import annotations

import glob
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from pipeline.card.sections import Section, SourceCard
from pipeline.errors import InputError


class _Sources(Section):
    sources: Annotated[list[SourceCard], Field(min_length=1)]


# Keys that belong into a source, or that a join of sources does not use.
_OF_ONE_FILE = ("format", "files", "variates", "drivers", "target", "static", "year", "date", "step", "first_step",
                "latitude", "longitude", "keep", "sample_id", "split", "radiometry", "step_year")  # fmt: skip


def flattened(keys: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The keys of a card with [[sources]], plus what all of its sources give together.

    Missing files of an optional source are left out, and so is the source if it has no file. Raises `InputError` if
    sources contradict each other or a key of a source is at the top.
    """
    stray = next((key for key in _OF_ONE_FILE if key in keys), None)
    if stray is not None:
        where = "leave it out" if stray in ("format", "sample_id", "split", "radiometry") else "write it in the source"
        raise InputError(
            f"{path}: the dataset card cannot be used. The key `{stray}` stands beside [[sources]], which are joined "
            f"by place and season; {where}."
        )
    sources = _Sources.model_validate({"sources": keys["sources"]}).sources
    sources = [found for one in sources if (found := _as_there(one, path)) is not None]
    series = [variate for one in sources for variate in one.variates]
    if not series:
        raise InputError(f"{path}: the dataset card cannot be used. No source has `variates`; at least one is needed.")
    for key in ("target", "calendar", "latitude"):
        if len(having := [one for one in sources if getattr(one, key) is not None]) > 1:
            raise InputError(
                f"{path}: the dataset card cannot be used. {having[0].label} and {having[1].label} both have `{key}`; "
                "keep one of them."
            )
    static = [name for one in sources for name in one.static]
    if twice := next((name for name in static if static.count(name) > 1), None):
        raise InputError(f"{path}: the dataset card cannot be used. The static column {twice} is named twice.")
    placed = next((one for one in sources if one.latitude is not None), None)
    flat = {
        "format": "sources",
        "files": [pattern for one in sources for pattern in one.files],
        "variates": series,
        "drivers": [driver for one in sources for driver in one.drivers],
        "target": next((one.target for one in sources if one.target is not None), None),
        "static": static,
        "latitude": placed and placed.latitude,
        "longitude": placed and placed.longitude,
    }
    stray = next((key for key in ("season_start", "harvest") if key in keys), None)
    if stray is not None and any(one.calendar for one in sources):
        raise InputError(
            f"{path}: the dataset card cannot be used. Both `{stray}` and the `calendar` of a source define the "
            "season; leave out one of them."
        )
    if any(one.calendar for one in sources) and any(one.step_year == "season" for one in sources):
        raise InputError(
            f'{path}: the dataset card cannot be used. `step_year` is "season", but with the `calendar` of a source '
            "each place has a season of its own. Write the calendar year of each step into the rows."
        )
    return {**keys, **flat, "sources": sources}


def _as_there(source: SourceCard, card: Path) -> SourceCard | None:
    if not source.optional:
        return source
    there = [pattern for pattern in source.files if is_there(card, pattern)]
    return source.model_copy(update={"files": there}) if there else None


def is_there(card: Path, pattern: str) -> bool:
    """Whether a file or glob, relative to the folder of the card file `card`, matches anything."""
    path = card.parent / pattern
    return path.exists() or bool(glob.glob(str(path)))
