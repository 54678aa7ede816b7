"""Trees on a yield anomaly: extremely randomized and boosted trees by scikit-learn, saved as plain arrays.

A fitted forest is a few arrays. It needs no pickle, and its forecasts are the same before and after saving. No number
is missing: gaps are filled before (`features.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesRegressor, HistGradientBoostingRegressor
from torch import Tensor

ForestName = Literal["extra-trees", "boosting"]
TREES, FEATURE_SHARE, LEAST_LEAF = 300, 0.33, 3
MOST_LEAVES = 1000  # per tree, approximately: a leaf holds at least n / MOST_LEAVES rows
ROUNDS, RATE, LEAVES = 200, 0.05, 15  # of boosting
BLOCK_ROWS = 2048
ARRAYS = ("feature", "threshold", "left", "right", "value", "root")

Numbers = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Forest:
    """Trees whose mean or sum is the forecast. K is the number of nodes of all trees together.

    feature [K] (-1: a leaf), threshold [K], left, right [K] node numbers, value [K]; root [R].
    The forecast is base + scale * the sum over trees.
    """

    feature: NDArray[np.int32]
    threshold: Numbers
    left: NDArray[np.int32]
    right: NDArray[np.int32]
    value: Numbers
    root: NDArray[np.int32]
    scale: float
    base: float

    @staticmethod
    def fit(name: ForestName, columns: Numbers, anomaly: Numbers, seed: int) -> Forest:
        """columns [n,C], anomaly [n] in any unit. Forecasts have the anomaly's unit."""
        if name == "boosting":
            boosted = HistGradientBoostingRegressor(
                learning_rate=RATE,
                max_iter=ROUNDS,
                max_leaf_nodes=LEAVES,
                max_features=0.3,
                early_stopping=False,  # by default it holds out random rows if there are more than 10,000
                random_state=seed,
            ).fit(columns, anomaly)
            nodes = [one.nodes for (one,) in boosted._predictors]
            parts = [
                (
                    np.where(tree["is_leaf"], -1, tree["feature_idx"]),
                    tree["num_threshold"],
                    tree["left"],
                    tree["right"],
                    tree["value"],
                )
                for tree in nodes
            ]
            return Forest._joined(parts, 1.0, float(boosted._baseline_prediction.ravel()[0]))
        leaf = max(LEAST_LEAF, len(anomaly) // MOST_LEAVES)
        extra = ExtraTreesRegressor(
            TREES, max_features=FEATURE_SHARE, min_samples_leaf=leaf, random_state=seed, n_jobs=1
        ).fit(columns, anomaly)
        trees = [one.tree_ for one in extra.estimators_]
        parts = [
            (
                np.where(tree.children_left < 0, -1, tree.feature),
                tree.threshold,
                tree.children_left,
                tree.children_right,
                tree.value[:, 0, 0],
            )
            for tree in trees
        ]
        return Forest._joined(parts, 1 / TREES, 0.0)

    @staticmethod
    def _joined(parts: Sequence[Sequence[NDArray[Any]]], scale: float, base: float) -> Forest:
        sizes = [len(part[0]) for part in parts]
        start = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int32)
        shift = np.repeat(start, sizes)
        feature, threshold, left, right, value = (np.concatenate(column) for column in zip(*parts, strict=True))
        leaf = feature < 0
        return Forest(
            feature=feature.astype(np.int32),
            threshold=np.where(leaf, 0.0, threshold).astype(np.float64),
            left=np.where(leaf, 0, left + shift).astype(np.int32),
            right=np.where(leaf, 0, right + shift).astype(np.int32),
            value=value.astype(np.float64),
            root=start,
            scale=scale,
            base=base,
        )

    def predict(self, columns: Numbers) -> Numbers:
        """[n,C] -> [n], in the anomaly's unit."""
        # scikit-learn's extra trees compare in single precision, and so does this
        x = columns.astype(np.float32).astype(np.float64) if self.scale != 1.0 else columns
        blocks = [self._sum(x[at : at + BLOCK_ROWS]) for at in range(0, len(x), BLOCK_ROWS)]
        total = np.concatenate(blocks) if blocks else np.empty(0)
        return self.base + self.scale * total

    def _sum(self, x: Numbers) -> Numbers:
        """The sum over trees for some rows. All trees and rows descend one level at a time."""
        node = np.repeat(self.root[:, None], len(x), 1).ravel()
        row = np.tile(np.arange(len(x)), len(self.root))
        active = np.flatnonzero(self.feature[node] >= 0)
        while len(active):
            here = node[active]
            value = x[row[active], self.feature[here]]
            node[active] = np.where(value <= self.threshold[here], self.left[here], self.right[here])
            active = active[self.feature[node[active]] >= 0]
        total: Numbers = self.value[node].reshape(len(self.root), len(x)).sum(0)
        return total

    def state(self) -> dict[str, Tensor]:
        """For safetensors."""
        state = {name: torch.from_numpy(getattr(self, name)) for name in ARRAYS}
        return state | {"terms": torch.tensor([self.scale, self.base], dtype=torch.float64)}

    @staticmethod
    def from_state(state: Mapping[str, Tensor]) -> Forest:
        """Inverse of `state`. Forests of earlier versions have more arrays, which no forecast needs."""
        arrays = {name: state[name].numpy() for name in ARRAYS}
        scale, base = state["terms"].tolist()
        return Forest(**arrays, scale=scale, base=base)
