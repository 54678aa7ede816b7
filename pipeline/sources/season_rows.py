"""The meaning of the year of a row with a numbered step, if the season crosses New Year.

It is either the calendar year of the step, so that a season is joined from the rows of two years, or the year of the
season, so that months 10, 11, 12, 1, 2 have the same harvest year. `step_year` in the card decides.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pipeline.card import DatasetCard
from pipeline.errors import InputError
from pipeline.findings import Finding
from pipeline.sources.times.calendar import Calendar, likely_meaning

Index = NDArray[np.int64]

MOST_WRAP = 0.5  # of the samples whose steps stand in the order of the season


def in_season_order(
    card: DatasetCard, calendar: Calendar, step: Index, sample: Index, steps: int | None
) -> tuple[Calendar, Index, tuple[Finding, ...]]:
    """Returns (the grid of the stored rows, the step of each row [R] on it, findings).

    Rows that have the year of their season are moved, so that step 0 is the first step of the season. Raises
    `InputError` if the card does not define the year and the rows are not whole calendar years.
    """
    refuse_days_of_the_year(card, calendar, step)
    a_year = calendar.steps_a_year
    wanted = steps or int(step.max()) + 1
    if not _crosses_new_year(calendar, step, wanted):
        return calendar, step, ()
    if card.step_year == "season":
        moved = np.where(step < a_year, (step - calendar.offset) % a_year, step)
        return replace(calendar, row_start=calendar.season_start), moved, ()
    if card.step_year == "calendar":
        return calendar, step, ()
    _refuse_two_meanings(card, calendar, step, sample)
    halves = "the year before" if card.season_year == "end" else "their own year"
    sentence = (
        "The season crosses New Year, and the year of a row is read as the calendar year of its step: the steps before "
        f"New Year are taken from rows of {halves}."
    )
    return calendar, step, (Finding("warning", sentence, 'step_year = "calendar"'),)


def calendar_years(
    card: DatasetCard, calendar: Calendar, step: Index, *, year: Index, sample: Index, steps: int
) -> Index:
    """The calendar year of each row [R] of a source: `year`, or one beside it if rows have the year of their season.

    card    the source as a card of its own
    steps   number of steps of this source in a season
    Raises `InputError` if the card does not define the year and the rows are not whole calendar years.
    """
    if not _crosses_new_year(calendar, step, steps) or card.step_year == "calendar":
        return year
    if card.step_year == "season":
        return year - (step >= calendar.offset) if calendar.season_year == "end" else year + (step < calendar.offset)
    if not _begins_and_ends_in_a_season(calendar, step, year):
        _refuse_two_meanings(card, calendar, step, sample)
    return year


def _begins_and_ends_in_a_season(calendar: Calendar, step: Index, year: Index) -> bool:
    """Whether the first year [R] has only steps before New Year, and the last one only steps after it.

    If rows had the year of their season, the first season would lack its end, and the last one its start.
    """
    before = step >= calendar.offset
    first, last = year == year.min(), year == year.max()
    return bool(before[first].all() and not before[last].any())


def in_seasons(calendar: Calendar, step: Index, steps: int | None) -> NDArray[np.bool_]:
    """Whether each step [R] of a stored row lies in a season of `steps` steps, or of all steps.

    Week 53 of a stored row lies in no season that continues in the next row.
    """
    offset, a_year = calendar.offset, calendar.steps_a_year
    steps = int(step.max()) + 1 if steps is None else steps
    if not _crosses_new_year(calendar, step, steps):
        inside: NDArray[np.bool_] = (step >= offset) & (step < offset + steps)
        return inside
    within: NDArray[np.bool_] = (step < a_year) & ((step >= offset) | (step < offset + steps - a_year))
    return within


def _crosses_new_year(calendar: Calendar, step: Index, steps: int) -> bool:
    """Whether a season of `steps` steps takes its steps from two stored rows."""
    return calendar.offset > 0 and calendar.offset + steps > max(calendar.steps_a_year, int(step.max()) + 1)


def _refuse_two_meanings(card: DatasetCard, calendar: Calendar, step: Index, sample: Index) -> None:
    """Raise `InputError` unless the rows are whole calendar years."""
    wraps = _wraps(calendar, step, sample)
    if wraps or len(np.unique(step)) < calendar.steps_a_year - 1:
        raise InputError(_question(card, calendar, step, wraps))


def wide_row_findings(calendar: Calendar, stored: int, steps: int) -> tuple[Finding, ...]:
    """A finding if seasons of `steps` steps are put together from two wide rows of `stored` steps each."""
    if calendar.offset + steps <= stored:
        return ()
    whose = "the year before" if calendar.season_year == "end" else "its own year"
    sentence = (
        "The season crosses New Year, and a wide row is read as the steps of one calendar year: a season takes its "
        f"steps before New Year from the row of {whose}."
    )
    return (Finding("note", sentence, f'season_year = "{calendar.season_year}"'),)


def _question(card: DatasetCard, calendar: Calendar, step: Index, wraps: bool) -> str:
    likely = (
        "The rows of a year stand in the order of the season, which speaks for the first"
        if wraps
        else "The rows of a year hold some steps only, which fits both"
    )
    first, last = int(step.min()), int(step.max())
    # The steps of a source, whose card has no `season_start`, may have another length than those of the season.
    within = (
        f" No row lies before the season's first step: if the season ends before New Year, set season_steps = "
        f"{last - calendar.offset + 1}, up to the last step in the rows."
        if first >= calendar.offset and card.season_start is not None
        else ""
    )
    return (
        f"{card.path}: the season starts on {calendar.season_start} and crosses New Year, and column {card.year} of "
        f"{card.files[0]} can mean two things. Either all rows of a season carry one year, the year of the season: set "
        'step_year = "season". Or each row carries the calendar year in which its step lies: set step_year = '
        f'"calendar". {likely}.{within} '
        "If step 1 is the first step of the season and not of the calendar year, set `calendar_start` to its day."
    )


def _wraps(calendar: Calendar, step: Index, sample: Index) -> bool:
    """Whether the rows of most samples run through the season in order, from before New Year to after it."""
    order = np.argsort(sample, kind="stable")  # within a sample as they stand in the file
    moved = (step - calendar.offset) % calendar.steps_a_year
    same = sample[order][1:] == sample[order][:-1]
    falls = {name: np.diff(numbers[order]) < 0 for name, numbers in (("row", step), ("season", moved))}
    count = np.bincount(sample)
    back = {name: np.bincount(sample[order][1:], fall & same, minlength=len(count)) for name, fall in falls.items()}
    several = count > 1
    wrapped = (back["season"] == 0) & (back["row"] > 0)
    return bool(several.any() and wrapped[several].mean() > MOST_WRAP)


def refuse_days_of_the_year(card: DatasetCard, calendar: Calendar, step: Index) -> None:
    """Raise `InputError` for step numbers beyond one year, which are days or steps of another length."""
    most = int(step.max())
    if most * calendar.days < 365:
        return
    numbers = np.unique(step)
    gap = int(np.diff(numbers).min()) if len(numbers) > 1 else 1
    if most <= 366 and most > calendar.steps_a_year and (gap > 1 or most > 60):
        meaning = (
            f"They look like days of the year, {gap} days apart: divide them by {gap} and set `step_days` to {gap}, or "
            "write a column of dates and name it as `date`"
        )
    else:
        meaning = f"Set `step_days` to what a step really is{likely_meaning(most + 1)}"
    raise InputError(
        f"{card.path}: column {card.step} counts to step {most + 1}, which at {calendar.days:g} days each "
        "is more than a "
        f"year. {meaning}."
    )
