"""Two ways to learn a yield: heads on the features of a frozen encoder, or encoder and heads together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from model.completion import SeasonRows, fit_features
from model.finetuning import FinetuningTask, LabelledSeason, SeasonForecaster
from model.parts import TimesCLIPConfig
from model.seasons import Season, joined
from model.timesclip import TimesCLIP
from model.training.loop import Fit, Trainer
from model.training.placement import placed
from model.yields import HeadShape, YieldEnsemble, YieldRows, refit_head, train_head
from pipeline.table import SeasonTable
from stages.forecaster import SeenSeasons
from stages.offsets import Rows


@dataclass(frozen=True, eq=False)
class Lesson:
    """Rows [n] of the table, their standardised anomalies [n], and how often each is drawn, in proportion."""

    rows: Rows
    anomaly: Tensor
    weights: Tensor | None = None


class Learner(Protocol):
    """Learns from rows; twice, so that validation rows are learnt from in the end."""

    keeps_scale: bool
    """Whether the unit of the anomaly must stay what it was in the first lesson."""

    def fit(self, lesson: Lesson, valid: Lesson, phase: str) -> tuple[TimesCLIP, YieldEnsemble, Fit]:
        """Learn; the validation rows choose the epoch."""

    def refit(self, lesson: Lesson, phase: str, epochs: int) -> tuple[TimesCLIP, YieldEnsemble]:
        """Learn again from the start, for so many epochs."""


class OnFrozen:
    """Heads on the features of both windows by a stage-1 model (link `frozen`).

    judged: in which of the seasons the validation rows are read; all of them count alike.
    """

    keeps_scale = False

    def __init__(
        self,
        encoder: TimesCLIP,
        table: SeasonTable,
        seasons: Sequence[Season],
        members: int,
        shape: HeadShape,
        trainer: Trainer,
        judged: Sequence[int] = (0,),
    ) -> None:
        self.encoder, self.members, self.shape, self.trainer, self.judged = encoder, members, shape, trainer, judged
        self.views = [SeenSeasons.of(encoder, table, season) for season in seasons]

    def fit(self, lesson: Lesson, valid: Lesson, phase: str) -> tuple[TimesCLIP, YieldEnsemble, Fit]:
        """As `Learner` says."""
        train = [view.rows(lesson.rows, lesson.anomaly) for view in self.views]
        judged = YieldRows.joined([self.views[view].rows(valid.rows, valid.anomaly) for view in self.judged])
        heads, fit = train_head(self.members, self.shape, train, judged, self.trainer, phase, lesson.weights)
        return self.encoder, heads, fit

    def refit(self, lesson: Lesson, phase: str, epochs: int) -> tuple[TimesCLIP, YieldEnsemble]:
        """As `Learner` says."""
        rows = [view.rows(lesson.rows, lesson.anomaly) for view in self.views]
        return self.encoder, refit_head(self.members, self.shape, rows, self.trainer, phase, epochs, lesson.weights)


class Jointly:
    """Encoder and heads learn on together from what `start` gives for the rows [n] that are learnt from.

    completion: weight of the completion loss beside the yield loss; 0 for none. judged: as in `OnFrozen`.
    """

    def __init__(
        self,
        start: Callable[[Tensor], SeasonForecaster],
        seasons: Sequence[Season],
        trainer: Trainer,
        completion: float,
        pretrained: bool,
        judged: Sequence[int] = (0,),
    ) -> None:
        self.start, self.trainer, self.completion, self.keeps_scale = start, trainer, completion, pretrained
        self.seasons = placed(seasons, trainer.processes.device)
        self.judged = judged

    def fit(self, lesson: Lesson, valid: Lesson, phase: str) -> tuple[TimesCLIP, YieldEnsemble, Fit]:
        """As `Learner` says."""
        task = self._task(lesson, valid)
        fit = self.trainer.fit(task, phase)
        return task.module.encoder, task.module.yields, fit

    def refit(self, lesson: Lesson, phase: str, epochs: int) -> tuple[TimesCLIP, YieldEnsemble]:
        """As `Learner` says."""
        task = self._task(lesson, None)
        self.trainer.refit(task, phase, epochs)
        return task.module.encoder, task.module.yields

    def _task(self, lesson: Lesson, valid: Lesson | None) -> FinetuningTask:
        device = self.trainer.processes.device
        rows = torch.from_numpy(lesson.rows).to(device)
        torch.manual_seed(self.trainer.seed)
        module = self.start(rows.cpu()).to(device)
        torch.manual_seed(self.trainer.seed)
        judged = None
        if valid is not None:
            at = torch.from_numpy(valid.rows).to(device)
            read = joined([self.seasons[number].rows(at) for number in self.judged])
            judged = LabelledSeason(read, valid.anomaly.repeat(len(self.judged)).to(device))
        return FinetuningTask(
            module,
            SeasonRows(self.seasons, rows, lesson.weights),
            lesson.anomaly.to(device),
            judged,
            self.trainer.schedule.batch_size,
            self.completion,
            ("encoder.",) if self.keeps_scale else tuple(f"encoder.{name}" for name in module.encoder.pretrained),
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
