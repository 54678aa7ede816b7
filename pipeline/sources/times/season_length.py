"""The number of steps of a season, from the card, the command line or the data."""

from __future__ import annotations

from pipeline.card import DatasetCard
from pipeline.errors import InputError
from pipeline.sources.times.calendar import Calendar


def date_steps(card: DatasetCard, calendar: Calendar, steps: int | None) -> int:
    """T of a table with dates: a year of them by default."""
    steps = calendar.steps_a_year if steps is None else steps
    calendar.refuse_longer_than_a_year(steps, str(card.path))
    return steps


def sample_steps(card: DatasetCard, calendar: Calendar, found: int, steps: int | None) -> int:
    """T of samples with ids and step numbers. Steps without any row are unobserved; a season has at most one year."""
    calendar.refuse_longer_than_a_year(steps or found, str(card.path))
    if steps is None or steps <= found or calendar.offset + steps <= calendar.steps_a_year:
        return steps or found
    raise InputError(
        f"{card.path}: a season of {steps} steps from {calendar.season_start} runs past the {found} steps that are "
        "stored after its start. Set `season_steps` to what a sample holds; a season from two years needs samples by "
        "place and year, without `sample_id`."
    )


def stored_steps(calendar: Calendar, found: int, steps: int | None) -> int:
    """The number of steps of a stored row: those found, and those that the season still lacks, within one year."""
    wanted = calendar.offset + (found if steps is None else steps)
    if wanted <= max(found, calendar.steps_a_year):
        return max(found, wanted)
    return max(found, calendar.steps_a_year)
