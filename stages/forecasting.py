"""Stages 2 and 3 on one fold: what the windows of a season show -> yield anomaly -> t/ha with an interval."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import Tensor

from model.baselines import yield_baselines
from model.calibration import IntervalName, conformal_margin, margin_over_years, paired_difference
from model.completion import continued, with_errors
from model.cross_fitting import ensemble_weights, parts_of
from model.finetuning import COMPLETION_WEIGHT, SeasonForecaster
from model.learners.features import BlockName
from model.metrics import nrmse_by_year, yield_metrics
from model.offset import Offset, OffsetName
from model.parts import TimesCLIPConfig
from model.presets import Preset
from model.timesclip import TimesCLIP
from model.training.loop import Trainer
from model.yields import HeadShape, YieldEnsemble
from pipeline.errors import InputError
from pipeline.splits import Fold
from pipeline.table import SeasonTable
from report.run import RunFolder
from stages.completing import model_config
from stages.forecaster import (
    FEATURE_BATCH,
    NEURAL,
    Anomalies,
    Forecaster,
    Neural,
    ReadingFit,
    Tonnes,
    Yields,
    combined,
    readings_before,
)
from stages.joint_training import JointTraining, new_forecaster
from stages.offsets import Rows, fold_offset, groups_of, known_in
from stages.prepare import Pictures, Prepared, Reading, Scales, assemble
from stages.yield_learners import (
    MEMBERS,
    LabelledRows,
    LearnerName,
    NeuralHeads,
    Split,
    TabularLearners,
    YieldLearner,
    prior_weights,
)

QUANTILES = (0.05, 0.5, 0.95)
FillName = Literal["nothing", "completed"]


@dataclass(frozen=True, kw_only=True)
class ForecastSetup:
    """How stage 2 forecasts. blocks: of the learners on features; None: what the preset reads."""

    offset: Literal["auto"] | OffsetName = "auto"
    window: int | None = None
    learner: LearnerName = "ensemble"
    blocks: tuple[BlockName, ...] | None = None
    members: int = 5
    quantiles: bool = False
    balance: bool = False
    interval: IntervalName = "pooled"
    fill: FillName = "nothing"


class AsOf(NamedTuple):
    """Forecasts of a fold's validation and test rows as known after `step` steps, the rest `completed` or left open."""

    step: int
    completed: bool
    valid: Yields
    test: Yields


@dataclass(frozen=True, eq=False)
class Forecast:
    """What one fold came to; forecasts in t/ha of its validation and test rows.

    learnt      rows that the forecaster was fitted on
    epochs      of the neural heads; 0 without
    first       the heads as they were before they were fitted on validation rows too: stage 3 starts from them
    early       one entry per step of `prepared.steps`, and one more where it is completed
    judges      which rows chose epochs, weights and margins, in words
    left_out    forecasts of every learner for rows that it did not fit, where there are any
    members     forecasts of the test rows by each learner alone, t/ha, where there are several
    """

    prepared: Prepared
    forecaster: Forecaster
    learnt: Rows
    epochs: int
    valid: Yields
    test: Yields
    first: YieldEnsemble | None
    early: tuple[AsOf, ...] = ()
    judges: str = "validation rows"
    left_out: pd.DataFrame | None = None
    members: Mapping[str, Tonnes] = field(default_factory=dict)
    interrupted: bool = False


def run_stage_2(
    prepared: Prepared, preset: Preset, completer: TimesCLIP | None, setup: ForecastSetup, trainer: Trainer
) -> Forecast:
    """A yield from a stage-1 model by the preset's link: from its frozen features, its errors, or without it."""
    quantiles = QUANTILES if setup.quantiles else ()
    if preset.link == "frozen" and completer is not None:
        return forecast_by_ensemble(prepared, preset, completer, setup, trainer)
    table, seasons = prepared.table, prepared.to_forecast()
    config = completer.config if completer is not None else model_config(prepared, preset)
    if preset.link == "error" and completer is not None:
        seasons = [with_errors(completer, season, FEATURE_BATCH) for season in seasons]
        config = error_config(prepared, preset)
    shape = head_shape(config, prepared, quantiles, len(seasons[0].windows))
    joint = JointTraining(
        start=partial(new_forecaster, config, seasons[0], members=setup.members, shape=shape),
        table=table,
        seasons=seasons,
        readings=[one.number for one in prepared.readings()],
        trainer=trainer,
        completion=0.0,
        pretrained=False,
        balance=setup.balance,
        completer=completer if preset.link == "error" else None,
    )
    offset = fold_offset(table, prepared.fold, setup.offset, setup.window)
    return forecast_jointly(prepared, joint.placed(), offset, setup.interval)


def run_stage_3(prepared: Prepared, source: RunFolder, trainer: Trainer, balance: bool) -> Forecast:
    """Encoder and heads of a stage-2 run learn on together, as they were before validation labels were learnt."""
    before = Forecaster.load(source, prepared.fold.name, "first")
    if before.neural is None:
        raise InputError(
            f"{source.path} has no neural heads (--learner gp or trees), and stage 3 fine-tunes such heads. Make a run "
            "that has:\n    python train.py --stage 2 --learner neural"
        )
    encoder = before.neural.encoder
    start = SeasonForecaster(encoder, before.neural.heads).requires_grad_(True)
    encoder.log_temperature.requires_grad_(encoder.config.learn_temperature)
    joint = JointTraining(
        start=lambda rows: copy.deepcopy(start),
        table=prepared.table,
        seasons=prepared.to_forecast(),
        readings=[one.number for one in prepared.readings()],
        trainer=trainer,
        completion=COMPLETION_WEIGHT,
        pretrained=True,
        balance=balance,
    )
    return forecast_jointly(prepared, joint.placed(), before.offset)


def head_shape(
    config: TimesCLIPConfig, prepared: Prepared, quantiles: tuple[float, ...], windows: int | None = None
) -> HeadShape:
    """The sizes of yield heads on an encoder's features."""
    windows, static = windows or len(prepared.seasons[0].windows), len(prepared.table.static_names)
    return HeadShape(config.feature_dim, config.variates, windows, config.plain_dim, static, quantiles)


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


def forecast_by_ensemble(
    prepared: Prepared, preset: Preset, encoder: TimesCLIP, setup: ForecastSetup, trainer: Trainer
) -> Forecast:
    """Cross-fit every learner on training and validation rows, weigh them, fit them again on all, read the test rows.

    Whole years or places are left out in turn. The forecasts of left-out rows choose the epochs, the weights of the
    members, the margins and whether completed seasons are read, for each reading of the season.
    """
    table, fold = prepared.table, prepared.fold
    learnt = np.sort(np.concatenate([fold.train, fold.valid]))
    offset = fold_offset(table, fold, setup.offset, setup.window)
    readings = prepared.readings(setup.fill == "completed")
    neural, tabular = learners_of(prepared, preset, encoder, setup, trainer, learnt)

    def labelled(rows: Rows) -> LabelledRows:
        known = known_in(table, fold, rows)
        base = offset.predict(known, table.place[rows], table.year[rows], leave_own_year_out=True)
        return LabelledRows(rows, base, table.target[rows] - base)

    everything = labelled(learnt)
    fitted = tabular.fit(everything) if tabular else ()
    parts = table.year[learnt] if setup.interval == "year" else parts_of(groups_of(table, fold, learnt))
    splits = list(splits_of(table, fold, learnt, parts, labelled, offset.predict))
    learners: list[YieldLearner] = [one for one in (neural, tabular) if one is not None]
    cross = CrossFit.of(learners, splits, learnt, readings, prepared)
    fits = [cross.fit_of(number, setup.interval) for number in range(len(readings))]
    chosen = [0, *chosen_readings(cross, readings, fits)]
    heads = neural.fit(everything, "") if neural else None
    first = neural.fit(labelled(fold.train), " first") if neural else None

    def forecaster(numbers: Sequence[int], at: int = 0) -> Forecaster:
        each = tuple(fitted[prepared.position(readings[number])] for number in numbers) if fitted else ()
        kept = tuple(fits[number] for number in numbers)
        return Forecaster(offset, known_in(table, fold, learnt), heads, each, kept, at)

    told = [
        forecaster([number]).with_members(table, prepared.as_read(one), fold.test)
        for number, one in enumerate(readings)
    ]
    test, (members, *_) = [one for one, _ in told], [one for _, one in told]
    valid = [cross.yields(number, fits[number], np.isin(learnt, fold.valid)) for number in range(len(readings))]
    early = tuple(
        AsOf(one.step, one.completed, before, after)
        for one, before, after in zip(readings, valid, test, strict=True)
        if one.step is not None
    )
    return Forecast(
        prepared=prepared,
        forecaster=forecaster(chosen),
        learnt=learnt,
        epochs=neural.epochs if neural else 0,
        valid=valid[0],
        test=test[0],
        first=None if first is None else first.heads,
        early=early,
        judges=f"{len(learnt)} rows left out in turn",
        left_out=cross.table(fits),
        members=members,
    )


def learners_of(
    prepared: Prepared, preset: Preset, encoder: TimesCLIP, setup: ForecastSetup, trainer: Trainer, learnt: Rows
) -> tuple[NeuralHeads | None, TabularLearners | None]:
    """The learners that the setup names, ready to fit."""
    names, table, fold = MEMBERS[setup.learner], prepared.table, prepared.fold
    neural = tabular = None
    if NEURAL in names:
        seasons = prepared.to_forecast()
        if setup.fill == "completed":
            pairs = zip(prepared.so_far, prepared.steps, strict=True)
            seasons = [*seasons, *(continued(encoder, one, step, FEATURE_BATCH) for one, step in pairs)]
        neural = NeuralHeads(
            encoder=encoder,
            table=table,
            seasons=seasons,
            readings=[one.number for one in prepared.readings(setup.fill == "completed")],
            members=setup.members,
            shape=head_shape(encoder.config, prepared, QUANTILES if setup.quantiles else ()),
            trainer=trainer,
            balance=setup.balance,
            fold=fold.name,
        )
    if others := [name for name in names if name != NEURAL]:
        tabular = TabularLearners(
            names=others,
            table=table,
            seasons=[prepared.seasons[0], *prepared.so_far],
            blocks=setup.blocks or blocks_of(preset),
            encoder=encoder,
            rows=learnt,
            seed=trainer.seed,
            quantiles=setup.quantiles,
            device=trainer.processes.device,
        )
    return neural, tabular


def blocks_of(preset: Preset) -> tuple[BlockName, ...]:
    """What learners on features read where nothing else is asked for: what the preset reads."""
    numbers: tuple[BlockName, ...] = ("numbers",) if preset.use_language else ()
    return (*numbers, "pictures") if preset.use_vision else numbers


def splits_of(
    table: SeasonTable,
    fold: Fold,
    learnt: Rows,
    parts: NDArray[np.int64],
    labelled: Callable[[Rows], LabelledRows],
    offset: Callable[..., Tonnes],
) -> Iterator[Split]:
    """One split per part [n] of the training rows: its rows are left out, and their labels are not known."""
    for part in np.unique(parts).tolist():
        kept, out = learnt[parts != part], learnt[parts == part]
        known = known_in(table, fold, kept)
        base = offset(known, table.place[out], table.year[out], leave_own_year_out=False)
        yield Split(part, labelled(kept), LabelledRows(out, base, table.target[out] - base))


@dataclass(frozen=True, eq=False)
class CrossFit:
    """Forecasts of the n training rows by learners that did not fit them.

    rows, group [n]; offset [n] t/ha without the row's own group; members: for each reading, by learner
    """

    prepared: Prepared
    readings: Sequence[Reading]
    rows: Rows
    group: NDArray[np.generic]
    offset: Tonnes
    members: Sequence[Mapping[str, Anomalies]]

    @staticmethod
    def of(
        learners: Sequence[YieldLearner],
        splits: Sequence[Split],
        rows: Rows,
        readings: Sequence[Reading],
        prepared: Prepared,
    ) -> CrossFit:
        """Let every learner fit every split, and put the left-out rows together again."""
        at = [np.searchsorted(rows, split.left_out.rows) for split in splits]
        offset = np.empty(len(rows))
        for where, split in zip(at, splits, strict=True):
            offset[where] = split.left_out.offset
        members: list[dict[str, Anomalies]] = [{} for _ in readings]
        for learner in learners:
            found = learner.cross_fit(splits)
            for number, reading in enumerate(readings):
                own = number if NEURAL in learner.names else prepared.position(reading)
                for name in learner.names:
                    columns = np.empty((3, len(rows)))
                    for where, of_split in zip(at, found, strict=True):
                        one = of_split[own][name]
                        columns[:, where] = one.point, one.low, one.high
                    members[number][name] = Anomalies(*columns)
        group = groups_of(prepared.table, prepared.fold, rows)
        return CrossFit(prepared, readings, rows, group, offset, members)

    def fit_of(self, number: int, interval: IntervalName) -> ReadingFit:
        """Weights of the members and margin of the interval, for one reading."""
        members, table = self.members[number], self.prepared.table
        target = table.target[self.rows]
        points = np.column_stack([one.point for one in members.values()])
        found = ensemble_weights(target - self.offset, points, self.group, prior_weights(list(members)))
        weights = dict(zip(members, found.tolist(), strict=True))
        shortfall = combined(self.offset, members, weights, 0.0).shortfall(target)
        years = table.year[self.rows]
        margin = margin_over_years(shortfall, years) if interval == "year" else conformal_margin(shortfall)
        reading = self.readings[number]
        return ReadingFit(reading.step, reading.completed, margin, weights)

    def yields(self, number: int, fit: ReadingFit, some: NDArray[np.bool_] | None = None) -> Yields:
        """Forecasts of the rows that `some` [n] picks (all by default), each by learners that did not fit it."""
        every = combined(self.offset, self.members[number], fit.weights, fit.margin)
        return every if some is None else Yields(*(side[some] for side in every))

    def table(self, fits: Sequence[ReadingFit]) -> pd.DataFrame:
        """For left_out.parquet: sample_id, place, year, fold, step, completed, learner, weight, y_true, y_pred in t/ha.

        step: -1 for the whole season. A learner's y_pred is the offset plus its anomaly, before any weight.
        """
        source = self.prepared.table
        frames = []
        for number, fit in enumerate(fits):
            said = {"offset": np.zeros(len(self.rows))} | {n: one.point for n, one in self.members[number].items()}
            shares = {"offset": 1 - sum(fit.weights.values()), **fit.weights}
            frames += [
                pd.DataFrame(
                    {
                        "sample_id": source.sample_id[self.rows],
                        "place": source.place[self.rows],
                        "year": source.year[self.rows],
                        "fold": self.prepared.fold.name,
                        "step": -1 if fit.step is None else fit.step,
                        "completed": fit.completed,
                        "learner": name,
                        "weight": shares[name],
                        "y_true": source.target[self.rows],
                        "y_pred": self.offset + anomaly,
                    }
                )
                for name, anomaly in said.items()
            ]
        return pd.concat(frames, ignore_index=True)


def chosen_readings(cross: CrossFit, readings: Sequence[Reading], fits: Sequence[ReadingFit]) -> list[int]:
    """Of the readings in mid-season the completed ones, if they err less on left-out rows; else the open ones."""
    target = cross.prepared.table.target[cross.rows]
    errors: dict[bool, list[float]] = {False: [], True: []}
    for number, one in enumerate(readings):
        if one.step is not None:
            said = cross.yields(number, fits[number]).pred
            errors[one.completed].append(float(np.mean((said - target) ** 2)))
    completes = bool(errors[True] and np.mean(errors[True]) < np.mean(errors[False]))
    return [n for n, one in enumerate(readings) if one.step is not None and one.completed == completes]


def forecast_jointly(
    prepared: Prepared, joint: JointTraining, offset: Offset, interval: IntervalName = "pooled"
) -> Forecast:
    """Fit encoder and heads on the training rows, choose the epoch on validation rows, fit again on both.

    Margins come from the validation rows, each reading's own; with interval `year` from fits that leave single years
    out. A run that is interrupted keeps the best weights so far.
    """
    table, fold = prepared.table, prepared.fold
    learnt = np.sort(np.concatenate([fold.train, fold.valid]))
    readings = prepared.readings()

    def labelled(rows: Rows, known_rows: Rows, own: bool = True) -> LabelledRows:
        known = known_in(table, fold, known_rows)
        base = offset.predict(known, table.place[rows], table.year[rows], leave_own_year_out=own)
        return LabelledRows(rows, base, table.target[rows] - base)

    valid_rows = labelled(fold.valid, fold.train, own=False)
    neural, fit = joint.fit(labelled(fold.train, fold.train), valid_rows, f"{fold.name}/train")

    def again(rows: Rows, phase: str) -> Neural:
        return joint.refit(labelled(rows, rows), f"{fold.name}{phase}/refit", fit.best_epoch, neural.scale)

    def forecasts(one: Neural, rows: Rows, fitted: Rows) -> list[Yields]:
        none = [ReadingFit(reading.step, False, 0.0, {NEURAL: 1.0}) for reading in readings]
        model = Forecaster(offset, known_in(table, fold, fitted), one, (), tuple(none))
        return [
            replace(model, at=at).forecast(table, prepared.as_read(reading), rows)
            for at, reading in enumerate(readings)
        ]

    before = forecasts(neural, fold.valid, fold.train)
    if interval == "year" and not fit.interrupted:
        years, shortfalls = table.year[learnt], [np.empty(len(learnt)) for _ in readings]
        for year in np.unique(years).tolist():
            out = years == year
            model = again(learnt[~out], f" without {year}")
            for shortfall, one in zip(shortfalls, forecasts(model, learnt[out], learnt[~out]), strict=True):
                shortfall[out] = one.shortfall(table.target[learnt[out]])
        margins = [margin_over_years(shortfall, years) for shortfall in shortfalls]
    else:
        margins = [conformal_margin(one.shortfall(table.target[fold.valid])) for one in before]
    fits = tuple(
        ReadingFit(one.step, False, margin, {NEURAL: 1.0}) for one, margin in zip(readings, margins, strict=True)
    )
    final = neural if fit.interrupted else again(learnt, "")
    valid_model = Forecaster(offset, known_in(table, fold, fold.train), neural, (), fits)
    forecaster = Forecaster(offset, known_in(table, fold, learnt), final, (), fits)
    valid, test = (
        [replace(model, at=at).forecast(table, prepared.as_read(one), rows) for at, one in enumerate(readings)]
        for model, rows in ((valid_model, fold.valid), (forecaster, fold.test))
    )
    early = tuple(
        AsOf(one.step, False, mine, theirs)
        for one, mine, theirs in zip(readings, valid, test, strict=True)
        if one.step is not None
    )
    return Forecast(
        prepared=prepared,
        forecaster=forecaster,
        learnt=learnt,
        epochs=fit.best_epoch,
        valid=valid[0],
        test=test[0],
        first=neural.heads,
        early=early,
        interrupted=fit.interrupted,
    )


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
    """By how much the baseline with the lowest RMSE is ahead of the run, t/ha, with its 95 % interval.

    Over years where at least 6 were tested, else over places: draws of fewer groups tell nothing.
    """
    name = min(baselines, key=lambda one: baselines[one]["rmse"])
    rows = predictions[predictions["split"] == "test"].merge(
        guesses[guesses["name"] == name], on=["sample_id", "fold"], suffixes=("", "_other")
    )
    over = "year" if rows["year"].nunique() >= 6 else "place"
    columns = (rows[column].to_numpy() for column in ("y_true", "y_pred", "y_pred_other", over))
    ahead, low, high = paired_difference(*columns)
    return {"name": name, "ahead": ahead, "low": low, "high": high, "over": f"{rows[over].nunique()} {over}s"}


def by_name(outcomes: Sequence[Forecast], said: Sequence[Mapping[str, Tonnes]]) -> pd.DataFrame:
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
        for outcome, one in zip(outcomes, said, strict=True)
        for name, forecast in one.items()
    ]
    return pd.concat(rows, ignore_index=True)


def test_metrics(table: pd.DataFrame) -> dict[str, float]:
    """Metrics over the test rows of a table such as `predictions` makes, and the share that its intervals hold."""
    test = table[table["split"] == "test"]
    truth = test["y_true"].to_numpy()
    held = (truth >= test["y_lo"]) & (truth <= test["y_hi"])
    pred = test["y_pred"].to_numpy()
    by_year = nrmse_by_year(truth, pred, test["year"].to_numpy())
    return yield_metrics(truth, pred) | {"nrmse_by_year": by_year, "coverage_90": float(held.mean())}


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
        "best_epoch": outcome.epochs,
        "forecaster": outcome.forecaster.to_dict(),
    }


def weights(outcomes: Sequence[Forecast]) -> dict[str, Tensor]:
    """Encoder and heads of every fold, by name; `first` are the heads before the refit."""
    named: dict[str, Tensor] = {}
    for outcome in outcomes:
        fold = outcome.prepared.fold.name
        named |= {f"{fold}/{name}": tensor for name, tensor in outcome.forecaster.weights().items()}
        if outcome.first is not None:  # copies: an interrupted run forecasts by these very heads
            named |= {f"{fold}/first.{name}": tensor.clone() for name, tensor in outcome.first.state_dict().items()}
    return named


def learners(outcomes: Sequence[Forecast]) -> dict[str, float]:
    """The weight of each learner for the whole season, the mean over folds; `offset` is what they leave to 1."""
    each = [outcome.forecaster.readings[0].weights for outcome in outcomes]
    means = {name: float(np.mean([one[name] for one in each])) for name in each[0]}
    return {**means, "offset": max(0.0, 1 - sum(means.values()))}


def learnt(outcome: Forecast) -> dict[str, Any]:
    """How one fold's forecast came about, for result.json."""
    forecaster = outcome.forecaster
    found: dict[str, Any] = {
        "epochs": outcome.epochs,
        "margin": forecaster.readings[0].margin,
        "weights": dict(forecaster.readings[0].weights),
        "offset": forecaster.offset.kind,
        "judges": outcome.judges,
    }
    if forecaster.tabular:
        whole = forecaster.tabular[0]
        found["variance_shares"] = {name: dict(one) for name, one in whole.shares.items()}
        found["evidence"] = {name: one.evidence for name, one in whole.processes.items()}
        found["year_spread"] = whole.year_spread()
    return found


def steps_of(record: Mapping[str, Any]) -> list[int]:
    """The steps that a forecaster of fitted.json can forecast after, beside the whole season."""
    readings = record.get("readings") or readings_before(record)
    return [one["step"] for one in readings if one["step"] is not None]


def step_read(record: Mapping[str, Any], as_of: int) -> int:
    """Up to which step a forecast after `as_of` steps reads the season.

    Heads read all that is known. Learners on features were fitted on seasons that end at a step of `steps_of`, so they
    read as far as the latest of these.
    """
    return max(step for step in steps_of(record) if step <= as_of) if record.get("tabular") else as_of


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
    return forecaster.forecast(table, prepared.seasons[0])
