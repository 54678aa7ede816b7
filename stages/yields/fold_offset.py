"""The offset of a fold: the yields that it may use, the trial forecasts that choose it, and the anomalies from it."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from model.offset import KnownYields, OffsetName, known_yields
from model.offset_choice import ChosenOffset, Rehearsal, choose_offset
from pipeline.errors import InputError
from pipeline.splits import Fold, joined_places
from pipeline.table import SeasonTable

REHEARSED_YEARS = 10  # the latest known years, on which a forward fold chooses its offset

Rows = NDArray[np.int64]  # positions in a table


def anomaly_of(
    table: SeasonTable, index: Rows, offset: ChosenOffset, known: KnownYields, own: bool
) -> NDArray[np.float64]:
    """Yield minus offset, t/ha [n], of the samples of `index`. own: leave out the labels of the sample's own year."""
    base = offset.predict(known, table.place[index], table.year[index], leave_own_year_out=own)
    anomaly: NDArray[np.float64] = table.target[index] - base
    return anomaly


def known_in(table: SeasonTable, fold: Fold, fitted: Rows) -> KnownYields:
    """The yields that a model of this fold may use: labels of the rows it is fitted on, and the card's history.

    History entries for the place and year of any other row of the table are dropped. If whole places are held out, so
    is their history.
    """
    other = np.setdiff1d(np.arange(len(table)), fitted)
    return known_yields(
        (table.place[fitted], table.year[fitted], table.target[fitted]),
        (table.history.place, table.history.year, table.history.target),
        held_out=(table.place[other], table.year[other]),
        hide_places=fold.by_place,
    )


def fold_offset(
    table: SeasonTable, fold: Fold, kind: Literal["auto"] | OffsetName = "auto", window: int | None = None
) -> ChosenOffset:
    """The offset of a fold, weighed on its rehearsals. Raises InputError for `mixed` unless whole years are held out.

    The mixed-effects model is a candidate only if whole years are held out. With places held out it has no yields of
    the place to pool. With a random split, training rows share the shock of their year with test rows.
    """
    rows = np.sort(np.concatenate([fold.train, fold.valid]))
    mixed = known_in(table, fold, rows) if holds_out_years(table, fold) else None
    if kind == "mixed" and mixed is None:
        raise InputError(
            f"--offset mixed pools the yields of a place over its other years, and fold {fold.name} holds out no whole "
            "years. Use --split year, forward or leave-year-out, or leave --offset out."
        )
    return choose_offset(rehearsals(table, fold), kind, window, mixed)


def holds_out_years(table: SeasonTable, fold: Fold) -> bool:
    """Whether no training or validation row is of a year of the test rows."""
    rows = np.concatenate([fold.train, fold.valid])
    return not fold.by_place and not set(table.year[rows]) & set(table.year[fold.test])


def groups_of(table: SeasonTable, fold: Fold, index: Rows) -> NDArray[np.generic]:
    """Group of each row of `index` [n]: rows held out together in this fold. Its place, its year, or its yield.

    Rows that share one yield (`table.group`) are held out together, and places that share a yield are one place.
    """
    if fold.by_place:
        return joined_places(table.place, table.group)[index]
    if set(table.year[fold.train]) & set(table.year[fold.valid]):
        return table.group[index]
    return table.year[index]


def rehearsals(table: SeasonTable, fold: Fold) -> list[Rehearsal]:
    """Cases on which to choose the offset, without test labels: each predicts rows that its known yields leave out.

    If the fold tests later years: the latest known years in turn, including history, each from the years before it. If
    it tests one year among others: every training year from the others. If it tests places or random rows: the
    validation rows.
    """
    years = table.year
    if fold.by_place or set(years[fold.train]) & set(years[fold.valid]):
        return [_rehearsal(table, fold, fold.train, fold.valid)]
    rows = np.sort(np.concatenate([fold.train, fold.valid]))
    if years[rows].max() < years[fold.test].min():
        return _rehearsals_forward(known_in(table, fold, rows), int(years[fold.test].min()))
    return [
        _rehearsal(table, fold, rows[years[rows] != year], rows[years[rows] == year]) for year in np.unique(years[rows])
    ]


def _rehearsals_forward(known: KnownYields, tested: int) -> list[Rehearsal]:
    """The latest years before `tested`, each from the years before it, with as many labelled years as there are now."""
    before = known.year < tested
    place, year, target = known.place[before], known.year[before], known.target[before]
    labelled = len(np.unique(known.year[known.label]))
    cases = []
    for latest in np.unique(year)[1:][-REHEARSED_YEARS:]:
        at = year < latest
        years = np.unique(year[at])
        label = year[at] >= years[-labelled:][0]
        yields = KnownYields(place[at], year[at], target[at], label)
        now = year == latest
        cases.append(Rehearsal(yields, place[now], year[now], target[now]))
    return cases


def _rehearsal(table: SeasonTable, fold: Fold, fitted: Rows, predicted: Rows) -> Rehearsal:
    return Rehearsal(
        known_in(table, fold, fitted), table.place[predicted], table.year[predicted], table.target[predicted]
    )
