"""What a fold may know of its places: yields, the rehearsals that choose an offset, and anomalies from it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from model.offset import KnownYields, Offset, Rehearsal, known_yields
from pipeline.splits import Fold
from pipeline.table import SeasonTable

REHEARSED_YEARS = 3  # on which a forward fold chooses its offset

Rows = NDArray[np.int64]  # positions in a table


def anomaly_of(table: SeasonTable, index: Rows, offset: Offset, known: KnownYields, own: bool) -> NDArray[np.float64]:
    """Yield minus offset, t/ha [n], of the samples of `index`. own: do not use their own labels for them."""
    base = offset.predict(known, table.place[index], table.year[index], leave_own_year_out=own)
    anomaly: NDArray[np.float64] = table.target[index] - base
    return anomaly


def known_in(table: SeasonTable, fold: Fold, learnt: Rows) -> KnownYields:
    """The yields that a model of this fold may know: labels of the rows it learns from, and the card's history.

    History is cut where it would name the label of any other row of the table; places held out as a whole lose theirs.
    """
    other = np.setdiff1d(np.arange(len(table)), learnt)
    return known_yields(
        (table.place[learnt], table.year[learnt], table.target[learnt]),
        (table.history.place, table.history.year, table.history.target),
        held_out=(table.place[other], table.year[other]),
        hide_places=fold.by_place,
    )


def groups_of(table: SeasonTable, fold: Fold, index: Rows) -> NDArray[np.generic]:
    """What is held out together in this fold, of the rows of `index` [n]: their places, their years, or themselves."""
    if fold.by_place:
        return table.place[index]
    if set(table.year[fold.train]) & set(table.year[fold.valid]):
        return index
    return table.year[index]


def rehearsals(table: SeasonTable, fold: Fold) -> list[Rehearsal]:
    """Cases to choose the offset on, none with a test label: each forecasts rows that its known yields omit.

    A fold that tests a later year: the latest learnt years in turn, each from the years before it. One that tests one
    year among others: every learnt year from the others. One that tests places or random rows: the validation rows.
    """
    years = table.year
    if fold.by_place or set(years[fold.train]) & set(years[fold.valid]):
        return [_rehearsal(table, fold, fold.train, fold.valid)]
    learnt = np.sort(np.concatenate([fold.train, fold.valid]))
    forward = years[learnt].max() < years[fold.test].min()
    asked = np.unique(years[learnt])
    if forward:
        asked = asked[1:][-REHEARSED_YEARS:]
    return [
        _rehearsal(
            table,
            fold,
            learnt[years[learnt] < year if forward else years[learnt] != year],
            learnt[years[learnt] == year],
        )
        for year in asked
    ]


def _rehearsal(table: SeasonTable, fold: Fold, learnt: Rows, asked: Rows) -> Rehearsal:
    return Rehearsal(known_in(table, fold, learnt), table.place[asked], table.year[asked], table.target[asked])
