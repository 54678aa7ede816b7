"""Scaling: what is learnt about the size of numbers, from training rows only."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

SPREAD_FLOOR = 1e-6
ROWS = 256  # samples at a time, where doubles are needed on the way


@dataclass(frozen=True, eq=False)
class Scaler:
    """Standardises each variate by the mean and standard deviation of its observed training values. mean, std [V]."""

    mean: NDArray[np.float64]
    std: NDArray[np.float64]

    @staticmethod
    def fit(values: NDArray[np.float32], observed: NDArray[np.bool_], train: NDArray[np.int64]) -> Scaler:
        """values, observed [N,V,T]; only rows `train` are looked at. A variate without spread keeps its unit."""
        mean, std = np.zeros(values.shape[1]), np.ones(values.shape[1])
        for v in range(values.shape[1]):
            seen = values[train, v][observed[train, v]].astype(np.float64)
            if len(seen):
                spread = float(seen.std())
                mean[v] = seen.mean()
                std[v] = spread if spread > SPREAD_FLOOR * max(1.0, abs(mean[v])) else 1.0
        return Scaler(mean, std)

    def apply(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """[n,V,T] in the variates' units -> standardised."""
        return (values.astype(np.float64) - self.mean[:, None]) / self.std[:, None]

    def inverse(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Inverse of `apply`, exact to 1e-6."""
        return values.astype(np.float64) * self.std[:, None] + self.mean[:, None]

    def to_dict(self) -> dict[str, list[float]]:
        """For JSON."""
        return {"mean": self.mean.tolist(), "std": self.std.tolist()}

    @staticmethod
    def from_dict(record: Mapping[str, Sequence[float]]) -> Scaler:
        """Inverse of `to_dict`."""
        return Scaler(np.array(record["mean"], float), np.array(record["std"], float))


def y_ranges(
    values: NDArray[np.float32],
    observed: NDArray[np.bool_],
    train: NDArray[np.int64],
    lows: Sequence[float | None],
    highs: Sequence[float | None],
) -> NDArray[np.float64]:
    """The y-range [V,2] that a plot of each variate spans.

    The card's physical range where it has one (lows, highs [V]); otherwise the 1st to 99th percentile of the observed
    training values, snapped outward to a coarse 1-2-5 grid, so that the folds of a cross-validation share their plots.
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
    if not high - low > SPREAD_FLOOR * max(1.0, abs(low), abs(high)):
        return low - 0.5, low + 0.5
    exponent = math.floor(math.log10((high - low) / 4))
    step = max(s * 10.0**exponent for s in (1, 2, 5) if s * 10.0**exponent <= (high - low) / 4)
    # Rounded, so that 0.30000000000000004 and 0.3 are one range.
    return round(math.floor(low / step) * step, 12), round(math.ceil(high / step) * step, 12)


def to_unit(values: NDArray[np.float32], ranges: NDArray[np.float64]) -> NDArray[np.float32]:
    """[N,V,T] -> the same with low..high of each variate mapped to 0..1; not clipped, NaN stays."""
    low, high = ranges[:, :1], ranges[:, 1:]
    unit = np.empty(values.shape, np.float32)
    for start in range(0, len(values), ROWS):  # in between it is float64: four times the memory of the result at once
        rows = slice(start, start + ROWS)
        unit[rows] = (values[rows] - low) / (high - low)
    return unit
