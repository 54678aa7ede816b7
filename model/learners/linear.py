"""Ridge regression of a yield anomaly on random convolutions of the season's series.

After ROCKET (Dempster, Petitjean & Webb 2020), whose classifier is linear in the same features. The penalty is the one
with the lowest error on training years that are left out (`model/grouped_ridge.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.grouped_ridge import ridge_by_year

Numbers = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LinearMap:
    """weights [p] and intercept of columns as they are, not standardised."""

    weights: Numbers
    intercept: float

    @staticmethod
    def fit(columns: Numbers, anomaly: Numbers, year: NDArray[np.int64]) -> LinearMap:
        """columns [n,p], anomaly [n] in any unit, which is that of the forecast; year [n]."""
        found = ridge_by_year(columns, anomaly, year, "once")
        weights = found.coefficients / found.scaler.scale_
        return LinearMap(weights, found.intercept - float(found.scaler.mean_ @ weights))

    def predict(self, columns: Numbers) -> Numbers:
        """[m,p] -> [m]."""
        forecast: Numbers = self.intercept + columns @ self.weights
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
