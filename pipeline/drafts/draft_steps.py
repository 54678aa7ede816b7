"""The lines of a drafted card about its steps and its season."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.card import StepDays
from pipeline.card.questions import ASK
from pipeline.drafts.inspect_table import TableLook
from pipeline.sources.times.calendar import Calendar
from pipeline.sources.times.dekads import dekads_of
from pipeline.sources.times.step_length import length_in_name

STEPS_UNKNOWN = 'how many days is a step, and when does a season start? step_days = ..., season_start = "01-01"'
SHORTEST = 5  # days between dates of a grid; more frequent ones, such as daily weather, take the grid of the others
MONTH = range(28, 32)  # days from one date to the next
MUCH_LONGER = 1.5  # times a step of the grid
_LIKELY: dict[int, StepDays] = {12: "month", 36: "dekad", 23: 16, 46: 8, 52: 7, 26: 14, 24: 15, 73: 5, 365: 1, 366: 1}


@dataclass(frozen=True)
class Numbered:
    """Numbered steps: how many a file has, their length, and whether the name of their column says that length."""

    steps: int
    step_days: StepDays
    named: bool


@dataclass(frozen=True)
class Grid:
    """The steps of a card. gaps: days between the dates of each dated file, sorted; empty if all steps are numbered."""

    step_days: StepDays
    gaps: tuple[int, ...] = ()
    dekads: str = ""
    numbered: Numbered | None = None


def grid_of(looks: Sequence[TableLook], own_start: bool = False) -> Grid | None:
    """The finest steps of all files whose time is understood. own_start: whether each place has its own season."""
    dated = {look.path: _gap(look) for look in looks if _is_dated(look)}
    if dated:
        gap = min((gap for gap in dated.values() if gap >= SHORTEST), default=10)
        finest = [look for look in looks if dated.get(look.path) == gap]
        kinds = {dekads_of(look.dates) for look in finest if look.dates is not None}
        dekads = kinds.pop() if len(kinds) == 1 and not own_start else ""
        month = gap in MONTH and not own_start
        days: StepDays = "dekad" if dekads else "month" if month else float(min(gap, 366))
        return Grid(days, tuple(sorted(dated.values())), dekads)
    numbered = [found for look in looks if (found := numbered_steps(look)) is not None]
    if not numbered:
        return None
    finest_steps = min(numbered, key=lambda one: Calendar(one.step_days).days)
    return Grid(finest_steps.step_days, numbered=finest_steps)


def numbered_steps(look: TableLook) -> Numbered | None:
    """The numbered steps of a file, in columns or in rows; None if it has none."""
    if look.layout == "wide":
        steps = len(look.bands[0].steps)
        return Numbered(steps, _LIKELY.get(steps, 10), named=False)
    if look.layout is None or look.times.step is None:
        return None
    steps = int(np.ptp(look.columns[look.times.step].known)) + 1
    named = length_in_name(look.times.step)
    return Numbered(steps, named or _LIKELY.get(steps, 10), named is not None)


def grid_lines(looks: Sequence[TableLook], own_start: bool = False) -> Iterator[str]:
    """The length of a step, the start of the season and its number of steps."""
    grid = grid_of(looks, own_start)
    if grid is None:
        if any(look.times.problem for look in looks):
            yield f"# {ASK}{STEPS_UNKNOWN}"
    elif grid.numbered is not None:
        steps = grid.numbered.steps
        yield (
            f"step_days = {_written(grid.step_days)} # {ASK}{steps} steps were found; how many days is one? "
            "(or month, dekad)"
        )
        yield f'# {ASK}on which day does the season start? season_start = "01-01"; calendar_start: where rows begin'
        yield f"season_steps = {steps} # {ASK}do steps after the harvest belong to it? fewer steps leave them out"
    else:
        yield from _dated_lines(looks, grid, own_start)


def source_lines(look: TableLook, grid: Grid | None) -> Iterator[str]:
    """The `step_days` of one of several sources, or questions about it, if its steps are not those of the card."""
    numbered = numbered_steps(look)
    if grid is None:
        return
    if numbered is not None and grid.numbered != numbered:
        line = f"step_days = {_written(numbered.step_days)}"
        if numbered.named and numbered.step_days != grid.step_days:
            yield f"{line} # column {look.times.step} numbers them"
        elif not numbered.named:
            yield f"{line} # {ASK}{numbered.steps} steps were found; how many days is one? (or month, dekad)"
            yield f'calendar_start = "01-01" # {ASK}is it the first day of the first step?'
    days = Calendar(grid.step_days).days
    if _is_dated(look) and (gap := _gap(look)) > MUCH_LONGER * days:
        own = '"month"' if 28 <= gap <= 31 else str(gap)
        yield f"# {ASK}its dates lie {gap} days apart, and a step has {days:.3g}. Each number counts on its date."
        yield f"# If it is known only later, as the sum of a month is, add: step_days = {own}"


def _dated_lines(looks: Sequence[TableLook], grid: Grid, own_start: bool) -> Iterator[str]:
    if grid.dekads:
        days = {"first": "1, 11 and 21", "last": "10, 20 and the last day"}[grid.dekads]
        why = f"dates are the {grid.dekads} days of dekads: {days} of each month"
    else:
        why = f"dates lie {' and '.join(f'{one} days' for one in dict.fromkeys(grid.gaps))} apart"
    yield f"step_days = {_written(grid.step_days)} # {why}"
    if own_start:
        return
    dates = np.concatenate(
        [look.dates[~np.isnat(look.dates)] for look in looks if look.dates is not None and _is_dated(look)]
    )
    present = np.unique(dates.astype("datetime64[M]").astype(np.int64) % 12)
    if len(present) == 12:
        yield f'season_start = "01-01" # {ASK}all months have data; in which does the season start, and how long is it?'
        yield f"# {ASK}season_steps = ..., the steps up to the harvest"
        return
    start = next(month for month in present if (month - 1) % 12 not in present)
    yield f'season_start = "{start + 1:02}-01" # the first month with data'
    calendar = Calendar(grid.step_days, f"{start + 1:02}-01")
    _, step = calendar.season_of(dates, calendar.steps_a_year)
    yield f"season_steps = {min(max(2, int(step.max()) + 1), calendar.steps_a_year)} # up to the last step with data"


def _is_dated(look: TableLook) -> bool:
    return look.layout == "long" and look.dates is not None


def _gap(look: TableLook) -> int:
    """The median number of days from one date to the next at the same place."""
    assert look.dates is not None
    place = look.columns[look.roles["place"]].codes if "place" in look.roles else np.zeros(look.rows, np.int64)
    day = look.dates.astype(np.int64)
    order = np.lexsort((day, place))
    gaps = np.diff(day[order])[np.diff(place[order]) == 0]
    gaps = gaps[gaps > 0]
    return int(np.median(gaps)) if len(gaps) else 10


def _written(step_days: StepDays) -> str:
    return f'"{step_days}"' if isinstance(step_days, str) else f"{step_days:g}"
