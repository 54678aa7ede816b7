"""Aggregate rows to samples: the mean of each (sample, step), and numbers on which all rows of a sample agree.

A step may have several dates, and a date several rows. All observations have the same weight in the mean of the step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.sources.files.columns import Columns, Text
from pipeline.sources.row_kinds import advice_on_two_rows

Index = NDArray[np.int64]


def mean_in_cells(measured: NDArray[np.float32], sample: Index, step: Index, n: int, steps: int) -> NDArray[np.float32]:
    """values [N,V,T]: the mean of the observations in each step, NaN without any. measured [R,V]; sample, step [R]."""
    cell = sample * steps + step
    rows = np.bincount(cell, minlength=n * steps)
    if rows.max(initial=0) <= 1:  # nothing to average, as in most tables
        cells = np.full((n * steps, measured.shape[1]), np.nan, np.float32)
        cells[cell] = measured
        return np.ascontiguousarray(cells.reshape(n, steps, -1).transpose(0, 2, 1))
    values = np.full((n, measured.shape[1], steps), np.nan, np.float32)
    for v in range(measured.shape[1]):
        numbers = measured[:, v].astype(np.float64)
        seen = ~np.isnan(numbers)
        if seen.all():
            total, count = np.bincount(cell, weights=numbers, minlength=n * steps), rows
        else:
            total = np.bincount(cell[seen], weights=numbers[seen], minlength=n * steps)
            count = np.bincount(cell[seen], minlength=n * steps)
        mean = np.divide(total, count, out=np.full(n * steps, np.nan), where=count > 0)
        values[:, v] = mean.reshape(n, steps)
    return values


def distinct_pairs(one: Index, other: Index, width: int) -> tuple[Index, Index]:
    """Returns (the sorted distinct keys `one * width + other`, the position of each row's key among them [R]).

    0 <= other < width. This is numpy.unique, but without a sort if a table of all possible pairs is small enough.
    """
    low = int(other.min(initial=width))
    columns = int(other.max(initial=low)) - low + 1
    if (int(one.max(initial=0)) + 1) * columns > len(one):
        distinct, index = np.unique(one * width + other, return_inverse=True)
        return distinct, index
    cell = one * columns + (other - low)
    occurs = np.bincount(cell) > 0
    cells = np.flatnonzero(occurs)
    return cells // columns * width + cells % columns + low, (np.cumsum(occurs) - 1)[cell]


def in_shared_cells(sample: Index, step: Index) -> NDArray[np.bool_]:
    """Which rows [R] share their (sample, step) with another row."""
    if len(step) == 0:
        return np.zeros(0, bool)
    cell = sample * (int(step.max()) + 1) + step
    rows = np.bincount(cell)
    if rows.max() <= 1:
        return np.zeros(len(step), bool)
    shared: NDArray[np.bool_] = (rows > 1)[cell]
    return shared


def first_repetition(measured: NDArray[np.float32], sample: Index, day: Index) -> tuple[int, int] | None:
    """The first row with a value for a (sample, day, variate) that an earlier row has too, after that earlier row."""
    key = sample * (day.max() - day.min() + 1) + day - day.min()
    order = np.argsort(key, kind="stable")
    seen = ~np.isnan(measured[order])
    pairs = np.flatnonzero((key[order][1:] == key[order][:-1]) & (seen[1:] & seen[:-1]).any(axis=1))
    if not len(pairs):
        return None
    at = pairs[np.argmin(order[pairs + 1])]
    return int(order[at]), int(order[at + 1])


def repeated_rows(measured: NDArray[np.float32], sample: Index, day: Index) -> int:
    """The number of rows with a value for a (sample, day, variate) that an earlier row has too. measured [R,V].

    Rows that share a date but no variate are not repetitions, as some tables have one row per variate.
    """
    if len(day) == 0:
        return 0
    key = sample * (day.max() - day.min() + 1) + day - day.min()
    ordered = np.sort(key)
    shared = np.flatnonzero(np.isin(key, ordered[1:][ordered[1:] == ordered[:-1]]))
    again = np.zeros(len(shared), bool)
    for v in range(measured.shape[1] if len(shared) else 0):
        seen = np.flatnonzero(~np.isnan(measured[shared, v]))
        _, first = np.unique(key[shared[seen]], return_index=True)
        again[np.delete(seen, first)] = True
    return int(again.sum())


def one_a_sample(columns: Columns, column: str | None, sample: Index, names: NDArray[np.str_]) -> NDArray[np.float64]:
    """The number on which all rows of each sample agree [N], NaN if none has one. Raises `InputError` for two."""
    agreed = np.full(len(names), np.nan)
    if column is None:
        return agreed
    numbers = columns.exact[column]
    known = np.flatnonzero(~np.isnan(numbers))
    # Assigned backwards, so that the first known number of a sample remains.
    agreed[sample[known[::-1]]] = numbers[known[::-1]]
    other = known[numbers[known] != agreed[sample[known]]]
    if len(other):
        row = int(other[0])
        before = int(known[np.argmax(sample[known] == sample[row])])
        advice = advice_on_two_rows(columns, before, row)
        raise InputError(
            f"{columns.where(row)}, column {column}: sample {names[sample[row]]} has {numbers[row]:g} here and "
            f"{agreed[sample[row]]:g} in another row, but a sample has one value. Correct the rows, or name the column "
            f"that distinguishes the samples as `sample_id` in the dataset card. {advice}"
        )
    return agreed


def static_of(columns: Columns, static: Sequence[str], sample: Index, names: NDArray[np.str_]) -> NDArray[np.float64]:
    """The static columns of each sample [N,S], NaN if unknown. Raises `InputError` if the rows of a sample differ."""
    numbers = np.zeros((len(names), len(static)))
    for s, column in enumerate(static):
        numbers[:, s] = one_a_sample(columns, column, sample, names)
    return numbers


def first_rows(sample: Index, n: int) -> Index:
    """The first row of each sample [N], -1 for a sample without rows."""
    first = np.full(n, -1, np.int64)
    first[sample[::-1]] = np.arange(len(sample))[::-1]
    return first


def sample_where(seen: Columns, sample: Index, labels: Columns, labelled: Index) -> Callable[[int], str]:
    """A function that returns the file and row of a sample's first row, for messages."""

    def where(index: int) -> str:
        rows = np.flatnonzero(sample == index)
        if len(rows):
            return seen.where(int(rows[0]))
        return labels.where(int(np.flatnonzero(labelled == index)[0]))

    return where


def refuse_repeated_steps(columns: Columns, column: str, sample: Index, step: Index, names: NDArray[np.str_]) -> None:
    """Raise `InputError` if a sample has a step twice. Step numbers, unlike dates, are not averaged."""
    order = np.lexsort((step, sample))
    same = (sample[order][1:] == sample[order][:-1]) & (step[order][1:] == step[order][:-1])
    if not same.any():
        return
    one, two = (int(order[int(np.argmax(same)) + k]) for k in (0, 1))
    raise InputError(
        f"{columns.where(two)}: sample {names[sample[two]]} has step {columns.exact[column][two]:g} already "
        f"({columns.where(one)}). Remove one of the rows, or name the column that distinguishes the samples as "
        f"`sample_id` in the dataset card. {advice_on_two_rows(columns, one, two)}"
    )


def refuse_two(
    columns: Columns, what: str, found: Text | Index, *, sample: Index, first: Index, names: NDArray[np.str_]
) -> None:
    """Raise `InputError` if the rows of a sample differ in `what`, its place or its year."""
    codes = found.codes if isinstance(found, Text) else found
    other = codes != codes[first][sample]
    if not other.any():
        return
    row = int(np.argmax(other))
    before = int(first[sample[row]])
    here, there = (found.names[codes[r]] if isinstance(found, Text) else codes[r] for r in (row, before))
    raise InputError(
        f"{columns.where(row)}: sample {names[sample[row]]} has {what} {here} here and {there} before "
        f"({columns.where(before)}); a sample is one place in one year. Correct the rows or the sample's name."
    )
