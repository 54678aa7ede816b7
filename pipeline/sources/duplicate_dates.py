"""Rows of a long table that share place and date: count those that are averaged, and report them if they are many."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pipeline.findings import Finding
from pipeline.sources import aggregate
from pipeline.sources.aggregate import Index
from pipeline.sources.counts import counted
from pipeline.sources.files.columns import Columns, Unread
from pipeline.sources.names.place_names import TWO_OF_ONE_NAME
from pipeline.sources.row_kinds import advice_on_texts
from pipeline.sources.times.calendar import Dates
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
    return counted("observation row averaged with an earlier one of its place and date", rows, lost=False)


def averaged(repeated: int, rows: int, advice: Callable[[], str] = lambda: TWO_OF_ONE_NAME) -> tuple[Finding, ...]:
    """A finding if many rows share place and date: of several places with the same name, or of several quantities."""
    if not repeated or repeated < MOST_AVERAGED * rows:
        return ()
    sentence = f"{repeated} of {rows} rows share place and date with another row and are averaged. {advice()}"
    return (Finding("warning", sentence, 'place = "<column>"' if TWO_OF_ONE_NAME in sentence else ""),)


def advice_on_averaged(
    measured: NDArray[np.float32], inside: NDArray[np.bool_], sample: Index, dates: Dates, unread: Unread
) -> str:
    """What to do about rows that share place and date, from the first two that do. All [R]."""
    rows = np.flatnonzero(inside)
    pair = aggregate.first_repetition(measured[rows], sample[rows], dates[rows].astype(np.int64))
    if pair is None:
        return TWO_OF_ONE_NAME
    one, other = (unread(int(rows[at])) for at in pair)
    return advice_on_texts(one, other)
