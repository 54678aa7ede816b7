"""A place whose series lie beyond those of all others in every season: it may be stored in another scale."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.findings import Finding
from pipeline.table import Variate

BEYOND = 2.0  # times the largest (or a part of the smallest) value of all other places: the median of the place
LEAST_PLACES = 3
LEAST_SEASONS = 2


def scaled_places(variate: Variate, values: NDArray[np.float64], place: NDArray[np.str_]) -> list[Finding]:
    """A finding if a place's median [N,T] lies beyond all values of all other places, with a wide margin.

    Places differ by nature, so it is reported and not refused.
    """
    rows = np.flatnonzero(np.count_nonzero(~np.isnan(values), axis=1) > 0)
    names, index, seasons = np.unique(place[rows], return_inverse=True, return_counts=True)
    if len(names) < LEAST_PLACES:
        return []
    size = np.abs(values[rows])
    highest = _per_place(np.nanmax(size, axis=1), index, len(names))
    lowest = -_per_place(-np.nanmin(size, axis=1), index, len(names))
    for p in _suspects(size, index, len(names)):
        median = float(np.nanmedian(size[index == p]))
        above, below = float(np.delete(highest, p).max()), float(np.delete(lowest, p).min())
        if seasons[p] < LEAST_SEASONS or not (median > BEYOND * above or median * BEYOND < below):
            continue
        edge = f"at most {above:.4g}" if median > above else f"at least {below:.4g}"
        sentence = (
            f"{variate.name} of place {names[p]} lies around {median:.4g} in {seasons[p]} seasons, and that of all "
            f"other places is {edge}. Is it stored in another scale?"
        )
        line = f'[[exclude]]\nplace = "{names[p]}"\nreason = "another scale"'
        return [Finding("warning", sentence, line)]
    return []


def _suspects(size: NDArray[np.float64], index: NDArray[np.int64], places: int) -> list[int]:
    """The places with the largest and the smallest level of a season: no other one can lie beyond all others."""
    level = np.nanmedian(size, axis=1)
    highest, lowest = _per_place(level, index, places), -_per_place(-level, index, places)
    return [int(np.argmax(lowest)), int(np.argmin(highest))]


def _per_place(numbers: NDArray[np.float64], index: NDArray[np.int64], places: int) -> NDArray[np.float64]:
    """The largest of the numbers [N] of each place."""
    found = np.full(places, -np.inf)
    np.maximum.at(found, index, numbers)
    return found
