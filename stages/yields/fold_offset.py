"""The offset of a fold: the yields that it may use, the trial forecasts that choose it, and the anomalies from it."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from model.cross_fitting import parts_of
from model.offset import KnownYields, OffsetName, known_yields
from model.offset_choice import ChosenOffset, Rehearsal, choose_offset
from pipeline.errors import InputError
from pipeline.splits import Fold, joined_places
from pipeline.table import SeasonTable

REHEARSED_YEARS = 10  # the latest known years, on which a forward fold chooses its offset

UnitName = Literal["year", "place", "yield"]
Rows = NDArray[np.int64]  # positions in a table


def held_out_unit(table: SeasonTable, fold: Fold) -> UnitName:
    """What the fold holds out as a whole: no training or validation row shares it with a test row.

    Units are years before places: if no test year is a training year, the shock of a test year is unknown, whatever its
    places. `yield` means that test rows share years and places with training rows; rows that share one yield are still
    on one side.
    """
    rows = np.concatenate([fold.train, fold.valid])
    if not set(table.year[rows].tolist()) & set(table.year[fold.test].tolist()):
        return "year"
    return "place" if fold.by_place else "yield"


def groups_of(table: SeasonTable, fold: Fold, index: Rows) -> NDArray[np.generic]:
    """Group of each row of `index` [n]: rows held out together in this fold. Its year, its place, or its yield.

    Rows that share one yield (`table.group`) are held out together, and places that share a yield are one place.
    """
    unit = held_out_unit(table, fold)
    if unit == "place":
        return joined_places(table.place, table.group)[index]
    return table.year[index] if unit == "year" else table.group[index]


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


def offset_without_own(table: SeasonTable, fold: Fold, offset: ChosenOffset, fitted: Rows) -> NDArray[np.float64]:
    """The offset [n] of the rows that a model is fitted on, t/ha, each without the yields of its own unit.

    The unit is what the fold holds out, so the anomalies of these rows are as large as those of test rows.
    """
    known, by = known_in(table, fold, fitted), held_out_unit(table, fold)
    codes = table.year[fitted] if by == "year" else np.unique(groups_of(table, fold, fitted), return_inverse=True)[1]
    own = np.full(len(known.place), -1)
    own[known.label] = codes
    if by == "place":  # the history of a place belongs to it
        code_of = dict(zip(table.place[fitted].tolist(), codes.tolist(), strict=True))
        own[~known.label] = [code_of.get(name, -1) for name in known.place[~known.label].tolist()]
    return offset.predict(replace(known, unit=own), table.place[fitted], table.year[fitted], unit=codes)


def fold_offset(
    table: SeasonTable, fold: Fold, kind: Literal["auto"] | OffsetName = "auto", window: int | None = None
) -> ChosenOffset:
    """The offset of a fold, weighed on its rehearsals. Raises InputError for `mixed` unless whole years are held out.

    The mixed-effects model is a candidate only if whole years are held out. With places held out it has no yields of
    the place to pool. With a random split, training rows share the shock of their year with test rows.
    """
    rows = np.sort(np.concatenate([fold.train, fold.valid]))
    mixed = None
    if held_out_unit(table, fold) == "year":
        mixed = known_in(table, fold, rows).before(int(table.year[fold.test].min()))
    if kind == "mixed" and mixed is None:
        raise InputError(
            f"--offset mixed pools the yields of a place over its other years, and fold {fold.name} holds out no whole "
            "years. Use --split year, forward or leave-year-out, or leave --offset out."
        )
    return choose_offset(rehearsals(table, fold), kind, window, mixed)


def rehearsals(table: SeasonTable, fold: Fold) -> list[Rehearsal]:
    """Cases on which to choose the offset, without test labels: each predicts rows that its known yields leave out.

    If the fold tests later years: the latest known years in turn, including history, each from the years before it. If
    it tests one year among others: every training year from the others. If it tests places or random rows: the
    validation rows, or parts of all rows if these share places with the training rows of a fold that tests places.
    """
    years, rows = table.year, np.sort(np.concatenate([fold.train, fold.valid]))
    unit = held_out_unit(table, fold)
    if unit == "year":
        if years[rows].max() < years[fold.test].min():
            return _rehearsals_forward(known_in(table, fold, rows), int(years[fold.test].min()))
        parts: NDArray[np.int64] = years[rows]
    elif unit == "place" and set(table.place[fold.train].tolist()) & set(table.place[fold.valid].tolist()):
        parts = parts_of(groups_of(table, fold, rows))
    else:
        return [_rehearsal(table, fold, fold.train, fold.valid)]
    return [_rehearsal(table, fold, rows[parts != one], rows[parts == one]) for one in np.unique(parts)]


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
