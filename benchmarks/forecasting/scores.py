"""Errors of a forecast over all test windows, and over those that incomplete batches leave.

Published figures often drop the last incomplete batch of the test windows (`drop_last`), the end of the series.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.forecasting.data import Numbers

BATCHES = (16, 32, 64)  # test batches in use in the field


def errors(truth: Numbers, forecast: Numbers) -> dict[str, Any]:
    """mse and mae over all windows, variates and steps [N,V,H], for every model of the table.

    drop_last: for each batch size, the number of windows in whole batches, in order of time, and mse and mae over them;
    without errors if there is no whole batch. Raises ValueError for shapes that differ, empty arrays, and numbers that
    are not finite.
    """
    if truth.shape != forecast.shape or truth.size == 0:
        raise ValueError(f"truth {truth.shape} and forecast {forecast.shape} must be equal in shape and not empty")
    if not (np.isfinite(truth).all() and np.isfinite(forecast).all()):
        raise ValueError("truth or forecast holds values that are not finite")
    error = forecast.astype(np.float64) - truth
    kept = {str(batch): len(error) // batch * batch for batch in BATCHES}
    whole = {batch: {"windows": count} | (means(error[:count]) if count else {}) for batch, count in kept.items()}
    return means(error) | {"drop_last": whole}


def means(error: Numbers) -> dict[str, float]:
    """mse and mae of errors [n,V,H] with at least one window."""
    return {"mse": float(np.mean(error**2)), "mae": float(np.mean(np.abs(error)))}
