"""Positions of samples in stage 2: when they are read, and what is reported about them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.learners.tabular import on_globe
from pipeline.findings import Finding
from pipeline.plural import plural
from pipeline.sources.geometry import known_shapes, positions_of
from pipeline.splits import Fold
from pipeline.table import SeasonTable

LEAST_PLACED = 12  # places with a position, for a learner to read them
FAR, LEAST_FAR = 6.0, 100.0  # a place lies far from most others: in median distances, and at least in km
MOST_COMPARED = 500  # places that each place is compared with


def positions_help(table: SeasonTable, fold: Fold) -> bool:
    """Whether a learner reads positions: whole places are held out, and enough training places have a position.

    If years are held out instead, the offset knows the level of a place from its other years.
    """
    return fold.by_place and table.position is not None and placed_in_training(table, fold) >= LEAST_PLACED


def placed_in_training(table: SeasonTable, fold: Fold) -> int:
    """The number of places with a position among the training and validation rows of a fold."""
    assert table.position is not None
    fitted = np.concatenate([fold.train, fold.valid])
    placed = ~np.isnan(table.position[fitted]).any(1)
    return len(np.unique(table.place[fitted][placed]))


def placed_places(table: SeasonTable) -> tuple[NDArray[np.str_], NDArray[np.float64]]:
    """The P places with a position, and the position of each [P,2]: that of its first sample with one."""
    assert table.position is not None
    rows = np.flatnonzero(~np.isnan(table.position).any(1))
    places, first = np.unique(table.place[rows], return_index=True)
    return places, table.position[rows[first]]


def with_reported_positions(
    table: SeasonTable, data: str | Path, memory_gb: float | None, folds: Sequence[Fold] = ()
) -> tuple[SeasonTable, tuple[Finding, ...]]:
    """The table with the positions that its card names, if any, and what is odd about them.

    It has no positions if a fold has too few training places with one, so that all folds have the same learners.
    """
    shapes, why = known_shapes(data, memory_gb)
    if shapes is None:
        return table, (Finding("warning", f"The forecast does not use positions: {why}"),) if why else ()
    placed = replace(table, position=positions_of(shapes, table))
    findings = tuple(position_findings(placed, unmatched=shapes.unmatched(table)))
    counts = [placed_in_training(placed, fold) for fold in folds]
    if len(placed_places(placed)[0]) < LEAST_PLACED or min(counts, default=LEAST_PLACED) >= LEAST_PLACED:
        return placed, findings
    fewest = int(np.argmin(counts))
    few = Finding("warning", f"The forecast does not use positions: {plural(counts[fewest], 'training place')} of fold "
                             f"{folds[fewest].name} have one, and at least {LEAST_PLACED} must.")  # fmt: skip
    return table, (*findings, few)


def position_findings(table: SeasonTable, unmatched: Sequence[str]) -> Iterator[Finding]:
    """What is odd about the positions of a table. unmatched: names with a position that are not in the table."""
    places, at = placed_places(table)
    every = np.unique(table.place)
    lost = np.setdiff1d(every, places)
    if len(lost):
        others = f" {plural(len(unmatched), 'position')} of other names, such as {unmatched[0]}." if unmatched else ""
        yield Finding("warning", f"{len(lost)} of {plural(len(every), 'place')}, such as {lost[0]}, have no position. "
                                 f"Yields of neighbouring places are not used for them.{others}")  # fmt: skip
    if len(places) < LEAST_PLACED:
        yield Finding("warning", f"The forecast does not use positions: {plural(len(places), 'place')} of "
                                 f"{len(every)} have one, and at least {LEAST_PLACED} must.")  # fmt: skip
        return
    distinct, inverse, counts = np.unique(at, axis=0, return_inverse=True, return_counts=True)
    if (shared := int(counts[counts > 1].sum())) > 0:
        most = int(counts.argmax())
        here, (longitude, latitude) = places[inverse.ravel() == most], distinct[most]
        yield Finding("warning", f"{shared} of {plural(len(every), 'place')} share their position with another, such "
                                 f"as {here[0]} and {here[1]}: latitude {latitude:g}, longitude {longitude:g}, which "
                                 f"{len(here)} places have.")  # fmt: skip
    sphere = on_globe(at)
    some = sphere[:: 1 + len(sphere) // MOST_COMPARED]
    usual = np.array([np.median(np.linalg.norm(some - one, axis=1)) for one in sphere])
    far = np.flatnonzero(usual > max(LEAST_FAR, FAR * float(np.median(usual))))
    if len(far):
        yield Finding("warning", f"{plural(len(far), 'place')}, such as {places[far[0]]}, lie far from most others: "
                                 f"the median distance is {usual[far[0]]:,.0f} km, and {np.median(usual):,.0f} km are "
                                 "usual. Are latitude and longitude swapped?")  # fmt: skip
