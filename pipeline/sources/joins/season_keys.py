"""Keys by which sources are joined: the place and season of each row, and its step in the season."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.card import DatasetCard
from pipeline.errors import InputError
from pipeline.sources.aggregate import Index
from pipeline.sources.crop_calendar import CropCalendar, PlaceSeasons, steps_of
from pipeline.sources.joins.source_rows import Observations
from pipeline.sources.times.calendar import Calendar, Dates

YEARS = 10_000  # a place and a year are one whole number, place * YEARS + year


@dataclass(frozen=True)
class Placed:
    """Where each row of a source lies [R]: key of its place and season, step, and whether it is in the season."""

    key: Index
    step: Index
    inside: NDArray[np.bool_]


def seasons_of_places(
    card: DatasetCard, calendar: CropCalendar, grid: Calendar, places: NDArray[np.str_], series: Sequence[Observations]
) -> PlaceSeasons:
    """The seasons of all places in the years of the series. Steps must be a number of days."""
    if isinstance(grid.step_days, str):
        raise InputError(
            f"{card.path}: `step_days` is {grid.step_days!r}, but with a `calendar` each place's season starts on a "
            "day of its own, from which steps are counted; give a number of days."
        )
    days = [one.dates for one in series if len(one.dates)]
    first, last = (int(str(day)[:4]) for day in (min(d.min() for d in days), max(d.max() for d in days)))
    return calendar.seasons(places, first, last + 1)


def season_steps(card: DatasetCard, grid: Calendar, seasons: PlaceSeasons | None, steps: int | None) -> int:
    """T, the number of steps: `steps` if given, else that of the longest season or of a year."""
    if seasons is not None and len(seasons.place) == 0:
        raise InputError(
            f"{card.path}: no place of the series is in the `calendar`, so no season has a start. Spell the places of "
            "both alike, or correct `place` of these sources."
        )
    if steps is None:
        steps = grid.steps_a_year if seasons is None else steps_of(seasons, grid.days)
    grid.refuse_longer_than_a_year(steps, str(card.path))
    return steps


def place_rows(grid: Calendar, seasons: PlaceSeasons | None, place: Index, dates: Dates, steps: int) -> Placed:
    """The place, season and step of each row of a source of series."""
    if seasons is None:
        year, step = grid.season_of(dates, steps)
        return Placed(keys_of(place, year), step, step < steps)
    running = seasons.running(place, dates)
    days = (dates - seasons.start[running]).astype(np.int64)
    step = np.floor(days / grid.days).astype(np.int64)
    return Placed(keys_of(place, seasons.year[running]), step, (running >= 0) & (step < steps))


def keys_of(place: Index, year: Index | None) -> Index:
    """A whole number for each pair of place and year [R], or for each place if there are no years."""
    return place * YEARS + (0 if year is None else year)


def observed_seasons(one: Observations, at: Placed) -> Index:
    """The keys of the seasons in which anything was observed, each once."""
    return np.unique(at.key[at.inside & ~np.isnan(one.measured).all(axis=1)])
