"""Stage 2 on one fold: frozen stage-1 features of both halves -> yield anomaly -> t/ha with an interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.baselines import yield_baselines
from model.completion import features
from model.metrics import yield_metrics
from model.offset import KnownYields, Offset, OffsetName, Rehearsal, choose_offset, known_yields
from model.seasons import Season
from model.timesclip import TimesCLIP, TimesCLIPConfig
from model.training.loop import Fit, Trainer
from model.training.sampling import balancing_weights
from model.yields import (
    AnomalyScale,
    YieldEnsemble,
    YieldRows,
    conformal_radius,
    predict,
    refit_head,
    train_head,
)
from pipeline.scaling import Scaler
from pipeline.splits import Fold
from pipeline.table import SeasonTable
from report.run import RunFolder
from stages.prepare import Pictures, Prepared, assemble

FEATURE_BATCH = 256
REHEARSED_YEARS = 3  # on which a forward fold chooses its offset


Rows = NDArray[np.int64]  # positions in a table


@dataclass(frozen=True)
class ForecastSetup:
    """How stage 2 forecasts."""

    offset: Literal["auto"] | OffsetName
    window: int | None
    members: int
    balance: bool = False


@dataclass(frozen=True)
class Forecaster:
    """Everything that turns the features of a season into t/ha; fitted on one fold."""

    head: YieldEnsemble
    scale: AnomalyScale
    offset: Offset
    known: KnownYields
    radius: float
    level: int

    def forecast(self, seen: Tensor, present: Tensor, place: NDArray[Any], year: NDArray[Any]) -> NDArray[np.float64]:
        """t/ha [n] from features [n,V,2F] and present [n,V]. Never negative: a yield is not."""
        base = self.offset.predict(self.known, place, year, leave_own_year_out=False)
        anomaly = self.scale.inverse(predict(self.head, seen, present))
        return np.maximum(base + anomaly, 0.0)

    def to_dict(self) -> dict[str, Any]:
        """All but the weights of the head, for fitted.json."""
        return {
            "scale": {"mean": self.scale.mean, "spread": self.scale.spread},
            "offset": self.offset.to_dict(),
            "known": self.known.to_dict(),
            "radius": self.radius,
            "members": len(self.head.heads),
            "level": self.level,
        }

    @staticmethod
    def from_dict(record: Mapping[str, Any], weights: Mapping[str, Tensor], width: int, variates: int) -> Forecaster:
        """Inverse of `to_dict`. width: 2F of the features."""
        head = YieldEnsemble(record["members"], width, variates, record["level"])
        head.load_state_dict(weights)
        return Forecaster(
            head,
            AnomalyScale(**record["scale"]),
            Offset.from_dict(record["offset"]),
            KnownYields.from_dict(record["known"]),
            record["radius"],
            record["level"],
        )


@dataclass(frozen=True, eq=False)
class Forecast:
    """What one fold of stage 2 came to; predictions in t/ha for its validation and test rows."""

    prepared: Prepared
    model: TimesCLIP
    forecaster: Forecaster
    fit: Fit
    learnt: Rows
    valid: NDArray[np.float64]
    test: NDArray[np.float64]
    first: YieldEnsemble  # the heads before the refit, which know no validation label: stage 3 starts from them


@dataclass(frozen=True, eq=False)
class SeenSeasons:
    """What the frozen model knows of all N samples: features [N,V,2F] of both halves, present [N,V] bool."""

    table: SeasonTable
    features: Tensor
    present: Tensor

    @staticmethod
    def of(model: TimesCLIP, table: SeasonTable, season: Season) -> SeenSeasons:
        """Encode both half seasons and put them side by side."""
        both = torch.cat([features(model, half, FEATURE_BATCH) for half in (season.first, season.second)], dim=-1)
        return SeenSeasons(table, both, season.first.observed.any(-1) | season.second.observed.any(-1))

    def rows(self, index: Rows, anomaly: Tensor) -> YieldRows:
        """The samples of `index` [n] as the head reads them."""
        return YieldRows(self.features[index], self.present[index], anomaly)

    def forecast(self, forecaster: Forecaster, index: Rows) -> NDArray[np.float64]:
        """t/ha [n] of the samples of `index`; their labels are not read."""
        place, year = self.table.place[index], self.table.year[index]
        return forecaster.forecast(self.features[index], self.present[index], place, year)


def run_fold(prepared: Prepared, model: TimesCLIP, setup: ForecastSetup, trainer: Trainer) -> Forecast:
    """Train heads on the training rows; the validation rows choose offset, epoch and interval; then refit on both.

    The test rows are read after that, once.
    """
    table, fold = prepared.table, prepared.fold
    views = [SeenSeasons.of(model, table, season) for season in prepared.seasons]
    seasons, level = views[0], model.config.level_dim

    offset = choose_offset(rehearsals(table, fold), setup.offset, setup.window)
    known = known_in(table, fold, fold.train)
    anomaly = anomaly_of(table, fold.train, offset, known, own=True)
    scale = AnomalyScale.fit(anomaly)
    train = [view.rows(fold.train, scale.apply(anomaly)) for view in views]
    valid = seasons.rows(fold.valid, scale.apply(anomaly_of(table, fold.valid, offset, known, own=False)))
    weights = balancing_weights(table.target[fold.train]) if setup.balance else None
    head, fit = train_head(setup.members, level, train, valid, trainer, f"{fold.name}/train", weights)
    chosen = Forecaster(head, scale, offset, known, 0.0, level)
    valid_forecast = seasons.forecast(chosen, fold.valid)
    radius = conformal_radius(table.target[fold.valid] - valid_forecast)
    first = head

    learnt = np.sort(np.concatenate([fold.train, fold.valid]))
    known = known_in(table, fold, learnt)
    if not fit.interrupted:
        anomaly = anomaly_of(table, learnt, offset, known, own=True)
        scale = AnomalyScale.fit(anomaly)
        rows = [view.rows(learnt, scale.apply(anomaly)) for view in views]
        weights = balancing_weights(table.target[learnt]) if setup.balance else None
        head = refit_head(setup.members, level, rows, trainer, f"{fold.name}/refit", fit.best_epoch, weights)
    forecaster = Forecaster(head, scale, offset, known, radius, level)

    test_forecast = seasons.forecast(forecaster, fold.test)
    return Forecast(prepared, model, forecaster, fit, learnt, valid_forecast, test_forecast, first)


def anomaly_of(table: SeasonTable, index: Rows, offset: Offset, known: KnownYields, own: bool) -> NDArray[np.float64]:
    """Yield minus offset, t/ha [n], of the samples of `index`. own: do not use their own labels for them."""
    base = offset.predict(known, table.place[index], table.year[index], leave_own_year_out=own)
    anomaly: NDArray[np.float64] = table.target[index] - base
    return anomaly


def known_in(table: SeasonTable, fold: Fold, learnt: Rows) -> KnownYields:
    """The yields that a model of this fold may know: labels of the rows it learns from, and the card's history.

    History is cut where it would name the label of any other row of the table; places held out as a whole lose theirs.
    """
    other = np.setdiff1d(np.arange(len(table)), learnt)
    return known_yields(
        (table.place[learnt], table.year[learnt], table.target[learnt]),
        (table.history.place, table.history.year, table.history.target),
        held_out=(table.place[other], table.year[other]),
        hide_places=fold.by_place,
    )


def rehearsals(table: SeasonTable, fold: Fold) -> list[Rehearsal]:
    """Cases to choose the offset on, none with a test label: each forecasts rows that its known yields omit.

    A fold that tests a later year: the latest learnt years in turn, each from the years before it. One that tests one
    year among others: every learnt year from the others. One that tests places or random rows: the validation rows.
    """
    years = table.year
    if fold.by_place or set(years[fold.train]) & set(years[fold.valid]):
        return [_rehearsal(table, fold, fold.train, fold.valid)]
    learnt = np.sort(np.concatenate([fold.train, fold.valid]))
    forward = years[learnt].max() < years[fold.test].min()
    asked = np.unique(years[learnt])
    if forward:
        asked = asked[1:][-REHEARSED_YEARS:]
    return [
        _rehearsal(
            table,
            fold,
            learnt[years[learnt] < year if forward else years[learnt] != year],
            learnt[years[learnt] == year],
        )
        for year in asked
    ]


def _rehearsal(table: SeasonTable, fold: Fold, learnt: Rows, asked: Rows) -> Rehearsal:
    return Rehearsal(known_in(table, fold, learnt), table.place[asked], table.year[asked], table.target[asked])


def predictions(outcomes: Sequence[Forecast]) -> pd.DataFrame:
    """sample_id, place, year, split, y_true, y_pred, y_lo, y_hi in t/ha, for validation and test rows of every fold."""
    frames = []
    for outcome in outcomes:
        table, fold, radius = outcome.prepared.table, outcome.prepared.fold, outcome.forecaster.radius
        for split, index, forecast in (("valid", fold.valid, outcome.valid), ("test", fold.test, outcome.test)):
            frames.append(
                pd.DataFrame(
                    {
                        "sample_id": table.sample_id[index],
                        "place": table.place[index],
                        "year": table.year[index],
                        "split": split,
                        "fold": fold.name,
                        "y_true": table.target[index],
                        "y_pred": forecast,
                        "y_lo": np.maximum(forecast - radius, 0.0),
                        "y_hi": forecast + radius,
                    }
                )
            )
    return pd.concat(frames, ignore_index=True)


def scores(
    outcomes: Sequence[Forecast], seed: int
) -> tuple[dict[str, float], dict[str, dict[str, float]], pd.DataFrame]:
    """Metrics of the model and of each baseline, over the test rows of all folds together; and what each baseline says
    of every test row: sample_id, fold, name, y_pred in t/ha."""
    table = predictions(outcomes)
    test = table[table["split"] == "test"]
    truth = test["y_true"].to_numpy()
    metrics = yield_metrics(truth, test["y_pred"].to_numpy())
    metrics["coverage_90"] = float(((truth >= test["y_lo"]) & (truth <= test["y_hi"])).mean())
    guesses = [baselines(outcome, seed) for outcome in outcomes]
    pooled = {name: yield_metrics(truth, np.concatenate([guess[name] for guess in guesses])) for name in guesses[0]}
    rows = [
        pd.DataFrame(
            {
                "sample_id": outcome.prepared.table.sample_id[outcome.prepared.fold.test],
                "fold": outcome.prepared.fold.name,
                "name": name,
                "y_pred": said,
            }
        )
        for outcome, guess in zip(outcomes, guesses, strict=True)
        for name, said in guess.items()
    ]
    return metrics, pooled, pd.concat(rows, ignore_index=True)


def baselines(outcome: Forecast, seed: int) -> dict[str, NDArray[np.float64]]:
    """What simpler forecasts say of the same test rows [n], having learnt from the same rows."""
    table, test, forecaster = outcome.prepared.table, outcome.prepared.fold.test, outcome.forecaster
    return yield_baselines(
        table.values,
        table.observed,
        table.target,
        table.place,
        table.year,
        outcome.learnt,
        test,
        forecaster.known,
        forecaster.offset,
        seed,
    )


def observed_shares(table: SeasonTable) -> NDArray[np.float64]:
    """The share of (variate, step) pairs that are observed in each half of each season: [N,2]."""
    cut = table.steps // 2
    halves = table.observed[:, :, :cut], table.observed[:, :, cut:]
    return np.stack([half.mean((1, 2)) for half in halves], axis=1)


def fitted(outcome: Forecast) -> dict[str, Any]:
    """What a prediction needs beside the weights."""
    return {
        "least_observed": observed_shares(outcome.prepared.table)[outcome.learnt].min(0).tolist(),
        "scaler": outcome.prepared.scaler.to_dict(),
        "ranges": outcome.prepared.ranges.tolist(),
        "model": asdict(outcome.model.config),
        "best_epoch": outcome.fit.best_epoch,
        "forecaster": outcome.forecaster.to_dict(),
    }


def weights(outcomes: Sequence[Forecast]) -> dict[str, Tensor]:
    """The frozen encoder and the heads of every fold, by name."""
    named: dict[str, Tensor] = {}
    for outcome in outcomes:
        fold = outcome.prepared.fold.name
        named |= {f"{fold}/encoder.{name}": tensor for name, tensor in outcome.model.state_dict().items()}
        named |= {f"{fold}/head.{name}": tensor for name, tensor in outcome.forecaster.head.state_dict().items()}
        named |= {f"{fold}/first.{name}": tensor for name, tensor in outcome.first.state_dict().items()}
    return named


def forecast_new(
    run: RunFolder, table: SeasonTable, fold: str, record: Mapping[str, Any], pictures: Pictures | None
) -> tuple[NDArray[np.float64], float]:
    """t/ha [N] and the half width of the interval for the samples of a new table, by the model of one fold."""
    everything = np.arange(len(table))
    nothing = everything[:0]
    scaler, ranges = Scaler.from_dict(record["scaler"]), np.array(record["ranges"])
    prepared = assemble(table, Fold(fold, nothing, nothing, everything), scaler, ranges, pictures)
    model = TimesCLIP(TimesCLIPConfig(**record["model"]))
    model.load_state_dict(run.read_weights(f"{fold}/encoder."))
    seasons = SeenSeasons.of(model, table, prepared.seasons[0])
    _, variates, width = seasons.features.shape
    forecaster = Forecaster.from_dict(record["forecaster"], run.read_weights(f"{fold}/head."), width, variates)
    return seasons.forecast(forecaster, everything), forecaster.radius
