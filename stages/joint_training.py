"""Encoder and yield heads trained together: stage 3, and stage 2 without a frozen encoder.

The validation rows choose the epoch.
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
from model.offset import Offset
from model.season_tensors import SeasonTensors, joined
from model.timesclip import TimesCLIP
from model.training.device_memory import move_to_device
from model.training.sampling import balancing_weights
from model.training.trainer import Fit, Trainer
from model.yield_head import AnomalyScale, HeadShape, YieldEnsemble
from pipeline.table import SeasonTable
from stages.fold_data import FoldData
from stages.fold_offset import Rows, known_in
from stages.yield_forecast import Forecast, as_of_steps
from stages.yield_forecaster import NEURAL, Anomalies, Forecaster, Neural, ReadingFit, Tonnes, Yields, combined
from stages.yield_learners import LabelledRows

ALONE = {NEURAL: 1.0}  # weights: the heads are the only learner


@dataclass(frozen=True, eq=False)
class JointTraining:
    """How encoder and heads learn together on one fold.

    start      returns what is trained, given the rows [n] that it learns from
    seasons    what is learnt from; `readings` says in which of them validation rows are judged
    completion weight of the completion loss beside the yield loss; 0 for none
    pretrained whether the encoder was trained before; then the unit of the anomaly stays what it was at first
    completer  as in `Neural`
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
        """The same with its seasons on the trainer's device."""
        return replace(self, seasons=move_to_device(self.seasons, self.trainer.processes.device))

    def fit(self, rows: LabelledRows, valid: LabelledRows, phase: str) -> tuple[Neural, Fit]:
        """Fit the rows; the validation rows choose the epoch."""
        scale = AnomalyScale.fit(rows.anomaly)
        task = self._task(rows, valid, scale)
        fit = self.trainer.fit(task, phase)
        return Neural(task.module.encoder, task.module.yields, scale, self.completer), fit

    def refit(self, rows: LabelledRows, phase: str, epochs: int, scale: AnomalyScale) -> Neural:
        """Fit again from the start for `epochs` epochs; scale: that of the first fit, for encoders that keep it."""
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
        judged = None
        if valid is not None:
            asked = torch.from_numpy(valid.rows).to(device)
            read = joined([self.seasons[number].rows(asked) for number in self.readings])
            judged = LabelledSeason(read, scale.apply(valid.anomaly).repeat(len(self.readings)).to(device))
        weights = balancing_weights(self.table.target[rows.rows]) if self.balance else None
        return FinetuningTask(
            module,
            SeasonRows(self.seasons, at, weights),
            scale.apply(rows.anomaly).to(device),
            judged,
            self.trainer.schedule.batch_size,
            self.completion,
            ("encoder.",) if self.pretrained else tuple(f"encoder.{name}" for name in module.encoder.pretrained),
        )


def new_forecaster(
    config: TimesCLIPConfig, season: SeasonTensors, rows: Tensor, members: int, shape: HeadShape
) -> SeasonForecaster:
    """Encoder and heads with new weights, their norms fitted on the rows [n] that are learnt from."""
    encoder = TimesCLIP(config)
    fit_features(encoder, season, rows)
    model = SeasonForecaster(encoder, YieldEnsemble(members, shape)).eval()
    read = season.rows(rows)
    with torch.inference_mode():
        seen = torch.cat([model.features(window) for window in read.windows], -1)
    model.yields.fit_features(seen.clone(), read.present)
    return model


def forecast_jointly(
    prepared: FoldData, joint: JointTraining, offset: Offset, interval: IntervalName = "pooled"
) -> Forecast:
    """Fit encoder and heads on the training rows, choose the epoch on validation rows, fit again on both.

    Margins come from the validation rows, each reading's own; with interval `year` from fits that leave single years
    out. A run that is interrupted keeps the best weights so far.
    """
    table, fold = prepared.table, prepared.fold
    learnt = np.sort(np.concatenate([fold.train, fold.valid]))
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

    def forecasts(found: Sequence[tuple[Tonnes, dict[str, Anomalies]]], margins: Sequence[float]) -> list[Yields]:
        return [combined(base, each, ALONE, margin) for (base, each), margin in zip(found, margins, strict=True)]

    none = [0.0] * len(readings)
    before = anomalies(neural, fold.valid, fold.train)
    if interval == "year" and not fit.interrupted:

        def without(year: int) -> list[Yields]:
            """Forecasts of a year by a fit of the others."""
            out = table.year[learnt] == year
            fitted = learnt[~out]
            return forecasts(anomalies(again(fitted, f" without {year}"), learnt[out], fitted), none)

        margins = margins_by_year(table, learnt, without, len(readings))
    else:
        shortfalls = [one.shortfall(table.target[fold.valid]) for one in forecasts(before, none)]
        margins = [conformal_margin(one, table.group[fold.valid]) for one in shortfalls]
    final = neural if fit.interrupted else again(learnt, "")
    valid, test = forecasts(before, margins), forecasts(anomalies(final, fold.test, learnt), margins)
    fits = tuple(ReadingFit(one.step, False, margin, ALONE) for one, margin in zip(readings, margins, strict=True))
    return Forecast(
        prepared=prepared,
        forecaster=Forecaster(offset, known_in(table, fold, learnt), final, (), fits),
        learnt=learnt,
        epochs=fit.best_epoch,
        valid=valid[0],
        test=test[0],
        first=neural.heads,
        early=as_of_steps(readings, valid, test),
        interrupted=fit.interrupted,
    )


def margins_by_year(
    table: SeasonTable, learnt: Rows, without: Callable[[int], Sequence[Yields]], readings: int
) -> list[float]:
    """The margin of each reading in t/ha; without: a year -> forecasts of its training rows by a fit of the others."""
    years, shortfalls = table.year[learnt], np.empty((readings, len(learnt)))
    for year in np.unique(years).tolist():
        out = years == year
        for number, one in enumerate(without(year)):
            shortfalls[number, out] = one.shortfall(table.target[learnt[out]])
    return [margin_over_years(shortfall, years) for shortfall in shortfalls]
