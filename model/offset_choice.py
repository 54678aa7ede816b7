"""The offset of a forecast: an average of all kinds, or one of them, by their errors on rehearsals.

A few years cannot show which kind is best, and a wrong choice is costly. The average weighs each kind by its likelihood
on G rehearsals, as in Bayesian model averaging (Hoeting et al. 1999, Statistical Science 14, 382-417): a Gaussian error
whose variance is estimated gives a likelihood of MSE^(-G/2). A rehearsal, usually a year, counts as one observation,
because the errors of its places are correlated.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from model import mixed_effects
from model.mixed_effects import Variances
from model.offset import OFFSETS, WITH_WINDOW, KnownYields, Names, Offset, OffsetName, Years, Yields

AUTO: Literal["auto"] = "auto"
AVERAGED = ("mean", "place", "place-shrunk", "place-trend", "mixed")  # the others are zero, or one year's yield
WINDOWS = (None, 15, 10, 5)  # years; None: all known years


@dataclass(frozen=True, eq=False)
class Rehearsal:
    """Rows with yields (place, year, target [n]), and known yields without them from which an offset predicts them."""

    known: KnownYields
    place: Names
    year: Years
    target: Yields


@dataclass(frozen=True)
class Candidate:
    """An offset, its RMSE over the rows of all rehearsals in t/ha, and its weight in the forecast's offset."""

    offset: Offset
    rmse: float
    weight: float


@dataclass(frozen=True)
class ChosenOffset:
    """The weighted mean of offsets. The weights sum to 1; if one candidate was selected, its weight is 1."""

    candidates: tuple[Candidate, ...]

    @property
    def kind(self) -> str:
        """The kind of the selected candidate, or `average`."""
        used = self.used
        return used[0].offset.kind if len(used) == 1 else "average"

    @property
    def used(self) -> list[Candidate]:
        """The candidates with a weight above zero, the largest first."""
        return sorted((one for one in self.candidates if one.weight > 0), key=lambda one: -one.weight)

    def predict(
        self, known: KnownYields, place: Names, year: Years, *, unit: NDArray[np.int64] | None = None
    ) -> Yields:
        """The offset in t/ha of each (place, year) [n]; arguments as in `Offset.predict`."""
        total = np.zeros(len(place))
        for one in self.used:
            total += one.weight * one.offset.predict(known, place, year, unit=unit)
        return total

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        variances = [one.offset.variances for one in self.candidates if one.offset.variances is not None]
        return {
            "kind": self.kind,
            "window": self.used[0].offset.window if len(self.used) == 1 else None,
            "candidates": [[one.offset.kind, one.offset.window, one.rmse, one.weight] for one in self.candidates],
            "variances": variances[0].to_dict() if variances else None,
        }

    @staticmethod
    def from_dict(record: Mapping[str, Any]) -> ChosenOffset:
        """Inverse of `to_dict`. Candidates of earlier versions have no weight: their record names the selected one."""
        variances = Variances.from_dict(record["variances"]) if record.get("variances") else None
        candidates = []
        for kind, window, rmse, *weight in record["candidates"]:
            selected = (kind, window) == (record["kind"], record["window"])
            offset = Offset(kind, window, variances if kind == "mixed" else None)
            candidates.append(Candidate(offset, rmse, weight[0] if weight else float(selected)))
        return ChosenOffset(tuple(candidates))


def choose_offset(
    rehearsals: Sequence[Rehearsal],
    kind: Literal["auto"] | OffsetName = AUTO,
    window: int | None = None,
    mixed: KnownYields | None = None,
) -> ChosenOffset:
    """The average of all candidates of `AVERAGED` if kind is `auto` and each rehearsal is a year.

    Else the candidate with the lowest RMSE; of a tie, the simpler one. In the average, the windows of a kind share the
    weight that a kind without windows has before the rehearsals.

    kind and window narrow the candidates; a window that excludes no year is not a separate candidate. mixed: the yields
    that the variances of the mixed-effects model are estimated from; None: that model is not a candidate.
    """
    offsets = list(_offsets(rehearsals, kind, window, mixed))
    sizes = [len(one.target) for one in rehearsals]
    squared = np.array([np.average([_squared(one, case) for case in rehearsals], weights=sizes) for one in offsets])
    if kind == AUTO and all(len(np.unique(one.year)) == 1 for one in rehearsals):
        weights = _likelihood_weights(offsets, squared, len(rehearsals))
    else:
        weights = np.arange(len(offsets)) == squared.argmin()
    found = zip(offsets, np.sqrt(squared).tolist(), weights.astype(float).tolist(), strict=True)
    return ChosenOffset(tuple(Candidate(offset, rmse, weight) for offset, rmse, weight in found))


def _offsets(
    rehearsals: Sequence[Rehearsal],
    kind: Literal["auto"] | OffsetName,
    window: int | None,
    mixed: KnownYields | None,
) -> Iterator[Offset]:
    """The candidates, simple ones first."""
    span = max(int(np.ptp(r.known.year)) + 1 for r in rehearsals)
    windows = [w for w in WINDOWS if w is None or w < span] if window is None else [window]
    for name in OFFSETS if kind == AUTO else (kind,):
        if name == "mixed":
            if mixed is not None:
                yield Offset(name, None, mixed_effects.fit_variances(mixed.place, mixed.year, mixed.target))
            continue
        for years in windows if name in WITH_WINDOW else [None]:
            yield Offset(name, years)


def _squared(offset: Offset, case: Rehearsal) -> float:
    """Mean squared error on the rows of one rehearsal, (t/ha)^2."""
    error = offset.predict(case.known, case.place, case.year) - case.target
    return float(np.mean(error**2))


def _likelihood_weights(
    offsets: Sequence[Offset], squared: NDArray[np.float64], rehearsals: int
) -> NDArray[np.float64]:
    """Weights [n] that sum to 1: (1 / number of windows of the kind) * MSE^(-rehearsals / 2), in logarithms."""
    count = Counter(one.kind for one in offsets)
    prior = np.array([1 / count[one.kind] if one.kind in AVERAGED else 0.0 for one in offsets])
    averaged = prior > 0
    floor = max(float(squared[averaged].max()) * 1e-12, 1e-30)
    power = -rehearsals / 2 * np.log(np.maximum(squared, floor))
    weights: NDArray[np.float64] = prior * np.exp(power - power[averaged].max())
    weights /= weights.sum()
    return weights
