"""Put long tables, with one row per place and date (or step), on the step grid. Unobserved steps are NaN.

Rows whose dates fall in the same step are averaged. Duplicate dates of a place are averaged and counted. Duplicate step
numbers of a place are errors.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pipeline.card import DatasetCard
from pipeline.errors import InputError
from pipeline.sources import aggregate
from pipeline.sources.aggregate import Index
from pipeline.sources.assemble import TableDraft
from pipeline.sources.checks.missing_values_report import unmatched_marks
from pipeline.sources.counts import counted
from pipeline.sources.duplicate_dates import advice_on_averaged, averaged, repeated_dates
from pipeline.sources.files.columns import Columns, Text
from pipeline.sources.files.missing_values import before_offset, refuse_marks
from pipeline.sources.files.stored_numbers import shifted
from pipeline.sources.labels import refuse_bad_names
from pipeline.sources.long_table import LongTable
from pipeline.sources.names.place_names import restore_zeros
from pipeline.sources.place_years import place_years
from pipeline.sources.row_times import date_counts, dates_of, needed_years, row_years
from pipeline.sources.sample_columns import files_of_samples, groups_of_samples, sides_of_samples, values_of_samples
from pipeline.sources.season_rows import in_season_order, in_seasons, refuse_days_of_the_year
from pipeline.sources.step_means import means_of_amounts
from pipeline.sources.step_numbers import refuse_two_first_steps, steps_of_rows
from pipeline.sources.stored_rows import Length, StoredRows, seasons
from pipeline.sources.times.calendar import Calendar, Dates
from pipeline.sources.times.dekads import dekad_findings
from pipeline.sources.times.outside_season import mostly_outside
from pipeline.sources.times.season_length import date_steps, sample_steps, stored_steps
from pipeline.sources.times.step_length import step_length_findings
from pipeline.sources.year_check import DatedRows, rows_of_other_seasons
from pipeline.table import Count


def grid(card: DatasetCard, table: LongTable, steps: int | None, for_prediction: bool = False) -> TableDraft:
    """Seasons from observations. `steps` is T; None takes a year of dates, or as many steps as the table counts."""
    calendar = Calendar.of(card)
    for columns in (table.observations, *([] if table.labels is table.observations else [table.labels])):
        refuse_bad_names(columns, card.sample_id or card.place_key)
    series = tuple((variate.column or variate.name,) for variate in card.series)
    stored = [before_offset(variate) for variate in card.series]
    refuse_marks([table.observations], [series], stored, missing=card.missing_numbers, for_prediction=for_prediction)
    unmatched = unmatched_marks(table.observations.marks, card.missing_numbers)
    table = replace(_with_offsets(card, table), findings=(*table.findings, *unmatched))
    by = _by_sample if card.sample_id else _by_date if card.date else _by_year_and_step
    draft = by(card, calendar, table, steps)
    return replace(draft, counts=(*table.counts, *draft.counts))


def _with_offsets(card: DatasetCard, table: LongTable) -> LongTable:
    """The table with the `offset` of each variate added."""
    offsets = [variate.offset for variate in card.series]
    if not any(offsets):
        return table
    seen = replace(table.observations, measured=shifted(table.observations.measured, offsets))
    return replace(table, observations=seen, labels=seen if table.labels is table.observations else table.labels)


def _by_date(card: DatasetCard, calendar: Calendar, table: LongTable, steps: int | None) -> TableDraft:
    """A sample is a place and the season that its dates fall in; a yield belongs to the year its own row names."""
    seen, labels = table.observations, table.labels
    steps = date_steps(card, calendar, steps)
    dated = DatedRows.of(calendar, dates_of(card, seen), steps)
    dates, year, step = dated
    own = row_years(card, table, labels)
    if own is None:
        own, _ = calendar.season_of(dates_of(card, labels), steps)
    keys = place_years(card, table, year, own)
    inside = step < steps
    elsewhere = rows_of_other_seasons(
        card, calendar, seen, found=dated, said=row_years(card, table, seen), group=keys.sample, steps=steps
    )
    values, levelled = values_of_samples(
        card, seen, inside, sample=keys.sample, step=step, n=len(keys.names), steps=steps
    )
    moved = "observation row counted to the season of its date, though its year column names another"
    repeated = repeated_dates(seen, inside, keys.sample, step, dates)
    amounts = means_of_amounts(card.series, seen.measured, inside, keys.sample, step)
    many = averaged(
        sum(count.rows for count in repeated),
        int(inside.sum()),
        lambda: advice_on_averaged(seen.measured, inside, keys.sample, dates, seen.unread),
    )
    return TableDraft(
        values=values,
        target=aggregate.one_a_sample(labels, table.target, keys.labelled, keys.names),
        place=keys.place,
        year=keys.year,
        sample_id=keys.names,
        static=aggregate.static_of(seen, card.static, keys.sample, keys.names),
        incomplete=np.zeros(len(keys.names), bool),
        where=aggregate.sample_where(seen, keys.sample, labels, keys.labelled),
        counts=(
            *date_counts(card, seen),
            *_outside(~inside, steps),
            *counted(moved, elsewhere, lost=False),
            *repeated,
            *levelled,
        ),
        assigned=sides_of_samples(card, table, keys.sample, keys.labelled, keys.names),
        group=groups_of_samples(card, table, keys.sample, keys.labelled, keys.names),
        findings=(
            *table.findings,
            *keys.findings,
            *many,
            *amounts,
            *mostly_outside(dates, inside),
            *dekad_findings(card, str(card.date), dates),
        ),
        files=table.files,
        file=files_of_samples(table, keys.sample, len(keys.names)),
    )


def _by_year_and_step(card: DatasetCard, calendar: Calendar, table: LongTable, steps: int | None) -> TableDraft:
    """A place and a year make a stored row; from there on it is a wide table."""
    seen, labels = table.observations, table.labels
    step, year = steps_of_rows(card, seen), needed_years(card, table, seen)
    refuse_two_first_steps(card, seen, year)
    keys = place_years(card, table, year, needed_years(card, table, labels))
    assert card.step is not None
    aggregate.refuse_repeated_steps(seen, card.step, keys.sample, step, keys.names)
    length = step_length_findings(card, int(step.max()) + 1, card.step)
    calendar, step, noted = in_season_order(card, calendar, step, keys.sample, steps)
    inside = in_seasons(calendar, step, steps)
    stored = stored_steps(calendar, int(step[inside].max(initial=0)) + 1, steps)
    values, levelled = values_of_samples(
        card, seen, inside, sample=keys.sample, step=step, n=len(keys.names), steps=stored
    )
    rows = StoredRows(
        values=values,
        target=aggregate.one_a_sample(labels, table.target, keys.labelled, keys.names),
        place=keys.place,
        year=keys.year,
        sample_id=keys.names,
        static=aggregate.static_of(seen, card.static, keys.sample, keys.names),
        where=aggregate.sample_where(seen, keys.sample, labels, keys.labelled),
        counts=(*_outside(~inside, steps or stored), *levelled),
        assigned=sides_of_samples(card, table, keys.sample, keys.labelled, keys.names),
        group=groups_of_samples(card, table, keys.sample, keys.labelled, keys.names),
        findings=(*table.findings, *keys.findings, *length, *noted),
        files=table.files,
        file=files_of_samples(table, keys.sample, len(keys.names)),
    )
    return seasons(rows, calendar, Length(steps), str(card.path))


def _by_sample(card: DatasetCard, calendar: Calendar, table: LongTable, steps: int | None) -> TableDraft:
    """Rows belong to the sample that they name; its season is that of its year."""
    seen, labels = table.observations, table.labels
    assert card.sample_id is not None
    names, sample = _used(seen.text[card.sample_id])
    dates = dates_of(card, seen) if card.date else None
    if dates is not None:
        steps = date_steps(card, calendar, steps)
        said = row_years(card, table, seen)
        rows_of_other_seasons(
            card, calendar, seen, found=DatedRows.of(calendar, dates, steps), said=said, group=sample, steps=steps
        )
        year, step = _sample_dates(calendar, dates, said, steps)
        doubts = dekad_findings(card, str(card.date), dates)
    else:
        year, step = needed_years(card, table, seen), steps_of_rows(card, seen)
        refuse_two_first_steps(card, seen, year)
        refuse_days_of_the_year(card, calendar, step)
        doubts = step_length_findings(card, int(step.max()) + 1, card.step)
        step = step - calendar.offset
        if card.step_year == "season":
            step = step % calendar.steps_a_year
        steps = sample_steps(card, calendar, int(step.max()) + 1, steps)
        assert card.step is not None
        aggregate.refuse_repeated_steps(seen, card.step, sample, step, names)
    refuse_bad_names(seen, card.place_key)
    place = seen.text[card.place_key]
    first = aggregate.first_rows(sample, len(names))
    aggregate.refuse_two(seen, "year", year, sample=sample, first=first, names=names)
    aggregate.refuse_two(seen, "place", place, sample=sample, first=first, names=names)
    inside = (step >= 0) & (step < steps)
    labelled = sample if labels is seen else _positions(names, labels, card.sample_id)
    places, repaired = restore_zeros(place.names[place.codes[first]], year[first], str(card.path))
    values, levelled = values_of_samples(card, seen, inside, sample=sample, step=step, n=len(names), steps=steps)
    repeated = repeated_dates(seen, inside, sample, step, dates) if dates is not None else ()
    return TableDraft(
        values=values,
        target=aggregate.one_a_sample(labels, table.target, labelled, names),
        place=places,
        year=year[first],
        sample_id=names,
        static=aggregate.static_of(seen, card.static, sample, names),
        incomplete=np.zeros(len(names), bool),
        where=aggregate.sample_where(seen, sample, labels, labelled),
        counts=(*date_counts(card, seen), *_outside(~inside, steps), *repeated, *levelled),
        assigned=sides_of_samples(card, table, sample, labelled, names),
        group=groups_of_samples(card, table, sample, labelled, names),
        findings=(
            *table.findings,
            *repaired,
            *doubts,
            *means_of_amounts(card.series, seen.measured, inside, sample, step),
        ),
        files=table.files,
        file=files_of_samples(table, sample, len(names)),
    )


def _used(text: Text) -> tuple[NDArray[np.str_], Index]:
    """The distinct names that occur [N], and which of them stands in each row [R]."""
    codes, rank = np.unique(text.codes, return_inverse=True)
    return text.names[codes], rank


def _positions(names: NDArray[np.str_], labels: Columns, column: str) -> Index:
    """Which sample each label row names [L]."""
    place = {name: index for index, name in enumerate(names.tolist())}
    wanted = labels.text[column].strings().tolist()
    strange = next((row for row, name in enumerate(wanted) if name not in place), None)
    if strange is not None:
        raise InputError(
            f"{labels.where(strange)}: sample {wanted[strange]} has a yield but no observation; remove it, or add its "
            "series."
        )
    return np.array([place[name] for name in wanted], np.int64)


def _sample_dates(calendar: Calendar, dates: Dates, said: Index | None, steps: int) -> tuple[Index, Index]:
    """(year, step) of each row: the year that it names, or else that of the season its date falls in."""
    if said is None:
        return calendar.season_of(dates, steps)
    return said, calendar.step_in(said, dates, steps)


def _outside(outside: NDArray[np.bool_], steps: int) -> tuple[Count, ...]:
    return counted(
        f"observation row dropped, because it is outside the {steps} steps of its season", int(outside.sum())
    )
