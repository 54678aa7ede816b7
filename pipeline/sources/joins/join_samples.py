"""From the rows of all sources to the numbers, the series and the group of each joined sample."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.card import DatasetCard
from pipeline.errors import InputError
from pipeline.sources import aggregate
from pipeline.sources.aggregate import Index
from pipeline.sources.counts import counted
from pipeline.sources.joins.season_keys import YEARS, Placed, keys_of
from pipeline.sources.joins.source_rows import Numbers, Observations
from pipeline.sources.row_kinds import advice_on_texts
from pipeline.table import Count


def values_of_seasons(
    card: DatasetCard, series: Sequence[Observations], placed: Sequence[Placed], samples: Index, steps: int
) -> NDArray[np.float32]:
    """values [N,V+R,T] in the order of the card, variates before drivers."""
    values = np.full((len(samples), len(card.series), steps), np.nan, np.float32)
    order = {variate.name: position for position, variate in enumerate(card.series)}
    for one, at in zip(series, placed, strict=True):
        rows = np.flatnonzero(at.inside)
        sample = np.minimum(np.searchsorted(samples, at.key[rows]), len(samples) - 1)
        known = samples[sample] == at.key[rows]  # a row without any number may be of no sample
        rows, sample = rows[known], sample[known]
        positions = [order[variate.name] for variate in one.source.series]
        values[:, positions] = aggregate.mean_in_cells(one.measured[rows], sample, at.step[rows], len(samples), steps)
    return values


def number_a_sample(part: Numbers, place: Index, samples: Index, names: NDArray[np.str_]) -> NDArray[np.float64]:
    """The numbers [N,S] of each sample, NaN if unknown. Raises `InputError` if rows of a sample differ."""
    key = keys_of(place, part.year)
    wanted = samples if part.year is not None else samples // YEARS * YEARS
    found = np.full((len(samples), len(part.columns)), np.nan)
    for s, column in enumerate(part.columns):
        rows = np.flatnonzero(~np.isnan(part.numbers[:, s]))
        rows = rows[np.argsort(key[rows], kind="stable")]
        distinct, first, group = np.unique(key[rows], return_index=True, return_inverse=True)
        torn = np.flatnonzero(part.numbers[rows, s] != part.numbers[rows[first[group]], s])
        if len(torn):
            one, other = int(rows[first[group[torn[0]]]]), int(rows[torn[0]])
            year = "" if part.year is None else f" in {part.year[other]}"
            raise InputError(
                f"{part.where(other)}, column {column}: place {names[place[other]]} has {part.numbers[other, s]:g}"
                f"{year} here and {part.numbers[one, s]:g} before ({part.where(one)}); it has one. Remove one of the "
                f"rows, or let `place` distinguish them. "
                f"{advice_on_texts(part.unread(one), part.unread(other))}"
            )
        if len(distinct):
            at = np.minimum(np.searchsorted(distinct, wanted), len(distinct) - 1)
            found[:, s] = np.where(distinct[at] == wanted, part.numbers[rows[first[at]], s], np.nan)
    return found


def group_a_sample(part: Numbers, place: Index, samples: Index, names: NDArray[np.str_]) -> NDArray[np.str_] | None:
    """The value of `[target] group` for each sample [N], empty if unknown. Raises `InputError` if rows differ."""
    if part.group is None:
        return None
    key = keys_of(place, part.year)
    rows = np.flatnonzero(part.group != "")
    distinct, first, again = np.unique(key[rows], return_index=True, return_inverse=True)
    torn = np.flatnonzero(part.group[rows] != part.group[rows[first[again]]])
    if len(torn):
        row = int(rows[torn[0]])
        raise InputError(
            f"{part.where(row)}: place {names[place[row]]} is of group {part.group[row]} here and of "
            f"{part.group[rows[first[again[torn[0]]]]]} in another row of that year; a sample has one yield."
        )
    found = np.full(len(samples), "", part.group.dtype)
    found[np.searchsorted(samples, distinct)] = part.group[rows[first]]
    return found


def counts_of_rows(series: Sequence[Observations], placed: Sequence[Placed]) -> tuple[Count, ...]:
    """How many rows lay outside of the seasons, and how many were averaged."""
    outside = sum(int((~at.inside).sum()) for at in placed)
    repeated = sum(repeated_rows_of(one, at) for one, at in zip(series, placed, strict=True))
    return (
        *(count for one in series for count in one.counts),
        *counted("observation row outside of the seasons left out", outside),
        *counted("observation row averaged with an earlier one of its place and date", repeated, lost=False),
    )


def repeated_rows_of(one: Observations, at: Placed) -> int:
    """The number of rows with a value for a place, date and variate that an earlier row has too."""
    rows = np.flatnonzero(at.inside)
    place, year = np.divmod(at.key[rows], YEARS)
    _, sample = aggregate.distinct_pairs(place, year, YEARS)
    shared = aggregate.in_shared_cells(sample, at.step[rows])
    rows = rows[shared]
    return aggregate.repeated_rows(one.measured[rows], sample[shared], one.dates[rows].astype(np.int64))


def where_of_samples(samples: Index, parts: Sequence[tuple[Index, Callable[[int], str]]]) -> Callable[[int], str]:
    """Where a sample's first row stands, for messages."""

    def where(index: int) -> str:
        for key, where in parts:
            rows = np.flatnonzero(key == samples[index])
            if len(rows):
                return where(int(rows[0]))
        raise ValueError(f"no row is of sample {index}")

    return where
