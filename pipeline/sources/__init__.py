"""Read CSV, Parquet, NetCDF and Zarr files into a season table, with a dataset card or, for wide tables, without."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.card import DatasetCard, VariateCard, is_there
from pipeline.card.questions import open_questions
from pipeline.errors import InputError
from pipeline.findings import Finding
from pipeline.sources.assemble import Description, TableDraft, finish
from pipeline.sources.checks.missing_values_report import unmatched_marks
from pipeline.sources.checks.unit_switch import unit_switch
from pipeline.sources.crop_calendar import OWN_START
from pipeline.sources.cube import load_cube
from pipeline.sources.files.csv_format import USUAL, format_notes
from pipeline.sources.files.locate_files import CUBES, Located, advice_on_ending, files_of, kind_of, locate
from pipeline.sources.files.memory_budget import Budget
from pipeline.sources.files.wanted_columns import csv_keys
from pipeline.sources.history_checks import check_history
from pipeline.sources.joins.join_sources import join_sources
from pipeline.sources.labels import refuse_odd_year
from pipeline.sources.long import grid
from pipeline.sources.long_table import load_long
from pipeline.sources.radiometry import Level
from pipeline.sources.season_rows import wide_row_findings
from pipeline.sources.stored_rows import Length, seasons
from pipeline.sources.times.calendar import Calendar
from pipeline.sources.times.season_dates import describe_season
from pipeline.sources.times.step_length import step_length_findings
from pipeline.sources.wide import load_rows, plan_by_card
from pipeline.sources.wide_without_card import STEP_DAYS, plan_plain
from pipeline.sources.yield_history import (
    OF_CARD,
    OF_COLUMNS,
    HistoryWords,
    compared,
    earlier_yields,
    history_files,
    history_of,
    spelled_alike,
)
from pipeline.table import SeasonTable, Variate, YieldHistory

__all__ = ["read"]


MOST_DAYS_TO_HARVEST = 183  # from the end of the last step


def read(
    data: str | Path | Sequence[str | Path],
    *,
    year: int | None = None,
    for_prediction: bool = False,
    memory_gb: float | None = None,
    season_steps: int | None = None,
    unfinished: int | None = None,
) -> SeasonTable:
    """Read a season table. Values are float32 in each variate's unit, NaN where unobserved; yields are t/ha.

    data            a dataset card (.toml), a file (.csv, .csv.gz, .parquet, .nc, .zarr), a folder with such files or
                    with one card, a glob, or several of these
    year            harvest year of a file that has neither a year column nor a year in its name
    for_prediction  the target may be absent or empty; such samples stay, with target NaN
    memory_gb       memory that may be used, in 1e9 bytes; 60 % of the available memory by default
    season_steps    T, overrides the card
    unfinished      T of seasons that may not be complete, if nothing else gives T; steps that the table does not have
                    yet are unobserved

    Rows of a long table that share a place, a date and a variate are averaged. Samples with a yield of zero or below
    are dropped. Both are counted. The rows of the table are sorted by sample_id.

    Raises `InputError`, with file, row, value, limit and advice, if the input cannot be read or cannot be right. The
    table's `counts` contain what was dropped, masked or excluded, and its `findings` what was assumed or may be wrong.
    """
    if year is not None:
        refuse_odd_year(year, "--year")
    if season_steps is not None and season_steps < 2:
        raise InputError(f"season_steps is {season_steps}; a season needs at least 2 steps.")
    found = locate(data)
    budget = Budget(memory_gb)
    card = found.card
    length = Length(season_steps or (card.season_steps if card else None) or unfinished, unfinished is not None)
    if card is None:
        return _read_plain(found, year, for_prediction, budget, length)
    return _read_card(card, found.files, year, for_prediction=for_prediction, budget=budget, length=length)


def _read_plain(found: Located, year: int | None, for_prediction: bool, budget: Budget, length: Length) -> SeasonTable:
    cube = next((path for path in found.files if kind_of(path) in CUBES), None)
    if cube is not None:
        raise InputError(
            f"{cube}: a cube needs a dataset card that names its variates, place and time. Write one (.toml) beside "
            "it, and give the card as data."
        )
    plans, bands, noticed = plan_plain(found.files, year, for_prediction, budget)
    series = [VariateCard(name=band) for band in bands]
    rows, earlier = load_rows(plans, series, (), budget=budget, for_prediction=for_prediction)
    source = str(found.files[0]) if len(found.files) == 1 else found.name
    history, counts = earlier_yields(earlier, source)
    draft = seasons(rows, Calendar(STEP_DAYS), length, source)
    history, noted = _settled(
        history,
        draft.place,
        draft.year,
        target=draft.target,
        source=source,
        for_prediction=for_prediction,
        words=OF_COLUMNS,
    )
    counts = (
        *counts,
        *compared(history, draft.place, draft.target, source=source, for_prediction=for_prediction, words=OF_COLUMNS),
    )
    notes = format_notes(found.files, USUAL)
    about = Description(found.name, source, tuple(map(Variate, bands)), STEP_DAYS, "01-01", notes=notes)
    draft = replace(draft, counts=(*draft.counts, *counts), findings=(*noticed, *draft.findings, *noted))
    return finish(about, draft, history, for_prediction=for_prediction)


def _read_card(
    card: DatasetCard,
    files: Sequence[Path],
    year: int | None,
    *,
    for_prediction: bool,
    budget: Budget,
    length: Length,
) -> SeasonTable:
    _refuse_other_kinds(card, files)
    calendar = Calendar.of(card)
    about = Description(
        name=card.name,
        source=str(card.path),
        variates=tuple(Variate(v.name, v.unit, v.low, v.high) for v in card.variates),
        drivers=tuple(Variate(v.name, v.unit, v.low, v.high) for v in card.drivers),
        known=tuple(driver.known for driver in card.drivers),
        step_days=calendar.days,
        season_start=calendar.season_start,
        # Computed before any data is read, so that an unknown unit is reported at once.
        target_factor=card.target_factor(),
        static_names=tuple(card.static),
        missing=card.missing_numbers,
        target_column=card.target.column if card.target else "",
        group_column=card.target.group if card.target and not for_prediction else None,
        exclude=tuple(card.exclude),
        cut=card.cut,
        harvest_days=None if card.harvest is None else calendar.days_until(card.harvest),
        notes=format_notes((*files, *history_files(card)), csv_keys(card)),
        crop=card.crop,
    )
    history, counts, mixed = history_of(card, budget)
    if card.sources:
        if year is not None:
            raise InputError(
                f"{card.path}: --year {year} is for a single file, but this card names [[sources]]; leave it out."
            )
        met = join_sources(card, length.steps, for_prediction, budget)
        draft, about = met.draft, replace(about, notes=(*about.notes, *met.notes), sources=met.sources)
        about = replace(about, season_start=OWN_START) if met.own_seasons else about
    else:
        draft = _draft(card, files, year, for_prediction=for_prediction, budget=budget, length=length)
    labels = draft.target * about.target_factor
    history, noted = _settled(
        history,
        draft.place,
        draft.year,
        target=labels,
        source=str(card.path),
        for_prediction=for_prediction,
        words=OF_CARD,
    )
    counts = (
        *counts,
        *compared(history, draft.place, labels, source=str(card.path), for_prediction=for_prediction, words=OF_CARD),
    )
    draft = replace(
        draft,
        counts=(*draft.counts, *counts),
        findings=(*open_questions(card.path), *card.unit_findings(), *mixed, *draft.findings, *noted),
    )
    table = finish(about, draft, history, for_prediction=for_prediction)
    _refuse_far_harvest(card, table)
    if card.date is None:
        return table
    year = int(table.year.max())
    season = describe_season(card, year, *calendar.season_days(year, table.steps))
    return replace(table, notes=(*table.notes, season))


def _settled(
    history: YieldHistory,
    place: NDArray[np.str_],
    year: NDArray[np.int64],
    *,
    target: NDArray[np.float64],
    source: str,
    for_prediction: bool,
    words: HistoryWords,
) -> tuple[YieldHistory, tuple[Finding, ...]]:
    """The history with the table's spelling of places, and findings about it and the labels. target [N] in t/ha."""
    history, found = spelled_alike(history, place, source, words)
    found = (*found, *unit_switch(history, source, words.name))
    # In a table that is read for prediction, yields are not used and need not be checked.
    if for_prediction:
        return history, found
    return history, (*found, *check_history(history, place, year, target=target, source=source, words=words))


def _refuse_far_harvest(card: DatasetCard, table: SeasonTable) -> None:
    """Raise `InputError` if the harvest is over half a year after the last step, as lead times would be wrong."""
    late = (table.harvest_days or 0) - table.steps * table.step_days
    if late > MOST_DAYS_TO_HARVEST:
        raise InputError(
            f"{card.path}: `harvest` is {card.harvest}, {late:.0f} days after the end of a season of {table.steps} "
            f"steps that starts on {table.season_start}; at most {MOST_DAYS_TO_HARVEST} days are allowed. Correct "
            "`harvest`, `season_start` or `step_days`."
        )


def _draft(
    card: DatasetCard,
    files: Sequence[Path],
    year: int | None,
    *,
    for_prediction: bool,
    budget: Budget,
    length: Length,
) -> TableDraft:
    if card.format == "wide":
        plans = plan_by_card(card, files, year, for_prediction)
        rows, _ = load_rows(
            plans,
            card.series,
            card.missing_numbers,
            budget=budget,
            level=Level.of(card),
            texts=card.missing_texts,
            for_prediction=for_prediction,
        )
        calendar = Calendar.of(card)
        draft = seasons(rows, calendar, length, str(card.path))
        unmatched = unmatched_marks(rows.marks, card.missing_numbers)
        crossing = wide_row_findings(calendar, rows.values.shape[2], draft.values.shape[2])
        doubts = step_length_findings(card, rows.values.shape[2], None)
        return replace(draft, findings=(*draft.findings, *unmatched, *doubts, *crossing))
    load = load_long if card.format == "long" else load_cube
    return grid(card, load(card, files, year, budget, for_prediction), length.steps, for_prediction)


def _refuse_other_kinds(card: DatasetCard, files: Sequence[Path]) -> None:
    """Raise `InputError` if the ending of a file does not fit the card's format."""
    if card.sources:
        for source in card.sources:
            there = [pattern for pattern in source.files if is_there(card.path, pattern)]
            one = card.model_copy(update={"format": source.format, "sources": []})
            _refuse_other_kinds(one, files_of(card, there))
        return
    endings = {"netcdf": (".nc",), "zarr": (".zarr",)}.get(card.format, (".csv", ".csv.gz", ".parquet"))
    for path in files:
        if kind_of(path) not in endings:
            raise InputError(
                f"{path}: the dataset card {card.path} has format {card.format!r}, which reads {', '.join(endings)}; "
                f"correct `format` or `files`.{advice_on_ending(path)}"
            )
