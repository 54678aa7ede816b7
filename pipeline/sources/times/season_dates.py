"""The first and last day of a season beside its year, in words, and whether that year is the one of its harvest."""

from __future__ import annotations

import numpy as np

from pipeline.card import DatasetCard, SourceCard
from pipeline.errors import InputError
from pipeline.findings import Finding
from pipeline.sources.times.calendar import Calendar

AUTUMN = "08-01"  # a season that starts earlier may end in December with its harvest


def describe_season(
    card: DatasetCard,
    year: int,
    first: np.datetime64,
    last: np.datetime64,
    *,
    place: str = "",
    yields: bool = False,
) -> str:
    """A line about one season, as an example of all: its days, and what meets it by its year.

    yields: they come from a source of their own, and are joined by year
    """
    of_place = f" of {place}" if place else ""
    begins = [
        f"it begins in the rows of {row} of {one.label}"
        for one in card.sources
        if one.date is None and one.series and (row := _row_year(card, one, first)) != year
    ]
    meets = [f"it meets the yield of {year}"] if yields else []
    return "; ".join([f"season {year}{of_place}: {first} to {last}", *begins, *meets])


def refuse_harvest_of_another_year(card: DatasetCard, calendar: Calendar, year: int, steps: int) -> None:
    """Raise `InputError` if a season named after its last step has its harvest in another year, and so its yield."""
    if card.harvest is None or card.season_year == "start":
        return
    first, last = calendar.season_days(year, steps)
    starts = _year(first)
    harvested = starts + (card.harvest <= calendar.season_start)
    lengths = [
        length
        for length in range(1, calendar.steps_a_year + 1)
        if year - _year(calendar.season_days(year, length)[0]) == harvested - starts
    ]
    if harvested == year or not lengths:
        return
    if harvested == starts:
        advice = f'season_year = "start", or season_steps = {lengths[-1]} or less.'
    else:
        advice = (
            f"season_steps = {lengths[0]} or more, so that the last step begins in that year. If they carry the year "
            'in which the season starts, set season_year = "start".'
        )
    raise InputError(
        f"{card.path}: the season from {first} to {last} is called {year}, after the year of its last step, but its "
        f"`harvest`, {harvested}-{card.harvest}, is in {harvested}. A yield that carries the year of its harvest would "
        f"meet the season of another year. If the yields do so, set {advice}"
    )


def season_cut_before_new_year(
    card: DatasetCard, year: int, first: np.datetime64, last: np.datetime64
) -> tuple[Finding, ...]:
    """A finding if a season of a few months ends in December, so that its harvest may be in the next year.

    A card that gives `harvest` or `season_year` has answered the question.
    """
    if {"harvest", "season_year"} & card.model_fields_set or _year(first) != year:
        return ()
    if str(first)[5:] < AUTUMN or last < np.datetime64(f"{year}-12-01"):
        return ()
    sentence = (
        f"The season from {first} to {last} is called {year}, after the year of its last step, and meets the yield of "
        f"{year}. If the crop is harvested in {year + 1} and its yield carries that year, yields meet the season of "
        "another year. Give the day of the harvest in the dataset card, and the year is checked."
    )
    return (Finding("warning", sentence, 'harvest = "MM-DD"'),)


def _row_year(card: DatasetCard, source: SourceCard, first: np.datetime64) -> int:
    """The year of the row of a source with steps in which the day `first` lies."""
    begins = source.calendar_start or card.calendar_start
    return _year(first) - (str(first)[5:] < begins)


def _year(day: np.datetime64) -> int:
    return int(str(day)[:4])
