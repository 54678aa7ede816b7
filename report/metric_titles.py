"""Titles of the metrics of a run for tables, with units."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

METRICS = {
    "rmse": "RMSE, t/ha",
    "r2": "R2",
    "mae": "MAE, t/ha",
    "bias": "bias, t/ha",
    "nrmse": "RMSE / mean yield",
    "nrmse_by_year": "NRMSE by year, %",
    "coverage_90": "held by the 90 % interval",
    "rmse_over_range": "RMSE / range",
    "mse_standardised": "MSE, standardised",
    "mae_standardised": "MAE, standardised",
    "alignment": "alignment loss",
    "retrieval_56": "plots that find their series",
    "false_negatives": "near-equal pairs pushed apart",
}


def metric_titles(result: Mapping[str, Any]) -> dict[str, str]:
    """Titles of the metrics of a run, by name. Errors of single variates are in the variate's own unit."""
    titles = dict(METRICS)
    for text in result["seasons"]["variates"]:  # such as "ndvi [1]"
        name, unit = text.removesuffix("]").rsplit(" [", 1)
        titles[f"mae_{name}"] = f"MAE of {name}" + (f", {unit}" if unit != "1" else "")
    return titles
