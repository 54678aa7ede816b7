"""Known yields of earlier years, from the card's history files or from the `y<year>` columns beside the label."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.card import DatasetCard, ExcludeCard
from pipeline.errors import InputError
from pipeline.sources.columns import Wanted, joined, load_columns
from pipeline.sources.draft import excluded
from pipeline.sources.labels import refuse_empty, years_of
from pipeline.sources.locate import files_of
from pipeline.sources.memory import Budget
from pipeline.table import Count, YieldHistory


def history_of(card: DatasetCard, budget: Budget) -> tuple[YieldHistory, tuple[Count, ...]]:
    """The card's history in t/ha; empty where it names none."""
    if card.history is None:
        return YieldHistory(), ()
    named = card.history
    wanted = Wanted(text=(named.place,), exact=(named.year, named.column))
    columns = joined(load_columns([(path, wanted) for path in files_of(card, named.files)], budget))
    refuse_empty(columns, named.place)
    years = years_of(columns.exact[named.year], named.year, columns.where)
    target = columns.exact[named.column] * card.history_factor()
    return known_yields(columns.text[named.place].strings(), years, target, str(card.path), card.exclude)


def earlier_yields(
    columns: Sequence[tuple[NDArray[np.str_], int, NDArray[np.float64]]], source: str
) -> tuple[YieldHistory, tuple[Count, ...]]:
    """(places, year, yields in t/ha) of every earlier `y<year>` column as one history."""
    if not columns:
        return YieldHistory(), ()
    place = np.concatenate([places for places, _, _ in columns])
    year = np.concatenate([np.full(len(places), y, np.int64) for places, y, _ in columns])
    return known_yields(place, year, np.concatenate([yields for _, _, yields in columns]), source, ())


def known_yields(
    place: NDArray[np.str_],
    year: NDArray[np.int64],
    target: NDArray[np.float64],
    source: str,
    exclude: Sequence[ExcludeCard],
) -> tuple[YieldHistory, tuple[Count, ...]]:
    """Sorted by place and year, each once. Missing ones are left out; so is what the card excludes, and is counted.

    A label that is excluded as faulty must not come back as what is known about its place.
    """
    counts = []
    known = ~np.isnan(target)
    for reason, mask in (
        ("known yield of zero or below left out of the history", target <= 0),
        *(
            (f"known yield excluded by the dataset card: {rule.reason}", mask)
            for rule, mask in zip(exclude, excluded(exclude, place, year), strict=True)
        ),
    ):
        if rows := int((known & mask).sum()):
            counts.append(Count(reason, rows))
        known &= ~mask
    order = np.flatnonzero(known)
    order = order[np.lexsort((year[order], place[order]))]
    place, year, target = place[order], year[order], target[order]
    same = (place[1:] == place[:-1]) & (year[1:] == year[:-1])
    torn = same & (target[1:] != target[:-1])
    if torn.any():
        i = int(np.argmax(torn))
        raise InputError(
            f"{source}: two known yields of place {place[i]} in {year[i]}, {target[i]:g} and {target[i + 1]:g} t/ha; a "
            "place has one a year. Correct the yields of earlier years."
        )
    once = np.append(True, ~same)[: len(place)]
    return YieldHistory(place[once], year[once], target[once]), tuple(counts)
