"""The series of one source of a card, read by the reader of its own format.

A numbered step is placed at its last day, when all of it is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from pipeline.card import DatasetCard, SourceCard
from pipeline.errors import InputError
from pipeline.sources.checks.byte_codes import byte_codes
from pipeline.sources.cube import load_cube
from pipeline.sources.files.columns import Text
from pipeline.sources.files.locate_files import files_of
from pipeline.sources.files.memory_budget import Budget
from pipeline.sources.files.missing_values import before_offset, refuse_marks
from pipeline.sources.files.stored_numbers import shifted
from pipeline.sources.files.wanted_columns import csv_keys
from pipeline.sources.joins.source_rows import Observations
from pipeline.sources.labels import refuse_bad_names
from pipeline.sources.long_table import load_long
from pipeline.sources.row_times import date_counts, dates_of, needed_years, steps_of_rows
from pipeline.sources.season_rows import refuse_days_of_the_year
from pipeline.sources.times.calendar import Calendar
from pipeline.sources.times.dekads import dekad_findings
from pipeline.sources.times.step_length import step_length_findings
from pipeline.sources.wide import load_rows, plan_by_card


def read_series(card: DatasetCard, source: SourceCard, budget: Budget, for_prediction: bool) -> Observations:
    """The observations of one source: what was measured at a place on a day."""
    one, files = _card_of(card, source), files_of(card, source.files)
    offsets = [variate.offset for variate in one.series]
    if source.format == "wide":
        return _wide_observations(one, files, budget, source=source, card=card, for_prediction=for_prediction)
    load = load_long if source.format == "long" else load_cube
    table = load(one, files, None, budget, True)
    columns = table.observations
    refuse_bad_names(columns, one.place_key)
    series = [(variate.column or variate.name,) for variate in one.series]
    stored = [before_offset(variate) for variate in one.series]
    refuse_marks([columns], [series], stored, missing=one.missing_numbers, for_prediction=for_prediction)
    codes = byte_codes([columns], one.series, [1] * len(one.series), one.missing_numbers)
    if one.date is not None:
        dates = dates_of(one, columns)
        length = dekad_findings(card, f"{one.date} of {source.label}", dates)
    else:
        calendar, step = Calendar.of(one), steps_of_rows(one, columns)
        refuse_days_of_the_year(one, calendar, step)
        length = step_length_findings(card, int(step.max()) + 1, one.step, source)
        dates = calendar.last_days(needed_years(one, table, columns), step)
    counts = date_counts(one, columns)
    measured = shifted(columns.measured, offsets)
    return Observations(
        source=source,
        place=columns.text[one.place_key],
        dates=dates,
        measured=measured,
        where=columns.where,
        unread=columns.unread,
        counts=counts,
        findings=(*table.findings, *codes, *length),
        marks=columns.marks,
    )


def _wide_observations(
    one: DatasetCard,
    files: Sequence[Path],
    budget: Budget,
    *,
    source: SourceCard,
    card: DatasetCard,
    for_prediction: bool,
) -> Observations:
    """The rows of a wide source in long form, one row per step. `one` is the source as a card of its own."""
    plans = plan_by_card(one, files, None, True)
    rows, _ = load_rows(
        plans,
        one.series,
        one.missing_numbers,
        budget=budget,
        level=None,
        texts=one.missing_texts,
        for_prediction=for_prediction,
    )
    variates, stored = rows.values.shape[1:]
    calendar = Calendar.of(one)
    calendar.refuse_rows_of_another_length(stored, f"{card.path}: the source {source.label}")
    names, codes = np.unique(rows.place, return_inverse=True)
    year, step = np.repeat(rows.year, stored), np.tile(np.arange(stored), len(rows.year))
    return Observations(
        source=source,
        place=Text(names, np.repeat(codes, stored).astype(np.int64)),
        dates=calendar.last_days(year, step),
        measured=rows.values.transpose(0, 2, 1).reshape(-1, variates),
        where=lambda row: rows.where(row // stored),
        findings=(*rows.findings, *step_length_findings(card, stored, None, source)),
        marks=rows.marks,
    )


def _card_of(card: DatasetCard, source: SourceCard) -> DatasetCard:
    """The source as a card of its own. Keys that it leaves out are taken from the card."""
    keys = {key: getattr(source, key) for key in ("format", "files", "year", "date", "step", "first_step")}
    if source.format != "wide" and (source.date is None) == (source.step is None):
        raise InputError(
            f"{card.path}: the source {source.label} has variates and needs one of `date` and `step`, the column of "
            'the time; or `format = "wide"`, if its steps are columns.'
        )
    return DatasetCard.from_keys(
        {
            **keys,
            "name": card.name,
            "variates": list(source.series),
            "place": source.place or card.place,
            "missing": card.missing if source.missing is None else source.missing,
            "step_days": source.step_days or card.step_days,
            "calendar_start": source.calendar_start or card.calendar_start,
            "keep": source.keep,
            "date_order": source.date_order or card.date_order,
            **asdict(csv_keys(card, source)),
        },
        card.path,
    )
