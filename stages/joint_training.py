"""Encoder and yield heads that learn together, on rows whose epoch the validation rows choose: stage 3, and stage 2
without a frozen encoder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from model.completion import SeasonRows, fit_features
from model.finetuning import FinetuningTask, LabelledSeason, SeasonForecaster
from model.parts import TimesCLIPConfig
from model.seasons import Season, joined
from model.timesclip import TimesCLIP
from model.training.loop import Fit, Trainer
from model.training.placement import placed
from model.training.sampling import balancing_weights
from model.yields import AnomalyScale, HeadShape, YieldEnsemble
from pipeline.table import SeasonTable
from stages.forecaster import Neural
from stages.yield_learners import LabelledRows


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
    seasons: Sequence[Season]
    readings: Sequence[int]
    trainer: Trainer
    completion: float
    pretrained: bool
    balance: bool
    completer: TimesCLIP | None = None

    def placed(self) -> JointTraining:
        """The same with its seasons on the trainer's device."""
        seasons = placed(self.seasons, self.trainer.processes.device)
        return JointTraining(**{**self.__dict__, "seasons": seasons})

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
    config: TimesCLIPConfig, season: Season, rows: Tensor, members: int, shape: HeadShape
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
