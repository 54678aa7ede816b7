"""Report a number that occurs in several cells far from all others, as it may be an unusual mark of missing data."""

from __future__ import annotations

import numpy as np

from pipeline.findings import Finding
from pipeline.sources.checks.medians import Floats
from pipeline.table import Variate

LEAST_CELLS = 3  # hold exactly the same number
LEAST_GAP = 0.25  # of the spread of all other values, between that number and the next one
SOME = 10_000  # values give the spread
LEAST_DISTINCT = 20  # values; with fewer the quantity comes in classes, and the last class is one of them


def isolated_values(variate: Variate, values: Floats) -> list[Finding]:
    """A finding for the lowest and the highest value of a variate [N,T] if it is repeated and lies apart."""
    found = []
    for number in (float(np.nanmin(values)), float(np.nanmax(values))):
        cells = int(np.count_nonzero(values == number))
        if number == 0 or cells < LEAST_CELLS:  # zeros are looked at by themselves
            continue
        seen = values[~np.isnan(values)]
        if cells == len(seen):
            continue
        rest = seen[seen != number]
        some = rest[:: max(1, len(rest) // SOME)]
        beside = float(rest.min() if number < rest[0] else rest.max())
        spread = float(np.subtract(*np.quantile(some, (0.99, 0.01))))
        if len(np.unique(some)) < LEAST_DISTINCT or abs(number - beside) < LEAST_GAP * spread:
            continue
        sentence = (
            f"{variate.name} is exactly {number:g} in {cells} of {len(seen)} cells, and all other values lie between "
            f"{rest.min():.3g} and {rest.max():.3g}. If it stands for missing data, it is read as measured."
        )
        line = f"missing = [...] # among the keys of {variate.name}: the number as it is stored"
        found.append(Finding("warning", sentence, line))
    return found
