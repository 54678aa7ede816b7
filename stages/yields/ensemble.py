"""Stage 2 on frozen stage-1 features: an ensemble of learners, weighted by their errors on left-out rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from model.calibration import IntervalName
from model.completion_task import continued
from model.cross_fitting import parts_of
from model.learners.features import BlockName
from model.learners.tabicl import Checkpoint
from model.learners.tabular import GP_POSITIONS, ON_CONVOLUTIONS
from model.offset import OffsetName
from model.presets import Preset
from model.timesclip import TimesCLIP
from model.training.trainer import Trainer
from stages.inputs.fold_data import FoldData
from stages.inputs.positions import positions_help
from stages.yields.cross_fitting import CrossFit, chosen_readings, left_out_parts
from stages.yields.fold_offset import Rows, fold_offset, groups_of, known_in
from stages.yields.yield_forecaster import FEATURE_BATCH, NEURAL, Forecaster
from stages.yields.yield_learners import (
    MEMBERS,
    LabelledRows,
    LearnerName,
    NeuralHeads,
    TabularLearners,
    YieldLearner,
    head_shape,
)
from stages.yields.yield_outcome import YieldOutcome, as_of_steps

FillName = Literal["nothing", "completed"]


@dataclass(frozen=True, kw_only=True)
class ForecastSetup:
    """Settings of stage 2.

    blocks: inputs of gp, trees and tabicl; empty: the preset's. checkpoint: weights of TabICL, if it is the learner.
    """

    offset: Literal["auto"] | OffsetName = "auto"
    offset_years: int | None = None
    learner: LearnerName = "ensemble"
    blocks: tuple[BlockName, ...] = ()
    members: int = 5
    quantiles: bool = False
    balance: bool = False
    interval: IntervalName = "pooled"
    fill: FillName = "nothing"
    checkpoint: Checkpoint | None = None


def forecast_by_ensemble(
    prepared: FoldData, preset: Preset, encoder: TimesCLIP, setup: ForecastSetup, trainer: Trainer
) -> YieldOutcome:
    """Cross-fit every learner, weight the learners, fit them again on all training rows, then forecast the test rows.

    The training rows are those of training and validation. Whole years or places are left out in turn. For each reading
    of the season, the forecasts of left-out rows determine the epochs, the weights of the members, the margins, and
    whether seasons are completed.
    """
    table, fold = prepared.table, prepared.fold
    fitted_rows = np.sort(np.concatenate([fold.train, fold.valid]))
    offset = fold_offset(table, fold, setup.offset, setup.offset_years)
    readings = prepared.readings(setup.fill == "completed")
    neural, tabular = learners_of(prepared, preset, encoder, setup=setup, trainer=trainer, fitted_rows=fitted_rows)

    parts = table.year[fitted_rows] if setup.interval == "year" else parts_of(groups_of(table, fold, fitted_rows))
    left_out = list(left_out_parts(table, fold, offset, fitted_rows, parts))
    learners: list[YieldLearner] = [one for one in (neural, tabular) if one is not None]
    cross = CrossFit.of(learners, left_out, fitted_rows, readings, prepared)
    fits = [cross.fit_of(number, setup.interval) for number in range(len(readings))]
    chosen = [0, *chosen_readings(cross, readings, fits)]
    all_rows = LabelledRows.of(table, fold, offset, fitted_rows)
    fitted = tabular.fit(all_rows) if tabular else [None] * len(readings)
    heads = neural.fit(all_rows, "") if neural else None
    first = neural.fit(LabelledRows.of(table, fold, offset, fold.train), " first") if neural else None
    known = known_in(table, fold, fitted_rows)

    def forecaster(numbers: Sequence[int]) -> Forecaster:
        tabulars = tuple(one for number in numbers if (one := fitted[number]) is not None)
        return Forecaster(
            offset=offset,
            known=known,
            neural=heads,
            tabular=tabulars,
            readings=tuple(fits[number] for number in numbers),
        )

    of_reading = [forecaster([number]) for number in range(len(readings))]
    anomalies = [
        one.anomalies(table, prepared.as_read(reading), fold.test)
        for one, reading in zip(of_reading, readings, strict=True)
    ]
    tested = table.rows(fold.test)
    test = [one.combine(tested, *each) for one, each in zip(of_reading, anomalies, strict=True)]
    valid = [cross.yields(number, fits[number], np.isin(fitted_rows, fold.valid)) for number in range(len(readings))]
    base, members = anomalies[0]
    return YieldOutcome(
        prepared=prepared,
        forecaster=forecaster(chosen),
        fitted_rows=fitted_rows,
        epochs=neural.epochs if neural else 0,
        valid=valid[0],
        test=test[0],
        first=None if first is None else first.heads,
        early=as_of_steps(readings, valid, test),
        chosen_on=f"{len(fitted_rows)} rows left out in turn",
        left_out=cross.table(fits),
        members={name: np.maximum(base + one.point, 0.0) for name, one in members.items()},
    )


def learners_of(
    prepared: FoldData, preset: Preset, encoder: TimesCLIP, *, setup: ForecastSetup, trainer: Trainer, fitted_rows: Rows
) -> tuple[NeuralHeads | None, TabularLearners | None]:
    """The learners that the setup names, not yet fitted."""
    names, table, fold = MEMBERS[setup.learner], prepared.table, prepared.fold
    readings = prepared.readings(setup.fill == "completed")
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
            readings=[one.number for one in readings],
            members=setup.members,
            shape=head_shape(encoder.config, seasons[0], table, setup.quantiles),
            trainer=trainer,
            balance=setup.balance,
            fold=fold.name,
        )
    # Convolutions are computed from numbers, so no learner on them is a member if the preset reads no numbers.
    unread = {NEURAL, *(() if preset.use_language else ON_CONVOLUTIONS)}
    if not positions_help(table, fold):
        unread.add(GP_POSITIONS)
    others = [name for name in names if name not in unread]
    if others:
        tabular = TabularLearners(
            names=others,
            table=table,
            seasons=[prepared.seasons[0], *prepared.so_far],
            readings=[prepared.position(one) for one in readings],
            blocks=setup.blocks or blocks_of(preset),
            encoder=encoder,
            rows=fitted_rows,
            seed=trainer.seed,
            quantiles=setup.quantiles,
            device=trainer.processes.device,
            listener=trainer.listener,
            fold=fold.name,
            checkpoint=setup.checkpoint,
        )
    return neural, tabular


def blocks_of(preset: Preset) -> tuple[BlockName, ...]:
    """Default inputs of the learners on features: those of the preset."""
    numbers: tuple[BlockName, ...] = ("numbers",) if preset.use_language else ()
    return (*numbers, "pictures") if preset.use_vision else numbers
