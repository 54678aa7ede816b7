"""Ridge regression of a yield anomaly on random convolutions of the season's series.

After ROCKET (Dempster, Petitjean & Webb 2020), whose classifier is linear in the same features. The penalty is the one
with the lowest error on left-out training years (`model/grouped_ridge.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.grouped_ridge import ridge_by_year

BLOCK_ROWS = 4096

Numbers = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LinearMap:
    """Weights [p] and intercept for columns that are not standardised."""

    weights: Numbers
    intercept: float

    @staticmethod
    def fit(columns: NDArray[np.floating[Any]], anomaly: Numbers, year: NDArray[np.int64]) -> LinearMap:
        """columns [n,p], anomaly [n] in any unit, year [n]. Forecasts have the anomaly's unit."""
        fit = ridge_by_year(columns.astype(np.float64), anomaly, year, "once", overwrite=True)
        weights = fit.coefficients / fit.scaler.scale_
        return LinearMap(weights, fit.intercept - float(fit.scaler.mean_ @ weights))

    def predict(self, columns: NDArray[np.floating[Any]]) -> Numbers:
        """[m,p] -> [m]."""
        forecast = np.empty(len(columns))
        for start in range(0, len(columns), BLOCK_ROWS):  # some rows at a time in float64
            rows = slice(start, start + BLOCK_ROWS)
            forecast[rows] = self.intercept + columns[rows].astype(np.float64) @ self.weights
        return forecast

    def state(self) -> dict[str, Tensor]:
        """For safetensors."""
        return {
            "weights": torch.from_numpy(self.weights),
            "intercept": torch.tensor([self.intercept], dtype=torch.float64),
        }

    @staticmethod
    def from_state(state: Mapping[str, Tensor]) -> LinearMap:
        """Inverse of `state`."""
        return LinearMap(state["weights"].numpy(), float(state["intercept"][0]))
