"""The typical season of the training rows, and new years that lie farther from it than every training year."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.table import SeasonTable

LEAST_YEARS = 3  # of training, for a comparison
LEAST_SAMPLES = 10  # of a year
FARTHER = 2.0  # times the distance of the farthest training year
LEAST_DISTANCE = 0.5  # spreads; smaller distances are harmless
LEAST_PLACES = 0.5  # share of the training places that a new table must hold, as other places have other levels

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class TypicalSeason:
    """Mean [V,T] of the training rows, standard deviation [V] around it, and distance [V] of the farthest year.

    The distance of a year is the RMS over steps of its mean less the mean, in standard deviations.
    """

    mean: Floats
    spread: Floats
    farthest: Floats
    years: int
    places: tuple[str, ...]

    @staticmethod
    def fit(table: SeasonTable, rows: NDArray[np.int64]) -> TypicalSeason:
        """Fit to the training rows [n] of a table."""
        known = table.rows(rows)
        values = _measured(known)
        mean = _mean(values)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # a variate without values has no spread
            spread = np.sqrt(np.nanmean((values - mean) ** 2, axis=(0, 2)))
        years = np.unique(known.year)
        each = [_distance(values[known.year == year], mean, spread) for year in years]
        return TypicalSeason(mean, spread, np.fmax.reduce(each), len(years), tuple(np.unique(known.place).tolist()))

    def unlike(self, table: SeasonTable) -> Iterator[tuple[int, int, float]]:
        """(year, variate, distance) of the years of a new table that are too far away."""
        if self.years < LEAST_YEARS or np.isin(self.places, table.place).mean() < LEAST_PLACES:
            return
        for year in np.unique(table.year).tolist():
            rows = np.flatnonzero(table.year == year)
            if len(rows) < LEAST_SAMPLES:
                continue
            distance = _distance(_measured(table.rows(rows)), self.mean, self.spread)
            for v in np.flatnonzero(distance > np.maximum(FARTHER * self.farthest, LEAST_DISTANCE)).tolist():
                yield year, v, float(distance[v])

    def to_dict(self) -> dict[str, Any]:
        """For JSON; NaN as None."""
        numbers = {name: _listed(getattr(self, name)) for name in ("mean", "spread", "farthest")}
        return {**numbers, "years": self.years, "places": list(self.places)}

    @staticmethod
    def from_dict(record: Mapping[str, Any]) -> TypicalSeason:
        """Inverse of `to_dict`."""
        mean, spread, farthest = (np.array(record[name], np.float64) for name in ("mean", "spread", "farthest"))
        return TypicalSeason(mean, spread, farthest, record["years"], tuple(record["places"]))


def unlike_training_years(table: SeasonTable, fitted: Mapping[str, Any]) -> Iterator[str]:
    """One sentence per variate and year that lies farther from the training years than they from each other.

    fitted: fold -> its fitted.json. Runs of earlier versions have no typical season and are not compared.
    """
    record = next((one["typical"] for one in reversed(list(fitted.values())) if "typical" in one), None)
    if record is None:
        return
    typical = TypicalSeason.from_dict(record)
    for year, v, distance in typical.unlike(table):
        yield (
            f"{table.variate_names[v]} of {year} differs from the mean season of the training rows by {distance:.1f} "
            f"standard deviations (RMS over steps); the farthest of {typical.years} training years by "
            f"{typical.farthest[v]:.1f}. Are unit, sensor and dates those of the training data? If so, the season is "
            "unlike all training seasons, and the error may be larger than the interval says."
        )


def _measured(table: SeasonTable) -> Floats:
    return np.where(table.observed, table.values, np.nan).astype(np.float64)


def _mean(values: Floats) -> Floats:
    """[n,V,T] -> [V,T], NaN where nothing is observed."""
    count = (~np.isnan(values)).sum(0)
    mean: Floats = np.divide(np.nansum(values, 0), count, out=np.full(count.shape, np.nan), where=count > 0)
    return mean


def _distance(values: Floats, mean: Floats, spread: Floats) -> Floats:
    """[V]: RMS over steps of the mean of some rows less `mean`, in standard deviations; NaN if nothing is observed."""
    away = (_mean(values) - mean) / np.where(spread > 0, spread, np.nan)[:, None]
    count = (~np.isnan(away)).sum(1)
    squares = np.divide(np.nansum(away**2, 1), count, out=np.full(len(count), np.nan), where=count > 0)
    distance: Floats = np.sqrt(squares)
    return distance


def _listed(numbers: Floats) -> Any:
    return [_listed(row) for row in numbers] if numbers.ndim > 1 else [None if x != x else x for x in numbers.tolist()]
