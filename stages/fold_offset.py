"""What a fold may know of its places: yields, the rehearsals that choose an offset, and anomalies from it."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from model.offset import KnownYields, Offset, OffsetName, Rehearsal, choose_offset, known_yields
from pipeline.errors import InputError
from pipeline.splits import Fold, joined_places
from pipeline.table import SeasonTable

REHEARSED_YEARS = 10  # the latest known years, on which a forward fold chooses its offset

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


def fold_offset(
    table: SeasonTable, fold: Fold, kind: Literal["auto"] | OffsetName = "auto", window: int | None = None
) -> Offset:
    """The offset of a fold, chosen on its rehearsals. Raises InputError for `mixed` unless whole years are held out.

    The mixed-effects model is a candidate where whole years are held out: without its place's yields it has nothing to
    pool, and rows of a random split share the shock of their year with those that are tested.
    """
    learnt = np.sort(np.concatenate([fold.train, fold.valid]))
    mixed = known_in(table, fold, learnt) if holds_out_years(table, fold) else None
    if kind == "mixed" and mixed is None:
        raise InputError(
            f"--offset mixed pools the yields of a place over its other years, and fold {fold.name} holds out no whole "
            "years. Use --split year, forward or leave-year-out, or leave --offset out."
        )
    return choose_offset(rehearsals(table, fold), kind, window, mixed)


def holds_out_years(table: SeasonTable, fold: Fold) -> bool:
    """Whether the test rows are of years of which no other row is."""
    learnt = np.concatenate([fold.train, fold.valid])
    return not fold.by_place and not set(table.year[learnt]) & set(table.year[fold.test])


def groups_of(table: SeasonTable, fold: Fold, index: Rows) -> NDArray[np.generic]:
    """What is held out together in this fold, of the rows of `index` [n]: their places, their years, or themselves.

    Rows that share one yield (`table.group`) are held out together, and places that share one are one place.
    """
    if fold.by_place:
        return joined_places(table.place, table.group)[index]
    if set(table.year[fold.train]) & set(table.year[fold.valid]):
        return table.group[index]
    return table.year[index]


def rehearsals(table: SeasonTable, fold: Fold) -> list[Rehearsal]:
    """Cases to choose the offset on, none with a test label: each forecasts rows that its known yields omit.

    A fold that tests a later year: the latest known years in turn, history included, each from the years before it. One
    that tests one year among others: every training year from the others. One that tests places or random rows: the
    validation rows.
    """
    years = table.year
    if fold.by_place or set(years[fold.train]) & set(years[fold.valid]):
        return [_rehearsal(table, fold, fold.train, fold.valid)]
    learnt = np.sort(np.concatenate([fold.train, fold.valid]))
    if years[learnt].max() < years[fold.test].min():
        return _rehearsals_forward(known_in(table, fold, learnt), int(years[fold.test].min()))
    return [
        _rehearsal(table, fold, learnt[years[learnt] != year], learnt[years[learnt] == year])
        for year in np.unique(years[learnt])
    ]


def _rehearsals_forward(known: KnownYields, tested: int) -> list[Rehearsal]:
    """The latest years before `tested` from the years before each, as many of them labels as there are labels now."""
    before = known.year < tested
    place, year, target = known.place[before], known.year[before], known.target[before]
    labelled = len(np.unique(known.year[known.label]))
    found = []
    for asked in np.unique(year)[1:][-REHEARSED_YEARS:]:
        at = year < asked
        years = np.unique(year[at])
        label = year[at] >= years[-labelled:][0]
        yields = KnownYields(place[at], year[at], target[at], label)
        now = year == asked
        found.append(Rehearsal(yields, place[now], year[now], target[now]))
    return found


def _rehearsal(table: SeasonTable, fold: Fold, learnt: Rows, asked: Rows) -> Rehearsal:
    return Rehearsal(known_in(table, fold, learnt), table.place[asked], table.year[asked], table.target[asked])
