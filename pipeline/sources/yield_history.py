"""Known yields of earlier years, from the card's history files or from the `y<year>` columns beside the label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.card import DatasetCard, ExcludeCard, place_key
from pipeline.errors import InputError
from pipeline.findings import Finding
from pipeline.sources.assemble import excluded
from pipeline.sources.checks.yield_checks import Yields, check_yields
from pipeline.sources.files.columns import Unread, joined, load_columns, no_texts
from pipeline.sources.files.left_out_rows import left_out_by_keep
from pipeline.sources.files.locate_files import files_of
from pipeline.sources.files.memory_budget import Budget
from pipeline.sources.files.wanted_columns import Wanted, csv_keys
from pipeline.sources.labels import refuse_bad_names, years_of
from pipeline.sources.names.place_names import restore_zeros, restore_zeros_like
from pipeline.sources.names.unmet_names import advice_on_spelling
from pipeline.sources.row_kinds import advice_on_texts, mixed_yields
from pipeline.table import Count, YieldHistory

# Between the medians of history and labels: good and bad decades differ by less, units by more.
MOST_TIMES = 3.0
HISTORY = "known yield of the history"


@dataclass(frozen=True)
class HistoryWords:
    """How messages name the history and its place, year and unit. They differ between tables with and without a card.

    name        what holds the history, in the singular
    advice_...  what to do about years that are off, another unit, contradictions, and unknown places
    """

    name: str
    advice_years: str
    advice_unit: str
    advice_contradiction: str
    advice_places: str


OF_CARD = HistoryWords(
    name="[history]",
    advice_years=(
        "Correct the year in the history (is it a harvest year?), the column that `year` of [history] names, or the "
        "years of the labels."
    ),
    advice_unit="correct `unit` of [history] or of [target]",
    advice_contradiction="Correct `year`, `column` or `unit` of [history], or leave these years out of its file.",
    advice_places="Spell the places alike, correct `place` of [history], or leave it out.",
)
OF_COLUMNS = HistoryWords(
    name="the history (yields in `y<year>` columns of years before that of their file)",
    advice_years="Correct the years in the names of these columns or of the files.",
    advice_unit="write all yields in t/ha, or name the unit in a dataset card",
    advice_contradiction="Correct the yields or the years in the names of these columns, or leave the columns out.",
    advice_places="Spell the places alike in all files, or leave these columns out.",
)


def history_of(card: DatasetCard, budget: Budget) -> tuple[YieldHistory, tuple[Count, ...], tuple[Finding, ...]]:
    """The card's history in t/ha, counts and findings; empty if it names none."""
    if card.history is None:
        return YieldHistory(), (), ()
    named = card.history
    wanted = Wanted(
        text=named.place,
        exact=(named.year, named.column),
        missing=card.missing_numbers,
        keys=csv_keys(card),
        places=named.place,
        place=named.place,
        yields=(named.column,),
        missing_texts=card.missing_texts,
        keep=named.keep,
    )
    files = files_of(card, named.files)
    columns = joined(load_columns([(path, wanted) for path in files], budget))
    refuse_bad_names(columns, place_key(named.place))
    years = years_of(columns.exact[named.year], named.year, columns.where)
    target = columns.exact[named.column] * card.history_factor()
    stands = Yields(str(card.path), target, years, columns.where, named.column, card.history_factor(), HISTORY)
    check_yields(stands, card.missing_numbers)
    place = columns.text[place_key(named.place)]
    mixed = mixed_yields(files, wanted, place.codes, target, budget)
    left_out, nearly = left_out_by_keep(columns.left_out, named.keep, files)
    history, counts = known_yields(
        place.strings(), years, target, source=str(card.path), exclude=card.exclude, unread=columns.unread
    )
    return history, (*left_out, *counts), (*mixed, *nearly)


def history_files(card: DatasetCard) -> tuple[Path, ...]:
    """The files of the card's history."""
    return files_of(card, card.history.files) if card.history else ()


def earlier_yields(
    columns: Sequence[tuple[NDArray[np.str_], int, NDArray[np.float64]]], source: str
) -> tuple[YieldHistory, tuple[Count, ...]]:
    """(places, year, yields in t/ha) of every earlier `y<year>` column as one history."""
    if not columns:
        return YieldHistory(), ()
    place = np.concatenate([places for places, _, _ in columns])
    year = np.concatenate([np.full(len(places), y, np.int64) for places, y, _ in columns])
    return known_yields(place, year, np.concatenate([yields for _, _, yields in columns]), source=source, exclude=())


def spelled_alike(
    history: YieldHistory, place: NDArray[np.str_], source: str, words: HistoryWords
) -> tuple[YieldHistory, tuple[Finding, ...]]:
    """The history with its places spelled as the table's places [N] are, and what was repaired."""
    if len(history) == 0:
        return history, ()
    names, once = restore_zeros(history.place, history.year, f"{source}, {words.name}")
    names, like = restore_zeros_like(names, place, "the history")
    if not (once or like):
        return history, ()
    order = np.lexsort((history.year, names))
    return YieldHistory(names[order], history.year[order], history.target[order]), (*once, *like)


def compared(
    history: YieldHistory,
    place: NDArray[np.str_],
    target: NDArray[np.float64],
    *,
    source: str,
    for_prediction: bool,
    words: HistoryWords,
) -> tuple[Count, ...]:
    """Compare the history with the table's places and labels in t/ha [N]. Returns counts of what does not fit.

    Raises `InputError` if it has no place of the table, unless the table is read for prediction.
    """
    if len(history) == 0:
        return ()
    counts = []
    if not np.isin(history.place, place).any():
        if not for_prediction:
            raise InputError(
                f"{source}: {words.name} knows yields of {len(np.unique(history.place))} places, such as "
                f"{str(history.place[0])!r}, and none of them is in the table, which has {str(place[0])!r} and others. "
                f"{advice_on_spelling(history.place.tolist(), place.tolist(), words.advice_places)}"
            )
        counts.append(Count("known yield of the history without use: none of its places is in the table", len(history)))
    labels = target[target > 0]
    if len(labels) == 0:
        return tuple(counts)
    ratio = float(np.median(history.target) / np.median(labels))
    if not 1 / MOST_TIMES <= ratio <= MOST_TIMES:
        reason = (
            f"known yield of the history, with a median of {np.median(history.target):.3g} t/ha where the labels have "
            f"{np.median(labels):.3g}: look at the unit of both"
        )
        counts.append(Count(reason, len(history), lost=False))
    return tuple(counts)


def known_yields(
    place: NDArray[np.str_],
    year: NDArray[np.int64],
    target: NDArray[np.float64],
    *,
    source: str,
    exclude: Sequence[ExcludeCard],
    unread: Unread = no_texts,
) -> tuple[YieldHistory, tuple[Count, ...]]:
    """Known yields sorted by place and year, without duplicates. What the card excludes is left out and counted.

    Otherwise a label that is excluded as faulty would still be used as a known yield of its place. Raises `InputError`
    if two yields of a place and year differ.
    """
    counts = []
    known = ~np.isnan(target)
    for reason, mask in (
        ("known yield of zero or below left out of the history", target <= 0),
        *(
            (f"known yield of the history excluded by the dataset card: {rule.reason}", mask)
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
            f"place has one a year. Correct the yields of earlier years. "
            f"{advice_on_texts(unread(int(order[i])), unread(int(order[i + 1])))}"
        )
    once = np.append(True, ~same)[: len(place)]
    return YieldHistory(place[once], year[once], target[once]), tuple(counts)
