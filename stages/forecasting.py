"""Stages 2 and 3 on one fold: what the windows of a season show -> yield anomaly -> t/ha with an interval."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import Tensor

from model.baselines import yield_baselines
from model.completion import continued, with_errors
from model.finetuning import COMPLETION_WEIGHT, SeasonForecaster
from model.intervals import IntervalName
from model.metrics import yield_metrics
from model.offset import OffsetName, choose_offset
from model.parts import TimesCLIPConfig
from model.presets import Preset
from model.seasons import Season
from model.timesclip import TimesCLIP
from model.training.loop import Fit, Trainer
from model.yields import HeadShape, YieldEnsemble
from pipeline.splits import Fold
from pipeline.table import SeasonTable
from report.run import RunFolder
from stages.completing import model_config
from stages.forecaster import FEATURE_BATCH, AsOf, Forecaster, Yields, told
from stages.learners import Jointly, Learner, OnFrozen, new_forecaster
from stages.offsets import Rows, known_in, rehearsals
from stages.prepare import Pictures, Prepared, Reading, Scales, assemble
from stages.teaching import Teaching
from stages.trust import epochs_that_hold, trust

QUANTILES = (0.05, 0.5, 0.95)
FillName = Literal["nothing", "completed"]


@dataclass(frozen=True)
class ForecastSetup:
    """How stage 2 forecasts."""

    offset: Literal["auto"] | OffsetName
    window: int | None
    members: int
    quantiles: bool = False
    balance: bool = False
    interval: IntervalName = "pooled"
    fill: FillName = "nothing"
    shrink: bool = True


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
    early: tuple[AsOf, ...] = ()  # one a step of `prepared.steps`, and one more where it is completed
    judges: str = "validation rows"  # what chose the epoch


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
    shape = HeadShape(config.feature_dim, config.variates, len(seasons[0].windows), config.plain_dim, static, quantiles)
    offset = choose_offset(rehearsals(prepared.table, prepared.fold), setup.offset, setup.window)
    readings = prepared.readings(setup.fill == "completed")
    if preset.link == "frozen" and completer is not None:
        if setup.fill == "completed":
            pairs = zip(prepared.so_far, prepared.steps, strict=True)
            seasons = [*seasons, *(continued(completer, one, step, FEATURE_BATCH) for one, step in pairs)]
        judged = [one.number for one in readings]
        learner: Learner = OnFrozen(completer, prepared.table, seasons, setup.members, shape, trainer, judged)
        teaching = Teaching(prepared.table, prepared.fold, learner, offset, setup.balance)
        return learn(prepared, seasons, readings, teaching, setup.interval, setup.shrink)
    season = seasons[0]
    start = partial(new_forecaster, config, season, members=setup.members, shape=shape)
    learner = Jointly(start, seasons, trainer, 0.0, False, [one.number for one in readings])
    completer = completer if preset.link == "error" else None
    teaching = Teaching(prepared.table, prepared.fold, learner, offset, setup.balance, completer)
    return learn(prepared, seasons, readings, teaching, setup.interval)


def run_stage_3(prepared: Prepared, source: RunFolder, trainer: Trainer, balance: bool) -> Forecast:
    """Encoder and heads of a stage-2 run learn on together, as they were before validation labels were learnt."""
    before = Forecaster.load(source, prepared.fold.name, "first")
    start = SeasonForecaster(before.encoder, before.heads).requires_grad_(True)
    before.encoder.log_temperature.requires_grad_(before.encoder.config.learn_temperature)
    seasons = prepared.to_forecast()
    readings = prepared.readings()
    judged = [one.number for one in readings]
    learner = Jointly(lambda rows: copy.deepcopy(start), seasons, trainer, COMPLETION_WEIGHT, True, judged)
    return learn(prepared, seasons, readings, Teaching(prepared.table, prepared.fold, learner, before.offset, balance))


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
    seasons: Sequence[Season],
    readings: Sequence[Reading],
    teaching: Teaching,
    interval: IntervalName = "pooled",
    shrink: bool = False,
) -> Forecast:
    """Learn from the training rows; the validation rows choose epoch and interval; then learn again from both.

    Where seasons are known so far, too, the epoch is the one with the least mean error over all steps and the whole
    season, and each step gets a margin of its own: from the validation rows as they were known then. Where each step is
    read both completed and left open, the one with the least mean squared error on validation rows is the forecaster's.
    The test rows are read after that, once in each of the `readings`, the first of which is the whole season.

    shrink: one validation year is a poor judge of the years to come, so all rows that are learnt from judge: in five
    parts of whole years or places, each by heads that did not learn it. They tell epoch and margins, and of the anomaly
    that share is kept which holds for them, for each step its own. interval `year`: margins come from such forecasts,
    too, in parts of single years; only offset, epoch and a frozen encoder know the year. A run that is interrupted
    before does neither.
    """
    table, fold = prepared.table, prepared.fold
    learnt = np.sort(np.concatenate([fold.train, fold.valid]))
    chosen, fit = teaching.fit(fold.train, fold.valid, "/train")
    if fit.interrupted:
        interval, shrink = "pooled", False
    if shrink:
        epochs = epochs_that_hold(teaching, learnt)
        if epochs != fit.best_epoch:
            chosen, fit = teaching.refit(fold.train, " chosen", epochs, chosen.scale), replace(fit, best_epoch=epochs)
    again = partial(teaching.refit, epochs=fit.best_epoch, unit=chosen.scale)
    read = [seasons[one.number] for one in readings]
    margins, kept = trust(chosen, table, fold, read, interval, shrink, again)
    valids = told(chosen, table, read, margins, kept, fold.valid)
    forecaster = replace(chosen, known=known_in(table, fold, learnt)) if fit.interrupted else again(learnt, "")
    early = [
        AsOf(one.step, one.completed, v, v) for one, v in zip(readings, valids, strict=True) if one.step is not None
    ]
    completes = completing_helps(early, table.target[fold.valid])
    steps = tuple(
        (one.step, margin, share)
        for one, margin, share in zip(readings, margins, kept, strict=True)
        if one.step is not None and one.completed == completes
    )
    forecaster = replace(forecaster, margin=margins[0], early=steps, completes=completes, kept=kept[0])
    tests = told(forecaster, table, read, margins, kept, fold.test)
    early = [one._replace(test=test) for one, test in zip(early, tests[1:], strict=True)]
    judges = "validation rows" if not shrink else f"{len(learnt)} rows left out in turn"
    return Forecast(prepared, forecaster, fit, learnt, valids[0], tests[0], chosen.heads, tuple(early), judges)


def completing_helps(early: Sequence[AsOf], target: NDArray[np.float64]) -> bool:
    """Whether completed seasons are forecast with less squared error than open ones, all steps together.

    early: forecasts of validation rows with the yields `target` [n]; False where none is completed.
    """
    errors = {
        kind: [float(np.mean((one.valid.pred - target) ** 2)) for one in early if one.completed == kind]
        for kind in (False, True)
    }
    return bool(errors[True] and np.mean(errors[True]) < np.mean(errors[False]))


def predictions(outcomes: Sequence[Forecast]) -> pd.DataFrame:
    """sample_id, place, year, split, y_true, y_pred, y_lo, y_hi in t/ha, for validation and test rows of every fold."""
    frames = [rows_of(outcome.prepared, outcome.valid, outcome.test) for outcome in outcomes]
    return pd.concat(frames, ignore_index=True)


def rows_of(prepared: Prepared, valid: Yields, test: Yields) -> pd.DataFrame:
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
            }
        )
        for split, index, forecast in (("valid", fold.valid, valid), ("test", fold.test, test))
    ]
    return pd.concat(frames, ignore_index=True)


def scores(
    outcomes: Sequence[Forecast], seed: int
) -> tuple[dict[str, float], dict[str, dict[str, float]], pd.DataFrame]:
    """Metrics of the model and of each baseline, over the test rows of all folds together; and what each baseline says
    of every test row: sample_id, fold, name, y_pred in t/ha."""
    table = predictions(outcomes)
    truth = table.loc[table["split"] == "test", "y_true"].to_numpy()
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
    return test_metrics(table), pooled, pd.concat(rows, ignore_index=True)


def test_metrics(table: pd.DataFrame) -> dict[str, float]:
    """Metrics over the test rows of a table such as `predictions` makes, and the share that its intervals hold."""
    test = table[table["split"] == "test"]
    truth = test["y_true"].to_numpy()
    held = (truth >= test["y_lo"]) & (truth <= test["y_hi"])
    return yield_metrics(truth, test["y_pred"].to_numpy()) | {"coverage_90": float(held.mean())}


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


def least_observed(table: SeasonTable, rows: Rows) -> list[float]:
    """The least of `observed_shares` among some samples: [2]."""
    least: list[float] = observed_shares(table)[rows].min(0).tolist()
    return least


def fitted(outcome: Forecast) -> dict[str, Any]:
    """What a prediction needs beside the weights."""
    return {
        "least_observed": least_observed(outcome.prepared.table, outcome.learnt),
        "least_observed_so_far": [
            [step, least_observed(outcome.prepared.table.as_of(step), outcome.learnt)]
            for step in outcome.prepared.steps
        ],
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
        # Copies: a run that was interrupted forecasts by these very heads.
        named |= {f"{fold}/first.{name}": tensor.clone() for name, tensor in outcome.first.state_dict().items()}
    return named


def learnt(outcome: Forecast) -> dict[str, Any]:
    """How long was learnt and how much of it is forecast, for result.json."""
    return {
        "epochs": outcome.fit.best_epoch,
        "kept": outcome.forecaster.kept,
        "margin": outcome.forecaster.margin,
        "judges": outcome.judges,
    }


def forecast_new(
    run: RunFolder,
    table: SeasonTable,
    fold: str,
    record: Mapping[str, Any],
    pictures: Pictures | None,
    as_of: int | None = None,
) -> Yields:
    """t/ha [N] with intervals for the samples of a new table, by the model of one fold.

    as_of: the number of steps that the table is known for; None for the whole season.
    """
    everything = np.arange(len(table))
    nothing = everything[:0]
    where = Fold(fold, nothing, nothing, everything)
    prepared = assemble(table, where, Scales.from_dict(record), record["framing"], pictures)
    forecaster = Forecaster.load(run, fold)
    forecaster = forecaster if as_of is None else forecaster.as_of(as_of)
    season = prepared.seasons[0] if as_of is None else forecaster.continue_from(as_of, prepared.seasons[0])
    return forecaster.forecast(forecaster.read(table, season), everything)
