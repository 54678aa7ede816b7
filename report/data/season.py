"""The season in dates: when each step begins, and how many days before harvest it ends."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np

from pipeline.sources.crop_calendar import OWN_START
from pipeline.sources.times.calendar import YEAR_DAYS, Calendar
from pipeline.table import SeasonTable

YEAR = 2001  # stands for any year in seasons shown without one; it is not a leap year


@dataclass(frozen=True)
class StepOfSeason:
    """The season after a number of known steps.

    until      the last day that these steps cover; its year means nothing; None if seasons start on different days
    lead_days  days from then to the harvest or, if no harvest is known, to the end of the season
    what       what happens at this step, if anything
    """

    steps: int
    until: date | None
    lead_days: float
    what: str = ""


def starts_alike(table: SeasonTable) -> bool:
    """Whether the season starts on the same day in all places."""
    return table.season_start != OWN_START


def step_starts(table: SeasonTable) -> tuple[date, ...]:
    """The first day of each step and of the step after the last [T+1]; empty if seasons start on different days."""
    if not starts_alike(table):
        return ()
    days = {round(YEAR_DAYS / n, 6): name for n, name in ((12, "month"), (36, "dekad"))}
    named = days.get(round(table.step_days, 6))
    step = table.step_days if named is None else named
    calendar = Calendar(step, table.season_start, table.season_start)  # type: ignore[arg-type]
    numbers = np.arange(-1, table.steps)
    last = calendar.last_days(np.full(len(numbers), YEAR), numbers) + np.timedelta64(1, "D")
    return tuple(last.astype(object).tolist())


def season_steps(table: SeasonTable, most: int = 12) -> tuple[StepOfSeason, ...]:
    """The season after about `most` evenly spaced numbers of steps, including the cut and the whole season."""
    every = -(-table.steps // most)
    wanted = sorted({*range(every, table.steps, every), table.cut, table.steps})
    starts = step_starts(table)
    what = {table.cut: "the cut: stage 1 completes the season from here", table.steps: "the whole season"}
    return tuple(
        StepOfSeason(
            steps=step,
            until=date.fromordinal(starts[step].toordinal() - 1) if starts else None,
            lead_days=table.lead_days(step),
            what=what.get(step, ""),
        )
        for step in wanted
    )


def describe_season(table: SeasonTable) -> str:
    """Sentences on the dates of the season."""
    length = f"{table.steps} steps of {days_text(table.step_days)}"
    if not starts_alike(table):
        when = f"Seasons start on different days in different places and have {length}"
    else:
        starts = step_starts(table)
        end = date.fromordinal(starts[-1].toordinal() - 1)
        when = f"The season has {length}, from {day_name(starts[0])} to {day_name(end)}"
        when += " of the next year" * (end.year > YEAR)
    if table.days_to_harvest is not None:
        days = np.quantile(table.days_to_harvest, (0.0, 0.5, 1.0))
        return (
            f"{when}. The harvest is {days[1]:.0f} days after the start in the median place ({days[0]:.0f} to "
            f"{days[2]:.0f})."
        )
    if table.harvest_days is not None:
        return f"{when}. The harvest is {table.harvest_days:.0f} days after the start."
    return f"{when}. The card gives no harvest, so days are counted to the end of the season."


def days_text(days: float) -> str:
    """A number of days, as in "1 day" or "30.44 days"."""
    return "1 day" if days == 1 else f"{days:.4g} days"


def day_name(day: date) -> str:
    """A day without its year, as in "1 April"."""
    return f"{day.day} {day:%B}"
