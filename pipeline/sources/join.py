"""Several sources become one table: each is read by itself, and all meet on the card's grid by place and season.

A source of series gives numbers of a place and a day, one of yields a number of a place and year, one of static columns
numbers of a place. Numbered steps stand at the last day of their step, when all of it is known.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.card import DatasetCard, SourceCard, is_there
from pipeline.errors import InputError
from pipeline.findings import Finding
from pipeline.provenance import JoinedSource
from pipeline.sources import cells
from pipeline.sources.calendar import Calendar, Dates
from pipeline.sources.columns import (
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
from pipeline.sources.crop_calendar import CropCalendar, PlaceSeasons, steps_of
from pipeline.sources.csv_format import format_notes
from pipeline.sources.cube import load_cube
from pipeline.sources.draft import TableDraft
from pipeline.sources.join_names import PlacesOfSource, spelled_alike
from pipeline.sources.join_report import Part, join_report
from pipeline.sources.labels import default_ids, refuse_bad_names, years_of
from pipeline.sources.locate import files_of
from pipeline.sources.long import averaged, date_counts, dates_of, load_long, needed_years, steps_of_rows
from pipeline.sources.marks import before_offset, refuse_marks
from pipeline.sources.marks_report import unmatched_marks
from pipeline.sources.memory import Budget
from pipeline.sources.place_names import restore_zeros_like
from pipeline.sources.season_rows import refuse_days_of_the_year
from pipeline.sources.wide import load_rows, plan_by_card
from pipeline.table import Count

Index = NDArray[np.int64]
YEARS = 10_000  # a place and a year are one whole number, place * YEARS + year


@dataclass(frozen=True)
class Observations:
    """R rows of one source of series: what was measured [R,V] at a place on a day.

    marks   how often each number of `missing` was found
    """

    source: SourceCard
    place: Text
    dates: Dates
    measured: NDArray[np.float32]
    where: Callable[[int], str]
    counts: tuple[Count, ...] = ()
    findings: tuple[Finding, ...] = ()
    marks: Mapping[float, int] = field(default_factory=dict)

    @property
    def named(self) -> PlacesOfSource:
        """Its places and the years of its days."""
        years = self.dates.astype("datetime64[Y]").astype(np.int64) + 1970
        return PlacesOfSource(self.source.label, self.place, years)


@dataclass(frozen=True)
class Numbers:
    """R rows of yields or static columns: numbers [R,S] of a place, in a year or (None) in every year.

    group   [R] str, what `[target] group` says, empty where it says nothing; None without that key
    marks   how often each number of `missing` was found
    """

    source: SourceCard
    place: Text
    year: Index | None
    columns: tuple[str, ...]
    numbers: NDArray[np.float64]
    where: Callable[[int], str]
    group: NDArray[np.str_] | None = None
    marks: Mapping[float, int] = field(default_factory=dict)

    @property
    def named(self) -> PlacesOfSource:
        """Its places and years."""
        years = np.zeros(len(self.numbers), np.int64) if self.year is None else self.year
        return PlacesOfSource(self.source.label, self.place, years)


@dataclass(frozen=True)
class Placed:
    """Where each row of a source lies [R]: key of its place and season, step, and whether it is in the season."""

    key: Index
    step: Index
    inside: NDArray[np.bool_]


@dataclass(frozen=True)
class Joined:
    """The seasons; how the join went, in sentences and numbers; and whether each place has a season of its own."""

    draft: TableDraft
    notes: tuple[str, ...]
    sources: tuple[JoinedSource, ...]
    own_seasons: bool


def join_sources(card: DatasetCard, steps: int | None, for_prediction: bool, budget: Budget) -> Joined:
    """Read every source of the card and bring them together. `steps` is T; None takes what the longest season needs.

    Raises `InputError` for what cannot be read, and where no yield meets a season of the series.
    """
    grid = Calendar.of(card)
    series = [_observations(card, one, budget, for_prediction) for one in card.sources if one.series]
    yields = [one for one in card.sources if one.target and (not for_prediction or _has_yields(card, one))]
    if not yields and not for_prediction:
        raise InputError(
            f"{card.path}: no source has a `target`; add the source of the yields, with its `year` and the `column` "
            "and `unit` of its `target`, or read for prediction."
        )
    labels = [_labels(card, one, budget, for_prediction) for one in yields]
    static = [_numbers(card, one, tuple(one.static), budget) for one in card.sources if one.static]
    calendar = next((_calendar(card, one, budget) for one in card.sources if one.calendar), None)
    names, (series_at, labels_at, static_at), repaired = _shared_names(series, labels, static)
    if calendar is not None:
        calendar = replace(calendar, place=restore_zeros_like(calendar.place, names, "the calendar")[0])
    seasons = None if calendar is None else _seasons(card, calendar, grid, names, series)
    steps = _steps(card, grid, seasons, steps)
    placed = [_placed(grid, seasons, at, one.dates, steps) for one, at in zip(series, series_at, strict=True)]
    label_keys = [_keys(at, one.year) for one, at in zip(labels, labels_at, strict=True)]
    static_keys = [_keys(at, one.year) for one, at in zip(static, static_at, strict=True)]
    seen = [_observed(one, at) for one, at in zip(series, placed, strict=True)]
    samples = np.unique(np.concatenate([*seen, *label_keys]))
    place, year = names[samples // YEARS], samples % YEARS
    numbers = [_number_a_sample(one, at, samples, names) for one, at in zip(static, static_at, strict=True)]
    targets = [_number_a_sample(one, at, samples, names)[:, 0] for one, at in zip(labels, labels_at, strict=True)]
    rows_of = [(at.key, one.where) for one, at in zip(series, placed, strict=True)]
    rows_of += [(key, one.where) for one, key in zip(labels, label_keys, strict=True)]
    draft = TableDraft(
        values=_values(card, series, placed, samples, steps),
        target=targets[0] if targets else np.full(len(samples), np.nan),
        place=place,
        year=year,
        sample_id=default_ids(place, year),
        static=np.concatenate(numbers, axis=1) if numbers else np.zeros((len(samples), 0)),
        incomplete=np.zeros(len(samples), bool),
        where=_where(samples, rows_of),
        counts=_counts(series, placed),
        group=_group_a_sample(labels[0], labels_at[0], samples, names) if labels else None,
        findings=(*repaired, *_findings(card, series, placed, [*labels, *static])),
        days_to_harvest=None if seasons is None else seasons.days_to_harvest(samples // YEARS, year),
    )
    parts = [Part.of("variates", one.source, names, key) for one, key in zip(series, seen, strict=True)]
    parts += [Part.of("target", one.source, names, key) for one, key in zip(labels, label_keys, strict=True)]
    parts += [Part.of("static", one.source, names, key) for one, key in zip(static, static_keys, strict=True)]
    parts += _places_alone(card, calendar, names, budget)
    formats = [note for one in card.sources for note in format_notes(_files_there(card, one), csv_keys(card, one))]
    lines, met = join_report(parts, card)
    return Joined(draft=draft, notes=(*formats, *lines), sources=met, own_seasons=seasons is not None)


def _files_there(card: DatasetCard, source: SourceCard) -> tuple[Path, ...]:
    return files_of(card, [pattern for pattern in source.files if is_there(card.path, pattern)])


def _shared_names(
    *groups: Sequence[Observations | Numbers],
) -> tuple[NDArray[np.str_], list[list[Index]], tuple[Finding, ...]]:
    """(the names of all places [P], for each part of each group which of them each row is of [R], what was repaired)"""
    texts, repaired = spelled_alike([part.named for group in groups for part in group])
    names = merged(texts)
    codes = iter(np.split(names.codes, np.cumsum([len(text.codes) for text in texts])[:-1]))
    return names.names, [[next(codes) for _ in group] for group in groups], repaired


def _findings(
    card: DatasetCard, series: Sequence[Observations], placed: Sequence[Placed], numbers: Sequence[Numbers]
) -> tuple[Finding, ...]:
    """What the sources report; a mark of missing data is without use only if no source holds it."""
    found = [finding for one in series for finding in one.findings]
    for one, at in zip(series, placed, strict=True):
        found += averaged(_repeated(one, at), int(at.inside.sum()))
    marks = [*(one.marks for one in series), *(one.marks for one in numbers)]
    held = sum(map(Counter, marks), Counter[float]())
    wanted = dict.fromkeys(mark for one in card.sources for mark in _missing(card, one)[0])
    return (*dict.fromkeys(found), *unmatched_marks(held, tuple(wanted)))


def _missing(card: DatasetCard, source: SourceCard) -> tuple[tuple[float, ...], tuple[str, ...]]:
    """The numbers and the texts that stand for missing data in a source."""
    marks = card.missing if source.missing is None else source.missing
    numbers = tuple(float(mark) for mark in marks if not isinstance(mark, str))
    return numbers, tuple(mark for mark in marks if isinstance(mark, str))


def _observed(one: Observations, at: Placed) -> Index:
    """The keys of the seasons in which anything was observed, each once."""
    return np.unique(at.key[at.inside & ~np.isnan(one.measured).all(axis=1)])


def _observations(card: DatasetCard, source: SourceCard, budget: Budget, for_prediction: bool) -> Observations:
    one, files = _card_of(card, source), files_of(card, source.files)
    offsets = [variate.offset for variate in one.series]
    if source.format == "wide":
        return _wide_observations(one, source, files, budget, for_prediction)
    load = load_long if source.format == "long" else load_cube
    table = load(one, files, None, budget, True)
    columns = table.observations
    refuse_bad_names(columns, one.place)
    series = [(variate.column or variate.name,) for variate in one.series]
    stored = [before_offset(variate) for variate in one.series]
    refuse_marks([columns], [series], stored, one.missing_numbers, for_prediction)
    if one.date is not None:
        dates = dates_of(one, columns)
    else:
        calendar, step = Calendar.of(one), steps_of_rows(one, columns)
        refuse_days_of_the_year(one, calendar, step)
        dates = calendar.last_days(needed_years(one, table, columns), step)
    counts = date_counts(one, columns)
    measured = shifted(columns.measured, offsets)
    return Observations(
        source=source,
        place=columns.text[one.place],
        dates=dates,
        measured=measured,
        where=columns.where,
        counts=counts,
        findings=table.findings,
        marks=columns.marks,
    )


def _wide_observations(
    one: DatasetCard, source: SourceCard, files: Sequence[Path], budget: Budget, for_prediction: bool
) -> Observations:
    """Each step of each row as a row of its own."""
    plans = plan_by_card(one, files, None, True)
    rows, _ = load_rows(
        plans, one.series, one.missing_numbers, budget, None, one.missing_texts, for_prediction=for_prediction
    )
    variates, stored = rows.values.shape[1:]
    names, codes = np.unique(rows.place, return_inverse=True)
    year, step = np.repeat(rows.year, stored), np.tile(np.arange(stored), len(rows.year))
    return Observations(
        source=source,
        place=Text(names, np.repeat(codes, stored).astype(np.int64)),
        dates=Calendar.of(one).last_days(year, step),
        measured=rows.values.transpose(0, 2, 1).reshape(-1, variates),
        where=lambda row: rows.where(row // stored),
        findings=rows.findings,
        marks=rows.marks,
    )


def _card_of(card: DatasetCard, source: SourceCard) -> DatasetCard:
    """The source as a card of its own; what it leaves out is the card's."""
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
            "date_order": source.date_order or card.date_order,
            **asdict(csv_keys(card, source)),
        },
        card.path,
    )


def _has_yields(card: DatasetCard, source: SourceCard) -> bool:
    """Whether the file of the yields is there, and has their column: a table read for prediction may lack both."""
    assert source.target is not None
    keys = csv_keys(card, source)
    there = any(is_there(card.path, pattern) for pattern in source.files)
    return there and all(source.target.column in column_names(path, keys) for path in files_of(card, source.files))


def _labels(card: DatasetCard, source: SourceCard, budget: Budget, for_prediction: bool) -> Numbers:
    assert source.target is not None
    group = None if for_prediction else source.target.group
    found = _numbers(card, source, (source.target.column,), budget, group)
    known = ~np.isnan(found.numbers[:, 0])
    rows = np.flatnonzero(known)
    assert found.year is not None
    return Numbers(
        source=source,
        place=Text(found.place.names, found.place.codes[known]),
        year=found.year[known],
        columns=found.columns,
        numbers=found.numbers[known],
        where=lambda row: found.where(int(rows[row])),
        group=None if found.group is None else found.group[known],
        marks=found.marks,
    )


def _numbers(
    card: DatasetCard, source: SourceCard, columns: tuple[str, ...], budget: Budget, group: str | None = None
) -> Numbers:
    place, year = source.place or card.place, source.year
    missing, missing_texts = _missing(card, source)
    wanted = Wanted(
        text=tuple(dict.fromkeys((place, group) if group else (place,))),
        exact=(*([year] if year else []), *columns),
        missing=missing,
        static=tuple(name for name in columns if name in source.static),
        keys=csv_keys(card, source),
        places=(place,),
        yields=columns,
        missing_texts=missing_texts,
    )
    found = joined(load_columns([(path, wanted) for path in files_of(card, source.files)], budget))
    refuse_bad_names(found, place)
    return Numbers(
        source=source,
        place=found.text[place],
        year=years_of(found.exact[year], year, found.where) if year else None,
        columns=columns,
        numbers=np.stack([found.exact[name] for name in columns], axis=1),
        where=found.where,
        group=filled(found.text[group]) if group else None,
        marks=found.marks,
    )


def _calendar(card: DatasetCard, source: SourceCard, budget: Budget) -> CropCalendar:
    assert source.calendar is not None
    place = source.place or card.place
    text = tuple(dict.fromkeys((place, source.calendar.start, source.calendar.end)))
    exact = (source.year,) if source.year else ()
    wanted = Wanted(text=text, exact=exact, keys=csv_keys(card, source), places=(place,))
    found = joined(load_columns([(path, wanted) for path in files_of(card, source.files)], budget))
    refuse_bad_names(found, place)
    return CropCalendar.of(card, source, found)


def _seasons(
    card: DatasetCard, calendar: CropCalendar, grid: Calendar, places: NDArray[np.str_], series: Sequence[Observations]
) -> PlaceSeasons:
    if isinstance(grid.step_days, str):
        raise InputError(
            f"{card.path}: `step_days` is {grid.step_days!r}, but with a `calendar` each place's season starts on a "
            "day of its own, from which steps are counted; give a number of days."
        )
    days = [one.dates for one in series if len(one.dates)]
    first, last = (int(str(day)[:4]) for day in (min(d.min() for d in days), max(d.max() for d in days)))
    return calendar.seasons(places, first, last + 1)


def _steps(card: DatasetCard, grid: Calendar, seasons: PlaceSeasons | None, steps: int | None) -> int:
    if seasons is not None and len(seasons.place) == 0:
        raise InputError(
            f"{card.path}: no place of the series is in the `calendar`, so no season has a start. Spell the places of "
            "both alike, or correct `place` of these sources."
        )
    if steps is None:
        steps = grid.steps_a_year if seasons is None else steps_of(seasons, grid.days)
    grid.refuse_longer_than_a_year(steps, str(card.path))
    return steps


def _placed(grid: Calendar, seasons: PlaceSeasons | None, place: Index, dates: Dates, steps: int) -> Placed:
    if seasons is None:
        year, step = grid.season_of(dates, steps)
        return Placed(_keys(place, year), step, step < steps)
    running = seasons.running(place, dates)
    days = (dates - seasons.start[running]).astype(np.int64)
    step = np.floor(days / grid.days).astype(np.int64)
    return Placed(_keys(place, seasons.year[running]), step, (running >= 0) & (step < steps))


def _keys(place: Index, year: Index | None) -> Index:
    return place * YEARS + (0 if year is None else year)


def _values(
    card: DatasetCard, series: Sequence[Observations], placed: Sequence[Placed], samples: Index, steps: int
) -> NDArray[np.float32]:
    """values [N,V+R,T] in the order of the card, variates before drivers."""
    values = np.full((len(samples), len(card.series), steps), np.nan, np.float32)
    order = {variate.name: position for position, variate in enumerate(card.series)}
    for one, at in zip(series, placed, strict=True):
        rows = np.flatnonzero(at.inside)
        sample = np.minimum(np.searchsorted(samples, at.key[rows]), len(samples) - 1)
        known = samples[sample] == at.key[rows]  # a row without any number may be of no sample
        rows, sample = rows[known], sample[known]
        positions = [order[variate.name] for variate in one.source.series]
        values[:, positions] = cells.mean_in_cells(one.measured[rows], sample, at.step[rows], len(samples), steps)
    return values


def _number_a_sample(part: Numbers, place: Index, samples: Index, names: NDArray[np.str_]) -> NDArray[np.float64]:
    """The numbers [N,S] of each sample, NaN where none is known. Two that differ are refused."""
    key = _keys(place, part.year)
    wanted = samples if part.year is not None else samples // YEARS * YEARS
    found = np.full((len(samples), len(part.columns)), np.nan)
    for s, column in enumerate(part.columns):
        rows = np.flatnonzero(~np.isnan(part.numbers[:, s]))
        rows = rows[np.argsort(key[rows], kind="stable")]
        distinct, first, group = np.unique(key[rows], return_index=True, return_inverse=True)
        torn = np.flatnonzero(part.numbers[rows, s] != part.numbers[rows[first[group]], s])
        if len(torn):
            one, other = int(rows[first[group[torn[0]]]]), int(rows[torn[0]])
            year = "" if part.year is None else f" in {part.year[other]}"
            raise InputError(
                f"{part.where(other)}, column {column}: place {names[place[other]]} has {part.numbers[other, s]:g}"
                f"{year} here and {part.numbers[one, s]:g} before ({part.where(one)}); it has one. Remove one of the "
                "rows, or make `place` tell them apart."
            )
        if len(distinct):
            at = np.minimum(np.searchsorted(distinct, wanted), len(distinct) - 1)
            found[:, s] = np.where(distinct[at] == wanted, part.numbers[rows[first[at]], s], np.nan)
    return found


def _group_a_sample(part: Numbers, place: Index, samples: Index, names: NDArray[np.str_]) -> NDArray[np.str_] | None:
    """What `[target] group` says of each sample [N], empty where it says nothing. Two groups of one are refused."""
    if part.group is None:
        return None
    key = _keys(place, part.year)
    rows = np.flatnonzero(part.group != "")
    distinct, first, again = np.unique(key[rows], return_index=True, return_inverse=True)
    torn = np.flatnonzero(part.group[rows] != part.group[rows[first[again]]])
    if len(torn):
        row = int(rows[torn[0]])
        raise InputError(
            f"{part.where(row)}: place {names[place[row]]} is of group {part.group[row]} here and of "
            f"{part.group[rows[first[again[torn[0]]]]]} in another row of that year; a sample has one yield."
        )
    found = np.full(len(samples), "", part.group.dtype)
    found[np.searchsorted(samples, distinct)] = part.group[rows[first]]
    return found


def _counts(series: Sequence[Observations], placed: Sequence[Placed]) -> tuple[Count, ...]:
    outside = sum(int((~at.inside).sum()) for at in placed)
    repeated = sum(_repeated(one, at) for one, at in zip(series, placed, strict=True))
    reasons = {
        "observation row outside of the seasons left out": outside,
        "observation row averaged with an earlier one of its place and date": repeated,
    }
    counts = [count for one in series for count in one.counts]
    return (*counts, *(Count(reason, rows) for reason, rows in reasons.items() if rows))


def _repeated(one: Observations, at: Placed) -> int:
    rows = np.flatnonzero(at.inside)
    place, year = np.divmod(at.key[rows], YEARS)
    _, sample = cells.distinct_pairs(place, year, YEARS)
    shared = cells.in_shared_cells(sample, at.step[rows])
    rows = rows[shared]
    return cells.repeated_rows(one.measured[rows], sample[shared], one.dates[rows].astype(np.int64))


def _where(samples: Index, parts: Sequence[tuple[Index, Callable[[int], str]]]) -> Callable[[int], str]:
    """Where a sample's first row stands, for messages."""

    def where(index: int) -> str:
        for key, where in parts:
            rows = np.flatnonzero(key == samples[index])
            if len(rows):
                return where(int(rows[0]))
        raise ValueError(f"no row is of sample {index}")

    return where


def _places_alone(
    card: DatasetCard, calendar: CropCalendar | None, names: NDArray[np.str_], budget: Budget
) -> list[Part]:
    """The places of the calendar and of the positions, for the report."""
    parts = []
    for source in card.sources:
        if source.calendar is not None and calendar is not None:
            parts.append(Part.of_places("calendar", source, calendar.place))
        if source.latitude is not None:
            place = source.place or card.place
            files = files_of(card, source.files)
            wanted = Wanted(text=(place,), keys=csv_keys(card, source), places=(place,))
            found = joined(load_columns([(path, wanted) for path in files], budget))
            refuse_bad_names(found, place)
            there, _ = restore_zeros_like(found.text[place].strings(), names, source.label)
            parts.append(Part.of_places("positions", source, there))
    return parts
