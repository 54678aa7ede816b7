"""Rows of a long table that share place and date: count those that are averaged, and report them if they are many."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.findings import Finding
from pipeline.sources import aggregate
from pipeline.sources.aggregate import Index
from pipeline.sources.calendar import Dates
from pipeline.sources.columns import Columns
from pipeline.sources.counts import counted
from pipeline.sources.place_names import TWO_OF_ONE_NAME
from pipeline.table import Count

MOST_AVERAGED = 0.1  # share of rows that may repeat a place and date without a finding


def repeated_dates(
    seen: Columns, inside: NDArray[np.bool_], sample: Index, step: Index, dates: Dates
) -> tuple[Count, ...]:
    """A count of the rows in the season that repeat a place, a date and a variate."""
    within = slice(None) if inside.all() else np.flatnonzero(inside)  # a slice copies nothing
    # Two rows of one day share a step, so only steps with several rows are compared.
    shared = np.arange(len(inside))[within][aggregate.in_shared_cells(sample[within], step[within])]
    rows = aggregate.repeated_rows(seen.measured[shared], sample[shared], dates[shared].astype(np.int64))
    return counted("observation row averaged with an earlier one of its place and date", rows)


def averaged(repeated: int, rows: int) -> tuple[Finding, ...]:
    """A finding if many rows share place and date, because they may be of several places with the same name."""
    if repeated < MOST_AVERAGED * rows:
        return ()
    sentence = f"{repeated} of {rows} rows share place and date with another row and are averaged. {TWO_OF_ONE_NAME}"
    return (Finding("warning", sentence, 'place = "<column>"'),) if repeated else ()
