"""Report values in two ranges with a wide empty gap between them: Kelvin beside Celsius, averages with a fill value."""

from __future__ import annotations

import numpy as np

from pipeline.findings import Finding
from pipeline.sources.checks.medians import Floats
from pipeline.table import Variate

LEAST_SHARE = 0.05  # of the cells, in each range
LEAST_GAP = 3.0  # times the wider of the two ranges
LEAST_PART = 0.3  # of the span of all values; smaller gaps are not looked at
LEAST_DISTINCT = 20  # values in each range; fewer are classes, zeros of rain, or a mark that is looked at by itself
TAILS = (0.01, 0.99)  # quantiles that a range spans
SOME = 10_000  # values show where the gap is


def two_ranges(variate: Variate, values: Floats) -> list[Finding]:
    """A finding if the values [N,T] of a variate lie in two ranges, far apart."""
    seen = values[~np.isnan(values)]
    some = np.sort(seen[:: max(1, len(seen) // SOME)])
    least = max(LEAST_DISTINCT, int(np.ceil(LEAST_SHARE * len(some))))
    inner = np.diff(some)[least - 1 : len(some) - least]
    if not len(inner) or inner.max() <= LEAST_PART * (some[-1] - some[0]):
        return []
    at = least - 1 + int(np.argmax(inner))
    middle = (some[at] + some[at + 1]) / 2
    low, high = seen[seen <= middle], seen[seen > middle]
    widths = [float(np.subtract(*np.quantile(part[:: max(1, len(part) // SOME)], TAILS[::-1]))) for part in (low, high)]
    if high.min() - low.max() < LEAST_GAP * max(widths):
        return []
    if min(len(np.unique(low)), len(np.unique(high))) < LEAST_DISTINCT:
        return []
    few, many = sorted((low, high), key=len)
    sentence = (
        f"{variate.name} lies in two ranges: {len(few):,} of {len(seen):,} values between {few.min():.4g} and "
        f"{few.max():.4g}, all others between {many.min():.4g} and {many.max():.4g}. Two units in one column look like "
        "this, such as Kelvin and Celsius, and so do means with a fill value in them. Correct one of the two ranges."
    )
    return [Finding("warning", sentence)]
