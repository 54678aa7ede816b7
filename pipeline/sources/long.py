"""Long tables, one row a place and date (or step), are put on the step grid; what was not observed stays NaN.

Rows whose dates fall in one step are averaged, and so are two rows of one place and date (which are counted); two rows
of one place and step number are refused, for a step has no dates to differ in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.card import DatasetCard
from pipeline.errors import InputError
from pipeline.findings import Finding
from pipeline.sources import cells
from pipeline.sources.calendar import Calendar, Dates
from pipeline.sources.cells import Index
from pipeline.sources.columns import (
    Columns,
    Text,
    Wanted,
    column_names,
    csv_keys,
    filled,
    joined,
    load_columns,
    merged,
    shifted,
)
from pipeline.sources.dates import NAMES, DateError, order_of, parse_days
from pipeline.sources.draft import TableDraft
from pipeline.sources.labels import default_ids, refuse_bad_names, refuse_empty, target_column, year_in_name, years_of
from pipeline.sources.marks import before_offset, refuse_marks
from pipeline.sources.marks_report import unmatched_marks
from pipeline.sources.memory import Budget
from pipeline.sources.named_years import rows_of_other_seasons
from pipeline.sources.place_column import refuse_places_of_one_name
from pipeline.sources.place_names import TWO_OF_ONE_NAME, restore_zeros
from pipeline.sources.radiometry import Level
from pipeline.sources.rows import Length, StoredRows, seasons
from pipeline.sources.season_rows import in_season_order, refuse_days_of_the_year
from pipeline.sources.sides import side_a_sample
from pipeline.sources.time_zones import zones_of_texts
from pipeline.table import Count

MOST_AVERAGED = 0.1  # of the rows may share place and date with another one before it is a finding


@dataclass(frozen=True)
class LongTable:
    """Observations, and the rows that carry yields: the same rows, except in cubes that keep the two apart.

    year      the year of rows that have no column for it, from the file's name or the command line
    """

    observations: Columns
    labels: Columns
    target: str | None
    year: int | None = None
    findings: tuple[Finding, ...] = ()


def load_long(
    card: DatasetCard, files: Sequence[Path], year: int | None, budget: Budget, for_prediction: bool
) -> LongTable:
    """Read the card's columns of every file."""
    targets = [target_column(card, path, column_names(path, csv_keys(card)), for_prediction) for path in files]
    # Only a read for prediction gets here with a target missing; then it does without, in all files.
    target = None if None in targets else targets[0]
    group = card.radiometry.group if card.radiometry else None
    names = tuple(name for name in (card.place, card.sample_id) if name)
    labels = card.target.group if card.target and not for_prediction else None
    texts = (*names, card.date, group, labels, None if for_prediction else card.split)
    numbers = (card.year, card.step, target, *card.static)
    wanted = Wanted(
        text=tuple(dict.fromkeys(name for name in texts if name)),
        exact=tuple(dict.fromkeys(name for name in numbers if name)),
        measured=tuple(variate.column or variate.name for variate in card.series),
        scale=tuple(variate.scale for variate in card.series),
        missing=card.missing_numbers,
        static=tuple(card.static),
        keys=csv_keys(card),
        places=names,
        yields=(target,) if target else (),
        missing_texts=card.missing_texts,
    )
    columns = joined(load_columns([(path, wanted) for path in files], budget))
    if card.sample_id is None and card.date is not None:
        refuse_places_of_one_name(files, columns, card.place, card.date, budget, csv_keys(card))
    named_year = year or (year_in_name(files[0]) if len(files) == 1 else None)
    zones = zones_of_texts(columns.text[card.date].names.tolist(), card.date) if card.date else ()
    return LongTable(columns, columns, target, named_year, zones)


def grid(card: DatasetCard, table: LongTable, steps: int | None, for_prediction: bool = False) -> TableDraft:
    """Seasons from observations. `steps` is T; None takes a year of dates, or as many steps as the table counts."""
    calendar = Calendar.of(card)
    for columns in (table.observations, *([] if table.labels is table.observations else [table.labels])):
        refuse_bad_names(columns, card.sample_id or card.place)
    series = tuple((variate.column or variate.name,) for variate in card.series)
    stored = [before_offset(variate) for variate in card.series]
    refuse_marks([table.observations], [series], stored, card.missing_numbers, for_prediction)
    unmatched = unmatched_marks(table.observations.marks, card.missing_numbers)
    table = replace(_with_offsets(card, table), findings=(*table.findings, *unmatched))
    if card.sample_id:
        return _by_sample(card, calendar, table, steps)
    if card.date:
        return _by_date(card, calendar, table, steps)
    return _by_year_and_step(card, calendar, table, steps)


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
    steps = _date_steps(card, calendar, steps)
    dates = dates_of(card, seen)
    year, step = calendar.season_of(dates, steps)
    own = _row_years(card, table, labels)
    if own is None:
        own, _ = calendar.season_of(dates_of(card, labels), steps)
    keys = _place_years(card, table, year, own)
    inside = step < steps
    elsewhere = rows_of_other_seasons(card, calendar, seen, dates, _row_years(card, table, seen), keys.sample, steps)
    values, levelled = _values(card, seen, inside, keys.sample, step, len(keys.names), steps)
    moved = "observation row counted to the season of its date, though its year column names another"
    repeated = _repeated(seen, inside, keys.sample, step, dates)
    return TableDraft(
        values=values,
        target=cells.one_a_sample(labels, table.target, keys.labelled, keys.names),
        place=keys.place,
        year=keys.year,
        sample_id=keys.names,
        static=cells.static_of(seen, card.static, keys.sample, keys.names),
        incomplete=np.zeros(len(keys.names), bool),
        where=cells.sample_where(seen, keys.sample, labels, keys.labelled),
        counts=(*date_counts(card, seen), *_outside(~inside, steps), *_told(moved, elsewhere), *repeated, *levelled),
        assigned=_assigned(card, table, keys.sample, keys.labelled, keys.names),
        group=_label_group(card, table, keys.sample, keys.labelled, keys.names),
        findings=(*table.findings, *keys.findings, *averaged(sum(count.rows for count in repeated), int(inside.sum()))),
    )


def _by_year_and_step(card: DatasetCard, calendar: Calendar, table: LongTable, steps: int | None) -> TableDraft:
    """A place and a year make a stored row; from there on it is a wide table."""
    seen, labels = table.observations, table.labels
    step = steps_of_rows(card, seen)
    keys = _place_years(card, table, needed_years(card, table, seen), needed_years(card, table, labels))
    assert card.step is not None
    cells.refuse_repeated_steps(seen, card.step, keys.sample, step, keys.names)
    calendar, step, counted = in_season_order(card, calendar, step, keys.sample, steps)
    stored = _stored_steps(calendar, int(step.max()) + 1, steps)
    values, levelled = _values(card, seen, slice(None), keys.sample, step, len(keys.names), stored)
    rows = StoredRows(
        values=values,
        target=cells.one_a_sample(labels, table.target, keys.labelled, keys.names),
        place=keys.place,
        year=keys.year,
        sample_id=keys.names,
        static=cells.static_of(seen, card.static, keys.sample, keys.names),
        where=cells.sample_where(seen, keys.sample, labels, keys.labelled),
        counts=levelled,
        assigned=_assigned(card, table, keys.sample, keys.labelled, keys.names),
        group=_label_group(card, table, keys.sample, keys.labelled, keys.names),
        findings=(*table.findings, *keys.findings, *counted),
    )
    return seasons(rows, calendar, Length(steps), str(card.path))


def _by_sample(card: DatasetCard, calendar: Calendar, table: LongTable, steps: int | None) -> TableDraft:
    """Rows belong to the sample that they name; its season is that of its year."""
    seen, labels = table.observations, table.labels
    assert card.sample_id is not None
    names, sample = _used(seen.text[card.sample_id])
    dates = dates_of(card, seen) if card.date else None
    if dates is not None:
        steps = _date_steps(card, calendar, steps)
        said = _row_years(card, table, seen)
        rows_of_other_seasons(card, calendar, seen, dates, said, sample, steps)
        year, step = _sample_dates(calendar, dates, said, steps)
    else:
        year, step = needed_years(card, table, seen), steps_of_rows(card, seen)
        refuse_days_of_the_year(card, calendar, step)
        step = step - calendar.offset
        if card.step_year == "season":
            step = step % calendar.steps_a_year
        steps = _sample_steps(card, calendar, int(step.max()) + 1, steps)
        assert card.step is not None
        cells.refuse_repeated_steps(seen, card.step, sample, step, names)
    refuse_bad_names(seen, card.place)
    place = seen.text[card.place]
    first = cells.first_rows(sample, len(names))
    cells.refuse_two(seen, "year", year, sample, first, names)
    cells.refuse_two(seen, "place", place, sample, first, names)
    inside = (step >= 0) & (step < steps)
    labelled = sample if labels is seen else _positions(names, labels, card.sample_id)
    places, repaired = restore_zeros(place.names[place.codes[first]], year[first], str(card.path))
    values, levelled = _values(card, seen, inside, sample, step, len(names), steps)
    repeated = _repeated(seen, inside, sample, step, dates) if dates is not None else ()
    return TableDraft(
        values=values,
        target=cells.one_a_sample(labels, table.target, labelled, names),
        place=places,
        year=year[first],
        sample_id=names,
        static=cells.static_of(seen, card.static, sample, names),
        incomplete=np.zeros(len(names), bool),
        where=cells.sample_where(seen, sample, labels, labelled),
        counts=(*date_counts(card, seen), *_outside(~inside, steps), *repeated, *levelled),
        assigned=_assigned(card, table, sample, labelled, names),
        group=_label_group(card, table, sample, labelled, names),
        findings=(*table.findings, *repaired),
    )


def _values(
    card: DatasetCard,
    seen: Columns,
    inside: NDArray[np.bool_] | slice,
    sample: Index,
    step: Index,
    n: int,
    steps: int,
) -> tuple[NDArray[np.float32], tuple[Count, ...]]:
    """values [n,V+R,steps] of the rows inside of the season, levelled as the card asks, and counts of changes."""
    if not isinstance(inside, slice) and inside.all():
        inside = slice(None)  # nothing is copied
    measured, sample, step = seen.measured[inside], sample[inside], step[inside]
    counts: tuple[Count, ...] = ()
    if (level := Level.of(card)) is not None:
        refuse_empty(seen, level.group)
        group = seen.text[level.group]
        rows = np.arange(len(seen))[inside]
        within = Text(group.names, group.codes[inside])
        measured, counts = level.apply(measured, within, step, sample, lambda at: seen.where(int(rows[at])))
    return cells.mean_in_cells(measured, sample, step, n, steps), counts


def _assigned(
    card: DatasetCard, table: LongTable, sample: Index, labelled: Index, names: NDArray[np.str_]
) -> NDArray[np.str_] | None:
    """The side of each sample [N], from the observations or from the rows of the yields, whichever carry it."""
    if card.split is None:
        return None
    for columns, index in ((table.observations, sample), (table.labels, labelled)):
        if card.split in columns.text:
            return side_a_sample(columns, card.split, index, names)
    return None


def _label_group(
    card: DatasetCard, table: LongTable, sample: Index, labelled: Index, names: NDArray[np.str_]
) -> NDArray[np.str_] | None:
    """What `[target] group` says of each sample [N], empty where it says nothing. Two names are refused."""
    column = card.target.group if card.target else None
    if column is None:
        return None
    for columns, index in ((table.observations, sample), (table.labels, labelled)):
        if column in columns.text:
            found = np.full(len(names), "", columns.text[column].names.dtype)
            said = np.flatnonzero(columns.text[column].codes >= 0)
            first = cells.first_rows(index[said], len(names))
            texts = filled(columns.text[column])[said]
            found[first >= 0] = texts[first[first >= 0]]
            if (other := np.flatnonzero(texts != found[index[said]])).size:
                row = int(said[other[0]])
                raise InputError(
                    f"{columns.where(row)}, column {column}: sample {names[index[row]]} is of group "
                    f"{texts[other[0]]} here and of {found[index[row]]} in another row; a sample has one yield."
                )
            return found
    return None


@dataclass(frozen=True)
class _PlaceYears:
    """The samples of a table without ids, [N] each; which of them each observation [R] and label row [L] is in."""

    place: NDArray[np.str_]
    year: NDArray[np.int64]
    names: NDArray[np.str_]
    sample: Index
    labelled: Index
    findings: tuple[Finding, ...] = ()


def _place_years(card: DatasetCard, table: LongTable, year: Index, label_year: Index) -> _PlaceYears:
    seen, labels = table.observations, table.labels
    together = labels is seen and (year is label_year or np.array_equal(year, label_year))
    parts = [(seen, year)] if together else [(seen, year), (labels, label_year)]
    place = merged([columns.text[card.place] for columns, _ in parts])
    # One whole number for a (place, year): years have four digits.
    distinct, index = cells.distinct_pairs(place.codes, np.concatenate([years for _, years in parts]), 10_000)
    names, years = np.asarray(place.names[distinct // 10_000], np.str_), distinct % 10_000
    names, repaired = restore_zeros(names, years, str(card.path))
    if repaired:
        _, first, again = np.unique(default_ids(names, years), return_index=True, return_inverse=True)
        names, years, index = names[first], years[first], again[index]
    rows = len(seen)
    labelled = index[:rows] if together else index[rows:]
    return _PlaceYears(names, years, default_ids(names, years), index[:rows], labelled, repaired)


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


def _date_steps(card: DatasetCard, calendar: Calendar, steps: int | None) -> int:
    steps = calendar.steps_a_year if steps is None else steps
    calendar.refuse_longer_than_a_year(steps, str(card.path))
    return steps


def _sample_steps(card: DatasetCard, calendar: Calendar, found: int, steps: int | None) -> int:
    """T of samples with ids and step numbers; steps that no row has are unobserved, but only within the year."""
    calendar.refuse_longer_than_a_year(steps or found, str(card.path))
    if steps is None or steps <= found or calendar.offset + steps <= calendar.steps_a_year:
        return steps or found
    raise InputError(
        f"{card.path}: a season of {steps} steps from {calendar.season_start} runs past the {found} steps that are "
        "stored after its start. Set `season_steps` to what a sample holds; a season from two years needs samples by "
        "place and year, without `sample_id`."
    )


def _stored_steps(calendar: Calendar, found: int, steps: int | None) -> int:
    """Steps of a stored row: those found, and within the year also those that are wanted but not observed yet."""
    wanted = calendar.offset + (found if steps is None else steps)
    if wanted <= max(found, calendar.steps_a_year):
        return max(found, wanted)
    return max(found, calendar.steps_a_year)


def needed_years(card: DatasetCard, table: LongTable, columns: Columns) -> Index:
    year = _row_years(card, table, columns)
    if year is None:
        raise InputError(
            f"{card.path}: rows with a step number need a year, but the card names no `year` column and the name of "
            "the file does not hold one; add `year` to the card, or give --year."
        )
    return year


def _row_years(card: DatasetCard, table: LongTable, columns: Columns) -> Index | None:
    """The year that each row names, itself or by its file's name; None where neither does."""
    if card.year is not None and card.year in columns.exact:
        return years_of(columns.exact[card.year], card.year, columns.where)
    if card.date is None and table.year is not None:
        return np.full(len(columns), table.year, np.int64)
    return None


def steps_of_rows(card: DatasetCard, columns: Columns) -> Index:
    """Step numbers from 0 [R]."""
    assert card.step is not None
    numbers = columns.exact[card.step]
    first = card.first_step if card.first_step is not None else int(np.nanmin(numbers, initial=1.0) > 0)
    bad = ~((numbers >= first) & (numbers < 10_000) & (numbers == np.floor(numbers)))
    if bad.any():
        row = int(np.argmax(bad))
        raise InputError(
            f"{columns.where(row)}, column {card.step}: the step is {numbers[row]:g}; steps are whole numbers from "
            f"{first}. Correct it, or set `first_step` in the dataset card."
        )
    return numbers.astype(np.int64) - first


def dates_of(card: DatasetCard, columns: Columns) -> Dates:
    """The day of each row [R], datetime64[D]; every distinct text is parsed once."""
    assert card.date is not None
    refuse_empty(columns, card.date)
    text = columns.text[card.date]
    days = np.empty(len(text.names), "datetime64[D]")
    used = np.flatnonzero(np.bincount(text.codes, minlength=len(text.names)))
    written = text.names[used].tolist()
    try:
        days[used] = np.array(parse_days(written, card.date_order), "datetime64[D]")
    except DateError as error:
        row = int(np.argmax(text.codes == used[written.index(error.text)]))
        raise InputError(f"{columns.where(row)}, column {card.date}: {error.text!r} {error}.") from None
    years = days[used].astype("datetime64[Y]").astype(np.int64) + 1970
    years_of(years.astype(np.float64), card.date, lambda at: columns.where(int(np.argmax(text.codes == used[at]))))
    return days[text.codes]


def date_counts(card: DatasetCard, columns: Columns) -> tuple[Count, ...]:
    """A note on dates whose order of day and month was inferred, not stated by the card."""
    if card.date is None or card.date_order is not None or card.date not in columns.text:
        return ()
    text = columns.text[card.date]
    order = order_of(text.names.tolist())
    return _told(f"date read as {NAMES[order]}", len(columns)) if order else ()


def _outside(outside: NDArray[np.bool_], steps: int) -> tuple[Count, ...]:
    return _told(f"observation row outside of the season's {steps} steps left out", int(outside.sum()))


def _repeated(seen: Columns, inside: NDArray[np.bool_], sample: Index, step: Index, dates: Dates) -> tuple[Count, ...]:
    within = np.flatnonzero(inside)
    # Two rows of one day share a step: only steps that hold several rows are looked at.
    shared = within[cells.in_shared_cells(sample[within], step[within])]
    rows = cells.repeated_rows(seen.measured[shared], sample[shared], dates[shared].astype(np.int64))
    return _told("observation row averaged with an earlier one of its place and date", rows)


def averaged(repeated: int, rows: int) -> tuple[Finding, ...]:
    """A finding if many rows share place and date: they may be of several places with one name."""
    if repeated < MOST_AVERAGED * rows:
        return ()
    sentence = f"{repeated} of {rows} rows share place and date with another row and are averaged. {TWO_OF_ONE_NAME}"
    return (Finding("warning", sentence, 'place = "<column>"'),) if repeated else ()


def _told(reason: str, rows: int) -> tuple[Count, ...]:
    return (Count(reason, rows),) if rows else ()
