"""Summaries of the series: the share of observed values, and the spread of the values by year or file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.table import SeasonTable

MOST_SAMPLES = 2_000  # samples of a year or file from which quantiles are taken
MOST_BINS = 74  # columns of a heat map; 365 daily steps are shown in bins of 5
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True)
class Spread:
    """The 5, 25, 50, 75 and 95 % quantiles of a group, which has `values` numbers in `rows` rows."""

    group: int
    rows: int
    values: int
    quantiles: tuple[float, ...]

    @property
    def median(self) -> float:
        """The 50 % quantile."""
        return self.quantiles[2]


@dataclass(frozen=True, eq=False)
class Observed:
    """The share of observed values by series (variates, then drivers), year and bin of steps.

    names        [S] the series;  years [Y]
    first_steps  [B] the first step of each bin
    steps        number of steps per bin; the last bin may have fewer
    share        [S,Y,B]; each sample has the same weight
    samples      [Y] number of samples per year
    """

    names: tuple[str, ...]
    years: NDArray[np.int64]
    first_steps: NDArray[np.int64]
    steps: int
    share: NDArray[np.float64]
    samples: NDArray[np.int64]

    @property
    def of_all_years(self) -> NDArray[np.float64]:
        """[S,B] the share over all samples."""
        return np.asarray(np.average(self.share, axis=1, weights=self.samples), np.float64)

    @property
    def of_variates(self) -> NDArray[np.float64]:
        """[Y,B] the mean share of all series."""
        return np.asarray(self.share.mean(axis=0), np.float64)


def observed_shares(table: SeasonTable, most_bins: int = MOST_BINS) -> Observed:
    """The share of observed values, in at most `most_bins` bins of steps."""
    steps = -(-table.steps // most_bins)
    first = np.arange(0, table.steps, steps)
    sizes = np.diff([*first, table.steps])
    years, of, samples = np.unique(table.year, return_inverse=True, return_counts=True)
    parts = [table.observed, table.drivers_observed]
    share = np.zeros((sum(part.shape[1] for part in parts), len(years), len(first)))
    for y in range(len(years)):
        rows = np.flatnonzero(of == y)
        by_step = np.concatenate([part[rows].mean(axis=0) for part in parts])
        share[:, y] = np.add.reduceat(by_step, first, axis=1) / sizes
    names = (*table.variate_names, *table.driver_names)
    return Observed(names=names, years=years, first_steps=first, steps=steps, share=share, samples=samples)


def evenly(rows: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """At most `most` of the rows, evenly spaced, in the same order."""
    if len(rows) <= most:
        return rows
    return np.asarray(rows[np.linspace(0, len(rows) - 1, most).round().astype(np.int64)])


def spreads(
    values: NDArray[np.floating], group: NDArray[np.int64], most_samples: int = MOST_SAMPLES
) -> tuple[Spread, ...]:
    """The spread of each group, in the order of its number; groups without an observation are left out.

    values [N,T] or [N], NaN if not observed; group [N]
    """
    found = []
    order = np.argsort(group, kind="stable")
    names, first, size = np.unique(group[order], return_index=True, return_counts=True)
    for name, start, n in zip(names.tolist(), first, size, strict=True):
        rows = evenly(order[start : start + n], most_samples)
        seen = values[rows]
        seen = seen[~np.isnan(seen)].astype(np.float64)
        if len(seen):
            quantiles = tuple(np.quantile(seen, QUANTILES).tolist())
            found.append(Spread(group=name, rows=int(n), values=len(seen), quantiles=quantiles))
    return tuple(found)


def series_of(table: SeasonTable) -> list[tuple[str, str, NDArray[np.float32]]]:
    """(name, unit, values [N,T]) of each variate and then each driver."""
    variates = [(v.name, v.unit, table.values[:, at]) for at, v in enumerate(table.variates)]
    drivers = zip(table.driver_names, table.driver_units, range(len(table.driver_names)), strict=True)
    return variates + [(name, unit, table.drivers[:, at]) for name, unit, at in drivers]


def furthest(found: Sequence[Spread], most: int) -> tuple[Spread, ...]:
    """At most `most` spreads, in the same order: those with medians furthest from the median of all medians."""
    if len(found) <= most:
        return tuple(found)
    middle = float(np.median([one.median for one in found]))
    far = sorted(found, key=lambda one: -abs(one.median - middle))[:most]
    return tuple(one for one in found if one in far)
