"""Report a number at the edge of all values that is repeated in many cells, as a fill value that was scaled is.

The code 255 of a product becomes an NDVI of 0.94, which lies among the measurements. Values that were clipped, such as
NDVI at 1, are repeated as well, but their neighbours in time lie near the edge, and so do many other values.
"""

from __future__ import annotations

import numpy as np

from pipeline.findings import Finding
from pipeline.sources.checks.medians import Floats
from pipeline.table import Variate

LEAST_CELLS = 5
LEAST_SHARE = 0.005  # of the cells
TIMES = 10  # the cells with that number, against those next to it
BESIDE = 0.05  # of the spread: values that lie next to it
LEAST_DISTINCT = 20  # values; fewer are classes
SOME = 10_000  # values give the spread and the quarters


def repeated_extremes(variate: Variate, values: Floats) -> list[Finding]:
    """A finding for the lowest and the highest of the values [N,T] if it is a number like a fill value."""
    seen = values[~np.isnan(values)]
    found = []
    for sign in (-1, 1):
        number = float(sign * (sign * seen).max())
        cells = int(np.count_nonzero(seen == number))
        if number == 0 or cells < max(LEAST_CELLS, LEAST_SHARE * len(seen)) or cells == len(seen):
            continue
        rest = seen[seen != number]
        some = rest[:: max(1, len(rest) // SOME)]
        spread = float(np.subtract(*np.quantile(some, (0.99, 0.01))))
        beside = int(np.count_nonzero(np.abs(rest - number) <= BESIDE * spread))
        if len(np.unique(some)) < LEAST_DISTINCT or cells < TIMES * beside:
            continue
        near = _neighbours(values, number)
        if not len(near) or sign * np.median(near) > np.quantile(sign * some, 0.75):
            continue
        sentence = (
            f"{variate.name} is exactly {number:.6g}, its {'highest' if sign > 0 else 'lowest'} value, in {cells} of "
            f"{len(seen)} cells, and {beside} other values lie next to it. The values before and after it in time are "
            "ordinary ones. A fill value that was scaled looks like this; here it is read as measured."
        )
        line = f"missing = [...] # among the keys of {variate.name}: the number as it is stored"
        found.append(Finding("warning", sentence, line))
    return found


def _neighbours(values: Floats, number: float) -> Floats:
    """The other values one step before and after the cells of values [N,T] that hold a number."""
    at = values == number
    beside = np.concatenate([values[:, :-1][at[:, 1:]], values[:, 1:][at[:, :-1]]])
    return np.asarray(beside[~np.isnan(beside) & (beside != number)])
