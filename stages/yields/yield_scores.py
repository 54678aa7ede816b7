"""Forecasts of stages 2 and 3 as tables, and their scores beside the baselines on the same test rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from model.baselines import yield_baselines
from model.calibration import LEAST_GROUPS, paired_difference, score_intervals
from model.metrics import nrmse_by_year, yield_metrics
from model.threads import threads_for
from pipeline.plural import plural
from pipeline.splits import joined_places
from stages.inputs.fold_data import FoldData
from stages.inputs.positions import positions_help
from stages.yields.fold_offset import offset_without_own
from stages.yields.yield_forecaster import Tonnes, Yields
from stages.yields.yield_outcome import YieldOutcome


def predictions(outcomes: Sequence[YieldOutcome]) -> pd.DataFrame:
    """sample_id, place, year, split, y_true, y_pred, y_lo, y_hi in t/ha, for validation and test rows of every fold.

    yield_group: the number of the yield, only if some rows share one yield.
    """
    frames = [rows_of(outcome.prepared, outcome.valid, outcome.test) for outcome in outcomes]
    return pd.concat(frames, ignore_index=True)


def rows_of(prepared: FoldData, valid: Yields, test: Yields) -> pd.DataFrame:
    """The columns of `predictions` for one fold."""
    table, fold = prepared.table, prepared.fold
    frames = [
        pd.DataFrame(
            {
                "sample_id": table.sample_id[index],
                "place": table.place[index],
                "year": table.year[index],
                "split": split,
                "fold": fold.name,
                "y_true": table.target[index],
                "y_pred": forecast.pred,
                "y_lo": forecast.lo,
                "y_hi": forecast.hi,
                **({"yield_group": table.group[index]} if table.shares_yields else {}),
            }
        )
        for split, index, forecast in (("valid", fold.valid, valid), ("test", fold.test, test))
    ]
    return pd.concat(frames, ignore_index=True)


def scores(
    outcomes: Sequence[YieldOutcome], seed: int
) -> tuple[dict[str, float], dict[str, dict[str, float]], pd.DataFrame]:
    """Metrics of the model and of each baseline over the test rows of all folds together, and the baselines' forecasts.

    The forecasts have the columns sample_id, fold, name, y_pred in t/ha, one row per baseline and test row.
    """
    table = predictions(outcomes)
    test = table[table["split"] == "test"]
    truth, year = test["y_true"].to_numpy(), test["year"].to_numpy()
    guesses = [baselines(outcome, seed) for outcome in outcomes]
    pooled = {}
    for name in guesses[0]:
        guess = np.concatenate([one[name] for one in guesses])
        pooled[name] = yield_metrics(truth, guess) | {"nrmse_by_year": nrmse_by_year(truth, guess, year)}
    return test_metrics(table), pooled, by_name(outcomes, guesses)


def best_baseline(
    predictions: pd.DataFrame, guesses: pd.DataFrame, baselines: Mapping[str, Mapping[str, float]]
) -> dict[str, Any]:
    """The best baseline (lowest RMSE), and `lead`: its RMSE minus that of the run, t/ha, with the 95 % interval.

    A lead above zero means that the run is better.

    The interval resamples years if at least 6 were tested, else places. Places that share a yield are one. With fewer
    than 6 of either, `low` and `high` are None.
    """
    name = min(baselines, key=lambda one: baselines[one]["rmse"])
    rows = predictions[predictions["split"] == "test"].merge(
        guesses[guesses["name"] == name], on=["sample_id", "fold"], suffixes=("", "_other")
    )
    target, mine, other = (rows[column].to_numpy() for column in ("y_true", "y_pred", "y_pred_other"))
    group, over = resampled_groups(rows)
    lead, interval = paired_difference(target, other, mine, group)
    low, high = interval or (None, None)
    return {"name": name, "lead": lead, "low": low, "high": high, "over": over}


def metric_intervals(predictions: pd.DataFrame) -> dict[str, Any] | None:
    """95 % intervals of the run's RMSE (t/ha) and R2, over the same groups as `best_baseline`; None with too few."""
    rows = predictions[predictions["split"] == "test"]
    group, over = resampled_groups(rows)
    intervals = score_intervals(rows["y_true"].to_numpy(), rows["y_pred"].to_numpy(), group)
    if intervals is None:
        return None
    rmse, r2 = intervals
    return {"rmse": list(rmse), "r2": list(r2), "over": over}


def resampled_groups(rows: pd.DataFrame) -> tuple[NDArray[np.generic], str]:
    """The group of each test row [n], and what the groups are: years if at least 6 were tested, else places."""
    over = "year" if rows["year"].nunique() >= LEAST_GROUPS else "place"
    group = rows["year"].to_numpy() if over == "year" else places_of(rows)
    return group, plural(len(np.unique(group)), over)


def places_of(predictions: pd.DataFrame) -> NDArray[np.str_]:
    """[n]: the place of each row of `predictions`; places that share a yield have the same name."""
    place = predictions["place"].to_numpy(dtype=np.str_)
    return joined_places(place, predictions["yield_group"].to_numpy()) if "yield_group" in predictions else place


def by_name(outcomes: Sequence[YieldOutcome], forecasts: Sequence[Mapping[str, Tonnes]]) -> pd.DataFrame:
    """Forecasts of the test rows by several forecasters per fold: sample_id, fold, name, y_pred in t/ha."""
    rows = [
        pd.DataFrame(
            {
                "sample_id": outcome.prepared.table.sample_id[outcome.prepared.fold.test],
                "fold": outcome.prepared.fold.name,
                "name": name,
                "y_pred": forecast,
            }
        )
        for outcome, one in zip(outcomes, forecasts, strict=True)
        for name, forecast in one.items()
    ]
    return pd.concat(rows, ignore_index=True)


def test_metrics(table: pd.DataFrame) -> dict[str, float]:
    """Metrics over the test rows of a table like `predictions`, and the share of yields inside their intervals."""
    test = table[table["split"] == "test"]
    truth = test["y_true"].to_numpy()
    held = (truth >= test["y_lo"]) & (truth <= test["y_hi"])
    pred = test["y_pred"].to_numpy()
    by_year = nrmse_by_year(truth, pred, test["year"].to_numpy())
    return yield_metrics(truth, pred) | {"nrmse_by_year": by_year, "coverage_90": float(held.mean())}


def baselines(outcome: YieldOutcome, seed: int) -> dict[str, NDArray[np.float64]]:
    """Forecasts of the test rows [n] by simpler models, by name: fitted on the same rows, reading the same numbers.

    What the training rows do not show (`Scaler.known`) is missing, as in `stages/inputs/fold_data.py`.
    """
    table, fold, forecaster = outcome.prepared.table, outcome.prepared.fold, outcome.forecaster
    fitted, scales = outcome.fitted_rows, outcome.prepared.scales
    position = table.position if positions_help(table, fold) else None
    with threads_for(len(table)):
        return yield_baselines(
            values=table.values,
            observed=table.observed & scales.scaler.known[:, None],
            target=table.target,
            place=table.place,
            year=table.year,
            train=fitted,
            test=fold.test,
            known=forecaster.known,
            offset=forecaster.offset,
            anomaly=table.target[fitted] - offset_without_own(table, fold, forecaster.offset, fitted),
            seed=seed,
            drivers=(table.drivers, table.drivers_observed & scales.drivers.known[:, None]),
            static=np.where(scales.static.known, table.static, np.nan),
            position=position,
        )
