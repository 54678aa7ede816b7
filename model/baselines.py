"""What a reviewer asks for first: simpler forecasts of the same test rows, learnt from the same rows."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor

from model.grouped_ridge import Scales, ridge_by_year
from model.learners.features import FeatureMap
from model.learners.tabular import GP, Tabular, TabularRows
from model.learners.trees import Forest
from model.offset import KnownYields, Offset
from model.season_tensors import SeasonTensors, WindowTensors

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

    Global mean and place mean of training rows; place mean + trend of what is `known` within 15 years, so with the
    card's history if there is one; ridge, random forest, extremely randomized trees and gradient boosting on the
    flattened series; ridge, random forest and gradient boosting on the residual from the place mean. Last, on the
    model's own terms: its `offset` alone, and on the anomaly from it ridge on the series, and ridge and a Gaussian
    process on random convolutions of the series. A missing step is filled with its column's mean over training rows;
    extremely randomized trees take it as missing.
    """
    x = filled(values, observed, learnt)
    labels = KnownYields(place[learnt], year[learnt], target[learnt], np.ones(len(learnt), bool))
    at = (place[test], year[test])
    in_sample = Offset("place", None).predict(labels, place[learnt], year[learnt], leave_own_year_out=False)
    level = Offset("place", None).predict(labels, *at, leave_own_year_out=False)
    y, groups = target[learnt], year[learnt]
    base = offset.predict(known, *at, leave_own_year_out=False)
    anomaly = y - offset.predict(known, place[learnt], year[learnt], leave_own_year_out=True)
    residual = y - in_sample
    columns = np.where(observed, values, np.nan).reshape(len(values), -1).astype(np.float64)
    convolutions = _convolutions(values, observed, learnt, seed)
    rows = TabularRows(convolutions.apply(_season(values, observed)), place, year, np.zeros(len(year)))
    convolved = rows.features.blocks["convolutions"].double().numpy()
    process = Tabular.fit(convolutions, rows.rows(learnt), anomaly, (GP,), seed=seed)
    return {
        "global mean": Offset("mean", None).predict(labels, *at, leave_own_year_out=False),
        "place mean": level,
        "place mean + trend": Offset("place-trend", 15).predict(known, *at, leave_own_year_out=False),
        "ridge": _ridge(x[learnt], y, groups, x[test]),
        "random forest": _forest(x[learnt], y, x[test], seed),
        "extra trees": Forest.fit("extra-trees", columns[learnt], y, seed).predict(columns[test]),
        "gradient boosting": boosting(seed).fit(x[learnt], y).predict(x[test]),
        "ridge on residual": level + _ridge(x[learnt], residual, groups, x[test]),
        "random forest on residual": level + _forest(x[learnt], residual, x[test], seed),
        "gradient boosting on residual": level + boosting(seed).fit(x[learnt], residual).predict(x[test]),
        "offset alone": base,
        "ridge on the anomaly": base + _ridge(x[learnt], anomaly, groups, x[test]),
        "ridge on convolutions": base + _ridge(convolved[learnt], anomaly, groups, convolved[test], "once"),
        "GP on convolutions": base + process.forecast(rows.rows(test))[GP][:, 0],
    }


def _forest(x: Numbers, y: Numbers, new: Numbers, seed: int) -> Numbers:
    """A random forest; its trees are summed in one order, so that the forecast is the same in every run."""
    forest = RandomForestRegressor(200, max_features=0.33, min_samples_leaf=3, n_jobs=2, random_state=seed)
    forecast: Numbers = forest.fit(x, y).set_params(n_jobs=1).predict(new)
    return forecast


def _convolutions(values: NDArray[np.float32], observed: NDArray[np.bool_], learnt: Rows, seed: int) -> FeatureMap:
    """A map to numbers and random convolutions of them, standardised by training rows."""
    return FeatureMap.fit(_season(values, observed), learnt, ("numbers", "convolutions"), seed=seed)


def _season(values: NDArray[np.float32], observed: NDArray[np.bool_]) -> SeasonTensors:
    seen = torch.from_numpy(observed.copy())
    whole = WindowTensors(torch.where(seen, torch.from_numpy(values.copy()), 0), seen)
    return SeasonTensors(whole, whole, 1)


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


def _ridge(x: Numbers, y: Numbers, year: NDArray[np.int64], new: Numbers, scales: Scales = "fold") -> Numbers:
    """Ridge on standardised columns."""
    return ridge_by_year(x, y, year, scales).predict(new)


def boosting(seed: int) -> HistGradientBoostingRegressor:
    """Gradient boosting as every baseline of this project uses it."""
    return HistGradientBoostingRegressor(
        learning_rate=0.05, max_iter=200, max_leaf_nodes=15, max_features=0.3, random_state=seed
    )
