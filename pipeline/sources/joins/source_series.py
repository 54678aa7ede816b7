"""The series of one source of a card, read by the reader of its own format.

A numbered step is placed at its last day, when all of it is known. So is a date, if the source has its own `step_days`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.card import DatasetCard, SourceCard
from pipeline.errors import InputError
from pipeline.findings import Finding
from pipeline.sources import aggregate
from pipeline.sources.cube import load_cube
from pipeline.sources.files.columns import Text
from pipeline.sources.files.locate_files import files_of
from pipeline.sources.files.memory_budget import Budget
from pipeline.sources.files.missing_values import before_offset, refuse_marks
from pipeline.sources.files.stored_numbers import shifted
from pipeline.sources.files.wanted_columns import csv_keys
from pipeline.sources.joins.season_keys import YEARS
from pipeline.sources.joins.source_rows import Observations
from pipeline.sources.labels import refuse_bad_names
from pipeline.sources.long_table import LongTable, load_long
from pipeline.sources.row_times import date_counts, dates_of, needed_years
from pipeline.sources.season_rows import calendar_years, refuse_days_of_the_year
from pipeline.sources.step_numbers import refuse_two_first_steps, steps_of_rows
from pipeline.sources.times.calendar import Calendar, Dates
from pipeline.sources.times.dekads import dekad_findings
from pipeline.sources.times.first_of_month import first_of_month
from pipeline.sources.times.step_length import step_length_findings
from pipeline.sources.wide import load_rows, plan_by_card


def read_series(
    card: DatasetCard, source: SourceCard, budget: Budget, *, steps: int | None, for_prediction: bool
) -> Observations:
    """The observations of one source: what was measured at a place on a day. `steps` is T, if it is known."""
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
    asked: Sequence[Finding] = ()
    if one.date is None:
        step = steps_of_rows(one, columns)
        dates = _days_of_steps(card, one, source, table=table, step=step, steps=steps)
        asked = step_length_findings(card, int(step.max()) + 1, one.step, source)
    elif source.step_days is not None:
        dates = Calendar.of(one).last_days_from(dates_of(one, columns))
    else:
        dates = dates_of(one, columns)
        asked = (
            *first_of_month(source.label, dates, Calendar.of(card).days),
            *dekad_findings(card, f"{one.date} of {source.label}", dates),
        )
    measured = shifted(columns.measured, offsets)
    return Observations(
        source=source,
        place=columns.text[one.place_key],
        dates=dates,
        measured=measured,
        where=columns.where,
        unread=columns.unread,
        counts=(*table.counts, *date_counts(one, columns)),
        findings=(*table.findings, *asked),
        marks=columns.marks,
    )


def _days_of_steps(
    card: DatasetCard,
    one: DatasetCard,
    source: SourceCard,
    *,
    table: LongTable,
    step: NDArray[np.int64],
    steps: int | None,
) -> Dates:
    """The last day of the numbered step [R] of each row."""
    columns, calendar = table.observations, Calendar.of(one)
    refuse_days_of_the_year(one, calendar, step)
    year = needed_years(one, table, columns)
    refuse_two_first_steps(one, columns, year)
    # Crop calendars have no one season, and `calendar_start` of a source says in which year each of its rows begins.
    if card.season_start is not None and source.calendar_start is None:
        grid = Calendar.of(card)
        days = grid.days * (steps or grid.steps_a_year)
        year = calendar_years(
            one,
            replace(calendar, season_start=grid.season_start, season_year=grid.season_year),
            step,
            year=year,
            sample=aggregate.distinct_pairs(columns.text[one.place_key].codes, year, YEARS)[1],
            steps=round(days / calendar.days),
        )
    return calendar.last_known_days(year, step)


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
        dates=calendar.last_known_days(year, step),
        measured=rows.values.transpose(0, 2, 1).reshape(-1, variates),
        where=lambda row: rows.where(row // stored),
        counts=rows.counts,
        findings=(*rows.findings, *step_length_findings(card, stored, None, source)),
        marks=rows.marks,
    )


def _card_of(card: DatasetCard, source: SourceCard) -> DatasetCard:
    """The source as a card of its own. Keys that it leaves out are taken from the card."""
    keys = {key: getattr(source, key) for key in ("format", "files", "year", "date", "step", "first_step", "step_year")}
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
