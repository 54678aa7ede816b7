"""The sentence at the top: keep, drop or cannot tell, from the numbers by one rule.

The gain is RMSE without pictures minus RMSE with them, t/ha. What matters is MATTERS of the RMSE without. A difference
is clear where its p, Holm-adjusted over the comparisons that this rule reads, is below LEVEL and its 95 % interval
leaves zero out. In this order:

1. cannot tell  fewer than LEAST_GROUPS groups were held out: no difference among them can be clear; or both forecast
                the same everywhere: neither learnt anything beyond the offset they share
2. drop         another map of the same numbers is clearly better than the arm with pictures
3. drop         the interval of the gain ends below what matters: whatever the truth, it is too little
4. keep         the gain is clear over at least two seeds, and the arm with pictures is clearly better than each control
                that must lose and than each other map of the same numbers
5. cannot tell  everything else, saying what is missing
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from verdict.statistics import LEAST_GROUPS, Difference

MATTERS = 0.01
LEVEL = 0.05

Word = Literal["keep", "drop", "cannot tell"]


@dataclass(frozen=True)
class Judged:
    """The arm with pictures against another: its difference (RMSE below zero: pictures are better) and adjusted p."""

    name: str
    difference: Difference
    holm: float

    @property
    def better(self) -> bool:
        """Whether the arm with pictures is clearly better."""
        return self.holm < LEVEL and self.difference.rmse.high < 0

    @property
    def worse(self) -> bool:
        """Whether it is clearly worse."""
        return self.holm < LEVEL and self.difference.rmse.low > 0


@dataclass(frozen=True)
class Verdict:
    """What follows: the word, the sentence, and the numbers that decided, in words."""

    word: Word
    sentence: str
    because: str


def judge(
    without: Judged,
    controls: Sequence[Judged],
    maps: Sequence[Judged],
    absent: Sequence[str],
    seconds: float,
    held: str,
) -> Verdict:
    """The rule.

    without   the arm with pictures against the one that reads the numbers only
    controls  against arms with pictures that say nothing;  maps  against other maps of the same numbers
    absent    names of controls and maps that the rule needs and that were not run
    seconds   of rendering and embedding 1,000 samples, NaN where unknown;  held  what a group is: year or place
    """
    word, because = _decide(without, controls, maps, absent, held)
    cost = "at an unknown cost" if math.isnan(seconds) else f"at {seconds:.0f} seconds per 1,000 samples"
    sentence = f"Pictures {_change(without.difference, held)} {cost}: {word}."
    return Verdict(word, sentence, because)


def _change(found: Difference, held: str) -> str:
    """What pictures do to the error, with the 95 % interval of that change: `lower the error by 0.014 t/ha (...)`."""
    change, low, high = found.rmse.value, found.rmse.low, found.rmse.high
    if found.groups == 1:
        return f"{'lower' if change < 0 else 'raise'} the error by {abs(change):.3f} t/ha"
    if change < 0:
        change, low, high = -change, -high, -low
        verb = "lower"
    else:
        verb = "raise"
    return f"{verb} the error by {change:.3f} t/ha (95 %: {_tons(low)} to {_tons(high)} over {held}s)"


def _decide(
    without: Judged, controls: Sequence[Judged], maps: Sequence[Judged], absent: Sequence[str], held: str
) -> tuple[Word, str]:
    found, count = without.difference, without.difference.groups
    matters = MATTERS * found.rmse_other
    if not found.trusted:
        return "cannot tell", (
            f"{count} {held}{'s were' if count > 1 else ' was'} held out. A test over so few cannot reach 5 %, "
            f"whatever the difference (its least p is {2.0 ** (1 - count):.2g}), and the interval cannot be trusted; "
            f"{LEAST_GROUPS} are the least, more are better. Use a split that holds out more {held}s or add data."
        )
    if found.rmse.low == found.rmse.high:
        return "cannot tell", (
            "With and without pictures the forecasts are the same: neither model learnt anything beyond the offset "
            "that they share. Train longer (--epochs), or there is nothing in the series to learn."
        )
    if ahead := [one.name for one in maps if one.worse]:
        return (
            "drop",
            f"{_listed(ahead)} on the same numbers, without pictures, is clearly better than the model with them.",
        )
    low, high = -found.rmse.high, -found.rmse.low
    span = f"The 95 % interval of the gain is {_tons(low)} to {_tons(high)} t/ha"
    if high < matters:
        return (
            "drop",
            f"{span}: at best less than the {_tons(matters)} t/ha (1 % of the RMSE without) that would matter.",
        )
    if not without.better:
        if low > 0:
            return "cannot tell", (
                f"{span}, above zero, but p is {found.p:.2g}, adjusted {without.holm:.2g}: {count} {held}s are too few "
                "to rule chance out. Hold out more of them."
            )
        seen = f"{found.groups_needed():.0f} {held}s like these ({found.samples_needed():.0f} samples)"
        return "cannot tell", (
            f"{span} (adjusted p {without.holm:.2g}): no gain and one that matters, {_tons(matters)} t/ha or more, are "
            f"both possible. Some {seen} would show a difference of 1 % with 80 % power."
        )
    if found.seeds < 2:
        return "cannot tell", "The gain is clear for one seed, which does not show how much runs differ. Use --seeds 5."
    if absent:
        return "cannot tell", f"The gain is clear, but these controls were not run: {_listed(absent)}."
    if open_ := [one.name for one in (*controls, *maps) if not one.better]:
        return "cannot tell", (
            f"The gain over the model without pictures is clear, but not that over {_listed(open_)}: it need not come "
            "from what the pictures show."
        )
    return (
        "keep",
        f"{span}, adjusted p {without.holm:.2g}; every control loses: {_listed([c.name for c in (*controls, *maps)])}.",
    )


def _tons(value: float) -> str:
    return f"{value:.3f}".replace("-", "\N{MINUS SIGN}")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)
