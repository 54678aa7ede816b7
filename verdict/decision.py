"""Decide by a fixed rule whether to keep or drop pictures, or that the data cannot tell.

The gain is RMSE without pictures minus RMSE with them, t/ha. A gain matters if it is at least MATTERS times the RMSE
without pictures. A difference is clear if its p is below LEVEL, Holm-adjusted over the comparisons of this rule, and
its 95 % interval excludes zero. In this order:

1. cannot tell  fewer than LEAST_GROUPS groups were held out, so no difference can be clear; or both arms forecast the
                same everywhere, because neither learnt anything beyond the offset
2. drop         another map of the same numbers is clearly better than the arm with pictures
3. drop         the interval of the gain ends below the gain that matters
4. keep         the gain is clear over at least two seeds, and the arm with pictures is clearly better than each control
                that must lose and than each other map of the same numbers
5. cannot tell  everything else, with the reason
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from model.calibration import LEAST_GROUPS
from verdict.statistics import Difference

MATTERS = 0.01
LEVEL = 0.05

Word = Literal["keep", "drop", "cannot tell"]


@dataclass(frozen=True)
class AdjustedDifference:
    """The arm with pictures minus another arm (RMSE below zero: pictures are better), and the adjusted p."""

    name: str
    difference: Difference
    holm: float

    @property
    def better(self) -> bool:
        """Whether the arm with pictures is clearly better."""
        return self.holm < LEVEL and self.difference.rmse.high < 0

    @property
    def worse(self) -> bool:
        """Whether the arm with pictures is clearly worse."""
        return self.holm < LEVEL and self.difference.rmse.low > 0


@dataclass(frozen=True)
class Verdict:
    """The decision: the word, the sentence, and the numbers that led to it."""

    word: Word
    sentence: str
    because: str


def decide(
    without: AdjustedDifference,
    controls: Sequence[AdjustedDifference],
    maps: Sequence[AdjustedDifference],
    *,
    absent: Sequence[str],
    seconds: float,
    held: str,
) -> Verdict:
    """Apply the rule of this module.

    without   the arm with pictures minus the one that reads the numbers only
    controls  minus the arms whose pictures carry no information;  maps  minus other maps of the same numbers
    absent    names of controls and maps that the rule needs and that were not run
    seconds   of rendering and embedding 1,000 samples, NaN if unknown;  held  the kind of group: year or place
    """
    word, because = _word_and_reason(without, controls, maps, absent, held)
    cost = "at an unknown cost" if math.isnan(seconds) else f"at {seconds:.0f} seconds per 1,000 samples"
    sentence = f"Pictures {_change(without.difference, held)} {cost}: {word}."
    return Verdict(word=word, sentence=sentence, because=because)


def _change(difference: Difference, held: str) -> str:
    """The effect of pictures on the error, with its 95 % interval: `lower the error by 0.014 t/ha (...)`."""
    change, low, high = difference.rmse.value, difference.rmse.low, difference.rmse.high
    verb = "raise"
    if change < 0:
        verb, change, low, high = "lower", -change, -high, -low
    if change < 0.0005:
        verb = "change"
    interval = "" if difference.groups == 1 else f" (95 %: {_tons(low)} to {_tons(high)} over {held}s)"
    return f"{verb} the error by {change:.3f} t/ha{interval}"


def _word_and_reason(
    without: AdjustedDifference,
    controls: Sequence[AdjustedDifference],
    maps: Sequence[AdjustedDifference],
    absent: Sequence[str],
    held: str,
) -> tuple[Word, str]:
    difference, count = without.difference, without.difference.groups
    matters = MATTERS * difference.rmse_other
    if not difference.trusted:
        return "cannot tell", (
            f"{count} {held}{'s were' if count > 1 else ' was'} held out. A test over so few cannot reach 5 %, "
            f"whatever the difference (the smallest p is {2.0 ** (1 - count):.2g}), and the interval cannot be "
            f"trusted; {LEAST_GROUPS} are the minimum. Use a split that holds out more {held}s or add data."
        )
    if difference.rmse.low == difference.rmse.high:
        return "cannot tell", (
            "With and without pictures the forecasts are the same: neither model learnt anything beyond the offset "
            "that they share. Train longer (--epochs), or there is nothing in the series to learn."
        )
    if ahead := [one.name for one in maps if one.worse]:
        return (
            "drop",
            f"{_listed(ahead)} on the same numbers, without pictures, is clearly better than the model with them.",
        )
    low, high = -difference.rmse.high, -difference.rmse.low
    span = f"The 95 % interval of the gain is {_tons(low)} to {_tons(high)} t/ha"
    if high < matters:
        return (
            "drop",
            f"{span}: even at best less than the {_tons(matters)} t/ha (1 % of the RMSE without pictures) that would "
            "matter.",
        )
    if not without.better:
        if low > 0:
            return "cannot tell", (
                f"{span}, above zero, but p is {difference.p:.2g}, adjusted {without.holm:.2g}: {count} {held}s are "
                "too few to rule chance out. Hold out more of them."
            )
        needed = f"{difference.groups_needed():.0f} {held}s like these ({difference.samples_needed():.0f} samples)"
        return "cannot tell", (
            f"{span} (adjusted p {without.holm:.2g}): both no gain and a gain that matters ({_tons(matters)} t/ha or "
            f"more) are possible. About {needed} would show a difference of 1 % with 80 % power."
        )
    if difference.seeds < 2:
        return "cannot tell", "The gain is clear for one seed, which does not show how much runs vary. Use --seeds 5."
    if absent:
        return "cannot tell", f"The gain is clear, but these controls were not run: {_listed(absent)}."
    if open_ := [one.name for one in (*controls, *maps) if not one.better]:
        return "cannot tell", (
            f"The gain over the model without pictures is clear, but not the gain over {_listed(open_)}: it may not "
            "come from the content of the pictures."
        )
    return (
        "keep",
        f"{span}, adjusted p {without.holm:.2g}; every control loses: {_listed([c.name for c in (*controls, *maps)])}.",
    )


def _tons(value: float) -> str:
    return f"{value:.3f}".replace("-", "\N{MINUS SIGN}")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)
