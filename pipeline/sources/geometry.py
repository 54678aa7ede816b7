"""Positions of samples: the card's `latitude` and `longitude` columns, or its `geometry` file.

They are read only where they are used: on maps, and where yields of unseen places are forecast.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.card import DatasetCard, place_key
from pipeline.errors import InputError
from pipeline.sources.files.columns import Columns, joined, load_columns
from pipeline.sources.files.locate_files import files_of, locate
from pipeline.sources.files.memory_budget import Budget
from pipeline.sources.files.wanted_columns import Wanted, csv_keys
from pipeline.sources.labels import refuse_bad_names
from pipeline.sources.names.place_names import find_place, normal_name
from pipeline.sources.names.place_parts import joined_name
from pipeline.table import SeasonTable

KINDS = ("Point", "MultiPoint", "LineString", "MultiLineString", "Polygon", "MultiPolygon")
MOST_NORTHERN = 72.0  # degrees of latitude; no crop grows nearer to a pole
LIMITS = {"longitude": 180.0, "latitude": 90.0}


@dataclass(frozen=True, eq=False)
class Shapes:
    """GeoJSON geometries (RFC 7946: degrees, longitude first) by place, or by sample if the card names sample ids."""

    by_sample: bool
    known: Mapping[str, Mapping[str, Any]]

    def of(self, table: SeasonTable) -> list[Mapping[str, Any] | None]:
        """The geometry of each sample [N]; None if it has none."""
        return self.of_samples(table.sample_id.tolist(), table.place.tolist())

    def unmatched(self, table: SeasonTable) -> list[str]:
        """Names with a geometry that no sample of the table has, sorted."""
        names = set((table.sample_id if self.by_sample else table.place).tolist())
        found = {find_place(self.known, name) for name in names}
        return sorted(set(self.known) - found)

    def of_samples(self, sample_id: Iterable[str], place: Iterable[str]) -> list[Mapping[str, Any] | None]:
        """The geometry of each sample [N], by its name or place [N]; None if it has none."""
        names = list(sample_id if self.by_sample else place)
        spelled = {name: find_place(self.known, name) for name in set(names)}
        return [None if (key := spelled[name]) is None else self.known[key] for name in names]


def shapes_of(data: str | Path, memory_gb: float | None = None) -> Shapes:
    """The geometries that the card of `data` names. Raises `InputError` if it names none, or if they are invalid."""
    card = locate(data).card
    if card is not None and card.geometry is not None:
        (path,) = files_of(card, [card.geometry], "geometry")
        return Shapes(False, dict(_features(card, path)))
    if card is None or card.latitude is None or card.longitude is None:
        raise InputError(
            f"{data} has no positions of its samples. Name their columns in the dataset card, as in latitude = "
            '"lat" and longitude = "lon", or a file, as in geometry = "fields.geojson".'
        )
    placed = next((source for source in card.sources if source.latitude is not None), None)
    by_sample = placed is None and card.sample_id is not None
    names = (placed.place if placed else None) or card.place
    if by_sample and card.sample_id is not None:
        names = (card.sample_id,)
    name = place_key(names)
    keys, keep = csv_keys(card, placed), (placed or card).keep
    wanted = Wanted(text=names, exact=(card.longitude, card.latitude), keys=keys, places=names, place=names, keep=keep)
    files = files_of(card, placed.files if placed else card.files)
    columns = joined(load_columns([(path, wanted) for path in files], Budget(memory_gb)))
    refuse_bad_names(columns, name)
    return Shapes(by_sample, dict(_points(card, columns, name)))


def known_shapes(data: str | Path, memory_gb: float | None = None) -> tuple[Shapes | None, str]:
    """The geometries of `data`, if its card names any. The text says why those that it names cannot be read."""
    card = locate(data).card
    if card is None or (card.geometry is None and card.latitude is None):
        return None, ""
    try:
        return shapes_of(data, memory_gb), ""
    except InputError as error:
        return None, str(error)


def with_positions(table: SeasonTable, data: str | Path, memory_gb: float | None = None) -> SeasonTable:
    """The table with the position of each sample, if the card of `data` names any that can be read."""
    shapes, _ = known_shapes(data, memory_gb)
    return table if shapes is None else replace(table, position=positions_of(shapes, table))


def positions_of(shapes: Shapes, table: SeasonTable) -> NDArray[np.float64]:
    """[N,2]: longitude and latitude of the middle of each sample's geometry, in degrees; NaN if it has none."""
    middles = [(np.nan, np.nan) if shape is None else middle(shape) for shape in shapes.of(table)]
    return np.array(middles, np.float64)


def middle(geometry: Mapping[str, Any]) -> tuple[float, float]:
    """Longitude and latitude of the middle of the bounding box of a geometry, in degrees."""
    corners = np.array(list(_corners(geometry["coordinates"])), np.float64)
    longitude, latitude = (corners.min(axis=0) + corners.max(axis=0)) / 2
    return float(longitude), float(latitude)


def _corners(coordinates: Sequence[Any]) -> Iterable[tuple[float, float]]:
    if not isinstance(coordinates[0], list | tuple):
        yield float(coordinates[0]), float(coordinates[1])
        return
    for part in coordinates:
        yield from _corners(part)


def _points(card: DatasetCard, columns: Columns, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """(name, point) of every name with coordinates. Raises `InputError` if its rows differ or are no positions."""
    assert card.longitude is not None
    assert card.latitude is not None
    at = np.stack([columns.exact[card.longitude], columns.exact[card.latitude]], axis=1)
    for column, limit, numbers in zip((card.longitude, card.latitude), LIMITS.values(), at.T, strict=True):
        _refuse_first(columns, column, np.abs(numbers) > limit, numbers, f"degrees, within {limit:g} of zero")
    rows = np.flatnonzero(~np.isnan(at).any(axis=1))
    _refuse_swapped(columns, card.latitude, at[rows], rows)
    codes = columns.text[name].codes[rows]
    distinct, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
    torn = (at[rows] != at[rows][first][inverse]).any(axis=1)
    if torn.any():
        row = int(rows[np.argmax(torn)])
        raise InputError(
            f"{columns.where(row)}: {name} {columns.text[name].names[codes[np.argmax(torn)]]} lies at "
            f"{at[row, 1]:g}, {at[row, 0]:g} here and elsewhere in an earlier row, but it has one position. Correct "
            "it, or name the column that distinguishes its parts as `sample_id` in the dataset card."
        )
    for code, row in zip(distinct, rows[first], strict=True):
        yield str(columns.text[name].names[code]), {"type": "Point", "coordinates": at[row].tolist()}


def _refuse_swapped(columns: Columns, column: str, at: NDArray[np.float64], rows: NDArray[np.int64]) -> None:
    """Raise `InputError` if most places [R,2] lie where no crop grows, but would not with exchanged coordinates."""
    longitude, latitude = np.abs(at.T)
    odd = (latitude > MOST_NORTHERN) & (longitude < MOST_NORTHERN)
    if len(rows) and odd.mean() > 0.5:
        row = int(np.argmax(odd))
        raise InputError(
            f"{columns.where(int(rows[row]))}, column {column}: the latitude is {at[row, 1]:g} and the longitude "
            f"{at[row, 0]:g}, and {odd.mean():.0%} of the rows lie more than {MOST_NORTHERN:g} degrees from the "
            "equator, where no crop grows. Are the columns exchanged? Correct `latitude` and `longitude` in the "
            "dataset card."
        )


def _refuse_first(
    columns: Columns, column: str, bad: NDArray[np.bool_], numbers: NDArray[np.float64], allowed: str
) -> None:
    if bad.any():
        row = int(np.argmax(bad))
        raise InputError(
            f"{columns.where(row)}, column {column}: {numbers[row]:g} is no position; it must be in {allowed}. Leave "
            "the cell empty if it is not known."
        )


def _features(card: DatasetCard, path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(place, geometry) of every feature. The place is the property with the name of the card's `place` column."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: the `geometry` file cannot be read as GeoJSON ({error}).") from None
    features = record.get("features") if isinstance(record, dict) else None
    if not isinstance(features, list) or not features:
        raise InputError(f"{path}: the `geometry` file is no GeoJSON FeatureCollection with features in it.")
    seen: set[str] = set()
    for number, feature in enumerate(features, 1):
        where = f"{path}, feature {number}"
        about = feature.get("properties") if isinstance(feature, dict) else None
        geometry = feature.get("geometry") if isinstance(feature, dict) else None
        lacking = [] if not isinstance(about, dict) else [key for key in card.place if about.get(key) in (None, "")]
        if not isinstance(about, dict) or lacking:
            there = ", ".join(map(str, about)) if isinstance(about, dict) and about else "none"
            raise InputError(
                f"{where}: it has no property {(lacking or card.place)[0]!r}, which names its place (`place` in "
                f"{card.path}); its properties are {there}. Rename the one that holds the place."
            )
        place = joined_name([normal_name(str(about[key])) for key in card.place])
        if place in seen:
            raise InputError(f"{where}: place {place} has a geometry already; join the two into one.")
        seen.add(place)
        if not isinstance(geometry, dict) or geometry.get("type") not in KINDS:
            raise InputError(f"{where}: the geometry of place {place} is none of {', '.join(KINDS)}.")
        _refuse_other_degrees(where, geometry.get("coordinates"))
        yield place, {"type": geometry["type"], "coordinates": geometry["coordinates"]}


def _refuse_other_degrees(where: str, coordinates: Any) -> None:
    """Raise `InputError` if coordinates are not degrees, but for example metres of a map projection."""
    level: Sequence[Any] = [coordinates]
    while level and all(isinstance(one, list) and one and isinstance(one[0], list) for one in level):
        level = [inner for one in level for inner in one]
    for one in level:
        numbers = isinstance(one, list) and len(one) > 1 and all(isinstance(n, int | float) for n in one[:2])
        if not numbers or any(abs(n) > limit for n, limit in zip(one, LIMITS.values(), strict=False)):
            raise InputError(
                f"{where}: {str(one)[:60]} is no position in degrees, longitude first; GeoJSON has no other unit. "
                "Convert the file to EPSG:4326 (WGS 84)."
            )
