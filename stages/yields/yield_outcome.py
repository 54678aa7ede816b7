"""The outcome of stage 2 or 3 on one fold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import pandas as pd

from model.yield_head import YieldEnsemble
from stages.inputs.fold_data import FoldData, Reading
from stages.yields.fold_offset import Rows
from stages.yields.yield_forecaster import Forecaster, Tonnes, Yields


class AsOf(NamedTuple):
    """Forecasts of a fold's validation and test rows as known after `step` steps, the rest `completed` or left open."""

    step: int
    completed: bool
    valid: Yields
    test: Yields


@dataclass(frozen=True, eq=False)
class YieldOutcome:
    """Result of one fold, with forecasts in t/ha of its validation and test rows.

    fitted_rows rows that the forecaster was fitted on
    epochs      of the neural heads; 0 without heads
    first       the heads before they were fitted on validation rows too; stage 3 starts from them
    early       one entry per step of `prepared.steps`, and one more if it is completed
    chosen_on   description of the rows on which epochs, weights and margins were chosen
    left_out    forecasts of every learner for rows that it was not fitted on, if any
    members     forecasts of the test rows by each learner alone, t/ha, if there are several
    """

    prepared: FoldData
    forecaster: Forecaster
    fitted_rows: Rows
    epochs: int
    valid: Yields
    test: Yields
    first: YieldEnsemble | None
    early: tuple[AsOf, ...] = ()
    chosen_on: str = "validation rows"
    left_out: pd.DataFrame | None = None
    members: Mapping[str, Tonnes] = field(default_factory=dict)
    interrupted: bool = False


def as_of_steps(readings: Sequence[Reading], valid: Sequence[Yields], test: Sequence[Yields]) -> tuple[AsOf, ...]:
    """The forecasts of the mid-season readings."""
    return tuple(
        AsOf(step=one.step, completed=one.completed, valid=before, test=after)
        for one, before, after in zip(readings, valid, test, strict=True)
        if one.step is not None
    )
