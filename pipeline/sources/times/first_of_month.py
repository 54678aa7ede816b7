"""Report a source whose dates are all the first of a month, while the season has shorter steps.

Totals and means of a month are often dated so, and would be read a month before they are known.
"""

from __future__ import annotations

import numpy as np

from pipeline.findings import Finding
from pipeline.sources.times.calendar import Dates

LEAST_MONTHS = 3  # of the calendar; values of a year are dated 1 January
SHORTEST_MONTH = 28  # days


def first_of_month(source: str, dates: Dates, grid_days: float) -> tuple[Finding, ...]:
    """A finding about the dates [R] of a source. grid_days: days per step of the season grid."""
    months = dates.astype("datetime64[M]")
    if grid_days >= SHORTEST_MONTH or (dates != months.astype("datetime64[D]")).any():
        return ()
    if len(np.unique(months.astype(np.int64) % 12)) < LEAST_MONTHS:
        return ()
    sentence = (
        f"All dates of {source} are the first of a month, and each value counts from that day on. A total or mean of a "
        'month is not known then: set step_days = "month" in this source, and it counts at the end of the month. If '
        "the values are those of that day, set step_days = 1."
    )
    return (Finding("warning", sentence, 'step_days = "month" # of this source'),)
