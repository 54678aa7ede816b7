"""Find the column of the place in a wide table without a card."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from pipeline.errors import InputError
from pipeline.findings import Finding
from pipeline.sources.files.columns import Columns, load_columns
from pipeline.sources.files.csv_format import USUAL, CsvKeys
from pipeline.sources.files.memory_budget import Budget
from pipeline.sources.files.wanted_columns import Wanted
from pipeline.sources.names.place_names import TWO_OF_ONE_NAME, both_columns

# Names of places, the finest unit first; codes of registers after the names that people give.
PLACES = (
    "place", "field", "field_id", "parcel", "parcel_id", "plot", "plot_id", "farm", "farm_id", "site", "site_id",
    "geoid", "geoid10", "geoid20", "fips", "county_fips", "countyfips", "adm_id", "nuts_id", "nuts", "adm2_pcode",
    "adm2_code", "shapeid", "gid_2", "county", "county_name", "district", "district_name", "adm2_name", "municipality",
    "commune", "department", "location", "region",
)  # fmt: skip
# What may name the place or only the row of a file.
ROW_IDS = ("id", "sample_id")
# What programs number rows with; never a place.
COUNTERS = ("fid", "objectid", "ogc_fid", "index", "unnamed:_0", "")
EXPORT_KEYS = ("system:index",)  # Google Earth Engine numbers the features of each export
IGNORED = (".geo", "geometry", "lat", "lon", "latitude", "longitude", "area", "x", "y")
# What a place may be in: two counties of one name lie in two of these.
STATES = (
    "state",
    "state_name",
    "state_fips",
    "statefp",
    "state_alpha",
    "province",
    "adm1_name",
    "adm1_code",
    "country",
)

_NOT_WORDS = re.compile(r"[^a-z0-9:.]+")


def place_column(
    files: Sequence[Path], headers: Sequence[Sequence[str]], used: Sequence[str], budget: Budget
) -> tuple[str | None, tuple[Finding, ...]]:
    """Returns (the column that names the place, findings). `used` are the bands and yields.

    A column named after a kind of place is preferred to one that may be a row number. Raises `InputError` if two
    columns could name the place and their contents do not decide.
    """
    present = {_key(name): name for name in reversed(headers[0]) if all(name in header for header in headers)}
    places = [present[key] for key in PLACES if key in present]
    ids = [present[key] for key in ROW_IDS if present.get(key)]
    if not places and not ids:
        return None, _nameless(files, headers[0], used, present)
    if not ids or (places and _key(places[0]) == "place"):
        return places[0], _unused(places[0], [*places[1:], *ids])
    if not places:
        best = ids[0]
        return best, _row_numbers(best, load_columns([(path, _texts(ids[:1])) for path in files], budget))
    return _place_or_id(files, places, ids[0], budget)


def _place_or_id(
    files: Sequence[Path], places: Sequence[str], row_id: str, budget: Budget
) -> tuple[str, tuple[Finding, ...]]:
    """Choose between a column called after a place and one called `id`, by their contents."""
    parts = load_columns([(path, _texts([*places, row_id])) for path in files], budget)
    place = places[0]
    unique = all(_is_unique(part, place) for part in parts)
    if unique:
        return place, _unused(place, [row_id, *places[1:]])
    if all(_is_unique(part, row_id) for part in parts) and not all(_counts_rows(part, row_id) for part in parts):
        return row_id, _unused(row_id, places)
    raise InputError(
        f"{files[0]}: both {place} and {row_id} could name the place. {place} occurs several times in a file, and "
        f"{row_id} {'numbers the rows' if all(_counts_rows(part, row_id) for part in parts) else 'does too'}. Name the "
        f'place in a dataset card, `place = "{place}"`, or rename the column that names it to "place".'
    )


def advice_on_one_name(header: Sequence[str], place: Sequence[str]) -> str:
    """What to do about two places of one name, naming the columns of this table if one of them holds states."""
    state = state_column(header)
    return TWO_OF_ONE_NAME if state is None or state in place or not place else both_columns([state, *place])


def state_column(header: Sequence[str]) -> str | None:
    """The column of states, provinces or countries, if there is one."""
    present = {_key(name): name for name in header}
    return next((present[key] for key in STATES if key in present), None)


def _texts(names: Sequence[str], keys: CsvKeys = USUAL) -> Wanted:
    return Wanted(text=tuple(dict.fromkeys(names)), keys=keys, places=tuple(names))


def _is_unique(part: Columns, name: str) -> bool:
    return len(np.unique(part.text[name].codes)) == len(part)


def _counts_rows(part: Columns, name: str) -> bool:
    """Whether the column numbers the rows of its file, from 0 or 1, in order."""
    names = part.text[name].strings().tolist()
    return any(names == [str(row + first) for row in range(len(names))] for first in (0, 1))


def _unused(chosen: str, others: Sequence[str]) -> tuple[Finding, ...]:
    if not others:
        return ()
    listed = ", ".join(others)
    return (
        Finding("note", f"Column {chosen} names the place; {listed} could too and is not used.", f'place = "{chosen}"'),
    )


def _row_numbers(name: str, parts: Sequence[Columns]) -> tuple[Finding, ...]:
    """A column `id` that numbers the rows of several files is a place only if all files have the same order."""
    if len(parts) < 2 or not all(_counts_rows(part, name) for part in parts):
        return ()
    sentence = (
        f"Column {name} numbers the rows of each file and is taken for the place: row 5 of one file is read "
        "as the place "
        "of row 5 of another."
    )
    return (Finding("warning", sentence, 'place = "<column>"'),)


def _nameless(
    files: Sequence[Path], header: Sequence[str], used: Sequence[str], present: Mapping[str, str]
) -> tuple[Finding, ...]:
    left = [name for name in header if name not in used and _key(name) not in (*IGNORED, *EXPORT_KEYS, *COUNTERS)]
    if len(files) > 1 and not left and any(key in present for key in EXPORT_KEYS):
        raise InputError(
            f"{files[0]}: only system:index could name the place, and Earth Engine numbers the features of each export "
            "anew. Export a property that names the place (such as GEOID) with every row, or, if the features stand in "
            'one order in all files, rename system:index to "place".'
        )
    if len(files) < 2:
        return ()
    unused = f" Columns that are not used: {', '.join(left[:8])}." if left else ""
    sentence = (
        "No column is known to name the place, so each row of each file is a place of its own and no place is seen in "
        f"two years.{unused}"
    )
    return (Finding("warning", sentence, 'place = "<column>"'),)


def _key(name: str) -> str:
    return _NOT_WORDS.sub("_", name.strip().lower())
