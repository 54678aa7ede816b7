"""Report a history whose yields change by a factor from one year on, as dt/ha before 2008 and t/ha after it do."""

from __future__ import annotations

import numpy as np

from pipeline.findings import Finding
from pipeline.sources.checks.medians import Floats, row_medians
from pipeline.table import YieldHistory

TIMES = 5.0  # between neighbouring years; harvests differ by less, units by more
NEAR = 5  # years before and after the switch that are compared, as yields grow over decades
LEAST_PLACES = 3
LEAST_SHARE = 0.8  # of the places that must have changed by that factor


def unit_switch(history: YieldHistory, source: str, name: str) -> tuple[Finding, ...]:
    """A warning about the year from which the yields of nearly all places are many times higher or lower.

    source, name: the card and what holds the history, for the message
    """
    if len(history) == 0:
        return ()
    places, at = np.unique(history.place, return_inverse=True)
    years, when = np.unique(history.year, return_inverse=True)
    yields = np.full((len(places), len(years)), np.nan)
    yields[at, when] = history.target
    changes = {y: times for y in range(1, len(years)) if (times := _change(yields, years, y)) != 1}
    if not changes:
        return ()
    # Windows around the years next to the switch change as well, but neighbouring years only at the switch itself.
    first = max(changes, key=lambda y: abs(np.log(_ratio(yields[:, y - 1 : y], yields[:, y : y + 1]))))
    year, times = int(years[first]), changes[first]
    word = "higher" if times > 1 else "lower"
    high_side = f"after = {year - 1}" if times > 1 else f"before = {year}"
    before, after = (np.median(history.target[part]) for part in (history.year < year, history.year >= year))
    return (
        Finding(
            "warning",
            f"{source}: from {year} on, the known yields of {name} are about {max(times, 1 / times):.3g} times {word} "
            f"than before, in nearly all places (median {before:.3g} t/ha before, {after:.3g} after). Two units in one "
            f"column look like this, such as dt/ha (10 dt/ha are 1 t/ha). Convert the yields of one side, or leave "
            "them out.",
            f'[[exclude]]\n{high_side}\nreason = "another unit"',
        ),
    )


def _change(yields: Floats, years: np.ndarray, first: int) -> float:
    """The factor between the years around the position `first`, if nearly all places changed so much; else 1."""
    near = np.abs(years - years[first] + 0.5) < NEAR
    sides = [near & (np.arange(len(years)) < first), near & (np.arange(len(years)) >= first)]
    if not all(side.any() for side in sides):
        return 1.0
    ratio = _ratios(yields[:, sides[0]], yields[:, sides[1]])
    if len(ratio) < LEAST_PLACES:
        return 1.0
    times = float(np.median(ratio))
    agree = ratio >= TIMES if times > 1 else ratio <= 1 / TIMES
    return times if agree.mean() >= LEAST_SHARE else 1.0


def _ratio(before: Floats, after: Floats) -> float:
    """The median of `_ratios`; 1 if no place has yields on both sides."""
    ratios = _ratios(before, after)
    return float(np.median(ratios)) if len(ratios) else 1.0


def _ratios(before: Floats, after: Floats) -> Floats:
    """For each place with yields in both, the ratio of its medians. before, after: [P, years]."""
    ratio = row_medians(after) / row_medians(before)
    return np.asarray(ratio[~np.isnan(ratio)])
