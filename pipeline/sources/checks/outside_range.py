"""Report values far outside the range that the card declares, and whether another scale explains them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.findings import Finding
from pipeline.sources.checks.medians import Floats
from pipeline.table import Variate

MOST_OUTSIDE = 0.5  # share of the values of a sample that may lie outside the range
FEW, LEAST_CELLS = 0.005, 3  # share of values far outside that are noted; more are a warning, if so many cells
SCALES = (10, 100, 1000, 10_000)
FEW_NUMBERS = 2  # with so many different numbers far outside, they are marks and no measurements
EXPLAINED = 0.9  # share of the values far outside that a scale must bring into the range


def far_outside(variate: Variate, values: Floats, sample_id: NDArray[np.str_]) -> list[Finding]:
    """A finding about samples [N] mostly outside the declared range, or values [N,T] further from it than its width."""
    if variate.low is None or variate.high is None:
        return []
    outside = (values < variate.low) | (values > variate.high)
    width = variate.high - variate.low
    far = (values < variate.low - width) | (values > variate.high + width)
    seen = np.count_nonzero(~np.isnan(values), axis=1)
    odd = (seen > 0) & (outside.sum(axis=1) > MOST_OUTSIDE * seen)
    if not odd.any() and not far.any():
        return []
    rows = odd if odd.any() else far.any(axis=1)
    row = int(np.argmax(rows))
    step = int(np.nanargmax(np.where(outside[row], np.abs(values[row]), np.nan)))
    n = int(rows.sum())
    what = f"most values of {variate.name} outside" if odd.any() else f"a value of {variate.name} far outside"
    sentence = (
        f"{n} sample{'s have' if n > 1 else ' has'} {what} of the declared range {variate.low:g} to "
        f"{variate.high:g}, such as {values[row, step]:.4g} at step {step} of {sample_id[row]}."
    )
    many = far.sum() >= LEAST_CELLS and far.sum() > FEW * seen.sum()
    if many:
        sentence += f" {int(far.sum()):,} of {int(seen.sum()):,} values ({far.mean(where=~np.isnan(values)):.1%}) are "
        sentence += (
            f"further from it than its width. {_cause(values[far], values[~outside], variate.low, variate.high)}"
        )
    line = f'[[exclude]]\nsample_id = "{sample_id[row]}"\nreason = "outside of the range"'
    return [Finding("warning" if odd.any() or many else "note", sentence, line)]


def _cause(far: Floats, others: Floats, low: float, high: float) -> str:
    """What explains the values far outside the range. others: all values within it, and NaN."""
    correct = (
        "Correct them, or `low` and `high` of this variate; if they stand for missing data, name them in `missing`."
    )
    if len(np.unique(far)) <= FEW_NUMBERS:
        return correct
    level = float(np.nanmedian(np.abs(others)))
    size = float(np.median(np.abs(far)))
    times = min(SCALES, key=lambda scale: abs(np.log(size / scale / max(level, 1e-9))))
    explained = ((far / times >= low) & (far / times <= high)).mean()
    if explained < EXPLAINED:
        return correct
    return (
        f"Divided by {times:,}, {explained:.0%} of them lie within it, so some rows seem to be in another scale. Store "
        "all rows in one scale."
    )
