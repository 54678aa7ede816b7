"""Report observations of which most lie outside of the seasons. A wrong start or number of steps looks so."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.findings import Finding
from pipeline.sources.times.calendar import Dates

MOST_OUTSIDE = 0.5  # share of the rows


def mostly_outside(dates: Dates, inside: NDArray[np.bool_]) -> tuple[Finding, ...]:
    """A finding if more than half of the rows [R] lie outside of the seasons. inside [R]: whether a row lies in one.

    Series that run all year, such as weather, have rows in all months, and most may lie outside of a short season.
    """
    outside = int((~inside).sum())
    if outside <= MOST_OUTSIDE * len(dates):
        return ()
    month = dates.astype("datetime64[M]").astype(np.int64) % 12
    if len(np.unique(month)) == 12:
        return ()
    sentence = (
        f"{outside:,} of {len(dates):,} observation rows lie outside of the seasons and are left out. Are "
        "`season_start` and `season_steps` right?"
    )
    return (Finding("warning", sentence),)
