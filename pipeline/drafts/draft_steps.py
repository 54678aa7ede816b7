"""The lines of a drafted card about its steps and its season."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from pipeline.card.questions import ASK
from pipeline.drafts.inspect_table import TableLook
from pipeline.sources.times.calendar import Calendar


def grid_lines(looks: Sequence[TableLook], own_start: bool = False) -> Iterator[str]:
    if not looks:
        return
    dated = [look for look in looks if look.dates is not None]
    if dated:
        yield from _dated_grid(dated, own_start)
        return
    first = looks[0]
    steps = len(first.bands[0].steps) if first.bands else int(np.ptp(first.columns[first.roles["step"]].known)) + 1
    named = {"month": '"month"', "dekad": '"dekad"', "week": "7"}.get(first.roles.get("step", "").lower())
    likely = {12: '"month"', 36: '"dekad"', 23: "16", 46: "8", 52: "7", 26: "14", 24: "15"}.get(steps, "10")
    yield f"step_days = {named or likely} # {ASK}{steps} steps were found; how many days is one? (or month, dekad)"
    yield f'# {ASK}on which day does the season start? season_start = "01-01"; calendar_start: where rows begin'
    yield f"season_steps = {steps} # {ASK}do steps after the harvest belong to it? fewer steps leave them out"


def _dated_grid(looks: Sequence[TableLook], own_start: bool) -> Iterator[str]:
    gaps = sorted(_gap(look) for look in looks)
    gap = gaps[-1]
    days = "10" if gap < 5 else f"{min(gap, 366)}"
    if not own_start and 28 <= gap <= 31:
        days = '"month"'
    yield f"step_days = {days} # dates lie {' and '.join(f'{one} days' for one in dict.fromkeys(gaps))} apart"
    if own_start:
        return
    months = np.concatenate(
        [look.dates.astype("datetime64[M]").astype(np.int64) % 12 for look in looks if look.dates is not None]
    )
    present = np.flatnonzero(np.bincount(months[months >= 0], minlength=12))
    if len(present) == 12:
        yield f'season_start = "01-01" # {ASK}all months have data; in which does the season start, and how long is it?'
        yield f"# {ASK}season_steps = ..., the steps up to the harvest"
        return
    start = next(month for month in present if (month - 1) % 12 not in present)
    yield f'season_start = "{start + 1:02}-01" # the first month with data'
    grid = Calendar("month" if days == '"month"' else float(days), f"{start + 1:02}-01")
    dates = np.concatenate([look.dates[~np.isnat(look.dates)] for look in looks if look.dates is not None])
    _, step = grid.season_of(dates, grid.steps_a_year)
    yield f"season_steps = {min(max(2, int(step.max()) + 1), grid.steps_a_year)} # up to the last step with data"


def _gap(look: TableLook) -> int:
    """The median number of days from one date to the next at the same place."""
    assert look.dates is not None
    place = look.columns[look.roles["place"]].codes if "place" in look.roles else np.zeros(look.rows, np.int64)
    day = look.dates.astype(np.int64)
    order = np.lexsort((day, place))
    gaps = np.diff(day[order])[np.diff(place[order]) == 0]
    gaps = gaps[gaps > 0]
    return int(np.median(gaps)) if len(gaps) else 10
