"""Columns that have a role in a card by their names: the place, the year, the date, the step."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.drafts.read_columns import Column
from pipeline.drafts.written_years import are_seasons, are_two_digits, ask_for_four_digits, ask_for_seasons

_NAMES: Mapping[str, tuple[str, ...]] = {
    "place": ("place", "adm_id", "county", "district", "field", "field_id", "plot", "parcel", "region", "geoid", "fips",
              "province", "municipality", "landkreis", "kreis", "gemeinde", "departement", "country", "location",
              "site", "station", "name", "id"),
    "year": ("year", "harvest_year", "season_year", "season", "jahr", "annee", "año", "ano"),
    "date": ("date", "day", "time", "datum", "fecha", "timestamp", "system:time_start"),
    "step": ("step", "dekad", "week", "month", "period", "schritt"),
    "latitude": ("latitude", "lat"),
    "longitude": ("longitude", "lon", "lng", "long"),
    "start": ("sos", "start_of_season", "season_start", "planting", "sowing"),
    "end": ("eos", "end_of_season", "season_end", "maturity", "harvest_day"),
    "sample_id": ("sample_id",),
}  # fmt: skip


def roles_of(columns: Mapping[str, Column], questions: list[str]) -> dict[str, str]:
    lower = {name.lower(): name for name in reversed(list(columns))}
    roles = {role: lower[name] for role, names in _NAMES.items() for name in reversed(names) if name in lower}
    if "year" in roles and not _is_year(columns[roles["year"]]):
        roles.pop("year")
    if "year" not in roles and (found := next((n for n, c in columns.items() if _is_year(c)), None)):
        roles["year"] = found
    if ("start" in roles) != ("end" in roles):
        roles.pop("start", None), roles.pop("end", None)
    if "place" not in roles:
        texts = [name for name, column in columns.items() if column.numbers is None and name not in roles.values()]
        likely = next((name for name in texts if 1 < len(columns[name].texts) < len(columns[name].codes)), None)
        if likely is not None:
            roles["place"] = likely
            questions.append(f"no column is called place, county, field or alike; {likely} is taken for the place")
    return roles


def take_written_year(columns: Mapping[str, Column], roles: dict[str, str], questions: list[str]) -> None:
    """Make a column of years in another form the role `year`, with a question that says what to write instead."""
    for name, column in columns.items():
        if are_seasons(column.texts):
            questions.append(ask_for_seasons(name, next(text for text in column.texts if text.strip())))
        elif name.lower() in _NAMES["year"] and are_two_digits(column.known):
            questions.append(ask_for_four_digits(name, column.known[0]))
        else:
            continue
        roles["year"] = name
        return


def _is_year(column: Column) -> bool:
    known = column.known
    return column.whole and bool((known >= 1900).all() and (known <= 2100).all())
