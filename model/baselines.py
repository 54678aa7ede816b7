"""Simple baseline forecasts of the test rows, trained on the same training rows as the model."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
from torch import Tensor

from model.gap_filling import fill_gaps
from model.grouped_ridge import ridge_by_year
from model.learners.features import FeatureMap
from model.learners.linear import LinearMap
from model.learners.tabular import GP, GP_POSITIONS, Tabular, TabularRows
from model.learners.trees import Forest
from model.offset import KnownYields, Offset
from model.offset_choice import ChosenOffset
from model.season_tensors import SeasonTensors, WindowTensors

KRIGING = "kriging"  # the only baseline that reads positions
TREES, ROUNDS = 200, 200  # of random forests and of boosting

Rows = NDArray[np.int64]
Numbers = NDArray[np.float64]
Series = tuple[NDArray[np.float32], NDArray[np.bool_]]  # values and masks [N,V,T]


def yield_baselines(
    values: NDArray[np.float32],
    observed: NDArray[np.bool_],
    target: Numbers,
    *,
    place: NDArray[np.str_],
    year: NDArray[np.int64],
    train: Rows,
    test: Rows,
    known: KnownYields,
    offset: Offset | ChosenOffset,
    anomaly: Numbers,
    seed: int,
    drivers: Series | None = None,
    static: NDArray[np.floating[Any]] | None = None,
    position: Numbers | None = None,
) -> dict[str, Numbers]:
    """Forecasts [n_test] in t/ha by name. values, observed [N,V,T]; only labels of `train` and `known` are read.

    anomaly [n_train]: yield minus offset of the training rows, t/ha. drivers: values [N,R,T] and masks of series such
    as the weather. static [N,S], NaN if unknown. position [N,2]: longitude and latitude in degrees, NaN if unknown.

    * Global mean and place mean of the training rows.
    * Place mean + trend of the yields in `known` within 15 years, so with the card's history if there is one.
    * Ridge, random forest, extremely randomized trees and gradient boosting on the numbers of the season.
    * The same without extremely randomized trees on the residual from the place mean. A training row counts in the mean
      of its place, so the only row of a place has the residual 0. Means without the row's own year were worse: R2 0.18
      instead of 0.44 for ridge on Illinois, split forward.
    * The model's own `offset` alone; on the anomaly from it, ridge on the numbers, ridge on random convolutions of the
      series, and a Gaussian process on both.
    * With positions, kriging of the anomaly with a year effect; it reads nothing of the season (Cressie 1990, Math.
      Geol. 22, 239-252).

    Numbers are those that the learners on features read of a whole season: series, drivers and static columns, with
    gaps filled in the same way (`numbers_read`).
    """
    x = numbers_read((values, observed), train, drivers, static)
    labels = KnownYields(place[train], year[train], target[train], np.ones(len(train), bool))
    at = (place[test], year[test])
    in_sample = Offset("place", None).predict(labels, place[train], year[train])
    level = Offset("place", None).predict(labels, *at)
    y, groups = target[train], year[train]
    base = offset.predict(known, *at)
    residual = y - in_sample
    season = _season((values, observed), drivers, None if static is None else static_filled(static, train))
    convolutions = FeatureMap.fit(season, train, ("numbers", "convolutions"), seed=seed)
    rows = TabularRows(convolutions.apply(season), place, year, np.zeros(len(year)), position)
    convolved = rows.convolved()
    process = Tabular.fit(convolutions, rows.rows(train), anomaly, (GP,), seed=seed)
    return {
        "global mean": Offset("mean", None).predict(labels, *at),
        "place mean": level,
        "place mean + trend": Offset("place-trend", 15).predict(known, *at),
        "ridge": _ridge(x[train], y, groups, x[test]),
        "random forest": _forest(x[train], y, x[test], seed),
        "extra trees": Forest.fit("extra-trees", x[train], y, seed).predict(x[test]),
        "gradient boosting": boosting(seed).fit(x[train], y).predict(x[test]),
        "ridge on residual": level + _ridge(x[train], residual, groups, x[test]),
        "random forest on residual": level + _forest(x[train], residual, x[test], seed),
        "gradient boosting on residual": level + boosting(seed).fit(x[train], residual).predict(x[test]),
        "offset alone": base,
        "ridge on the anomaly": base + _ridge(x[train], anomaly, groups, x[test]),
        "ridge on convolutions": base + LinearMap.fit(convolved[train], anomaly, groups).predict(convolved[test]),
        "GP on convolutions": base + process.forecast(rows.rows(test))[GP][:, 0],
        **(
            {}
            if position is None
            else {KRIGING: base + _kriging(convolutions, rows, anomaly, train=train, test=test, seed=seed)}
        ),
    }


def _kriging(
    features: FeatureMap, rows: TabularRows, anomaly: Numbers, *, train: Rows, test: Rows, seed: int
) -> Numbers:
    """Anomalies [n_test] by a Gaussian process on position and year alone. anomaly [n_train], t/ha."""
    fitted = Tabular.fit(features, rows.rows(train), anomaly, (GP_POSITIONS,), blocks=(), seed=seed)
    return fitted.forecast(rows.rows(test))[GP_POSITIONS][:, 0]


def _forest(x: Numbers, y: Numbers, new: Numbers, seed: int) -> Numbers:
    """Predict with a random forest. One thread sums its trees, so that the forecast is the same in every run."""
    forest = RandomForestRegressor(TREES, max_features=0.33, min_samples_leaf=3, n_jobs=2, random_state=seed)
    forecast: Numbers = forest.fit(x, y).set_params(n_jobs=1).predict(new)
    return forecast


def _season(series: Series, drivers: Series | None, static: Numbers | None) -> SeasonTensors:
    """The input of a feature map, in the units of the table."""

    def tensors(one: Series) -> tuple[Tensor, Tensor]:
        seen = torch.from_numpy(one[1].copy())
        return torch.where(seen, torch.from_numpy(one[0].copy()), 0), seen

    weather = None if drivers is None else torch.cat([part.float() for part in tensors(drivers)], -1)
    whole = WindowTensors(*tensors(series), None, weather)
    return SeasonTensors(whole, whole, 1, None if static is None else torch.from_numpy(static))


def numbers_read(
    series: Series, train: Rows, drivers: Series | None, static: NDArray[np.floating[Any]] | None
) -> Numbers:
    """[N, V*T + R*T + S]: series and drivers, with gaps filled, and static columns; each is left out if None."""
    parts = [filled(*one, train) for one in (series, drivers) if one is not None]
    return np.concatenate([*parts, *([] if static is None else [static_filled(static, train)])], axis=1)


def static_filled(static: NDArray[np.floating[Any]], train: Rows) -> Numbers:
    """[N,S] with the mean of the training rows in place of NaN; a column that no training row knows is 0."""
    known = ~np.isnan(static) & ~np.isnan(static[train]).all(0)
    numbers: Numbers = np.where(known, static, 0).astype(np.float64)
    mean = numbers[train].sum(0) / np.maximum(known[train].sum(0), 1)
    return np.where(known, numbers, mean)


def filled(values: NDArray[np.float32], observed: NDArray[np.bool_], train: Rows) -> Numbers:
    """[N,V,T] -> [N,V*T]. A missing step gets the mean of the training rows plus the deviations of steps beside it.

    A step that no training row observes is missing in all rows, and its mean is 0.
    """
    observed = observed & observed[train].any(0)
    known: Numbers = np.where(observed, values, 0).astype(np.float64)
    mean = known[train].sum(0) / np.maximum(observed[train].sum(0), 1)
    deviations = fill_gaps(torch.from_numpy(known - mean), torch.from_numpy(observed)).numpy()
    complete: Numbers = (mean + deviations).reshape(len(values), -1)
    return complete


def persistence(values: Numbers, observed: NDArray[np.bool_], cut: int) -> Numbers:
    """[n,V,T] -> [n,V,T-cut]: the last observed value before step `cut`, repeated; 0 if there is none. Standardised."""
    seen = observed[:, :, :cut]
    last = cut - 1 - seen[:, :, ::-1].argmax(2)
    held = np.take_along_axis(np.where(seen, values[:, :, :cut], 0), last[:, :, None], 2)
    return np.repeat(np.where(seen.any(axis=2, keepdims=True), held, 0), values.shape[2] - cut, axis=2)


def climatology(values: Numbers, observed: NDArray[np.bool_], cut: int) -> Numbers:
    """[n,V,T] -> [V,T-cut]: mean of each variate and step from `cut` on, over n training rows; 0 if never observed."""
    seen = observed[:, :, cut:]
    total: Numbers = np.where(seen, values[:, :, cut:], 0).sum(0) / np.maximum(seen.sum(0), 1)
    return total


def _ridge(x: Numbers, y: Numbers, year: NDArray[np.int64], new: Numbers) -> Numbers:
    """Forecasts [m] for `new` [m,p] by ridge on standardised columns."""
    return ridge_by_year(x, y, year).predict(new)


def boosting(seed: int) -> HistGradientBoostingRegressor:
    """Gradient boosting with the settings that all baselines of this project use."""
    return HistGradientBoostingRegressor(
        learning_rate=0.05,
        max_iter=ROUNDS,
        max_leaf_nodes=15,
        max_features=0.3,
        early_stopping=False,  # by default it holds out random rows if there are more than 10,000
        random_state=seed,
    )
