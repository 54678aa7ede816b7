"""Check that known yields of earlier years agree with the labels.

A history that is off by one year contains the label of the season to be forecast, so even noise would be forecast
perfectly.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.findings import Finding
from pipeline.sources.yield_history import OF_CARD, HistoryWords
from pipeline.table import YieldHistory

PlaceYears = dict[tuple[str, int], float]

SAME = 0.005  # largest relative difference of two yields that are the same number, rounded
FINE = 0.01  # t/ha; yields with at most this rounding are seldom equal by chance
MOST_EQUAL_ROUNDED = 0.9  # as MOST_EQUAL, for yields with coarser rounding
CONTRADICTS = 0.1  # median relative difference over the place-years that both know
LEAST = 4  # place-years that are needed for a comparison
MOST_EQUAL = 0.6  # share of labels that may equal the history of another year
YEARS_OFF = (-1, 1, -2, 2)
OTHER_UNIT = 8.0


def check_history(
    history: YieldHistory,
    place: NDArray[np.str_],
    year: NDArray[np.int64],
    *,
    target: NDArray[np.float64],
    source: str,
    words: HistoryWords = OF_CARD,
) -> tuple[Finding, ...]:
    """Findings about labels [N] in t/ha and their history. Raises `InputError` if they cannot both be right."""
    if len(history) == 0:
        return ()
    known = dict(
        zip(zip(history.place.tolist(), history.year.tolist(), strict=True), history.target.tolist(), strict=True)
    )
    labels = {(p, y): t for p, y, t in zip(place.tolist(), year.tolist(), target.tolist(), strict=True) if t > 0}
    if not labels:
        return ()
    same = _differences(labels, known, 0)
    _refuse_shifted(labels, known, same, source, words)
    _refuse_another_unit(labels, known, source, words)
    differ = {key: gap for key, gap in same.items() if gap > SAME}
    if len(same) >= 2 and np.median([*same.values()]) > CONTRADICTS:
        raise InputError(_contradiction(source, labels, known, differ=differ, both=len(same), words=words))
    if any(gap > CONTRADICTS for gap in differ.values()):
        return (Finding("warning", _contradiction(source, labels, known, differ=differ, both=len(same), words=words)),)
    return ()


def _differences(labels: PlaceYears, known: PlaceYears, off: int) -> PlaceYears:
    """Relative difference between each label and the history of its place `off` years later."""
    return {
        (place, year): abs(known[place, year + off] - label) / label
        for (place, year), label in labels.items()
        if (place, year + off) in known
    }


def _refuse_shifted(
    labels: PlaceYears,
    known: PlaceYears,
    same: PlaceYears,
    source: str,
    words: HistoryWords,
) -> None:
    rounded = max(_rounding([*labels.values()]), _rounding([*known.values()]))
    least = MOST_EQUAL if rounded <= FINE else MOST_EQUAL_ROUNDED
    for off in YEARS_OFF:
        gaps = _differences(labels, known, off)
        equal = [key for key, gap in gaps.items() if gap <= _same_within(labels[key], rounded)]
        if len(equal) < LEAST or len(equal) < least * len(gaps):
            continue
        # Yields that hardly change from year to year also equal those of the next year, without a shift.
        if len({round(labels[key], 3) for key in equal}) < LEAST:
            continue
        own = [gap <= _same_within(labels[key], rounded) for key, gap in same.items()]
        if len(own) >= LEAST and np.mean(own) >= MOST_EQUAL:
            continue
        place, year = equal[0]
        apart = "one year" if abs(off) == 1 else "two years"
        raise InputError(
            f"{source}: {words.name} is {apart} off. {len(equal)} of {len(gaps)} labels equal the history of {apart} "
            f"{'earlier' if off < 0 else 'later'}. For example, place {place} has {labels[equal[0]]:.4g} t/ha in "
            f"{year} among the labels and in {year + off} in the history. A forecast would know its own answer. "
            f"{words.advice_years}"
        )


def _same_within(label: float, rounded: float) -> float:
    """The largest relative difference of equal yields, if one of them is rounded to multiples of `rounded`."""
    return max(SAME, rounded / 2 / label)


def _rounding(yields: Sequence[float]) -> float:
    """The rounding of the yields: 0.1 or 0.01 if all are multiples of it, else 0."""
    numbers = np.array(yields)
    alike = (unit for unit in (0.1, 0.01) if np.allclose(numbers / unit, np.round(numbers / unit), atol=1e-6))
    return next(alike, 0.0)


def _refuse_another_unit(labels: PlaceYears, known: PlaceYears, source: str, words: HistoryWords) -> None:
    """Raise `InputError` if history and labels of the same places differ by a factor that only a unit explains."""
    own, past = _by_place(labels), _by_place(known)
    ratios = [float(np.median(past[place]) / np.median(own[place])) for place in own.keys() & past.keys()]
    ratio = float(np.median(ratios)) if len(ratios) >= LEAST else 1.0
    if max(ratio, 1 / ratio) >= OTHER_UNIT:
        raise InputError(
            f"{source}: the known yields of {words.name} are {ratio:.3g} times the labels of the same {len(ratios)} "
            f"places. This looks like another unit; {words.advice_unit}."
        )


def _by_place(yields: PlaceYears) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for (place, _), one in yields.items():
        found.setdefault(place, []).append(one)
    return found


def _contradiction(
    source: str,
    labels: PlaceYears,
    known: PlaceYears,
    *,
    differ: PlaceYears,
    both: int,
    words: HistoryWords,
) -> str:
    key = max(differ, key=lambda one: differ[one])
    return (
        f"{source}: {words.name} contradicts the labels in {len(differ)} of {both} place-years that both know, such as "
        f"place {key[0]} in {key[1]}: {known[key]:.4g} t/ha in the history, {labels[key]:.4g} among the labels. "
        f"{words.advice_contradiction}"
    )
