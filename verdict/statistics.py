"""Test whether one arm is better than another, paired, over the groups (years or places) that were held out together.

Rows of a held-out year share its weather and the one model that was not trained on it, so their errors are not
independent. A bootstrap over rows finds differences that do not exist. Therefore whole groups are resampled. Seeds are
resampled too, because an arm means "train it once more", and every seed forecasts every group. Groups and seeds are
resampled independently, and both arms stay paired: the pigeonhole bootstrap of Owen (2007, Ann. Appl. Stat. 1,
386-411). It is correct for effects of groups and of seeds, and conservative for the remaining variance. Bouthillier et
al. (2021, MLSys) show why seeds must be included. Squared errors are averaged over seeds, because averaging the seeds'
forecasts first would evaluate an ensemble that nobody ran.

With few groups, percentile intervals are too narrow. They are expanded as in Hesterberg (2015, Am. Stat. 69(4),
371-386): the normal quantile becomes that of t with G - 1 degrees of freedom, and the spread grows by
sqrt(G / (G - 1)).

p comes from swapping the arms in whole groups. If the arms do not differ, every swap is equally likely, for any number
of groups (sign changes of clusters: Canay, Romano and Shaikh 2017, Econometrica 85(3), 1013-1030). The smallest
possible p is 2^(1 - G), so below LEAST_GROUPS groups no difference can reach 5 %.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri, stdtrit

from model.calibration import LEAST_GROUPS

Numbers = NDArray[np.float64]

DRAWS = 10_000
LEVEL = 0.95
POWER = 0.8
ALL_SWAPS = 12  # groups: up to 4,096 swaps are all tried, more are sampled
CHUNK = 1_000_000  # weights in memory at a time


@dataclass(frozen=True)
class Interval:
    """A value and its 95 % interval. Both ends are NaN if there is one group."""

    value: float
    low: float
    high: float

    @property
    def half(self) -> float:
        """Half of the interval's width."""
        return (self.high - self.low) / 2

    def negated(self) -> Interval:
        """The interval of the negated difference."""
        return Interval(-self.value, -self.high, -self.low)


@dataclass(frozen=True)
class Difference:
    """One arm minus another on the same rows. RMSE below zero and R2 above zero favour the first arm.

    error: standard error of the RMSE's difference, t/ha. rmse_other: t/ha. rows: N. p: the same for both scores,
    because R2 is a decreasing function of RMSE on the same rows.
    """

    rmse: Interval
    r2: Interval
    p: float
    groups: int
    seeds: int
    rows: int
    error: float
    rmse_other: float

    @property
    def trusted(self) -> bool:
        """Whether there are enough groups for a meaningful interval and p."""
        return self.groups >= LEAST_GROUPS

    def negated(self) -> Difference:
        """The other arm minus this one. `rmse_other`, the reference of `groups_needed`, stays the same."""
        return replace(self, rmse=self.rmse.negated(), r2=self.r2.negated())

    def groups_needed(self, share: float = 0.01) -> float:
        """Number of such groups that show a difference of `share` of the other's RMSE with 80 % power at 5 %.

        The error falls with the root of the number of groups. (z_0.975 + z_0.8) errors must fit into the difference.
        Infinite if there is one group, whose error is unknown.
        """
        if math.isnan(self.error):
            return math.inf
        wanted = share * self.rmse_other / (ndtri((1 + LEVEL) / 2) + ndtri(POWER))
        return float(max(2.0, math.ceil(self.groups * (self.error / wanted) ** 2)))

    def samples_needed(self, share: float = 0.01) -> float:
        """The same in samples, with as many samples per group as here."""
        return self.groups_needed(share) * self.rows / self.groups


def compare(
    truth: Numbers, group: NDArray[np.str_], first: Numbers, other: Numbers, *, draws: int = DRAWS, seed: int = 0
) -> Difference:
    """The difference of two arms, first and other [S,N], on the same N rows with the same S seeds; truth, group [N]."""
    if first.shape != other.shape or first.ndim != 2 or first.shape[1:] != truth.shape or truth.shape != group.shape:
        raise ValueError(f"shapes differ: truth {truth.shape}, group {group.shape}, arms {first.shape}, {other.shape}")
    sums = Sums.of(truth, group)
    a, b = sums.squared(first - truth), sums.squared(other - truth)
    rng = np.random.default_rng(seed)
    rmse, r2 = [], []
    for seeds, groups in _weights(len(a), len(sums.count), draws, rng):
        one, two = (np.einsum("bs,sg,bg->b", seeds, x, groups) for x in (a, b))
        rmse.append(_rmse_difference(one, two, groups @ sums.count))
        r2.append(_r2_difference(one, two, sums.around(groups)))
    once, count = np.ones(len(sums.count)), len(sums.count)
    totals = a.mean(0).sum(), b.mean(0).sum()
    spread = float(np.std(np.concatenate(rmse)) * math.sqrt(count / (count - 1))) if count > 1 else math.nan
    return Difference(
        rmse=_interval(float(_rmse_difference(*totals, sums.count.sum())), np.concatenate(rmse), count),
        r2=_interval(float(_r2_difference(*totals, sums.around(once))), np.concatenate(r2), count),
        p=swap_test(a.mean(0), b.mean(0), draws, rng),
        groups=count,
        seeds=len(a),
        rows=len(truth),
        error=spread,
        rmse_other=float(np.sqrt(totals[1] / sums.count.sum())),
    )


@dataclass(frozen=True, eq=False)
class Sums:
    """Sums per group for RMSE and R2: rows, sum and squares of the truth [G]; index [N]: the group of each row."""

    index: NDArray[np.int64]
    count: Numbers
    total: Numbers
    squares: Numbers

    @staticmethod
    def of(truth: Numbers, group: NDArray[np.str_]) -> Sums:
        """From truth and group [N]. The truth is centred, for numerical precision."""
        names, index = np.unique(group, return_inverse=True)
        centred = truth - truth.mean()
        return Sums(index, *(_by_group(index, len(names), x) for x in (np.ones(len(truth)), centred, centred**2)))

    def squared(self, error: Numbers) -> Numbers:
        """Errors [S,N] -> sums of their squares [S,G]."""
        return np.stack([_by_group(self.index, len(self.count), row**2) for row in error])

    def around(self, groups: Numbers) -> Numbers:
        """Sum of squares of the truth around its own mean, with groups counted [...,G] times -> [...]."""
        around: Numbers = groups @ self.squares - (groups @ self.total) ** 2 / (groups @ self.count)
        return around


def swap_test(a: Numbers, b: Numbers, draws: int, rng: np.random.Generator) -> float:
    """p of |RMSE a - RMSE b| among all swaps of the arms in whole groups. a, b [G]: sums of squared errors."""
    count = len(a)
    if count <= ALL_SWAPS:
        swaps: NDArray[np.bool_] = (np.arange(2**count)[:, None] >> np.arange(count)) % 2 == 1
    else:
        swaps = rng.random((draws, count)) < 0.5
        swaps[0] = False  # the arms as they are, so that p is never zero
    moved = np.where(swaps, b - a, 0.0).sum(1)
    differences = np.abs(np.sqrt(a.sum() + moved) - np.sqrt(np.maximum(b.sum() - moved, 0)))
    return float(np.mean(differences >= differences[0] * (1 - 1e-9)))


def holm(p: Mapping[str, float]) -> dict[str, float]:
    """Adjusted p of each of m comparisons: (m - rank) p, made monotone, at most 1 (Holm 1979, Scand. J. Stat. 6)."""
    ordered = sorted(p, key=lambda name: p[name])
    adjusted, largest = {}, 0.0
    for rank, name in enumerate(ordered):
        largest = max(largest, min(1.0, (len(p) - rank) * p[name]))
        adjusted[name] = largest
    return {name: adjusted[name] for name in p}


def _by_group(index: NDArray[np.int64], size: int, values: Numbers) -> Numbers:
    """Sums [G] of values [N]."""
    sums: Numbers = np.bincount(index, values, size).astype(np.float64)
    return sums


def _weights(seeds: int, groups: int, draws: int, rng: np.random.Generator) -> Iterator[tuple[Numbers, Numbers]]:
    """How often each seed (as a share) and each group is drawn: [b,S], [b,G], in blocks of draws."""
    size = max(1, CHUNK // groups)
    for start in range(0, draws, size):
        some = min(size, draws - start)
        yield (
            rng.multinomial(seeds, np.full(seeds, 1 / seeds), some) / seeds,
            rng.multinomial(groups, np.full(groups, 1 / groups), some).astype(np.float64),
        )


def _rmse_difference(a: Numbers, b: Numbers, count: Numbers) -> Numbers:
    difference: Numbers = np.sqrt(a / count) - np.sqrt(b / count)
    return difference


def _r2_difference(a: Numbers, b: Numbers, around: Numbers) -> Numbers:
    """(1 - a / around) - (1 - b / around); NaN if all drawn yields are equal."""
    known = around > 0
    return np.where(known, (b - a) / np.where(known, around, 1), np.nan)


def _interval(value: float, drawn: Numbers, groups: int) -> Interval:
    """The expanded percentile interval of the draws."""
    if groups < 2 or np.isnan(drawn).all():
        return Interval(value, math.nan, math.nan)
    tail = ndtr(-math.sqrt(groups / (groups - 1)) * stdtrit(groups - 1, (1 + LEVEL) / 2))
    low, high = np.nanquantile(drawn, [tail, 1 - tail])
    return Interval(value, float(low), float(high))
