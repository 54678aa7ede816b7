"""Report places whose series lie beyond those of all others in every season, as their scale may be different."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.findings import Finding
from pipeline.sources.checks.medians import Floats, row_medians
from pipeline.table import Variate

BEYOND = 2.0  # times the largest value of all other places: the level of each of these places
LEAST_PLACES = 3
LEAST_SEASONS = 2  # of the places beyond, together


def scaled_places(variate: Variate, values: Floats, names: NDArray[np.str_], place: NDArray[np.int64]) -> list[Finding]:
    """A finding if one group of places lies far beyond all values [N,T] of the other places.

    place [N]: which of `names` each sample is in. It is no error, because places differ by nature. It names the
    smaller group.
    """
    rows = np.flatnonzero(~np.isnan(values).all(axis=1))
    used, index, seasons = np.unique(place[rows], return_inverse=True, return_counts=True)
    names = names[used]
    if len(names) < LEAST_PLACES:
        return []
    size = np.abs(values[rows])
    highest = np.full(len(names), -np.inf)
    np.maximum.at(highest, index, np.nanmax(size, axis=1))
    if not _far_above(np.sort(highest)).any():  # a level is at most the highest value, so no level lies beyond either
        return []
    level = _median_per_place(row_medians(size), index, seasons)
    order = np.argsort(level, kind="stable")
    below = np.maximum.accumulate(highest[order])[:-1]
    beyond = np.flatnonzero((below > 0) & (level[order][1:] > BEYOND * below))
    if not len(beyond):
        return []
    split = int(beyond[np.argmax(level[order][1:][beyond] / below[beyond])]) + 1
    upper, lower = order[split:], order[:split]
    odd, others = (upper, lower) if len(upper) <= len(lower) else (lower, upper)
    if seasons[odd].sum() < LEAST_SEASONS:
        return []
    name, more = names[odd.min()], f" and of {len(odd) - 1} more places" if len(odd) > 1 else ""
    sentence = (
        f"{variate.name} of place {name}{more} lies around {np.median(level[odd]):.4g}, that of all other places "
        f"around {np.median(level[others]):.4g}, and they hardly overlap. Is it stored in another scale?"
    )
    line = f'[[exclude]]\nplace = "{name}"\nreason = "another scale"'
    return [Finding("warning", sentence, line)]


def _far_above(ordered: Floats) -> NDArray[np.bool_]:
    """Whether each number except the first lies far above the one before it."""
    return np.asarray((ordered[:-1] > 0) & (ordered[1:] > BEYOND * ordered[:-1]))


def _median_per_place(level: Floats, index: NDArray[np.int64], seasons: NDArray[np.int64]) -> Floats:
    """The median of the levels [N] of each place."""
    order = np.lexsort((level, index))
    first = np.cumsum(seasons) - seasons
    return np.asarray(level[order][first + seasons // 2])
