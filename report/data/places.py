"""Summaries of the places: which of them occur in which year, and where they lie."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.sources.geometry import Shapes, middle
from pipeline.table import SeasonTable
from report.data.series import evenly

MOST_PLACES = 60  # rows in the chart of places by year
MOST_POINTS = 4_000  # on the map


@dataclass(frozen=True, eq=False)
class Presence:
    """Which places have a sample in which year: places [P], years [Y], present [P,Y] bool."""

    places: NDArray[np.str_]
    years: NDArray[np.int64]
    present: NDArray[np.bool_]

    @property
    def by_year(self) -> NDArray[np.int64]:
        """[Y] how many places each year has."""
        return np.asarray(self.present.sum(axis=0), np.int64)

    @property
    def new_by_year(self) -> NDArray[np.int64]:
        """[Y] how many places each year has that no year before it has."""
        earlier: NDArray[np.int64] = np.cumsum(self.present, axis=1) - self.present
        return np.asarray((self.present & (earlier == 0)).sum(axis=0), np.int64)

    def some(self, most: int = MOST_PLACES) -> Presence:
        """At most `most` places, evenly spaced among their sorted names."""
        rows = evenly(np.arange(len(self.places)), most)
        return Presence(places=self.places[rows], years=self.years, present=self.present[rows])


@dataclass(frozen=True, eq=False)
class Positions:
    """Positions of P places in degrees, with the mean yield of each in t/ha (NaN if unknown) and its number of years.

    known: number of places with a position, of which P are here; lost: number of places without one
    """

    names: tuple[str, ...]
    longitude: NDArray[np.float64]
    latitude: NDArray[np.float64]
    mean_yield: NDArray[np.float64]
    years: NDArray[np.int64]
    known: int
    lost: int


def presence_of(table: SeasonTable) -> Presence:
    """Which places occur in which years."""
    places, place = np.unique(table.place, return_inverse=True)
    years, year = np.unique(table.year, return_inverse=True)
    present = np.zeros((len(places), len(years)), bool)
    present[place, year] = True
    return Presence(places=places, years=years, present=present)


def positions_of(table: SeasonTable, shapes: Shapes, most: int = MOST_POINTS) -> Positions:
    """One point per place: its position, or the middle of the bounding box of its shape."""
    names, first, of = np.unique(table.place, return_index=True, return_inverse=True)
    geometry = shapes.of(table.rows(first))
    known = np.array([position for position, one in enumerate(geometry) if one is not None], np.int64)
    rows = evenly(known, most)
    there = [one for row in rows.tolist() if (one := geometry[row]) is not None]
    at = np.array([middle(one) for one in there], np.float64).reshape(-1, 2)
    labelled = np.isfinite(table.target)
    total = np.bincount(of[labelled], table.target[labelled], len(names))
    count = np.bincount(of[labelled], minlength=len(names))
    mean = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return Positions(
        names=tuple(names[rows].tolist()),
        longitude=at[:, 0],
        latitude=at[:, 1],
        mean_yield=mean[rows],
        years=presence_of(table).present.sum(axis=1)[rows],
        known=len(known),
        lost=len(names) - len(known),
    )
