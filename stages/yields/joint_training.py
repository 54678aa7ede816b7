"""Joint training of encoder and yield heads: stage 3, and stage 2 without a frozen encoder.

The validation rows select the epoch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from model.calibration import IntervalName, conformal_margin, margin_over_years
from model.completion_task import SeasonRows, fit_features
from model.config import TimesCLIPConfig
from model.joint_finetuning import FinetuningTask, LabelledSeason, SeasonForecaster
from model.offset_choice import ChosenOffset
from model.season_tensors import SeasonTensors, joined
from model.timesclip import TimesCLIP
from model.training.device_memory import move_to_device
from model.training.sampling import balancing_weights
from model.training.trainer import Fit, Trainer
from model.yield_head import AnomalyScale, HeadShape, YieldEnsemble
from pipeline.splits import Fold
from pipeline.table import SeasonTable
from stages.inputs.fold_data import FoldData
from stages.yields.fold_offset import Rows, known_in
from stages.yields.yield_forecaster import NEURAL, Anomalies, Forecaster, Neural, ReadingFit, Tonnes, Yields, combined
from stages.yields.yield_learners import LabelledRows
from stages.yields.yield_outcome import YieldOutcome, as_of_steps

ALONE = {NEURAL: 1.0}  # weights: the heads are the only learner


@dataclass(frozen=True, eq=False)
class JointTraining:
    """Settings to train encoder and heads together on one fold.

    start      returns the module to train, given its training rows [n]
    seasons    training seasons; `readings` are the numbers of those on which validation rows are scored
    completion weight of the completion loss beside the yield loss; 0 for none
    pretrained whether the encoder is pretrained; if so, the unit of the anomaly is that of the first fit
    completer  see `Neural`
    """

    start: Callable[[Tensor], SeasonForecaster]
    table: SeasonTable
    seasons: Sequence[SeasonTensors]
    readings: Sequence[int]
    trainer: Trainer
    completion: float
    pretrained: bool
    balance: bool
    completer: TimesCLIP | None = None

    def move_to_device(self) -> JointTraining:
        """The same settings with the seasons on the trainer's device."""
        return replace(self, seasons=move_to_device(self.seasons, self.trainer.processes.device))

    def fit(self, rows: LabelledRows, valid: LabelledRows, phase: str) -> tuple[Neural, Fit]:
        """Fit the rows; the validation rows select the epoch."""
        scale = AnomalyScale.fit(rows.anomaly)
        task = self._task(rows, valid, scale)
        fit = self.trainer.fit(task, phase)
        return Neural(task.module.encoder, task.module.yields, scale, self.completer), fit

    def refit(self, rows: LabelledRows, phase: str, epochs: int, scale: AnomalyScale) -> Neural:
        """Fit again from the start for `epochs` epochs. scale: of the first fit; pretrained encoders keep it."""
        scale = scale if self.pretrained else AnomalyScale.fit(rows.anomaly)
        task = self._task(rows, None, scale)
        self.trainer.refit(task, phase, epochs)
        return Neural(task.module.encoder, task.module.yields, scale, self.completer)

    def _task(self, rows: LabelledRows, valid: LabelledRows | None, scale: AnomalyScale) -> FinetuningTask:
        device = self.trainer.processes.device
        at = torch.from_numpy(rows.rows).to(device)
        torch.manual_seed(self.trainer.seed)
        module = self.start(at.cpu()).to(device)
        torch.manual_seed(self.trainer.seed)
        labelled = None
        if valid is not None:
            valid_rows = torch.from_numpy(valid.rows).to(device)
            season = joined([self.seasons[number].rows(valid_rows) for number in self.readings])
            labelled = LabelledSeason(season, scale.apply(valid.anomaly).repeat(len(self.readings)).to(device))
        weights = balancing_weights(self.table.target[rows.rows]) if self.balance else None
        return FinetuningTask(
            module=module,
            train=SeasonRows(self.seasons, at, weights),
            anomaly=scale.apply(rows.anomaly).to(device),
            valid=labelled,
            batch_size=self.trainer.schedule.batch_size,
            completion=self.completion,
            pretrained=("encoder.",)
            if self.pretrained
            else tuple(f"encoder.{name}" for name in module.encoder.pretrained),
        )


def new_forecaster(
    config: TimesCLIPConfig, season: SeasonTensors, rows: Tensor, members: int, shape: HeadShape
) -> SeasonForecaster:
    """Encoder and heads with new weights, their norms fitted on the training rows [n]."""
    encoder = TimesCLIP(config)
    fit_features(encoder, season, rows)
    model = SeasonForecaster(encoder, YieldEnsemble(members, shape)).eval()
    train = season.rows(rows)
    with torch.inference_mode():
        features = torch.cat([model.features(window) for window in train.windows], -1)
    model.yields.fit_features(features.clone(), train.present)
    return model


def forecast_jointly(
    prepared: FoldData, joint: JointTraining, offset: ChosenOffset, interval: IntervalName = "pooled"
) -> YieldOutcome:
    """Fit encoder and heads on the training rows, select the epoch on validation rows, then fit again on both.

    Each reading gets its own margin from the validation rows; with interval `year`, from fits that leave out one year
    at a time. An interrupted run keeps the best weights so far.
    """
    table, fold = prepared.table, prepared.fold
    fitted_rows = np.sort(np.concatenate([fold.train, fold.valid]))
    readings = prepared.readings()

    train = LabelledRows.of(table, fold, offset, fold.train)
    valid_rows = LabelledRows.of(table, fold, offset, fold.valid, fitted=fold.train)
    neural, fit = joint.fit(train, valid_rows, f"{fold.name}/train")

    def again(rows: Rows, phase: str) -> Neural:
        labelled = LabelledRows.of(table, fold, offset, rows)
        return joint.refit(labelled, f"{fold.name}{phase}/refit", fit.best_epoch, neural.scale)

    def anomalies(model: Neural, rows: Rows, fitted: Rows) -> list[tuple[Tonnes, dict[str, Anomalies]]]:
        forecaster = Forecaster(offset, known_in(table, fold, fitted), model)
        return [forecaster.anomalies(table, prepared.as_read(one), rows) for one in readings]

    def forecasts(
        each_reading: Sequence[tuple[Tonnes, dict[str, Anomalies]]], margins: Sequence[float]
    ) -> list[Yields]:
        return [combined(base, each, ALONE, margin) for (base, each), margin in zip(each_reading, margins, strict=True)]

    none = [0.0] * len(readings)
    before = anomalies(neural, fold.valid, fold.train)

    def without(year: int) -> list[Yields]:
        """Forecasts of a year by a fit on the others."""
        out = table.year[fitted_rows] == year
        fitted = fitted_rows[~out]
        return forecasts(anomalies(again(fitted, f" without {year}"), fitted_rows[out], fitted), none)

    if interval == "year" and not fit.interrupted:
        margins = margins_by_year(table, fitted_rows, without, len(readings))
    else:
        margins = margins_of_validation(table, fold, forecasts(before, none))
    final = neural if fit.interrupted else again(fitted_rows, "")
    valid, test = forecasts(before, margins), forecasts(anomalies(final, fold.test, fitted_rows), margins)
    fits = [ReadingFit(one.step, False, margin, ALONE) for one, margin in zip(readings, margins, strict=True)]
    known = known_in(table, fold, fitted_rows)
    return YieldOutcome(
        prepared=prepared,
        forecaster=Forecaster(offset=offset, known=known, neural=final, tabular=(), readings=tuple(fits)),
        fitted_rows=fitted_rows,
        epochs=fit.best_epoch,
        valid=valid[0],
        test=test[0],
        first=neural.heads,
        early=as_of_steps(readings, valid, test),
        interrupted=fit.interrupted,
    )


def margins_of_validation(table: SeasonTable, fold: Fold, forecasts: Sequence[Yields]) -> list[float]:
    """Margin of each reading in t/ha, from the forecasts of the validation rows."""
    shortfalls = [one.shortfall(table.target[fold.valid]) for one in forecasts]
    return [conformal_margin(one, table.group[fold.valid]) for one in shortfalls]


def margins_by_year(
    table: SeasonTable, rows: Rows, without: Callable[[int], Sequence[Yields]], readings: int
) -> list[float]:
    """Margin of each reading in t/ha. without: a year -> forecasts of its training rows by a fit on the other years."""
    years, shortfalls = table.year[rows], np.empty((readings, len(rows)))
    for year in np.unique(years).tolist():
        out = years == year
        for number, one in enumerate(without(year)):
            shortfalls[number, out] = one.shortfall(table.target[rows[out]])
    return [margin_over_years(shortfall, years) for shortfall in shortfalls]
