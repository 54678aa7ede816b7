"""One lesson after another: forecasters of a fold, each from rows of its own."""

from __future__ import annotations

from dataclasses import dataclass

from model.offset import KnownYields, Offset
from model.timesclip import TimesCLIP
from model.training.loop import Fit
from model.training.sampling import balancing_weights
from model.yields import AnomalyScale
from pipeline.splits import Fold
from pipeline.table import SeasonTable
from stages.forecaster import Forecaster
from stages.learners import Learner, Lesson
from stages.offsets import Rows, anomaly_of, known_in


@dataclass(frozen=True, eq=False)
class Teaching:
    """What all lessons of a fold have in common. A forecaster knows the yields of the rows that it learnt, no others.

    balance    draw rows so that rare yields come as often as common ones
    completer  as in `Forecaster`
    """

    table: SeasonTable
    fold: Fold
    learner: Learner
    offset: Offset
    balance: bool
    completer: TimesCLIP | None = None

    def fit(self, rows: Rows, judges: Rows, phase: str) -> tuple[Forecaster, Fit]:
        """Learn from `rows` [n]; the rows of `judges` [m] choose the epoch, and their own yields are not known."""
        known = known_in(self.table, self.fold, rows)
        lesson, unit = self._lesson(rows, known, None)
        judged = Lesson(judges, unit.apply(anomaly_of(self.table, judges, self.offset, known, own=False)))
        encoder, heads, fit = self.learner.fit(lesson, judged, f"{self.fold.name}{phase}")
        return Forecaster(encoder, heads, unit, self.offset, known, 0.0, self.completer), fit

    def refit(self, rows: Rows, phase: str, epochs: int, unit: AnomalyScale) -> Forecaster:
        """Learn from `rows` [n] for so many epochs; unit: that of the first lesson, for learners that keep it."""
        known = known_in(self.table, self.fold, rows)
        lesson, unit = self._lesson(rows, known, unit if self.learner.keeps_scale else None)
        encoder, heads = self.learner.refit(lesson, f"{self.fold.name}{phase}/refit", epochs)
        return Forecaster(encoder, heads, unit, self.offset, known, 0.0, self.completer)

    def _lesson(self, rows: Rows, known: KnownYields, unit: AnomalyScale | None) -> tuple[Lesson, AnomalyScale]:
        anomaly = anomaly_of(self.table, rows, self.offset, known, own=True)
        unit = unit or AnomalyScale.fit(anomaly)
        weights = balancing_weights(self.table.target[rows]) if self.balance else None
        return Lesson(rows, unit.apply(anomaly), weights), unit
