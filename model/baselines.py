"""What a reviewer asks for first: simpler forecasts of the same test rows, learnt from the same rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.model_selection import KFold

from model.grouped_ridge import grouped_ridge
from model.offset import KnownYields, Offset

ALPHAS = np.logspace(0, 5, 11)
Rows = NDArray[np.int64]
Numbers = NDArray[np.float64]


def yield_baselines(
    values: NDArray[np.float32],
    observed: NDArray[np.bool_],
    target: Numbers,
    place: NDArray[np.str_],
    year: NDArray[np.int64],
    learnt: Rows,
    test: Rows,
    known: KnownYields,
    offset: Offset,
    seed: int,
) -> dict[str, Numbers]:
    """Forecasts [n_test] in t/ha by name. values, observed [N,V,T]; only labels of `learnt` and `known` are read.

    Global mean and place mean of learnt rows; place mean + trend of what is `known` within 15 years, so with the card's
    history if there is one; ridge, random forest and gradient boosting on the standardised flattened series; ridge and
    gradient boosting on the residual from the place mean. Last, on the model's own terms: its `offset` alone, and ridge
    on the anomaly from it. A missing step is filled with its column's mean over learnt rows.
    """
    x = filled(values, observed, learnt)
    labels = KnownYields(place[learnt], year[learnt], target[learnt], np.ones(len(learnt), bool))
    at = (place[test], year[test])
    in_sample = Offset("place", None).predict(labels, place[learnt], year[learnt], leave_own_year_out=False)
    level = Offset("place", None).predict(labels, *at, leave_own_year_out=False)
    y, groups = target[learnt], year[learnt]
    base = offset.predict(known, *at, leave_own_year_out=False)
    anomaly = y - offset.predict(known, place[learnt], year[learnt], leave_own_year_out=True)
    forest = RandomForestRegressor(200, max_features=0.33, min_samples_leaf=3, n_jobs=2, random_state=seed)
    return {
        "global mean": Offset("mean", None).predict(labels, *at, leave_own_year_out=False),
        "place mean": level,
        "place mean + trend": Offset("place-trend", 15).predict(known, *at, leave_own_year_out=False),
        "ridge": _ridge(x[learnt], y, groups, x[test]),
        "random forest": forest.fit(x[learnt], y).set_params(n_jobs=1).predict(x[test]),  # in one order of its trees
        "gradient boosting": boosting(seed).fit(x[learnt], y).predict(x[test]),
        "ridge on residual": level + _ridge(x[learnt], y - in_sample, groups, x[test]),
        "gradient boosting on residual": level + boosting(seed).fit(x[learnt], y - in_sample).predict(x[test]),
        "offset alone": base,
        "ridge on the anomaly": base + _ridge(x[learnt], anomaly, groups, x[test]),
    }


def filled(values: NDArray[np.float32], observed: NDArray[np.bool_], learnt: Rows) -> Numbers:
    """[N,V,T] -> [N,V*T] with the column mean over learnt rows where a step was not observed (0: never observed)."""
    flat: Numbers = np.where(observed, values, np.nan).reshape(len(values), -1).astype(np.float64)
    seen = observed.reshape(len(flat), -1)[learnt]
    means = np.where(seen, flat[learnt], 0).sum(0) / np.maximum(seen.sum(0), 1)
    complete: Numbers = np.where(np.isnan(flat), means, flat)
    return complete


def persistence(values: Numbers, observed: NDArray[np.bool_], cut: int) -> Numbers:
    """The last observed value before step `cut`, repeated: standardised [n,V,T] -> [n,V,T-cut]; else 0."""
    seen = observed[:, :, :cut]
    last = cut - 1 - seen[:, :, ::-1].argmax(2)
    held = np.take_along_axis(np.where(seen, values[:, :, :cut], 0), last[:, :, None], 2)
    return np.repeat(np.where(seen.any(axis=2, keepdims=True), held, 0), values.shape[2] - cut, axis=2)


def climatology(values: Numbers, observed: NDArray[np.bool_], cut: int) -> Numbers:
    """The mean of each variate and step from `cut` on, over learnt rows: [n,V,T] -> [V,T-cut]; else 0."""
    seen = observed[:, :, cut:]
    total: Numbers = np.where(seen, values[:, :, cut:], 0).sum(0) / np.maximum(seen.sum(0), 1)
    return total


def _ridge(x: Numbers, y: Numbers, groups: NDArray[np.int64], new: Numbers) -> Numbers:
    """Ridge on standardised columns; the penalty is chosen by leaving one year out (five folds where there is one)."""
    if len(np.unique(groups)) == 1:
        groups = np.empty(len(y), np.int64)
        for number, (_, held) in enumerate(KFold(min(5, len(y)), shuffle=True, random_state=0).split(y)):
            groups[held] = number
    return grouped_ridge(x, y, groups, ALPHAS).predict(new)


def boosting(seed: int) -> HistGradientBoostingRegressor:
    """Gradient boosting as every baseline of this project uses it."""
    return HistGradientBoostingRegressor(
        learning_rate=0.05, max_iter=200, max_leaf_nodes=15, max_features=0.3, random_state=seed
    )
