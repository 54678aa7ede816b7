"""Dates of dekads, the thirds of a month. Steps of ten days drift away from them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pipeline.card import DatasetCard
from pipeline.findings import Finding
from pipeline.sources.times.calendar import Calendar, Dates

LEAST_MONTHS = 3  # of the calendar with all three dekads; dates at equal distances of ten days do not fill so many


def dekads_of(dates: Dates) -> str:
    """What all dates are: "first" or "last" days of dekads, or "" if they are neither or too few."""
    dates = np.unique(dates[~np.isnat(dates)])
    months = dates.astype("datetime64[M]")
    day = (dates - months.astype("datetime64[D]")).astype(np.int64) + 1
    length = ((months + 1).astype("datetime64[D]") - months.astype("datetime64[D]")).astype(np.int64)
    if _fill_months(months, np.isin(day, (1, 11, 21))):
        return "first"
    return "last" if _fill_months(months, np.isin(day, (10, 20)) | (day == length)) else ""


def dekad_findings(card: DatasetCard, column: str, dates: Dates) -> tuple[Finding, ...]:
    """A finding if the dates are those of dekads, a step is ten days, and this moves dates of the season.

    With a crop calendar a step is a number of days, so the card cannot say "dekad".
    """
    if card.step_days != 10 or any(source.calendar for source in card.sources):
        return ()
    which = dekads_of(dates)
    if not which:
        return ()
    calendar, used = Calendar.of(card), np.unique(dates)
    steps = card.season_steps or calendar.steps_a_year
    _, step = calendar.season_of(used, steps)
    _, dekad = replace(calendar, step_days="dekad").season_of(used, steps)
    inside = dekad < steps
    moved = int((step != dekad)[inside].sum())
    if not moved:
        return ()
    days = {"first": "1, 11 and 21", "last": "10, 20 and the last day"}[which]
    sentence = (
        f"All dates of column {column} are {which} days of dekads ({days} of each month), but a step is 10 days and a "
        f"dekad 8 to 11. This moves {moved:,} of the {int(inside.sum()):,} dates of the seasons to the step of another "
        "dekad, so that some steps get two dates, and others none."
    )
    return (Finding("warning", sentence, 'step_days = "dekad"'),)


def _fill_months(months: NDArray[np.datetime64], fits: NDArray[np.bool_]) -> bool:
    """Whether all dates fit, and enough months have three of them."""
    found, counts = np.unique(months, return_counts=True)
    full = np.unique(found[counts == 3].astype(np.int64) % 12)
    return bool(fits.all()) and len(full) >= LEAST_MONTHS
