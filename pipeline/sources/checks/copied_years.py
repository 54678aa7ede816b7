"""Report a year whose yields are those of the year before at nearly all places, as if they had been carried forward."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.findings import Finding

LEAST_PLACES = 5  # with a yield in both years
LEAST_EQUAL = 0.9  # share of these places with equal yields
LEAST_DISTINCT = 4  # yields that are equal; fewer are one yield that several places share
MOST_USUAL = 0.3  # share of equal yields in the other pairs of years; where more, yields hardly change


def copied_years(place: NDArray[np.str_], year: NDArray[np.int64], target: NDArray[np.float64]) -> tuple[Finding, ...]:
    """Findings about years of N samples with yields [N] as they are stored. A year is compared with the one before."""
    names, at = np.unique(place, return_inverse=True)
    years, when = np.unique(year, return_inverse=True)
    yields = np.full((len(names), len(years)), np.nan)
    yields[at, when] = target
    before, after = yields[:, :-1], yields[:, 1:]
    both, equal = ~np.isnan(before) & ~np.isnan(after), before == after
    found = []
    for pair in range(len(years) - 1):
        places, same = int(both[:, pair].sum()), int(equal[:, pair].sum())
        if places < LEAST_PLACES or same < LEAST_EQUAL * places:
            continue
        others = np.arange(len(years) - 1) != pair
        usual = equal[:, others].sum() / max(int(both[:, others].sum()), 1)
        if len(np.unique(after[equal[:, pair], pair])) < LEAST_DISTINCT or usual > MOST_USUAL:
            continue
        one = names[np.argmax(equal[:, pair])]
        sentence = (
            f"The yields of {years[pair + 1]} equal those of {years[pair]} at {same} of {places} places, such as "
            f"{yields[np.argmax(equal[:, pair]), pair]:g} at {one} in both years; in all other pairs of neighbouring "
            f"years {usual:.0%} are equal. Were they carried forward? Correct them, or leave the year out."
        )
        line = f'[[exclude]]\nyear = {years[pair + 1]}\nreason = "yields copied from the year before"'
        found.append(Finding("warning", sentence, line))
    return tuple(found)
