"""How far learning may be trusted, told by rows that it left out.

For how many epochs it holds, which share of what it says holds, and how wide the interval must be.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.intervals import LEAST_YEARS, IntervalName, margin_over_years
from model.left_out import best_epoch_of_all, kept_share, parts_of
from model.seasons import Season
from model.yields import conformal_margin
from pipeline.errors import InputError
from pipeline.splits import Fold
from pipeline.table import SeasonTable
from stages.forecaster import Forecaster, Yields, told
from stages.offsets import Rows, groups_of
from stages.teaching import Teaching


def epochs_that_hold(teaching: Teaching, learnt: Rows) -> int:
    """For how many epochs to learn: as many as are best for rows left out, in parts of whole years or places."""
    parts = parts_of(groups_of(teaching.table, teaching.fold, learnt))
    curves, rows = [], np.bincount(parts)
    for part in range(len(rows)):
        out, phase = parts == part, f" without part {part}/parts"
        forecaster, fit = teaching.fit(learnt[~out], learnt[out], phase)
        if fit.interrupted:
            raise KeyboardInterrupt
        curves.append(forecaster.scale.spread**2 * np.array(fit.scores))
    return best_epoch_of_all(curves, rows)


def trust(
    chosen: Forecaster,
    table: SeasonTable,
    fold: Fold,
    seasons: Sequence[Season],
    interval: IntervalName,
    shrink: bool,
    again: Callable[[Rows, str], Forecaster],
) -> tuple[list[float], list[float]]:
    """Of each of the seasons the margin, t/ha, and the share of the anomaly to keep, as `learn` says.

    chosen: what has learnt the training rows alone; again: learns from other rows, in a phase of this name.
    """
    learnt, by_year = np.sort(np.concatenate([fold.train, fold.valid])), interval == "year"
    kept = [1.0] * len(seasons)
    if not (by_year or shrink):
        valids = told(chosen, table, seasons, [0.0] * len(seasons), kept, fold.valid)
        return [conformal_margin(one.shortfall(table.target[fold.valid])) for one in valids], kept
    parts = table.year[learnt] if by_year else parts_of(groups_of(table, fold, learnt))
    name = f" without {'' if by_year else 'part '}"
    left_out = forecasts_left_out(table, learnt, parts, seasons, lambda rows, part: again(rows, f"{name}{part}"))
    kept = left_out.kept() if shrink else kept
    shortfalls = left_out.shortfall(kept)
    if by_year:
        return [margin_over_years(row, table.year[learnt]) for row in shortfalls], kept
    return [conformal_margin(row) for row in shortfalls], kept


@dataclass(frozen=True, eq=False)
class LeftOut:
    """Forecasts of n learnt rows by heads that did not learn them; t/ha.

    target, base [n]: yields, and the offsets without the rows' own part. said: pred, lo, hi [n] from each season, with
    all of the anomaly and no margin.
    """

    target: NDArray[np.float64]
    base: NDArray[np.float64]
    said: Sequence[Yields]

    def kept(self) -> list[float]:
        """Of each season the share of the anomaly that holds."""
        return [kept_share(self.target - self.base, one.pred - self.base) for one in self.said]

    def shortfall(self, kept: Sequence[float]) -> list[NDArray[np.float64]]:
        """[n] of each season, as in `conformal_margin`, where such shares are kept."""
        away = [(1 - share) * (one.pred - self.base) for share, one in zip(kept, self.said, strict=True)]
        moved = [Yields(*(side - less for side in one)) for one, less in zip(self.said, away, strict=True)]
        return [one.shortfall(self.target) for one in moved]


def forecasts_left_out(
    table: SeasonTable,
    learnt: Rows,
    parts: NDArray[np.int64],
    seasons: Sequence[Season],
    teach: Callable[[Rows, int], Forecaster],
) -> LeftOut:
    """Every learnt row [n] forecast by what `teach` makes of the rows of other parts [n]."""
    base = np.empty(len(learnt))
    said = [Yields(*np.empty((3, len(learnt)))) for _ in seasons]
    for part in np.unique(parts).tolist():
        asked = parts == part
        rows = learnt[asked]
        taught = teach(learnt[~asked], part)
        base[asked] = taught.offset.predict(taught.known, table.place[rows], table.year[rows], leave_own_year_out=False)
        for one, season in zip(said, seasons, strict=True):
            for side, found in zip(one, taught.of_rows(table, season, rows), strict=True):
                side[asked] = found
    return LeftOut(table.target[learnt], base, said)


def refuse_few_years(table: SeasonTable, folds: Sequence[Fold]) -> None:
    """Raises InputError where a fold learns from too few years for `--interval year`."""
    for fold in folds:
        years = np.unique(table.year[np.concatenate([fold.train, fold.valid])])
        if len(years) < LEAST_YEARS:
            raise InputError(
                f"--interval year: fold {fold.name} learns from {len(years)} years; at least {LEAST_YEARS} are needed "
                "to tell how much worse a bad year is. Leave it out (--interval pooled), or choose another --split."
            )
