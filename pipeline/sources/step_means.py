"""Note that a step holds the mean of its rows, also for amounts such as rain in mm, which may be taken for sums."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.card import VariateCard
from pipeline.findings import Finding
from pipeline.sources.aggregate import Index, distinct_pairs

MOST_SHARED = 0.5  # share of the rows that may share their step with another row


def means_of_amounts(
    series: Sequence[VariateCard],
    measured: NDArray[np.float32],
    inside: NDArray[np.bool_],
    sample: Index,
    step: Index,
) -> tuple[Finding, ...]:
    """A note on the series in mm if most of their values share sample and step with another one.

    measured [R,V] of the series; inside [R]: rows in a season; sample, step [R]
    """
    positions = [v for v, variate in enumerate(series) if variate.unit.strip() == "mm"]
    if not positions:
        return ()
    rows = np.flatnonzero(inside & ~np.isnan(measured[:, positions]).all(axis=1))
    _, cell = distinct_pairs(sample[rows], step[rows], int(step.max(initial=0)) + 1)
    count = np.bincount(cell)
    if count[count > 1].sum() <= MOST_SHARED * len(rows):
        return ()
    amounts = [series[v].name for v in positions]
    sentence = (
        f"Several rows fall in one step, and a step holds their mean, not their sum. {', '.join(amounts)} in mm is "
        "then the mean amount per row, such as mm per day."
    )
    return (Finding("note", sentence, 'unit = "mm/day"'),)
