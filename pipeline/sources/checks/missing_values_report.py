"""Findings about marks of missing data: those that the card names in vain, and those among static numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.findings import Finding
from pipeline.sources.files.missing_values import Stored, marks_in


def unmatched_marks(found: Mapping[float, int], missing: Sequence[float]) -> tuple[Finding, ...]:
    """A finding if a number of `missing` was found in no series, yield or static column.

    found: how often each was
    """
    unmatched = [f"{mark:g}" for mark in missing if not found.get(mark)]
    if not unmatched:
        return ()
    sentence = (
        f"`missing` names {', '.join(unmatched)}, and no cell of the table holds "
        f"{'it' if len(unmatched) == 1 else 'them'}. Give the numbers as they are stored, before any scale, or leave "
        "out what does not occur."
    )
    matched = [f"{mark:g}" for mark in missing if found.get(mark)]
    return (Finding("warning", sentence, f"missing = [{', '.join(matched)}]"),)


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
