"""Stages 2 and 3 on one fold: windows of a season -> yield anomaly -> t/ha with an interval."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import Tensor

from model.completion_task import with_errors
from model.config import TimesCLIPConfig
from model.joint_finetuning import COMPLETION_WEIGHT, SeasonForecaster
from model.presets import Preset
from model.threads import threads_for
from model.timesclip import TimesCLIP
from model.training.trainer import Trainer
from pipeline.errors import InputError
from pipeline.plural import plural
from pipeline.splits import Fold
from pipeline.table import SeasonTable
from report.run import RunFolder
from stages.completion.completion_stage import load_model, model_config
from stages.inputs.fold_data import FoldData, Pictures, Scales, assemble
from stages.inputs.typical_season import TypicalSeason
from stages.stage import StageResults
from stages.yields import early_forecasts
from stages.yields.coverage import coverage
from stages.yields.ensemble import ForecastSetup, forecast_by_ensemble
from stages.yields.fold_offset import Rows, fold_offset
from stages.yields.joint_training import JointTraining, forecast_jointly, new_forecaster
from stages.yields.yield_forecaster import FEATURE_BATCH, Forecaster, Yields, readings_before
from stages.yields.yield_learners import head_shape
from stages.yields.yield_outcome import YieldOutcome
from stages.yields.yield_scores import best_baseline, by_name, metric_intervals, predictions, scores


@dataclass(frozen=True, eq=False, kw_only=True)
class YieldStage:
    """What stages 2 and 3 have in common; see `Stage`."""

    outcomes: list[YieldOutcome] = field(default_factory=list)

    def results(self, seed: int) -> StageResults:
        """See `Stage`."""
        metrics, baselines, guesses = scores(self.outcomes, seed)
        table = predictions(self.outcomes)
        tables = {"baselines.parquet": guesses}
        fields = {
            "coverage": coverage(table),
            "best_baseline": best_baseline(table, guesses, baselines),
            "metric_intervals": metric_intervals(table),
            "learners": learner_weights(self.outcomes),
            "learnt": {outcome.prepared.fold.name: training_record(outcome) for outcome in self.outcomes},
        }
        if (prepared := self.outcomes[0].prepared).steps:
            tables["early.parquet"] = early_forecasts.predictions(self.outcomes)
            fields["early"] = early_forecasts.scores(prepared.table, tables["early.parquet"], metrics, baselines)
        if all(outcome.members for outcome in self.outcomes):
            tables["members.parquet"] = by_name(self.outcomes, [outcome.members for outcome in self.outcomes])
        if left_out := [outcome.left_out for outcome in self.outcomes if outcome.left_out is not None]:
            tables["left_out.parquet"] = pd.concat(left_out, ignore_index=True)
        return StageResults(metrics=metrics, baselines=baselines, predictions=table, tables=tables, fields=fields)

    def weights(self) -> dict[str, Tensor]:
        """Weights of encoder and heads of every fold, by name. `first` are the heads before the refit."""
        named: dict[str, Tensor] = {}
        for outcome in self.outcomes:
            fold = outcome.prepared.fold.name
            named |= {f"{fold}/{name}": tensor for name, tensor in outcome.forecaster.weights().items()}
            if outcome.first is not None:  # a copy, because an interrupted run forecasts with these heads
                named |= {f"{fold}/first.{name}": tensor.clone() for name, tensor in outcome.first.state_dict().items()}
        return named

    def fitted(self) -> dict[str, dict[str, Any]]:
        """See `Stage`."""
        return {outcome.prepared.fold.name: fitted(outcome) for outcome in self.outcomes}


@dataclass(frozen=True, eq=False, kw_only=True)
class ForecastStage(YieldStage):
    """Stage 2; see `Stage`. source: the stage-1 run whose models it reads; None with the link `scratch`."""

    preset: Preset
    setup: ForecastSetup
    source: RunFolder | None

    def train_fold(self, prepared: FoldData, trainer: Trainer) -> YieldOutcome:
        """See `Stage`."""
        completer = None
        if self.source is not None:
            completer = load_model(self.source, prepared.fold.name).to(trainer.processes.device)
        self.outcomes.append(forecast_fold(prepared, self.preset, completer, self.setup, trainer))
        return self.outcomes[-1]


@dataclass(frozen=True, eq=False, kw_only=True)
class FinetuningStage(YieldStage):
    """Stage 3; see `Stage`. source: the stage-2 run that it trains further."""

    source: RunFolder
    balance: bool

    def train_fold(self, prepared: FoldData, trainer: Trainer) -> YieldOutcome:
        """See `Stage`."""
        self.outcomes.append(finetune_fold(prepared, self.source, trainer, self.balance))
        return self.outcomes[-1]


def forecast_fold(
    prepared: FoldData, preset: Preset, completer: TimesCLIP | None, setup: ForecastSetup, trainer: Trainer
) -> YieldOutcome:
    """Forecast the yield with a stage-1 model by the preset's link: its frozen features, its errors, or nothing."""
    require_different_yields(prepared.table, prepared.fold)
    if preset.link == "frozen" and completer is not None:
        with threads_for(len(prepared.table)):
            return forecast_by_ensemble(prepared, preset, completer, setup, trainer)
    table, seasons = prepared.table, prepared.to_forecast()
    config = completer.config if completer is not None else model_config(prepared, preset)
    if preset.link == "error" and completer is not None:
        seasons = [with_errors(completer, season, FEATURE_BATCH) for season in seasons]
        config = error_config(prepared, preset)
    shape = head_shape(config, seasons[0], table, setup.quantiles)
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
    offset = fold_offset(table, prepared.fold, setup.offset, setup.offset_years)
    return forecast_jointly(prepared, joint.move_to_device(), offset, setup.interval)


def require_different_yields(table: SeasonTable, fold: Fold) -> None:
    """Raise InputError if all yields of the fold's training rows are equal. Labels of other folds are not read."""
    yields = table.target[fold.train]
    if np.ptp(yields) == 0:
        raise InputError(
            f"{table.name}: all {plural(len(yields), 'yield')} in the training rows of fold {fold.name} are "
            f"{yields[0]:g} t/ha, so there is nothing to learn. Check `column` of [target] in the dataset card."
        )


def finetune_fold(prepared: FoldData, source: RunFolder, trainer: Trainer, balance: bool) -> YieldOutcome:
    """Train encoder and heads of a stage-2 run further, from the heads before they were fitted on validation rows."""
    before = Forecaster.load(source, prepared.fold.name, "first")
    if before.neural is None:
        raise InputError(
            f"{source.path} has no neural heads (--learner gp or trees), but stage 3 fine-tunes such heads. Make a run "
            "with heads:\n    python train.py --stage 2 --learner neural"
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
    return forecast_jointly(prepared, joint.move_to_device(), before.offset)


def error_config(prepared: FoldData, preset: Preset) -> TimesCLIPConfig:
    """Configuration of an encoder of the whole season, with the completion's errors as V more channels."""
    table = prepared.table
    return replace(
        model_config(prepared, replace(preset, use_vision=False, use_language=True, alignment="none")),
        variates=2 * len(table.variates),
        window=table.steps,
        start=table.steps,
        vision_dim=0,
    )


def observed_shares(table: SeasonTable) -> NDArray[np.float64]:
    """Share of (variate, step) pairs that are observed, in each half of each season: [N,2]."""
    halves = table.observed[:, :, : table.cut], table.observed[:, :, table.cut :]
    return np.stack([half.mean((1, 2)) for half in halves], axis=1)


def least_observed(table: SeasonTable, rows: Rows) -> list[float]:
    """The minimum of `observed_shares` over some samples: [2]."""
    least: list[float] = observed_shares(table)[rows].min(0).tolist()
    return least


def fitted(outcome: YieldOutcome) -> dict[str, Any]:
    """The JSON that a prediction needs in addition to the weights."""
    return {
        "least_observed": least_observed(outcome.prepared.table, outcome.fitted_rows),
        "least_observed_so_far": [
            [step, least_observed(outcome.prepared.table.as_of(step), outcome.fitted_rows)]
            for step in outcome.prepared.steps
        ],
        **outcome.prepared.scales.to_dict(),
        "typical": TypicalSeason.fit(outcome.prepared.table, outcome.fitted_rows).to_dict(),
        "framing": outcome.prepared.framing,
        "best_epoch": outcome.epochs,
        "forecaster": outcome.forecaster.to_dict(),
    }


def learner_weights(outcomes: Sequence[YieldOutcome]) -> dict[str, float]:
    """The weight of each learner for the whole season, averaged over folds. `offset` has the rest."""
    each = [outcome.forecaster.readings[0].weights for outcome in outcomes]
    means = {name: float(np.mean([one[name] for one in each])) for name in each[0]}
    return {**means, "offset": max(0.0, 1 - sum(means.values()))}


def training_record(outcome: YieldOutcome) -> dict[str, Any]:
    """Epochs, margin, weights and offset of one fold's forecast, for result.json."""
    forecaster = outcome.forecaster
    record: dict[str, Any] = {
        "epochs": outcome.epochs,
        "margin": forecaster.readings[0].margin,
        "weights": dict(forecaster.readings[0].weights),
        "offset": forecaster.offset.kind,
        "judges": outcome.chosen_on,
    }
    if forecaster.tabular:
        whole = forecaster.tabular[0]
        record["variance_shares"] = {name: dict(one) for name, one in whole.shares.items()}
        record["evidence"] = {name: one.evidence for name, one in whole.processes.items()}
        record["year_spread"] = whole.year_spread()
    return record


def steps_of(record: Mapping[str, Any]) -> list[int]:
    """The mid-season steps of a forecaster in fitted.json."""
    readings = record.get("readings") or readings_before(record)
    return [one["step"] for one in readings if one["step"] is not None]


def step_read(record: Mapping[str, Any], as_of: int) -> int:
    """The step up to which a forecast after `as_of` steps reads the season.

    Heads read everything that is known. Learners on features were fitted on seasons that end at one of `steps_of`, so
    they read up to the latest of these.
    """
    return max(step for step in steps_of(record) if step <= as_of) if record.get("tabular") else as_of


def reading_at(record: Mapping[str, Any], as_of: int) -> tuple[int, bool]:
    """Step of the reading that a forecaster in fitted.json uses after `as_of` steps, and whether it is completed."""
    readings = record.get("readings") or readings_before(record)
    return max((one["step"], one["completed"]) for one in readings if one["step"] is not None and one["step"] <= as_of)


def reads_positions(record: Mapping[str, Any]) -> bool:
    """Whether a forecaster in fitted.json reads the positions of the samples."""
    return any(one.get("apart") is not None for one in record.get("tabular", ()))


def forecast_new(
    forecaster: Forecaster,
    table: SeasonTable,
    fold: str,
    *,
    record: Mapping[str, Any],
    pictures: Pictures | None,
    as_of: int | None = None,
) -> Yields:
    """Forecasts in t/ha [N] with intervals for the samples of a new table, by the forecaster of one fold.

    as_of: the number of steps for which the table is known; None for the whole season.
    """
    all_rows = np.arange(len(table))
    nothing = all_rows[:0]
    test_fold = Fold(fold, nothing, nothing, all_rows)
    prepared = assemble(table, test_fold, Scales.from_dict(record), framing=record["framing"], pictures=pictures)
    forecaster = forecaster if as_of is None else forecaster.as_of(as_of)
    return forecaster.forecast(table, prepared.seasons[0])
