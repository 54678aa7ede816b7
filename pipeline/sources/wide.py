"""Wide tables, with one row per place and year: find the columns of the steps by the card, and read the rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.card import DatasetCard, VariateCard, place_key
from pipeline.errors import InputError
from pipeline.findings import Finding
from pipeline.sources.checks.byte_codes import byte_codes
from pipeline.sources.checks.missing_values_report import masked_cells, unmatched_of_variates
from pipeline.sources.counts import counted
from pipeline.sources.files.columns import (
    Columns,
    column_names,
    filled,
    joined_unread,
    joined_where,
    left_out_of,
    load_columns,
    marks_of,
    merged,
)
from pipeline.sources.files.csv_format import USUAL, CsvKeys
from pipeline.sources.files.left_out_rows import left_out_by_keep
from pipeline.sources.files.memory_budget import Budget
from pipeline.sources.files.missing_values import before_offset, refuse_marks
from pipeline.sources.files.stored_numbers import shifted
from pipeline.sources.files.wanted_columns import Keep, Wanted, csv_keys
from pipeline.sources.labels import (
    default_ids,
    refuse_bad_names,
    refuse_empty,
    refuse_odd_year,
    target_column,
    year_in_name,
    years_of,
)
from pipeline.sources.names.place_names import restore_zeros
from pipeline.sources.place_column import advice_on_one_name
from pipeline.sources.radiometry import Level
from pipeline.sources.row_kinds import mixed_yields
from pipeline.sources.split_column import named, sides_of
from pipeline.sources.stored_rows import StoredRows
from pipeline.sources.times.dates_in_header import refuse_dates_in_header
from pipeline.sources.wide_steps import equal_steps, grouped, steps_of
from pipeline.table import Count


@dataclass(frozen=True)
class WideFile:
    """What to read from one file. steps[v][c] is the column of variate v at step c.

    place    the columns that name the place; empty if each row is a place of its own
    year     a column, or the year of the whole file
    target   None if the file has no yields (a table read for prediction)
    group    the column of the groups of [radiometry], if any
    labels   the column of the groups that share one yield, if any
    split    the column with train, valid or test; None without one, and for prediction
    earlier  year -> column of that year's known yields
    keys     the form of CSV files that the card states
    said     a column of years that must agree with `year`, in a table without a card
    keep     the texts of the rows to read, by column
    """

    path: Path
    steps: tuple[tuple[str, ...], ...]
    year: str | int
    place: tuple[str, ...] = ()
    sample_id: str | None = None
    target: str | None = None
    static: tuple[str, ...] = ()
    split: str | None = None
    group: str | None = None
    labels: str | None = None
    earlier: Mapping[int, str] = field(default_factory=dict)
    keys: CsvKeys = USUAL
    said: str | None = None
    keep: Keep = field(default_factory=dict)

    def wanted(self, series: Sequence[VariateCard], missing: Sequence[float], texts: Sequence[str] = ()) -> Wanted:
        """The columns to read. `series`: the variates of `steps`; `missing` and `texts` are the card's marks."""
        of_column = [variate for variate, columns in zip(series, self.steps, strict=True) for _ in columns]
        names = (*self.place, *([self.sample_id] if self.sample_id else []))
        numbers = (self.year, self.said, self.target, *self.static, *self.earlier.values())
        return Wanted(
            text=tuple(dict.fromkeys([*names, *(one for one in (self.split, self.group, self.labels) if one)])),
            exact=tuple(dict.fromkeys(name for name in numbers if isinstance(name, str))),
            measured=tuple(name for columns in self.steps for name in columns),
            scale=tuple(variate.scale for variate in of_column),
            missing=tuple(missing),
            own_missing=tuple(tuple(variate.missing) for variate in of_column),
            static=self.static,
            keys=self.keys,
            places=names,
            yields=tuple(name for name in (self.target, *self.earlier.values()) if name),
            missing_texts=tuple(texts),
            place=self.place,
            keep=self.keep,
        )


def plan_by_card(
    card: DatasetCard, files: Sequence[Path], year: int | None, for_prediction: bool
) -> tuple[WideFile, ...]:
    """Find the card's columns in the header of every file. Raises `InputError` if they are missing or differ."""
    if year is not None and (card.year is not None or len(files) > 1):
        raise InputError(
            f"{card.path}: --year {year} names the year of one file that does not tell it, but "
            + (f"the card's `year` is column {card.year}" if card.year else f"there are {len(files)} files")
            + "; leave it out."
        )
    plans = [_plan_file(card, path, year, for_prediction) for path in files]
    for plan in plans[1:]:
        refuse_other_steps(plans[0], plan)
    return tuple(plans)


def _plan_file(card: DatasetCard, path: Path, year: int | None, for_prediction: bool) -> WideFile:
    header = column_names(path, csv_keys(card))
    if all(variate.pattern is None for variate in card.series):
        refuse_dates_in_header(path, header)
    found = {variate.name: steps_of(path, header, variate.step_pattern) for variate in card.series}
    columns = equal_steps(path, found, card)
    target = target_column(card, path, header, for_prediction)
    return WideFile(
        path=path,
        steps=columns,
        year=card.year or year or _year_of_file(card, path),
        place=card.place,
        sample_id=card.sample_id,
        target=target,
        static=tuple(card.static),
        split=None if for_prediction else card.split,
        group=card.radiometry.group if card.radiometry else None,
        labels=card.target.group if card.target and not for_prediction else None,
        keys=csv_keys(card),
        keep=card.keep,
    )


def _year_of_file(card: DatasetCard, path: Path) -> int:
    year = year_in_name(path)
    if year is None:
        raise InputError(
            f"{path}: the dataset card {card.path} names no `year` column, and the file's name does not hold one "
            "year; add `year` to the card, rename the file (such as fields_2022.csv), or give --year."
        )
    return year


def refuse_other_steps(first: WideFile, other: WideFile) -> None:
    """Raise `InputError` if a file has other bands or steps than the first."""
    if {*map(frozenset, first.steps)} == {*map(frozenset, other.steps)}:
        return
    first_names = {name for columns in first.steps for name in columns}
    other_names = {name for columns in other.steps for name in columns}
    lacking, extra = grouped(sorted(first_names - other_names)), grouped(sorted(other_names - first_names))
    differences = [f"it lacks {', '.join(lacking)}"] * bool(lacking) + [f"it also has {', '.join(extra)}"] * bool(extra)
    raise InputError(
        f"{other.path}: the bands and steps differ from those of {first.path}: {' and '.join(differences)}. All files "
        "of a data set need the same columns; name the bands to read in a dataset card, or read the file alone."
    )


def load_rows(
    files: Sequence[WideFile],
    series: Sequence[VariateCard],
    missing: Sequence[float],
    *,
    budget: Budget,
    level: Level | None = None,
    texts: Sequence[str] = (),
    for_prediction: bool = False,
) -> tuple[StoredRows, list[tuple[NDArray[np.str_], int, NDArray[np.float64]]]]:
    """Read the planned files: their rows, and (places, year, yields) of every `earlier` column.

    missing and texts: the numbers and the texts that stand for missing data
    """
    parts = load_columns([(file.path, file.wanted(series, missing, texts)) for file in files], budget)
    stored = [before_offset(variate) for variate in series]
    refuse_marks(parts, [file.steps for file in files], stored, missing=missing, for_prediction=for_prediction)
    codes = byte_codes(parts, series, [len(columns) for columns in files[0].steps])
    marks = marks_of(parts)
    left_out, nearly = left_out_by_keep(left_out_of(parts), files[0].keep, [file.path for file in files])
    # A column of one variate in one file never holds another variate in the next.
    of_variates = [(variate, [name for file in files for name in file.steps[v]]) for v, variate in enumerate(series)]
    several = len(files) > 1
    places = [_places(file, part, several) for file, part in zip(files, parts, strict=True)]
    years = [_years(file, part) for file, part in zip(files, parts, strict=True)]
    ends = np.cumsum([len(part) for part in parts])[:-1]
    place, repaired = restore_zeros(np.concatenate(places), np.concatenate(years), str(files[0].path))
    places = np.split(place, ends)
    ids = [_ids(file, part, p, y) for file, part, p, y in zip(files, parts, places, years, strict=True)]
    earlier = [
        (place, year, part.exact[column])
        for file, part, place in zip(files, parts, places, strict=True)
        for year, column in file.earlier.items()
    ]
    values, levelled = _values(files, parts, series, level)
    target = np.concatenate([_numbers(part, file.target) for file, part in zip(files, parts, strict=True)])
    mixed: tuple[Finding, ...] = ()
    if not for_prediction:
        numbered = np.unique(place, return_inverse=True)[1]
        mixed = mixed_yields(
            [file.path for file in files], files[0].wanted(series, missing, texts), numbered, target, budget
        )
    rows = StoredRows(
        values=values,
        target=target,
        place=place,
        year=np.concatenate(years),
        sample_id=np.concatenate(ids),
        static=np.concatenate([_static(part, file.static) for file, part in zip(files, parts, strict=True)]),
        where=joined_where(parts),
        unread=joined_unread(parts),
        counts=(*left_out, *masked_cells(marks, of_variates), *_nameless(files, parts), *levelled),
        assigned=_assigned(files, parts),
        group=_label_groups(files, parts),
        findings=(*repaired, *codes, *unmatched_of_variates(marks, of_variates), *nearly, *mixed),
        marks=marks,
        advice=advice_on_one_name(column_names(files[0].path, files[0].keys), files[0].place),
        files=tuple(file.path.name for file in files),
        file=np.repeat(np.arange(len(files)), [len(part) for part in parts]),
    )
    return rows, earlier


def _nameless(files: Sequence[WideFile], parts: Sequence[Columns]) -> tuple[Count, ...]:
    rows = sum(len(part) for file, part in zip(files, parts, strict=True) if not file.place)
    return counted("sample named after its row: the file has no place, field, county, ... column", rows, lost=False)


def _values(
    files: Sequence[WideFile], parts: Sequence[Columns], series: Sequence[VariateCard], level: Level | None
) -> tuple[NDArray[np.float32], tuple[Count, ...]]:
    """The values [R,V,C] of all files, levelled if the card asks for it, and counts of changes."""
    shape = (-1, len(files[0].steps), len(files[0].steps[0]))
    # One file, the usual case, is not copied: its series are most of the memory that a read takes.
    stored = np.concatenate([part.measured for part in parts]) if len(parts) > 1 else parts[0].measured
    moved = shifted(stored.reshape(shape).swapaxes(1, 2), [variate.offset for variate in series])
    values: NDArray[np.float32] = moved.swapaxes(1, 2)
    if level is None:
        return values, ()
    for part in parts:
        refuse_empty(part, level.group)
    groups = merged([part.text[level.group] for part in parts])
    return level.apply_to_rows(values, groups, joined_where(parts))


def _label_groups(files: Sequence[WideFile], parts: Sequence[Columns]) -> NDArray[np.str_] | None:
    """The value of `[target] group` for each row [R], empty if unknown."""
    named = [part.text[file.labels] for file, part in zip(files, parts, strict=True) if file.labels]
    return np.concatenate([filled(text) for text in named]) if named else None


def _places(file: WideFile, part: Columns, several: bool) -> NDArray[np.str_]:
    if file.place:
        refuse_bad_names(part, place_key(file.place))
        return part.text[place_key(file.place)].strings()
    # Row 5 of one file need not be the place of row 5 of another.
    prefix = f"{file.path.name} " if several else ""
    return np.array([f"{prefix}row {row + 1}" for row in range(len(part))], np.str_)


def _years(file: WideFile, part: Columns) -> NDArray[np.int64]:
    if isinstance(file.year, str):
        return years_of(part.exact[file.year], file.year, part.where)
    refuse_odd_year(file.year, str(file.path))
    if file.said is not None:
        _refuse_another_year(file.year, file.said, part)
    return np.full(len(part), file.year, np.int64)


def _refuse_another_year(year: int, column: str, part: Columns) -> None:
    """Raise `InputError` if a column of years names another year than the one as which all rows are read."""
    said = part.exact[column]
    other = ~np.isnan(said) & (said != year)
    if other.any():
        row = int(np.argmax(other))
        raise InputError(
            f"{part.where(row)}, column {column}: the row is of {said[row]:g}, but without a dataset card all rows of "
            f"a file are seasons of one year, here {year} by the names of its columns and file. {int(other.sum())} of "
            f'{len(part)} rows are of other years. Write a card with year = "{column}", for which python -m '
            "pipeline.draft_card makes a start, or correct the column."
        )


def _ids(file: WideFile, part: Columns, place: NDArray[np.str_], year: NDArray[np.int64]) -> NDArray[np.str_]:
    if file.sample_id is not None:
        refuse_bad_names(part, file.sample_id)
        return part.text[file.sample_id].strings()
    return default_ids(place, year)


def _assigned(files: Sequence[WideFile], parts: Sequence[Columns]) -> NDArray[np.str_] | None:
    codes = [sides_of(part, file.split).codes for file, part in zip(files, parts, strict=True) if file.split]
    return named(np.concatenate(codes)) if codes else None


def _numbers(part: Columns, column: str | None) -> NDArray[np.float64]:
    return np.full(len(part), np.nan) if column is None else part.exact[column]


def _static(part: Columns, names: Sequence[str]) -> NDArray[np.float64]:
    columns = [part.exact[name] for name in names]
    return np.stack(columns, axis=1) if columns else np.zeros((len(part), 0))
