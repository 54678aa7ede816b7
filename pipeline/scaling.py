"""Scaling of values and y-ranges of plots, fitted on training rows only."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

SPREAD_FLOOR = 1e-6  # of the largest magnitude; values that vary less are constant. Units may be small, as kg m-2 s-1
LEAST_ROWS = 5  # with values of a variate; its range in fewer rows is no guide to others
ROWS = 256  # samples that are converted to float64 at a time


@dataclass(frozen=True, eq=False)
class Scaler:
    """Standardises each variate by the mean and standard deviation of its observed training values. mean, std [V].

    known [V] bool: whether the training rows show the variate: two different values, and values in LEAST_ROWS rows or
    all. Nothing can be learned about others, so their values count as missing.
    """

    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    known: NDArray[np.bool_]

    @staticmethod
    def fit(values: NDArray[np.float32], observed: NDArray[np.bool_], train: NDArray[np.int64]) -> Scaler:
        """Fit on the rows `train` of values and observed [N,V,T]. A variate without spread is only centred."""
        mean, std, known = np.zeros(values.shape[1]), np.ones(values.shape[1]), np.zeros(values.shape[1], bool)
        for v in range(values.shape[1]):
            seen = values[train, v][observed[train, v]].astype(np.float64)
            if len(seen):
                spread = float(seen.std())
                mean[v] = seen.mean()
                varies = spread > SPREAD_FLOOR * float(np.abs(seen).max())
                std[v] = spread if varies else 1.0
                rows = int(observed[train, v].any(-1).sum())
                known[v] = varies and rows >= min(LEAST_ROWS, len(train))
        return Scaler(mean, std, known)

    def apply(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Standardise values [n,V,T] that are in the variates' units."""
        return (values.astype(np.float64) - self.mean[:, None]) / self.std[:, None]

    def inverse(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Inverse of `apply`, exact to 1e-6."""
        return values.astype(np.float64) * self.std[:, None] + self.mean[:, None]

    def to_dict(self) -> dict[str, list[float] | list[bool]]:
        """For JSON."""
        return {"mean": self.mean.tolist(), "std": self.std.tolist(), "known": self.known.tolist()}

    @staticmethod
    def from_dict(record: Mapping[str, Sequence[float]]) -> Scaler:
        """Inverse of `to_dict`. Records of 0.1.0 have no `known`."""
        mean = np.array(record["mean"], float)
        return Scaler(mean, np.array(record["std"], float), np.array(record.get("known", [True] * len(mean)), bool))


def y_ranges(
    values: NDArray[np.float32],
    observed: NDArray[np.bool_],
    train: NDArray[np.int64],
    lows: Sequence[float | None],
    highs: Sequence[float | None],
) -> NDArray[np.float64]:
    """The y-range [V,2] of the plots of each variate.

    It is the physical range of the card (lows, highs [V]) if there is one. Otherwise it is the 1st to 99th percentile
    of the observed training values, widened to a coarse 1-2-5 grid, so that the folds of a cross-validation share
    plots.
    """
    ranges = np.empty((values.shape[1], 2))
    for v, (low, high) in enumerate(zip(lows, highs, strict=True)):
        if low is not None and high is not None:
            ranges[v] = low, high
            continue
        seen = values[train, v][observed[train, v]].astype(np.float64)
        ranges[v] = snapped(*np.percentile(seen, (1, 99))) if len(seen) else (0.0, 1.0)
    return ranges


def snapped(low: float, high: float) -> tuple[float, float]:
    """The range widened to multiples of the largest 1-2-5 step that is at most a quarter of it."""
    if not high - low > SPREAD_FLOOR * max(abs(low), abs(high)):
        return low - 0.5, low + 0.5
    exponent = math.floor(math.log10((high - low) / 4))
    step = max(s * 10.0**exponent for s in (1, 2, 5) if s * 10.0**exponent <= (high - low) / 4)
    digits = max(12, 3 - exponent)  # rounded, so that 0.30000000000000004 and 0.3 are the same end of a range
    return round(math.floor(low / step) * step, digits), round(math.ceil(high / step) * step, digits)


def to_unit(values: NDArray[np.float32], ranges: NDArray[np.float64]) -> NDArray[np.float32]:
    """Map low..high of each variate to 0..1 in values [N,V,T]. Nothing is clipped, and NaN stays NaN."""
    low, high = ranges[:, :1], ranges[:, 1:]
    unit = np.empty(values.shape, np.float32)
    for start in range(0, len(values), ROWS):  # float64 intermediates of all rows would take 4 x the memory
        rows = slice(start, start + ROWS)
        unit[rows] = (values[rows] - low) / (high - low)
    return unit
