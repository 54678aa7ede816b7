"""Report the numbers that stand for missing data: cells that they leave out, and numbers that no cell holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.card import VariateCard
from pipeline.findings import Finding, missing_line
from pipeline.sources.files.missing_values import Stored, marks_in
from pipeline.sources.files.stored_numbers import Marks
from pipeline.table import Count


def masked_cells(found: Marks, series: Sequence[tuple[VariateCard, Sequence[str]]]) -> tuple[Count, ...]:
    """A count for each variate of which `missing` left out cells. series: variates with their columns."""
    counts: list[Count] = []
    for variate, columns in series:
        held = _by_number(found, columns)
        numbers = ", ".join(f"{number:g}" for number, cells in held.items() if cells)
        if numbers:
            reason = f"cell of {variate.name} left out, because `missing` names {numbers}"
            counts.append(Count(reason, sum(held.values())))
    return tuple(counts)


def unmatched_of_variates(found: Marks, series: Sequence[tuple[VariateCard, Sequence[str]]]) -> tuple[Finding, ...]:
    """Findings about numbers in the `missing` of a variate that no cell of it holds."""
    return tuple(
        finding
        for variate, columns in series
        for finding in _unmatched(_by_number(found, columns), variate.missing, variate.name)
    )


def unmatched_marks(found: Marks, missing: Sequence[float]) -> tuple[Finding, ...]:
    """A finding if a number of the card's `missing` was found in no series, yield or static column."""
    return _unmatched(_by_number(found), missing)


def _by_number(found: Marks, columns: Sequence[str] | None = None) -> Counter[float]:
    """The cells that hold each number, in all columns or in some."""
    held: Counter[float] = Counter()
    for (column, number), cells in found.items():
        if columns is None or column in columns:
            held[number] += cells
    return held


def _unmatched(found: Mapping[float, int], missing: Sequence[float], variate: str = "") -> tuple[Finding, ...]:
    unmatched = [f"{mark:g}" for mark in missing if not found.get(mark)]
    if not unmatched:
        return ()
    sentence = (
        f"`missing`{f' of {variate}' if variate else ''} names {', '.join(unmatched)}, and no cell of "
        f"{variate or 'the table'} holds "
        f"{'it' if len(unmatched) == 1 else 'them'}. Give the numbers as they are stored, before any scale, or leave "
        "out what does not occur."
    )
    matched = [mark for mark in missing if found.get(mark)]
    return (Finding("warning", sentence, missing_line(matched, variate)),)


def marks_among_static(
    names: Sequence[str], static: NDArray[np.float32], place: NDArray[np.str_], missing: Sequence[float]
) -> tuple[Finding, ...]:
    """Findings about static numbers [N,S] that are a usual mark and lie far from those of all other places [N]."""
    codes = np.unique(place, return_inverse=True)[1]
    found = []
    for s, name in enumerate(names):
        _, first = np.unique(np.stack([codes, static[:, s].astype(np.float64)]), axis=1, return_index=True)
        numbers = static[first, s]  # each number of a place once
        marks = marks_in([numbers], Stored(), 1)
        if len(marks.marks) == 0 or np.isnan(marks.lowest):
            continue
        written = ", ".join(f"{mark:g}" for mark in marks.marks.tolist())
        sentence = (
            f"The static column {name} is {written} in {marks.cells} of {len(np.unique(codes))} places, "
            f"{marks.others(Stored())}. If it stands for missing data, it is read as measured."
        )
        line = f"missing = [{', '.join([*(f'{mark:g}' for mark in missing), written])}]"
        found.append(Finding("warning", sentence, line))
    return tuple(found)
