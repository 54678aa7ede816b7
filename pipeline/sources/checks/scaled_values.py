"""Report a few values that are 100 times the others or more, as rows in another scale are.

The range that a card declares shows such rows by itself; these are the variates without one.
"""

from __future__ import annotations

import numpy as np

from pipeline.findings import Finding
from pipeline.sources.checks.medians import Floats, column_medians
from pipeline.table import Variate

LARGE = 10.0  # times a magnitude that nine in ten values do not reach
LEAST_CELLS, LEAST_SHARE = 3, 0.005
SCALES = (100, 1000, 10_000)
NEAR = 1.5  # ratio between a scale and the level of the large values at their steps
MOST_BETWEEN = 0.5  # values between the others and the large ones, for each large one; a long tail has more


def scaled_values(variate: Variate, values: Floats) -> list[Finding]:
    """A finding about values [N,T] that another scale explains, if the card declares no range of the variate."""
    if variate.low is not None and variate.high is not None:
        return []
    size = np.abs(values)
    size[size == 0] = np.nan
    seen = size[~np.isnan(size)]
    if not len(seen):
        return []
    usual = float(np.quantile(seen, 0.9))
    large = size > LARGE * usual
    cells = int(large.sum())
    if cells < max(LEAST_CELLS, LEAST_SHARE * len(seen)):
        return []
    rest = np.where(large, np.nan, size)
    between = int((rest > 2 * usual).sum())
    ratio = (size / column_medians(rest))[large]
    level = float(np.median(ratio[~np.isnan(ratio)])) if not np.isnan(ratio).all() else 0.0
    times = next((scale for scale in SCALES if scale / NEAR <= level <= scale * NEAR), None)
    if times is None or between > MOST_BETWEEN * cells:
        return []
    sentence = (
        f"{cells} of {len(seen)} values of {variate.name} ({cells / len(seen):.1%}), such as "
        f"{float(np.nanmax(size)):.4g}, are about {times:,} times those of the other samples at the same steps. Some "
        "rows seem to be in another scale. Store all rows in one scale, and give the variate its `low` and `high`."
    )
    return [Finding("warning", sentence)]
