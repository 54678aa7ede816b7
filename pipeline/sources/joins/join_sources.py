"""Join several sources to one table. Each is read by itself, and all are joined by place and season on the card's grid.

Series are numbers of a place and day, yields are numbers of a place and year, and static columns are numbers of a
place.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.card import DatasetCard, SourceCard, is_there, place_key
from pipeline.errors import InputError
from pipeline.findings import Finding
from pipeline.provenance import JoinedSource
from pipeline.sources.aggregate import Index
from pipeline.sources.assemble import TableDraft
from pipeline.sources.checks.missing_values_report import unmatched_marks
from pipeline.sources.crop_calendar import CropCalendar, PlaceSeasons
from pipeline.sources.duplicate_dates import advice_on_averaged, averaged
from pipeline.sources.files.columns import joined, load_columns, merged
from pipeline.sources.files.csv_format import format_notes
from pipeline.sources.files.locate_files import files_of
from pipeline.sources.files.memory_budget import Budget
from pipeline.sources.files.wanted_columns import Wanted, csv_keys
from pipeline.sources.joins.join_names import spelled_alike
from pipeline.sources.joins.join_report import Part, join_report, spelling_findings
from pipeline.sources.joins.join_samples import (
    counts_of_rows,
    group_a_sample,
    number_a_sample,
    repeated_rows_of,
    values_of_seasons,
    where_of_samples,
)
from pipeline.sources.joins.season_keys import (
    YEARS,
    Placed,
    keys_of,
    observed_seasons,
    place_rows,
    season_steps,
    seasons_of_places,
)
from pipeline.sources.joins.source_numbers import has_yields, missing_of, read_calendar, read_labels, read_numbers
from pipeline.sources.joins.source_rows import Numbers, Observations
from pipeline.sources.joins.source_series import read_series
from pipeline.sources.joins.yield_year import renamed_by, report_shift
from pipeline.sources.labels import default_ids, refuse_bad_names
from pipeline.sources.names.place_names import restore_zeros_like
from pipeline.sources.step_means import means_of_amounts
from pipeline.sources.times.calendar import Calendar
from pipeline.sources.times.outside_season import mostly_outside
from pipeline.sources.times.season_dates import (
    describe_season,
    refuse_harvest_of_another_year,
    season_cut_before_new_year,
)


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
    series, labels, static, calendar = _read_sources(card, steps, for_prediction, budget)
    names, (series_at, labels_at, static_at), repaired = _shared_names(series, labels, static)
    if calendar is not None:
        calendar = replace(calendar, place=restore_zeros_like(calendar.place, names, "the calendar")[0])
    seasons = None if calendar is None else seasons_of_places(card, calendar, grid, names, series)
    steps = season_steps(card, grid, seasons, steps)
    placed = [place_rows(grid, seasons, at, one.dates, steps) for one, at in zip(series, series_at, strict=True)]
    label_keys = [keys_of(at, one.year) for one, at in zip(labels, labels_at, strict=True)]
    static_keys = [keys_of(at, one.year) for one, at in zip(static, static_at, strict=True)]
    seen = [observed_seasons(one, at) for one, at in zip(series, placed, strict=True)]
    samples = np.unique(np.concatenate([*seen, *label_keys]))
    place, year = names[samples // YEARS], samples % YEARS
    numbers = [number_a_sample(one, at, samples, names) for one, at in zip(static, static_at, strict=True)]
    targets = [number_a_sample(one, at, samples, names)[:, 0] for one, at in zip(labels, labels_at, strict=True)]
    rows_of = [(at.key, one.where) for one, at in zip(series, placed, strict=True)]
    label_rows = [(key, one.where) for one, key in zip(labels, label_keys, strict=True)]
    draft = TableDraft(
        values=values_of_seasons(card, series, placed, samples, steps),
        target=targets[0] if targets else np.full(len(samples), np.nan),
        place=place,
        year=year,
        sample_id=default_ids(place, year),
        static=np.concatenate(numbers, axis=1) if numbers else np.zeros((len(samples), 0)),
        incomplete=np.zeros(len(samples), bool),
        where=where_of_samples(samples, [*rows_of, *label_rows]),
        where_label=where_of_samples(samples, [*label_rows, *rows_of]),
        counts=(*(count for one in (*labels, *static) for count in one.counts), *counts_of_rows(series, placed)),
        group=group_a_sample(labels[0], labels_at[0], samples, names) if labels else None,
        findings=(*repaired, *_findings(card, series, placed, [*labels, *static]), *_outside(series, placed, seasons)),
        days_to_harvest=None if seasons is None else seasons.days_to_harvest(samples // YEARS, year),
    )
    met = [(label_keys, labels, "target"), (static_keys, static, "static")]
    parts = [Part.of("variates", one.source, names, key) for one, key in zip(series, seen, strict=True)]
    for keys, numbers_of, what in met:
        parts += [Part.of(what, one.source, names, key) for one, key in zip(numbers_of, keys, strict=True)]
    parts += _places_alone(card, calendar, names, budget)
    formats = [note for one in card.sources for note in format_notes(_files_there(card, one), csv_keys(card, one))]
    lines, joined = join_report(parts, card)
    found = spelling_findings(parts, card)
    if not for_prediction:
        renamed = renamed_by(grid, steps) if seasons is None else 0
        of_variates = [key for one, key in zip(series, seen, strict=True) if one.source.variates]
        for one, key in zip(labels, label_keys, strict=True):
            known = key[one.numbers[:, 0] > 0]
            found += report_shift(
                card, one.source, np.concatenate(of_variates), yields=known, renamed=renamed, names=names
            )
        if seasons is None:
            year_met = _last_sample(seen, label_keys)[1]
            found += season_cut_before_new_year(card, year_met, *grid.season_days(year_met, steps))
    draft = replace(draft, findings=(*draft.findings, *found))
    season = _example_of_a_season(
        card, grid, seasons, names=names, sample=_last_sample(seen, label_keys), steps=steps, yields=bool(labels)
    )
    notes = (*formats, lines[0], season, *lines[1:])
    return Joined(draft=draft, notes=notes, sources=joined, own_seasons=seasons is not None)


def _last_sample(seen: Sequence[Index], label_keys: Sequence[Index]) -> tuple[int, int]:
    """(place, year) of a sample of the last year in which series meet a yield, or of the last series without yields."""
    met = np.unique(np.concatenate(seen))
    if label_keys:
        met = np.intersect1d(met, np.concatenate(label_keys))
    place, year = divmod(int(met[np.argmax(met % YEARS)]), YEARS)
    return place, year


def _example_of_a_season(
    card: DatasetCard,
    grid: Calendar,
    seasons: PlaceSeasons | None,
    *,
    names: NDArray[np.str_],
    sample: tuple[int, int],
    steps: int,
    yields: bool,
) -> str:
    """A line about the season of a sample (place, year), whose year must be that of its harvest if it meets a yield."""
    place, year = sample
    if seasons is not None:
        return describe_season(card, year, *seasons.days_of(place, year), place=str(names[place]), yields=yields)
    if yields:
        refuse_harvest_of_another_year(card, grid, year, steps)
    return describe_season(card, year, *grid.season_days(year, steps), yields=yields)


def _read_sources(
    card: DatasetCard, steps: int | None, for_prediction: bool, budget: Budget
) -> tuple[list[Observations], list[Numbers], list[Numbers], CropCalendar | None]:
    """(series, yields, static numbers, crop calendar), each by the reader of its own format."""
    series = [
        read_series(card, one, budget, steps=steps, for_prediction=for_prediction) for one in card.sources if one.series
    ]
    yields = [one for one in card.sources if one.target and (not for_prediction or has_yields(card, one))]
    if not yields and not for_prediction:
        raise InputError(
            f"{card.path}: no source has a `target`; add the source of the yields, with its `year` and the `column` "
            "and `unit` of its `target`, or read for prediction."
        )
    labels = [read_labels(card, one, budget, for_prediction) for one in yields]
    static = [read_numbers(card, one, tuple(one.static), budget) for one in card.sources if one.static]
    return (
        series,
        labels,
        static,
        next((read_calendar(card, one, budget) for one in card.sources if one.calendar), None),
    )


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
    found += [finding for one in numbers for finding in one.findings]
    for one, at in zip(series, placed, strict=True):
        advice = partial(advice_on_averaged, one.measured, at.inside, at.key, one.dates, one.unread)
        found += averaged(repeated_rows_of(one, at), int(at.inside.sum()), advice)
        found += means_of_amounts(one.source.series, one.measured, at.inside, at.key, at.step)
    marks = [*(one.marks for one in series), *(one.marks for one in numbers)]
    held = sum(map(Counter, marks), Counter[tuple[str, float]]())
    wanted = dict.fromkeys(mark for one in card.sources for mark in missing_of(card, one)[0])
    return (*dict.fromkeys(found), *unmatched_marks(held, tuple(wanted)))


def _outside(
    series: Sequence[Observations], placed: Sequence[Placed], seasons: PlaceSeasons | None
) -> tuple[Finding, ...]:
    """A finding for the first source of which most rows lie outside of the seasons. Crop calendars choose few rows."""
    if seasons is not None:
        return ()
    found = [
        finding for one, at in zip(series, placed, strict=True) for finding in mostly_outside(one.dates, at.inside)
    ]
    return tuple(found[:1])


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
            wanted = Wanted(text=place, keys=csv_keys(card, source), places=place, place=place, keep=source.keep)
            found = joined(load_columns([(path, wanted) for path in files], budget))
            refuse_bad_names(found, place_key(place))
            there, _ = restore_zeros_like(found.text[place_key(place)].strings(), names, source.label)
            parts.append(Part.of_places("positions", source, there))
    return parts
