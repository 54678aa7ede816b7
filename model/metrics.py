"""Metrics. Every sample counts exactly once, whatever the batch. Values that are not finite are errors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]


def yield_metrics(y_true: Numbers, y_pred: Numbers) -> dict[str, float]:
    """Metrics of n forecasts in t/ha: r2, rmse, mae, bias (t/ha) and nrmse (RMSE over the mean observed yield).

    R2 = 1 - sum of squared errors / sum of squares around the mean of these same y_true. If all y_true are equal, R2 is
    undefined; as in scikit-learn it is then 1 for a perfect forecast and 0 otherwise. Raises ValueError for shapes that
    differ, empty arrays, or a value that is not finite.
    """
    _check(y_true, y_pred)
    error = y_pred - y_true
    squared, around = float(np.sum(error**2)), float(np.sum((y_true - y_true.mean()) ** 2))
    rmse = float(np.sqrt(np.mean(error**2)))
    return {
        "r2": 1 - squared / around if around > 0 else float(squared == 0),
        "rmse": rmse,
        "mae": float(np.abs(error).mean()),
        "nrmse": rmse / float(y_true.mean()),
        "bias": float(error.mean()),
    }


def nrmse_by_year(y_true: Numbers, y_pred: Numbers, year: NDArray[np.int64]) -> float:
    """CY-Bench's score: 100 x RMSE / mean observed yield per year, then the median over years.

    n forecasts, each with its year [n]. Raises ValueError as `yield_metrics` does, and if `year` has another shape.
    """
    _check(y_true, y_pred)
    if year.shape != y_true.shape:
        raise ValueError(f"metrics need a year for each forecast; got {year.shape} for {y_true.shape}")
    parts = [year == one for one in np.unique(year)]
    return float(np.median([100 * yield_metrics(y_true[rows], y_pred[rows])["nrmse"] for rows in parts]))


def completion_metrics(
    y_true: Numbers, y_pred: Numbers, observed: NDArray[np.bool_], data_range: Numbers, names: Sequence[str]
) -> dict[str, float]:
    """Metrics of completed steps [n,V,H] in each variate's own unit, over observed steps only.

    rmse_over_range: square root of the mean over observed values of (error / data_range[v])^2; data_range [V] is
    maximum - minimum of each variate's observed training values. mae_<name>: in the variate's own unit; left out if the
    variate was not observed. Raises ValueError as `yield_metrics` does.
    """
    error = np.where(observed, y_pred - np.where(observed, y_true, 0), 0.0)
    _check(np.where(observed, y_true, 0)[observed], np.where(observed, y_pred, 0)[observed])
    relative = (error / data_range[:, None])[observed]
    metrics = {"rmse_over_range": float(np.sqrt(np.mean(relative**2)))}
    for v, name in enumerate(names):
        if observed[:, v].any():
            metrics[f"mae_{name}"] = float(np.abs(error[:, v][observed[:, v]]).mean())
    return metrics


def _check(y_true: Numbers, y_pred: Numbers) -> None:
    if y_true.shape != y_pred.shape or y_true.size == 0:
        raise ValueError(f"metrics need equal, non-empty shapes; got {y_true.shape} and {y_pred.shape}")
    for name, values in (("y_true", y_true), ("y_pred", y_pred)):
        if not np.isfinite(values).all():
            raise ValueError(f"{name} holds {int((~np.isfinite(values)).sum())} values that are not finite")
