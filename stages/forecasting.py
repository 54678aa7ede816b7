"""Stages 2 and 3 on one fold: what the windows of a season show -> yield anomaly -> t/ha with an interval."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import Tensor

from model.baselines import yield_baselines
from model.completion import with_errors
from model.finetuning import COMPLETION_WEIGHT, SeasonForecaster
from model.metrics import yield_metrics
from model.offset import Offset, OffsetName, choose_offset
from model.parts import TimesCLIPConfig
from model.presets import Preset
from model.timesclip import TimesCLIP
from model.training.loop import Fit, Trainer
from model.training.sampling import balancing_weights
from model.yields import AnomalyScale, HeadShape, YieldEnsemble, conformal_margin
from pipeline.splits import Fold
from pipeline.table import SeasonTable
from report.run import RunFolder
from stages.completing import model_config
from stages.forecaster import FEATURE_BATCH, Forecaster, SeenSeasons, Yields
from stages.learners import Jointly, Learner, Lesson, OnFrozen, new_forecaster
from stages.offsets import Rows, anomaly_of, known_in, rehearsals
from stages.prepare import Pictures, Prepared, Scales, assemble

QUANTILES = (0.05, 0.5, 0.95)


@dataclass(frozen=True)
class ForecastSetup:
    """How stage 2 forecasts."""

    offset: Literal["auto"] | OffsetName
    window: int | None
    members: int
    quantiles: bool = False
    balance: bool = False


@dataclass(frozen=True, eq=False)
class Forecast:
    """What one fold came to; forecasts in t/ha of its validation and test rows."""

    prepared: Prepared
    forecaster: Forecaster
    fit: Fit
    learnt: Rows
    valid: Yields
    test: Yields
    first: YieldEnsemble  # the heads before the refit, which know no validation label: stage 3 starts from them


def run_stage_2(
    prepared: Prepared, preset: Preset, completer: TimesCLIP | None, setup: ForecastSetup, trainer: Trainer
) -> Forecast:
    """A yield from a stage-1 model by the preset's link: from its frozen features, its errors, or without it."""
    quantiles = QUANTILES if setup.quantiles else ()
    static, seasons = len(prepared.table.static_names), prepared.to_forecast()
    config = completer.config if completer is not None else model_config(prepared, preset)
    if preset.link == "error" and completer is not None:
        seasons = [with_errors(completer, season, FEATURE_BATCH) for season in seasons]
        config = error_config(prepared, preset)
    shape = HeadShape(config.feature_dim, config.variates, len(seasons[0].windows), config.level_dim, static, quantiles)
    offset = choose_offset(rehearsals(prepared.table, prepared.fold), setup.offset, setup.window)
    if preset.link == "frozen" and completer is not None:
        learner: Learner = OnFrozen(completer, prepared.table, seasons, setup.members, shape, trainer)
        return learn(prepared, seasons, learner, offset, setup.balance)
    season = seasons[0]
    learner = Jointly(
        lambda rows: new_forecaster(config, season, rows, setup.members, shape), seasons, trainer, 0.0, False
    )
    return learn(prepared, seasons, learner, offset, setup.balance, completer if preset.link == "error" else None)


def run_stage_3(prepared: Prepared, source: RunFolder, trainer: Trainer, balance: bool) -> Forecast:
    """Encoder and heads of a stage-2 run learn on together, as they were before validation labels were learnt."""
    before = Forecaster.load(source, prepared.fold.name, "first")
    start = SeasonForecaster(before.encoder, before.heads).requires_grad_(True)
    before.encoder.log_temperature.requires_grad_(before.encoder.config.learn_temperature)
    seasons = prepared.to_forecast()
    learner = Jointly(lambda rows: copy.deepcopy(start), seasons, trainer, COMPLETION_WEIGHT, True)
    return learn(prepared, seasons, learner, before.offset, balance)


def error_config(prepared: Prepared, preset: Preset) -> TimesCLIPConfig:
    """Of an encoder that reads the whole season and, as many channels again, the completion's errors: numbers alone."""
    table = prepared.table
    return replace(
        model_config(prepared, replace(preset, use_vision=False, use_language=True, alignment="none")),
        variates=2 * len(table.variates),
        window=table.steps,
        start=table.steps,
        vision_dim=0,
    )


def learn(
    prepared: Prepared,
    seasons: Sequence[Any],
    learner: Learner,
    offset: Offset,
    balance: bool,
    completer: TimesCLIP | None = None,
) -> Forecast:
    """Learn from the training rows; the validation rows choose epoch and interval; then learn again from both.

    The test rows are read after that, once.
    """
    table, fold = prepared.table, prepared.fold
    known = known_in(table, fold, fold.train)
    anomaly = anomaly_of(table, fold.train, offset, known, own=True)
    scale = AnomalyScale.fit(anomaly)
    valid = Lesson(fold.valid, scale.apply(anomaly_of(table, fold.valid, offset, known, own=False)))
    encoder, heads, fit = learner.fit(lesson(table, fold.train, scale, anomaly, balance), valid, f"{fold.name}/train")
    chosen = Forecaster(encoder, heads, scale, offset, known, 0.0, completer)
    valid_forecast = chosen.forecast(SeenSeasons.of(encoder, table, seasons[0]), fold.valid)
    target = table.target[fold.valid]
    margin = conformal_margin(np.maximum(valid_forecast.lo - target, target - valid_forecast.hi))
    valid_forecast = replace(chosen, margin=margin).forecast(SeenSeasons.of(encoder, table, seasons[0]), fold.valid)
    first = heads

    learnt = np.sort(np.concatenate([fold.train, fold.valid]))
    known = known_in(table, fold, learnt)
    if not fit.interrupted:
        anomaly = anomaly_of(table, learnt, offset, known, own=True)
        scale = scale if learner.keeps_scale else AnomalyScale.fit(anomaly)
        again = lesson(table, learnt, scale, anomaly, balance)
        encoder, heads = learner.refit(again, f"{fold.name}/refit", fit.best_epoch)
    forecaster = Forecaster(encoder, heads, scale, offset, known, margin, completer)
    test = forecaster.forecast(SeenSeasons.of(encoder, table, seasons[0]), fold.test)
    return Forecast(prepared, forecaster, fit, learnt, valid_forecast, test, first)


def lesson(table: SeasonTable, rows: Rows, scale: AnomalyScale, anomaly: NDArray[np.float64], balance: bool) -> Lesson:
    """Rows with their anomalies in the units of the scale, drawn by their yields' density where asked for."""
    return Lesson(rows, scale.apply(anomaly), balancing_weights(table.target[rows]) if balance else None)


def predictions(outcomes: Sequence[Forecast]) -> pd.DataFrame:
    """sample_id, place, year, split, y_true, y_pred, y_lo, y_hi in t/ha, for validation and test rows of every fold."""
    frames = []
    for outcome in outcomes:
        table, fold = outcome.prepared.table, outcome.prepared.fold
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
                        "y_pred": forecast.pred,
                        "y_lo": forecast.lo,
                        "y_hi": forecast.hi,
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
    halves = table.observed[:, :, : table.cut], table.observed[:, :, table.cut :]
    return np.stack([half.mean((1, 2)) for half in halves], axis=1)


def fitted(outcome: Forecast) -> dict[str, Any]:
    """What a prediction needs beside the weights."""
    return {
        "least_observed": observed_shares(outcome.prepared.table)[outcome.learnt].min(0).tolist(),
        **outcome.prepared.scales.to_dict(),
        "framing": outcome.prepared.framing,
        "best_epoch": outcome.fit.best_epoch,
        "forecaster": outcome.forecaster.to_dict(),
    }


def weights(outcomes: Sequence[Forecast]) -> dict[str, Tensor]:
    """Encoder and heads of every fold, by name; `first` are the heads before the refit."""
    named: dict[str, Tensor] = {}
    for outcome in outcomes:
        fold = outcome.prepared.fold.name
        named |= {f"{fold}/{name}": tensor for name, tensor in outcome.forecaster.weights().items()}
        named |= {f"{fold}/first.{name}": tensor for name, tensor in outcome.first.state_dict().items()}
    return named


def forecast_new(
    run: RunFolder, table: SeasonTable, fold: str, record: Mapping[str, Any], pictures: Pictures | None
) -> Yields:
    """t/ha [N] with intervals for the samples of a new table, by the model of one fold."""
    everything = np.arange(len(table))
    nothing = everything[:0]
    where = Fold(fold, nothing, nothing, everything)
    prepared = assemble(table, where, Scales.from_dict(record), record["framing"], pictures)
    forecaster = Forecaster.load(run, fold)
    return forecaster.forecast(forecaster.read(table, prepared.seasons[0]), everything)
