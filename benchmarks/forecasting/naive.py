"""Forecasts without training."""

from __future__ import annotations

import numpy as np

from benchmarks.forecasting.data import Numbers, Series


def repeat_last(series: Series, horizon: int) -> Numbers:
    """The last step of the look-back, for every step of every test window: [N,V,H]."""
    past, _ = series.windows("test", horizon)
    return np.repeat(past[..., -1:], horizon, axis=-1)


def seasonal(series: Series, horizon: int) -> Numbers:
    """For every step of every test window, the newest known value a whole number of seasons before it: [N,V,H].

    On ILI (52 weeks) this value is older than the look-back of 36 steps, so it reads more of the past than the models
    do.
    """
    period = series.benchmark.period
    origin = series.starts("test", horizon) + series.benchmark.look_back  # the row of the first forecast step
    ahead = np.arange(horizon)
    rows = origin[:, None] + ahead - period * (1 + ahead // period)
    known: Numbers = series.values[rows].transpose(0, 2, 1)
    return known


NAIVE = {"repeat-last": repeat_last, "seasonal-naive": seasonal}
