"""Kinds of offset: the yield expected at a place before its season is observed.

The learners of stage 2 forecast the anomaly from it. `model/offset_choice.py` averages or selects the kinds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from model import mixed_effects
from model.mixed_effects import Variances

OffsetName = Literal["none", "mean", "last", "place", "place-shrunk", "place-trend", "mixed"]
OFFSETS: tuple[OffsetName, ...] = get_args(OffsetName)
WITH_WINDOW = ("place", "place-shrunk", "place-trend")

TREND_YEARS = 3  # a place with fewer known years gets no trend
MOST_YEARS = 1e6  # greatest weight of the mean of all labels
SLOPE_RIDGE = 10.0  # squared years added to the spread of the years: 3 years keep 1/6 of their slope, 15 keep 97 %

Names = NDArray[np.str_]
Years = NDArray[np.int64]
Yields = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class KnownYields:
    """K known yields in t/ha. `label` [K] bool: True for training rows, False for history.

    unit [K]: the year, or the code of the place or of the shared yield, that is held out as a whole; -1 if none.
    """

    place: Names
    year: Years
    target: Yields
    label: NDArray[np.bool_]
    unit: NDArray[np.int64] | None = None

    def before(self, year: int) -> KnownYields:
        """All labels, and the history before a year."""
        keep = self.label | (self.year < year)
        return KnownYields(self.place[keep], self.year[keep], self.target[keep], self.label[keep])

    def to_dict(self) -> dict[str, list[Any]]:
        """For JSON, without the units, which only training rows need."""
        return {name: getattr(self, name).tolist() for name in ("place", "year", "target", "label")}

    @staticmethod
    def from_dict(record: Mapping[str, Sequence[Any]]) -> KnownYields:
        """Inverse of `to_dict`."""
        return KnownYields(
            np.array(record["place"], np.str_),
            np.array(record["year"], np.int64),
            np.array(record["target"], np.float64),
            np.array(record["label"], bool),
        )


def known_yields(
    labels: tuple[Names, Years, Yields],
    history: tuple[Names, Years, Yields],
    held_out: tuple[Names, Years],
    hide_places: bool,
) -> KnownYields:
    """The labels of the training rows, and the history that may be used beside them.

    A history entry is dropped if its (place, year) is held out or already has a label. With `hide_places` (whole places
    are held out) every entry of a held-out place is dropped.
    """
    held = set(zip(held_out[0].tolist(), held_out[1].tolist(), strict=True))
    known = set(zip(labels[0].tolist(), labels[1].tolist(), strict=True))
    hidden = set(held_out[0].tolist()) if hide_places else set()
    pairs = zip(history[0].tolist(), history[1].tolist(), strict=True)
    keep = np.array([pair not in held | known and pair[0] not in hidden for pair in pairs], bool)
    place, year, target = (np.concatenate([a, b[keep]]) for a, b in zip(labels, history, strict=True))
    return KnownYields(place, year, target, np.arange(len(place)) < len(labels[0]))


@dataclass(frozen=True)
class Offset:
    """A kind of offset and its window in years; `variances` are those of the mixed-effects model, for kind `mixed`."""

    kind: OffsetName
    window: int | None
    variances: Variances | None = None

    def predict(
        self, known: KnownYields, place: Names, year: Years, *, unit: NDArray[np.int64] | None = None
    ) -> Yields:
        """The offset in t/ha of each (place, year) [n].

        none         0
        mean         mean of all labels
        last         mean of the place's yields in its latest known year before the year; else as `place`
        place        mean of the place's known yields; a place without any gets the mean of all labels
        place-shrunk `place`, shrunk towards the mean of all labels: the mean of n years weighs n / (n + k), with k from
                     `shrinkage`
        place-trend  least-squares line through the place's known yields, its slope shrunk (SLOPE_RIDGE), evaluated at
                     the year; with fewer than three known years as `place`
        mixed        partially pooled place means and trends, and effects that places share in a year (`mixed_effects`)

        Labels count whatever their year: leave-year-out reads later years, and forward splits have no later labels.
        History counts only before the year of the forecast. `window`: only yields at most this many years away.

        unit [n], for training rows: their place's yields of the row's own unit are not used, so anomalies of training
        rows are as large as those of held-out rows. The mean of all labels, and k, are the same for all rows, as they
        are for held-out rows: a mean without the own unit would reveal the unit's yields to learners that read the
        offset (docs/log.md).
        """
        if self.kind == "none":
            return np.zeros(len(place))
        if self.kind == "mixed":
            return self._mixed(known, place, year, unit)
        overall = float(known.target[known.label].mean())
        offset = np.full(len(place), overall)
        if self.kind == "mean":
            return offset
        prior = _shrinkages(known, year) if self.kind == "place-shrunk" else np.zeros(len(place))
        known_rows, new_rows = _by_place(known.place), _by_place(place)
        for name, chosen in new_rows.items():
            if name in known_rows:
                rows = known_rows[name]
                gap = known.year[rows][None, :] - year[chosen][:, None]  # [n,K]
                usable = _usable(known, rows, gap, None if unit is None else unit[chosen])
                offset[chosen] = self._of_place(gap, usable, known.target[rows], overall=overall, prior=prior[chosen])
        return offset

    def _mixed(self, known: KnownYields, place: Names, year: Years, unit: NDArray[np.int64] | None) -> Yields:
        """The mixed-effects model's expectation [n], from the yields that may be used for each year."""
        assert self.variances is not None
        offset = np.full(len(place), float(known.target[known.label].mean()))
        for one in np.unique(year):
            chosen = year == one
            own = None if unit is None else int(unit[chosen][0])  # whole years are held out: one unit per year
            usable = np.where(known.label, True if own is None else known.unit != own, known.year < one)
            if usable.any():
                yields = known.place[usable], known.year[usable], known.target[usable]
                offset[chosen] = mixed_effects.forecast(self.variances, yields, place[chosen], year[chosen])
        return offset

    def _of_place(
        self,
        gap: NDArray[np.int64],
        usable: NDArray[np.bool_],
        yields: Yields,
        *,
        overall: float,
        prior: Yields,
    ) -> Yields:
        """Offsets [n] of one place, from its K known yields.

        gap, usable [n,K]: years from the forecast to the yield, and whether it may be used. prior [n].
        """
        if self.window is not None:
            usable = usable & (np.abs(gap) <= self.window)
        count = usable.sum(1)
        mean = np.where(count > 0, (usable @ yields + prior * overall) / np.maximum(count + prior, 1), overall)
        if self.kind == "last":
            before = np.where(usable & (gap < 0), gap, np.iinfo(np.int64).min)
            latest = usable & (gap < 0) & (gap == before.max(1, keepdims=True))
            return np.where(latest.any(1), latest @ yields / np.maximum(latest.sum(1), 1), mean)
        if self.kind == "place-trend":
            centre = (usable * gap).sum(1) / np.maximum(count, 1)  # years after the forecast
            apart = np.where(usable, gap - centre[:, None], 0.0)
            slope = (apart @ yields) / ((apart**2).sum(1) + SLOPE_RIDGE)
            return mean + np.where(count >= TREND_YEARS, slope * -centre, 0.0)
        return mean


def _usable(
    known: KnownYields, rows: NDArray[np.int64], gap: NDArray[np.int64], unit: NDArray[np.int64] | None
) -> NDArray[np.bool_]:
    """[n,K]: whether each of the known yields `rows` [K] may be used for each of n rows of the same place."""
    allowed = known.label[rows] | (gap < 0)
    if unit is None or known.unit is None:
        return allowed
    return np.asarray(allowed & (known.unit[rows][None, :] != unit[:, None]))


def _shrinkages(known: KnownYields, year: Years) -> Yields:
    """[n]: k for each row, from the labels and the history before its year."""
    k = np.empty(len(year))
    for one in np.unique(year):
        usable = known.label | (known.year < one)
        k[year == one] = shrinkage(known.place[usable], known.target[usable])
    return k


def shrinkage(place: Names, target: Yields) -> float:
    """k of known yields [K]: the mean of all labels weighs as much as k years of a place.

    k is the variance of a yield within its place over the variance of the places' true means. The latter is the
    variance of the observed means minus its sampling error (empirical Bayes: Efron & Morris 1975). If places do not
    differ, k would be infinite; it is then a million years.
    """
    names, code = np.unique(place, return_inverse=True)
    counts = np.bincount(code, minlength=len(names))
    free = int((counts - 1).sum())
    if len(names) < 2 or free < 1:
        return 0.0
    means = np.bincount(code, target) / counts
    within = float(((target - means[code]) ** 2).sum()) / free
    between = float(np.var(means, ddof=1)) - within * float(np.mean(1 / counts))
    return min(within / between, MOST_YEARS) if between > 0 else MOST_YEARS


def _by_place(place: Names) -> dict[str, NDArray[np.int64]]:
    names, inverse, count = np.unique(place, return_inverse=True, return_counts=True)
    rows = np.split(np.argsort(inverse, kind="stable"), np.cumsum(count)[:-1])
    return dict(zip(names.tolist(), rows, strict=True))
