"""Make seasons from stored rows of a place and year: cut them, or join two rows of a season that crosses New Year."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.findings import Finding
from pipeline.sources.assemble import TableDraft
from pipeline.sources.files.columns import Unread, no_texts
from pipeline.sources.files.stored_numbers import Marks
from pipeline.sources.names.place_names import TWO_OF_ONE_NAME
from pipeline.sources.row_kinds import advice_on_texts
from pipeline.sources.times.calendar import YEAR_DAYS, Calendar
from pipeline.table import Count


@dataclass(frozen=True)
class StoredRows:
    """R rows of C steps each, the first step on the calendar's `row_start`. values [R,V,C] f32, NaN where unobserved.

    target, static, sample_id, assigned and group (as in `TableDraft`) are those of the row's own `year`.
    marks: how often each number of `missing` was found in each column. advice: what to do if two places have one name.
    unread: returns the texts of a row in the columns that were not read.
    """

    values: NDArray[np.float32]
    target: NDArray[np.float64]
    place: NDArray[np.str_]
    year: NDArray[np.int64]
    sample_id: NDArray[np.str_]
    static: NDArray[np.float64]
    where: Callable[[int], str]
    counts: tuple[Count, ...] = ()
    assigned: NDArray[np.str_] | None = None
    group: NDArray[np.str_] | None = None
    findings: tuple[Finding, ...] = ()
    files: tuple[str, ...] = ()
    file: NDArray[np.int64] | None = None
    marks: Marks = field(default_factory=dict)
    advice: str = TWO_OF_ONE_NAME
    unread: Unread = no_texts


@dataclass(frozen=True)
class Length:
    """T of a season; None takes all steps of a row. `unfinished`: a row may end before its season does."""

    steps: int | None = None
    unfinished: bool = False


def seasons(rows: StoredRows, calendar: Calendar, length: Length, source: str) -> TableDraft:
    """One season per row: that of the row's year. A part of it may come from the row of the year before (or after).

    Steps that an unfinished season does not have yet are unobserved. If seasons cross New Year, a row is used in two of
    them, and a season whose other row is missing is marked incomplete. Raises `InputError` if the lengths do not fit.
    """
    stored = rows.values.shape[2]
    offset = calendar.offset
    wanted = length.steps or stored
    if length.unfinished and stored < offset + wanted <= calendar.steps_a_year:
        ahead = np.full((*rows.values.shape[:2], offset + wanted - stored), np.nan, np.float32)
        rows = replace(rows, values=np.concatenate([rows.values, ahead], axis=2))
        stored = offset + wanted
    if wanted > stored:
        raise InputError(
            f"{source}: `season_steps` is {wanted}, but a row holds {stored} steps; set it to {stored} or less."
        )
    calendar.refuse_longer_than_a_year(wanted, source)
    calendar.refuse_rows_of_another_length(stored, source)
    incomplete = np.zeros(len(rows.year), bool)
    if offset + wanted <= stored:
        values = rows.values[:, :, offset : offset + wanted]
    else:
        _refuse_rows_shorter_than_a_year(stored, calendar, source)
        values, incomplete = _crossing(rows, calendar, offset, wanted)
    return TableDraft(
        values=values,
        target=rows.target,
        place=rows.place,
        year=rows.year,
        sample_id=rows.sample_id,
        static=rows.static,
        incomplete=incomplete,
        where=rows.where,
        counts=rows.counts,
        assigned=rows.assigned,
        group=rows.group,
        findings=rows.findings,
        files=rows.files,
        file=rows.file,
        advice=rows.advice,
        unread=rows.unread,
    )


def _crossing(
    rows: StoredRows, calendar: Calendar, offset: int, steps: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    stored = rows.values.shape[2]
    partner = _row_of(rows, -1 if calendar.season_year == "end" else 1)
    own = np.arange(len(partner))
    early, late = (partner, own) if calendar.season_year == "end" else (own, partner)
    # Row -1 is all NaN: what a missing partner would hold.
    padded = np.concatenate([rows.values, np.full((1, *rows.values.shape[1:]), np.nan, np.float32)])
    values = np.concatenate([padded[early][:, :, offset:], padded[late][:, :, : offset + steps - stored]], axis=2)
    return values, partner < 0


def _row_of(rows: StoredRows, years_on: int) -> NDArray[np.int64]:
    """For each row [R]: the row of the same place `years_on` years later, or -1."""
    where: dict[tuple[str, int], int] = {}
    keys = list(zip(rows.place.tolist(), rows.year.tolist(), strict=True))
    for row, key in enumerate(keys):
        if key in where:
            raise InputError(
                f"{rows.where(row)}: place {key[0]} has year {key[1]} twice (also {rows.where(where[key])}), so a "
                "season that crosses New Year has two halves to choose from; let `place` distinguish the rows. "
                f"{advice_on_texts(rows.unread(where[key]), rows.unread(row), rows.advice)}"
            )
        where[key] = row
    return np.array([where.get((place, year + years_on), -1) for place, year in keys], np.int64)


def _refuse_rows_shorter_than_a_year(stored: int, calendar: Calendar, source: str) -> None:
    if abs(stored * calendar.days - YEAR_DAYS) <= calendar.days:
        return
    raise InputError(
        f"{source}: the season starts on {calendar.season_start} and runs into the next row, which needs rows of a "
        f"whole year, but {stored} steps of {calendar.days:g} days make {stored * calendar.days:g} days; correct "
        "`step_days`, `season_start` or `season_steps`, or say on which day the rows begin: `calendar_start`."
    )
