"""Report places that seem to contain other places of the table, such as a country among its regions.

Their yields hold those of the places within, so a forecast of a held-out place would know its answer.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.findings import Finding

Floats = NDArray[np.float64]

LEAST_YEARS = 4  # in which a place is the mean of the others
LEAST_OTHERS = 5
MOST_YEARS = 0.9  # share of the years in which it must be their mean
CLOSE, MOST_ROUNDED = 0.001, 0.01  # of a yield: within this it equals a mean; the largest rounding that counts
MOST_CHANCE = 0.001  # expected number of places that equal the mean so often by chance
LEAST_CODED_YEARS = 3  # in which a yield lies between those of the places whose codes begin like its own
DECIMALS = 6
SHOWN = 3

_NUTS = re.compile(r"[A-Z]{2}[A-Z0-9]{0,3}")
_DIGITS = re.compile(r"[0-9]+")


def nested_places(place: NDArray[np.str_], year: NDArray[np.int64], target: Floats) -> tuple[Finding, ...]:
    """Findings about the places of N samples with yields [N] as they are stored."""
    names, index = np.unique(place, return_inverse=True)
    years, when = np.unique(year, return_inverse=True)
    known = ~np.isnan(target)
    cell = (index * len(years) + when)[known]
    count = np.bincount(cell, minlength=len(names) * len(years))
    total = np.bincount(cell, target[known], minlength=len(names) * len(years))
    yields = np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0).reshape(len(names), -1)
    within = _by_codes(names.tolist(), yields)
    means = [name for name in _means_of_others(names, yields) if name not in within]
    return (*_report_codes(within), *_report_means(means))


def _means_of_others(names: NDArray[np.str_], yields: Floats) -> list[str]:
    """The places whose yields [P,years] are the mean of those of all other places in nearly every year."""
    seen = ~np.isnan(yields)
    others = seen.sum(axis=0) - 1
    usable = others >= LEAST_OTHERS
    if usable.sum() < LEAST_YEARS:
        return []
    yields, seen, others = yields[:, usable], seen[:, usable], others[usable]
    mean = (np.nansum(yields, axis=0) - yields) / others
    spread = np.nanstd(yields, axis=0)
    apart = np.abs(yields - mean)
    found = []
    candidates = np.flatnonzero(
        (np.nanmedian(apart / mean, axis=1) <= MOST_ROUNDED) & (seen.sum(axis=1) >= LEAST_YEARS)
    )
    for p in candidates.tolist():
        own = seen[p]
        limit = np.maximum(CLOSE * mean[p, own], np.minimum(_rounding(yields[p, own]), MOST_ROUNDED * mean[p, own]))
        same = apart[p, own] <= limit
        # The share of places that lie so near to the mean of a year by chance, if some follow it closely.
        chance = np.minimum(1.0, 2.4 * limit / np.maximum(spread[own], 1e-12))
        if same.mean() >= MOST_YEARS and len(names) * chance[same].prod() <= MOST_CHANCE:
            found.append(str(names[p]))
    return found


def _rounding(yields: Floats) -> float:
    """Half of the last decimal to which all yields are rounded."""
    decimals = (d for d in range(DECIMALS) if np.allclose(yields * 10**d, np.round(yields * 10**d), atol=1e-6))
    return 0.51 * 10.0 ** -next(decimals, DECIMALS)


def _by_codes(names: Sequence[str], yields: Floats) -> dict[str, list[str]]:
    """Place -> the places whose codes begin with its code, if its yields [P,years] always lie between theirs."""
    position = {name: p for p, name in enumerate(names)}
    inner: Mapping[str, list[str]] = defaultdict(list)
    for name in names:
        for end in range(1, len(name)):
            if name[:end] in position:
                inner[name[:end]].append(name)
    return {
        name: longer
        for name, longer in inner.items()
        if len(longer) > 1 and _are_levels(name, longer) and _lies_between(position, name, longer, yields)
    }


def _are_levels(name: str, longer: Sequence[str]) -> bool:
    """Whether codes look like those of two levels (DE1 and DE11, 17 and 17001), not like counted names (F1 and F10)."""
    if _DIGITS.fullmatch(name):
        return all(_DIGITS.fullmatch(one) and len(one) >= len(name) + 2 for one in longer)
    counted = any(one == f"{name}0" for one in longer)
    return not counted and all(_NUTS.fullmatch(one) for one in (name, *longer))


def _lies_between(position: Mapping[str, int], name: str, longer: Sequence[str], yields: Floats) -> bool:
    own, inner = yields[position[name]], yields[[position[one] for one in longer]]
    both = ~np.isnan(own) & ((~np.isnan(inner)).sum(axis=0) > 1)
    if both.sum() < LEAST_CODED_YEARS:
        return False
    low, high = np.nanmin(inner[:, both], axis=0), np.nanmax(inner[:, both], axis=0)
    return bool(((own[both] >= low * (1 - CLOSE)) & (own[both] <= high * (1 + CLOSE))).all())


def _report_codes(within: Mapping[str, Sequence[str]]) -> tuple[Finding, ...]:
    if not within:
        return ()
    name, longer = next(iter(within.items()))
    sentence = (
        f"{_places(list(within))} to contain other places of the table: {len(longer)} codes, such as {longer[0]} and "
        f"{longer[1]}, begin with {name}, and its yields lie between theirs. Keep one level, because the yields of "
        "held-out places are in those of the places around them."
    )
    return (Finding("warning", sentence, _exclude(list(within))),)


def _report_means(names: Sequence[str]) -> tuple[Finding, ...]:
    if not names:
        return ()
    sentence = (
        f"{_places(names)} to sum up the table: the yields are the mean of those of all other places in nearly every "
        "year. The yields of held-out places are then in the training data."
    )
    return (Finding("warning", sentence, _exclude(names)),)


def _places(names: Sequence[str]) -> str:
    if len(names) == 1:
        return f"Place {names[0]} seems"
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"Places {', '.join(names[:SHOWN])}{more} seem"


def _exclude(names: Sequence[str]) -> str:
    return "\n".join(f'[[exclude]]\nplace = "{name}"\nreason = "contains other places"' for name in names[:SHOWN])
