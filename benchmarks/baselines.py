"""python -m benchmarks.baselines: the ridge of the baselines, against a search that fits every penalty and year."""

from __future__ import annotations

import json
import time

import numpy as np
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.drawing import Row, row
from model.grouped_ridge import ALPHAS, Scales, grouped_ridge

ROWS, COLUMNS, YEARS, ROUNDS = 4_000, 6 * 52, 36, 5


def measure() -> list[Row]:
    """Takes half a minute, nearly all for the search.

    A fast fit is the median of several before and after the search.
    """
    rng = np.random.default_rng(0)
    year = np.arange(ROWS) % YEARS
    x = rng.normal(size=(ROWS, 8)) @ rng.normal(size=(8, COLUMNS)) + rng.normal(size=(ROWS, COLUMNS))
    y = x[:, :5].sum(1) * 0.1 + rng.normal(size=ROWS) + rng.normal(size=YEARS)[year]

    def fast(scales: Scales) -> tuple[float, float]:
        started = time.perf_counter()
        alpha = grouped_ridge(x, y, year, ALPHAS, scales).alpha
        return alpha, time.perf_counter() - started

    ways: tuple[Scales, ...] = ("fold", "once")
    taken = {way: [fast(way) for _ in range(ROUNDS)] for way in ways}
    started = time.perf_counter()
    search = GridSearchCV(
        make_pipeline(StandardScaler(), Ridge()),
        {"ridge__alpha": ALPHAS},
        cv=GroupKFold(YEARS),
        scoring="neg_mean_squared_error",
    ).fit(x, y, groups=year)
    slow = time.perf_counter() - started
    reference = "GridSearchCV, which fits each penalty and year again"
    rows = []
    scalings: dict[Scales, str] = {"fold": "standardised in each fold", "once": "standardised once"}
    for way, scaling in scalings.items():
        both = taken[way] + [fast(way) for _ in range(ROUNDS)]
        if {alpha for alpha, _ in both} != {search.best_params_["ridge__alpha"]}:
            raise SystemExit("the searches choose different penalties")
        seconds = float(np.median([spent for _, spent in both]))
        name = f"ridge, {scaling}, {len(ALPHAS)} penalties, {YEARS} years, {ROWS} rows x {COLUMNS} columns"
        rows.append(row(name, 1 / seconds, "fits/s", reference, 1 / slow))
    return rows


if __name__ == "__main__":
    for line in measure():
        print(json.dumps(line), flush=True)
