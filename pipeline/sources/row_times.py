"""When each row of a long table was measured: its date, or its year and step number."""

from __future__ import annotations

import numpy as np

from pipeline.card import DatasetCard
from pipeline.errors import InputError
from pipeline.sources.aggregate import Index
from pipeline.sources.counts import counted
from pipeline.sources.files.columns import Columns
from pipeline.sources.labels import refuse_empty, years_of
from pipeline.sources.long_table import LongTable
from pipeline.sources.times.calendar import Calendar, Dates
from pipeline.sources.times.dates import NAMES, DateError, order_of, parse_days
from pipeline.sources.times.misread_dates import refuse_misread_dates
from pipeline.sources.times.swapped_days import refuse_swapped_days
from pipeline.table import Count


def needed_years(card: DatasetCard, table: LongTable, columns: Columns) -> Index:
    """The year of each row [R]. Raises `InputError` if neither a column nor the file names it."""
    year = row_years(card, table, columns)
    if year is None:
        raise InputError(
            f"{card.path}: rows with a step number need a year, but the card names no `year` column and the name of "
            "the file does not hold one; add `year` to the card, or give --year."
        )
    return year


def row_years(card: DatasetCard, table: LongTable, columns: Columns) -> Index | None:
    """The year of each row, from its year column or from the name of the file; None if neither gives it."""
    if card.year is not None and card.year in columns.exact:
        return years_of(columns.exact[card.year], card.year, columns.where)
    if card.date is None and table.year is not None:
        return np.full(len(columns), table.year, np.int64)
    return None


def dates_of(card: DatasetCard, columns: Columns) -> Dates:
    """The day of each row [R], datetime64[D]; every distinct text is parsed once."""
    assert card.date is not None
    refuse_empty(columns, card.date)
    text = columns.text[card.date]
    days = np.empty(len(text.names), "datetime64[D]")
    used = np.flatnonzero(np.bincount(text.codes, minlength=len(text.names)))
    written = text.names[used].tolist()

    def where(at: int) -> str:
        return columns.where(int(np.argmax(text.codes == used[at])))

    try:
        days[used] = np.array(parse_days(written, card.date_order), "datetime64[D]")
    except DateError as error:
        at = written.index(error.text)
        raise InputError(f"{where(at)}, column {card.date}: {error.text!r} {error}.") from None
    years = days[used].astype("datetime64[Y]").astype(np.int64) + 1970
    years_of(years.astype(np.float64), card.date, where)
    step_days = Calendar.of(card).days
    refuse_misread_dates(written, days[used], step_days, lambda at: f"{where(at)}, column {card.date}")
    refuse_swapped_days(
        text.names[used],
        days[used],
        columns.text[card.place_key].codes,
        np.searchsorted(used, text.codes),
        lambda at: f"{where(at)}, column {card.date}",
    )
    return days[text.codes]


def date_counts(card: DatasetCard, columns: Columns) -> tuple[Count, ...]:
    """A note on dates whose order of day and month was inferred, not stated by the card."""
    if card.date is None or card.date_order is not None or card.date not in columns.text:
        return ()
    text = columns.text[card.date]
    order = order_of(text.names.tolist())
    return counted(f"date read as {NAMES[order]}", len(columns), lost=False) if order else ()
