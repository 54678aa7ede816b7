"""Check that the median yield is possible for a crop. A wrong unit changes it by a factor of ten or more."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.findings import Finding
from pipeline.table import USUAL_MEDIAN_YIELDS
from pipeline.units import BUSHEL_POUNDS

# No crop yields more: sugar cane reaches about 150 t/ha.
HIGHEST_MEDIAN_YIELD = 200.0
HIGHEST_MEDIAN_OF_GRAIN = 20.0
# Few crops yield less, such as saffron; a number of tonnes read as one of kilograms does.
LOWEST_MEDIAN_YIELD = 0.05


def refuse_large_median(target: NDArray[np.float64], source: str) -> None:
    """Raise `InputError` if the median of the yields [N] in t/ha is more than any crop reaches."""
    known = target[np.isfinite(target)]
    if len(known) == 0 or np.median(known) <= HIGHEST_MEDIAN_YIELD:
        return
    raise InputError(
        f"{source}: the median yield would be {np.median(known):g} t/ha, more than any crop reaches "
        f"({HIGHEST_MEDIAN_YIELD:g}). State the unit as [target] `unit` in a dataset card, or correct it there: "
        "without a card yields are read as t/ha. If rows differ in unit, write them alike."
    )


def large_yields(target: NDArray[np.float64]) -> tuple[Finding, ...]:
    """A finding if the median of the yields [N] in t/ha is more than grain gives: dt/ha read as t/ha, for example."""
    known = target[target > 0]
    if len(known) == 0 or np.median(known) <= HIGHEST_MEDIAN_OF_GRAIN:
        return ()
    sentence = (
        f"The median yield is {np.median(known):.3g} t/ha, which beet, potatoes, cane and silage reach, but no grain. "
        "If the numbers are in another unit, such as dt/ha or bu/ac, state it."
    )
    return (Finding("warning", sentence, '[target]\nunit = "dt/ha"'),)


def tiny_yields(target: NDArray[np.float64], crop: str | None = None) -> tuple[Finding, ...]:
    """A finding if yields [N] are smaller than nearly any crop gives: tonnes read as kilograms, 5.390 for 5,390.

    If the crop of the card is grain or is not known, yields that are only unusual for grain are reported, too.
    """
    known = target[target > 0]
    if len(known) == 0 or np.median(known) >= USUAL_MEDIAN_YIELDS[0]:
        return ()
    if np.median(known) >= LOWEST_MEDIAN_YIELD:
        if crop is not None and crop.strip().casefold() not in BUSHEL_POUNDS:
            return ()
        sentence = (
            f"The median yield is {np.median(known):.3g} t/ha, which is unusually low for grain. If the numbers are "
            "in another unit, such as dt/ha, state it. If they are right, name the `crop`."
        )
        return (Finding("warning", sentence, '[target]\nunit = "dt/ha"'),)
    sentence = (
        f"The median yield is {np.median(known):.3g} t/ha, less than nearly any crop gives. Is the unit right, and is "
        "5.390 in the table a decimal number and not a separator of thousands?"
    )
    return (Finding("warning", sentence, '[target]\nunit = "t/ha"'),)
