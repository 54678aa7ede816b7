"""Report one negative number that is repeated among values that are never negative, such as -1 mm of rain."""

from __future__ import annotations

import numpy as np

from pipeline.findings import Finding, missing_line
from pipeline.sources.checks.medians import Floats
from pipeline.table import Variate

LEAST_CELLS = 3  # hold exactly that number
LEAST_DISTINCT = 20  # other values
LEAST_GAP = 5.0  # times the usual distance of the lowest other values, as whole degrees may reach -1


def negative_mark(variate: Variate, values: Floats) -> list[Finding]:
    """A finding if all negative values [N,T] of a variate are one number, which stands apart from the others."""
    below = values[values < 0]
    if len(below) < LEAST_CELLS or below.min() != below.max():
        return []
    number, rest = float(below[0]), values[values >= 0]
    distinct = np.unique(rest)
    if len(distinct) < LEAST_DISTINCT:
        return []
    gap = LEAST_GAP * float(np.median(np.diff(distinct[:LEAST_DISTINCT])))
    if distinct[0] - number < gap and (variate.low is None or variate.low < 0):
        return []
    sentence = (
        f"{variate.name} is exactly {number:.6g} in {len(below)} of {len(below) + len(rest)} cells and negative in no "
        "other. If it stands for missing data, it is read as measured."
    )
    return [Finding("warning", sentence, f"{missing_line([number], variate.name)}, as it is stored")]
