"""Cross-fitting on one fold: forecasts of training rows by learners that were not fitted on them.

The weights of the learners and the margins of the intervals come from these forecasts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from model.calibration import IntervalName, conformal_margin, margin_exists, margin_over_years
from model.cross_fitting import ensemble_weights, weights_without_own_part
from model.learners.tabular import GP_POSITIONS, within_reach
from model.offset_choice import ChosenOffset
from pipeline.splits import Fold
from pipeline.table import SeasonTable
from stages.inputs.fold_data import FoldData, Reading
from stages.yields.fold_offset import Rows, groups_of
from stages.yields.yield_forecaster import Anomalies, ReadingFit, Tonnes, Yields, combined
from stages.yields.yield_learners import LabelledRows, LeftOutPart, YieldLearner, prior_weights


def left_out_parts(
    table: SeasonTable, fold: Fold, offset: ChosenOffset, rows: Rows, parts: NDArray[np.int64]
) -> Iterator[LeftOutPart]:
    """Every part, with its rows left out and their yields hidden. parts [n]: the part of each training row."""
    for part in np.unique(parts).tolist():
        fitted, out = rows[parts != part], rows[parts == part]
        yield LeftOutPart(
            part,
            LabelledRows.of(table, fold, offset, fitted),
            LabelledRows.of(table, fold, offset, out, fitted=fitted),
        )


def placed_rows(table: SeasonTable, rows: Rows, parts: Sequence[LeftOutPart]) -> NDArray[np.bool_]:
    """[n]: whether each training row of `rows` lies within reach of the fitted rows of the part that leaves it out."""
    assert table.position is not None
    placed = np.zeros(len(rows), bool)
    for part in parts:
        here, known = table.position[part.left_out.rows], table.position[part.fit.rows]
        placed[np.searchsorted(rows, part.left_out.rows)] = within_reach(here, known)
    return placed


@dataclass(frozen=True, eq=False)
class CrossFit:
    """Forecasts of the n training rows by learners that were not fitted on them.

    rows, group, part [n]; offset [n] t/ha without the row's own part; members: per reading, anomalies by learner
    placed [n]: whether a row lies within reach of the fitted rows of its part, as the forecast requires of new rows;
    None if positions are not read
    """

    prepared: FoldData
    readings: Sequence[Reading]
    rows: Rows
    group: NDArray[np.generic]
    part: NDArray[np.int64]
    offset: Tonnes
    members: Sequence[Mapping[str, Anomalies]]
    placed: NDArray[np.bool_] | None = None

    @staticmethod
    def of(
        learners: Sequence[YieldLearner],
        parts: Sequence[LeftOutPart],
        rows: Rows,
        readings: Sequence[Reading],
        prepared: FoldData,
    ) -> CrossFit:
        """Fit every learner once per part and collect the forecasts of the left-out rows."""
        at = [np.searchsorted(rows, part.left_out.rows) for part in parts]
        offset, numbers = np.empty(len(rows)), np.empty(len(rows), np.int64)
        for where, part in zip(at, parts, strict=True):
            offset[where], numbers[where] = part.left_out.offset, part.number
        members: list[dict[str, Anomalies]] = [{} for _ in readings]
        for learner in learners:
            anomalies = learner.cross_fit(parts)
            for number in range(len(readings)):
                for name in learner.names:
                    columns = np.empty((3, len(rows)))
                    for where, of_part in zip(at, anomalies, strict=True):
                        one = of_part[number][name]
                        columns[:, where] = one.point, one.low, one.high
                    members[number][name] = Anomalies(*columns)
        group = groups_of(prepared.table, prepared.fold, rows)
        return CrossFit(
            prepared=prepared,
            readings=readings,
            rows=rows,
            group=group,
            part=numbers,
            offset=offset,
            members=members,
            placed=placed_rows(prepared.table, rows, parts) if GP_POSITIONS in members[0] else None,
        )

    def fit_of(self, number: int, interval: IntervalName) -> ReadingFit:
        """Weights of the members and margin of the interval, for reading number `number`.

        For the margin, each row is forecast by weights that were fitted without its part. If a member reads positions,
        weights and margin come from the placed rows, and `unplaced` from all rows without this member. If the placed
        rows are too few for a margin, the member gets no weight.
        """
        members, table = self.members[number], self.prepared.table
        target = table.target[self.rows]
        points = np.column_stack([one.point for one in members.values()])
        reading = self.readings[number]

        def fitted(names: Sequence[str], rows: NDArray[np.bool_]) -> ReadingFit:
            """The weights of the members of `names`, and the margin, both over the rows of the mask."""
            chosen = points[:, [name in names for name in members]][rows]
            anomaly, prior = (target - self.offset)[rows], prior_weights(names)
            shares = ensemble_weights(anomaly, chosen, self.group[rows], prior)
            own = weights_without_own_part(anomaly, chosen, self.group[rows], self.part[rows], prior)

            def named(columns: Iterable[Any]) -> dict[str, Any]:
                return dict.fromkeys(members, 0.0) | dict(zip(names, columns, strict=True))

            picked = {name: one.rows(rows) for name, one in members.items()}
            shortfall = combined(self.offset[rows], picked, named(own.T), 0.0).shortfall(target[rows])
            years, groups = table.year[self.rows][rows], table.group[self.rows][rows]
            margin = margin_over_years(shortfall, years) if interval == "year" else conformal_margin(shortfall, groups)
            return ReadingFit(
                step=reading.step, completed=reading.completed, margin=margin, weights=named(shares.tolist())
            )

        every = np.ones(len(self.rows), bool)
        if self.placed is None:
            return fitted(list(members), every)
        without = fitted([name for name in members if name != GP_POSITIONS], every)
        at = self.rows[self.placed]
        if not margin_exists(table.group[at], table.year[at], interval):
            return without
        return replace(fitted(list(members), self.placed), unplaced=without)

    def yields(self, number: int, fit: ReadingFit, some: NDArray[np.bool_] | None = None) -> Yields:
        """Forecasts of the rows picked by `some` [n] (default: all), each by learners that were not fitted on it."""
        every = fit.combine(self.offset, self.members[number], self.placed)
        return every if some is None else Yields(*(side[some] for side in every))

    def table(self, fits: Sequence[ReadingFit]) -> pd.DataFrame:
        """For left_out.parquet: sample_id, place, year, fold, step, completed, learner, weight, y_true, y_pred in t/ha.

        step is -1 for the whole season. A learner's y_pred is the offset plus its full anomaly, without its weight.
        """
        source = self.prepared.table
        frames = []
        for number, fit in enumerate(fits):
            forecasts = {"offset": np.zeros(len(self.rows))} | {n: one.point for n, one in self.members[number].items()}
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
                for name, anomaly in forecasts.items()
            ]
        return pd.concat(frames, ignore_index=True)


def chosen_readings(cross: CrossFit, readings: Sequence[Reading], fits: Sequence[ReadingFit]) -> list[int]:
    """Numbers of the mid-season readings to use: completed ones if they err less on left-out rows, else open ones."""
    target = cross.prepared.table.target[cross.rows]
    errors: dict[bool, list[float]] = {False: [], True: []}
    for number, one in enumerate(readings):
        if one.step is not None:
            forecast = cross.yields(number, fits[number]).pred
            errors[one.completed].append(float(np.mean((forecast - target) ** 2)))
    completes = bool(errors[True] and np.mean(errors[True]) < np.mean(errors[False]))
    return [n for n, one in enumerate(readings) if one.step is not None and one.completed == completes]
