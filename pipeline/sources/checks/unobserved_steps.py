"""Report steps of the season at which no sample has a value. Misread dates and a season that is too long look so."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from pipeline.findings import Finding
from pipeline.plural import plural
from pipeline.sources.checks.medians import Floats

RANGES = 3  # named in the message
MOST_AT_THE_END = 0.5  # of the steps, if a shorter season is proposed; otherwise the dates are the likely cause


def unobserved_steps(values: Floats) -> tuple[Finding, ...]:
    """A finding if some steps have no value of any variate in any sample. values [N,V,T], NaN where unobserved."""
    steps = values.shape[2]
    each = [np.isnan(values[:, variate]).all(0) for variate in range(values.shape[1])]  # one at a time, for memory
    empty = np.flatnonzero(np.logical_and.reduce(each)).tolist()
    if not empty or len(empty) == steps:
        return ()
    breaks = [0, *(at for at, (one, other) in enumerate(pairwise(empty), 1) if other != one + 1), len(empty)]
    ranges = [(empty[first], empty[last - 1]) for first, last in pairwise(breaks)]
    named = [str(first) if first == last else f"{first} to {last}" for first, last in ranges[:RANGES]]
    more = ", ..." if len(ranges) > RANGES else ""
    noun = "step" if len(empty) == 1 else "steps"
    have = "has" if len(empty) == 1 else "have"
    sentence = (
        f"{len(empty)} of {plural(steps, 'step')} {have} no value in any sample: {noun} {', '.join(named)}{more}, "
        f"counted from 0. Are dates and step numbers read as meant? {_question(ranges, steps)}"
    )
    short_end = ranges[0][1] == steps - 1 and len(empty) <= MOST_AT_THE_END * steps
    return (Finding("warning", sentence, f"season_steps = {ranges[0][0]}" if short_end else ""),)


def _question(ranges: list[tuple[int, int]], steps: int) -> str:
    """What else may be wrong, by where the empty ranges lie in the season."""
    if len(ranges) > 2:
        return "Is `step_days` shorter than the steps of the data?"
    if ranges[-1][1] == steps - 1:
        return "Is the season longer than the data (`season_steps`)?"
    if ranges[0][0] == 0:
        return "Does the season start before the data (`season_start`)?"
    return "Are rows missing?"
