"""The numbers of one source of a card: yields, static columns, a crop calendar."""

from __future__ import annotations

import numpy as np

from pipeline.card import DatasetCard, SourceCard, is_there, place_key
from pipeline.findings import Finding
from pipeline.sources.crop_calendar import CropCalendar
from pipeline.sources.files.columns import Text, column_names, filled, joined, load_columns
from pipeline.sources.files.left_out_rows import left_out_by_keep
from pipeline.sources.files.locate_files import files_of
from pipeline.sources.files.memory_budget import Budget
from pipeline.sources.files.wanted_columns import Wanted, csv_keys
from pipeline.sources.joins.source_rows import Numbers
from pipeline.sources.labels import refuse_bad_names, without_nameless, years_of
from pipeline.sources.row_kinds import mixed_yields


def missing_of(card: DatasetCard, source: SourceCard) -> tuple[tuple[float, ...], tuple[str, ...]]:
    """The numbers and the texts that stand for missing data in a source."""
    marks = card.missing if source.missing is None else source.missing
    numbers = tuple(float(mark) for mark in marks if not isinstance(mark, str))
    return numbers, tuple(mark for mark in marks if isinstance(mark, str))


def has_yields(card: DatasetCard, source: SourceCard) -> bool:
    """Whether the file of the yields exists and has their column. A table read for prediction may lack both."""
    assert source.target is not None
    keys = csv_keys(card, source)
    there = any(is_there(card.path, pattern) for pattern in source.files)
    return there and all(source.target.column in column_names(path, keys) for path in files_of(card, source.files))


def read_labels(card: DatasetCard, source: SourceCard, budget: Budget, for_prediction: bool) -> Numbers:
    """The yields of a source, without the rows that have none."""
    assert source.target is not None
    group = None if for_prediction else source.target.group
    found = read_numbers(card, source, (source.target.column,), budget, group)
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
        unread=lambda row: found.unread(int(rows[row])),
        group=None if found.group is None else found.group[known],
        marks=found.marks,
        counts=found.counts,
        findings=found.findings,
    )


def read_numbers(
    card: DatasetCard, source: SourceCard, columns: tuple[str, ...], budget: Budget, group: str | None = None
) -> Numbers:
    """Columns of numbers of a source, with the place and year of each row."""
    place, year = source.place or card.place, source.year
    missing, missing_texts = missing_of(card, source)
    wanted = Wanted(
        text=tuple(dict.fromkeys((*place, group) if group else place)),
        exact=(*([year] if year else []), *columns),
        missing=missing,
        static=tuple(name for name in columns if name in source.static),
        keys=csv_keys(card, source),
        places=place,
        place=place,
        yields=columns,
        missing_texts=missing_texts,
        keep=source.keep,
    )
    files = files_of(card, source.files)
    found = joined(load_columns([(path, wanted) for path in files], budget))
    left_out, nearly = left_out_by_keep(found.left_out, source.keep, files)
    mixed: tuple[Finding, ...] = ()
    if source.target is not None and source.target.column in columns:
        codes = found.text[place_key(place)].codes
        mixed = mixed_yields(files, wanted, codes, found.exact[source.target.column], budget)
    found, nameless = without_nameless(found, place_key(place), source.label)
    refuse_bad_names(found, place_key(place))
    return Numbers(
        source=source,
        place=found.text[place_key(place)],
        year=years_of(found.exact[year], year, found.where) if year else None,
        columns=columns,
        numbers=np.stack([found.exact[name] for name in columns], axis=1),
        where=found.where,
        unread=found.unread,
        group=filled(found.text[group]) if group else None,
        marks=found.marks,
        counts=left_out,
        findings=(*nameless, *mixed, *nearly),
    )


def read_calendar(card: DatasetCard, source: SourceCard, budget: Budget) -> CropCalendar:
    """The days on which each place's season starts and ends."""
    assert source.calendar is not None
    place = source.place or card.place
    text = tuple(dict.fromkeys((*place, source.calendar.start, source.calendar.end)))
    exact = (source.year,) if source.year else ()
    wanted = Wanted(text=text, exact=exact, keys=csv_keys(card, source), places=place, place=place, keep=source.keep)
    found = joined(load_columns([(path, wanted) for path in files_of(card, source.files)], budget))
    refuse_bad_names(found, place_key(place))
    return CropCalendar.of(card, source, found)
