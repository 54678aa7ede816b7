"""Long tables as read: one row per place and date, or per place, year and step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.card import DatasetCard
from pipeline.findings import Finding
from pipeline.sources.checks.byte_codes import byte_codes
from pipeline.sources.checks.missing_values_report import masked_cells, unmatched_of_variates
from pipeline.sources.files.columns import Columns, column_names, joined, load_columns
from pipeline.sources.files.left_out_rows import left_out_by_keep
from pipeline.sources.files.memory_budget import Budget
from pipeline.sources.files.wanted_columns import Wanted, csv_keys
from pipeline.sources.labels import target_column, year_in_name
from pipeline.sources.places_of_one_name import places_of_one_name
from pipeline.sources.row_kinds import mixed_yields
from pipeline.sources.times.dates import refuse_orders_by_file
from pipeline.sources.times.misread_dates import refuse_two_forms
from pipeline.sources.times.time_zones import zones_of_texts
from pipeline.table import Count


@dataclass(frozen=True)
class LongTable:
    """Observations, and the rows that carry yields: the same rows, except in cubes that keep the two apart.

    year      the year of rows that have no column for it, from the file's name or the command line
    files     names of the files of the observations
    """

    observations: Columns
    labels: Columns
    target: str | None
    year: int | None = None
    findings: tuple[Finding, ...] = ()
    counts: tuple[Count, ...] = ()
    files: tuple[str, ...] = ()


def load_long(
    card: DatasetCard, files: Sequence[Path], year: int | None, budget: Budget, for_prediction: bool
) -> LongTable:
    """Read the card's columns of every file."""
    targets = [target_column(card, path, column_names(path, csv_keys(card)), for_prediction) for path in files]
    # Only a read for prediction gets here with a target missing; then it does without, in all files.
    target = None if None in targets else targets[0]
    group = card.radiometry.group if card.radiometry else None
    names = (*card.place, *([card.sample_id] if card.sample_id else []))
    labels = card.target.group if card.target and not for_prediction else None
    texts = (*names, card.date, group, labels, None if for_prediction else card.split)
    numbers = (card.year, card.step, target, *card.static)
    wanted = Wanted(
        text=tuple(dict.fromkeys(name for name in texts if name)),
        exact=tuple(dict.fromkeys(name for name in numbers if name)),
        measured=tuple(variate.column or variate.name for variate in card.series),
        scale=tuple(variate.scale for variate in card.series),
        missing=card.missing_numbers,
        own_missing=tuple(tuple(variate.missing) for variate in card.series),
        static=tuple(card.static),
        keys=csv_keys(card),
        places=names,
        yields=(target,) if target else (),
        missing_texts=card.missing_texts,
        place=card.place,
        keep=card.keep,
    )
    parts = load_columns([(path, wanted) for path in files], budget)
    if card.date:
        for part in parts:
            _refuse_two_forms_of_dates(part, card.date)
        if card.date_order is None:
            refuse_orders_by_file(files, [part.text[card.date].names.tolist() for part in parts], card.date)
    columns = joined(parts)
    alike: tuple[Finding, ...] = ()
    mixed: tuple[Finding, ...] = ()
    if target and not for_prediction:
        mixed = mixed_yields(files, wanted, columns.text[card.place_key].codes, columns.exact[target], budget)
    if card.sample_id is None:
        numbered = [columns.exact[name] for name in (card.year, card.step) if name]
        when = [columns.text[card.date].codes] if card.date else numbered
        alike = places_of_one_name(
            files, columns, card.place, when=when, budget=budget, form=csv_keys(card), keep=card.keep
        )
    named_year = year or (year_in_name(files[0]) if len(files) == 1 else None)
    of_variates = [(variate, (variate.column or variate.name,)) for variate in card.series]
    unmatched = unmatched_of_variates(columns.marks, of_variates)
    codes = byte_codes([columns], card.series, [1] * len(card.series))
    left_out, nearly = left_out_by_keep(columns.left_out, card.keep, files)
    zones = zones_of_texts(columns.text[card.date].names.tolist(), card.date) if card.date else ()
    return LongTable(
        observations=columns,
        labels=columns,
        target=target,
        year=named_year,
        findings=(*zones, *alike, *mixed, *codes, *unmatched, *nearly),
        counts=(*left_out, *masked_cells(columns.marks, of_variates)),
        files=tuple(path.name for path in files),
    )


def _refuse_two_forms_of_dates(part: Columns, column: str) -> None:
    """Raise `InputError` if the dates of one file are written in two orders, as Excel leaves them."""
    text = part.text[column]
    used = np.unique(text.codes[text.codes >= 0])
    refuse_two_forms(
        text.names[used].tolist(), lambda at: f"{part.where(int(np.argmax(text.codes == used[at])))}, column {column}"
    )
