"""Calibration of intervals: margins from left-out rows, pooled or per year, and the coverage of intervals."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray

INTERVAL = 0.90  # nominal coverage of [y_lo, y_hi]
IntervalName = Literal["pooled", "year"]
LEAST_GROUPS = 6  # for an interval over groups: with fewer, no swap of signs reaches 5 % (2^(1 - 6) = 0.03)
LEAST_YEARS = 3  # to calibrate on; the worst of fewer years is no guide to a new year
LEAST_YIELDS = 9  # to calibrate on; with fewer the rank of `conformal_margin` does not exist
RESAMPLES = 2000  # of the bootstrap
Numbers = NDArray[np.float64]
Years = NDArray[np.int64]


def conformal_margin(shortfall: Numbers, group: NDArray[np.generic] | None = None) -> float:
    """Margin in t/ha to add on both sides of an interval: the ceil((n + 1) * 0.9)-th smallest shortfall [n].

    group [n]: rows of one group share one yield, so each group counts once (see `_quantile_over_groups`).

    The shortfall is the distance in t/ha from the interval to the yield outside it; inside, it is negative. For an
    interval without width it is the absolute residual (split-conformal: Lei et al. 2018). For quantiles it is
    max(lo - y, y - hi), and the margin may be negative (CQR: Romano et al. 2019). With fewer than 9 samples that rank
    does not exist. The largest shortfall then replaces it and covers less than 90 %, so the caller reports n.
    """
    if group is not None and len(np.unique(group)) < len(group):
        return _quantile_over_groups(shortfall, group)
    ordered = np.sort(shortfall)
    rank = math.ceil((len(ordered) + 1) * INTERVAL)
    return float(ordered[min(rank, len(ordered)) - 1])


def margin_over_years(shortfall: Numbers, year: Years) -> float:
    """Margin in t/ha that an interval needs to hold in a *new* year. Each year counts alike, as one group.

    shortfall [n] as in `conformal_margin`, from models that did not train on the row's own year. With K years and n_k
    rows in year k each row weighs 1 / ((K + 1) n_k). The new year weighs 1 / (K + 1), at infinity. The margin is the
    90 % quantile of this distribution: hierarchical conformal prediction (Lee, Barber & Willett 2023, arXiv
    2306.06342). It covers at least 90 % if years are exchangeable. The quantile is finite from 9 years on. With 3 to 8
    years the largest of the years' own margins replaces it, so that the worst known year counts. Fewer years raise
    ValueError.
    """
    years = np.unique(year)
    if len(years) < LEAST_YEARS:
        raise ValueError(f"{len(years)} years to calibrate on; at least {LEAST_YEARS} are needed")
    if len(years) / (len(years) + 1) < INTERVAL:
        return max(conformal_margin(shortfall[year == one]) for one in years)
    return _quantile_over_groups(shortfall, year)


def margin_exists(group: NDArray[np.generic], year: Years, interval: IntervalName) -> bool:
    """Whether left-out rows suffice for a margin: at least LEAST_YIELDS yields (groups [n]), and years for `year`."""
    years = len(np.unique(year))
    return len(np.unique(group)) >= LEAST_YIELDS and (interval != "year" or years >= LEAST_YEARS)


def _quantile_over_groups(shortfall: Numbers, group: NDArray[np.generic]) -> float:
    """90 % quantile of shortfalls [n]. Each of the K groups [n] weighs 1 / (K + 1), shared equally by its rows."""
    _, at, size = np.unique(group, return_inverse=True, return_counts=True)
    order = np.argsort(shortfall, kind="stable")
    weight = 1 / ((len(size) + 1) * size[at[order]])
    first = int(np.searchsorted(weight.cumsum(), INTERVAL - 1e-12))
    return float(shortfall[order[min(first, len(order) - 1)]])


def paired_difference(
    target: Numbers, mine: Numbers, other: Numbers, group: NDArray[np.generic]
) -> tuple[float, tuple[float, float] | None]:
    """RMSE of one forecast minus RMSE of another on the same rows [n], in t/ha, with the 95 % interval.

    The interval is None with fewer than LEAST_GROUPS groups. It comes from 2,000 draws of whole groups with replacement
    (cluster bootstrap: Field & Welsh 2007). Rows of one group [n] have correlated errors: a place in one test year, for
    example.
    """
    _, at = np.unique(group, return_inverse=True)
    count = int(at.max()) + 1
    sums = [np.bincount(at, (one - target) ** 2, count) for one in (mine, other)]
    sizes = np.bincount(at, minlength=count)
    drawn = np.random.default_rng(0).integers(0, count, (RESAMPLES, count))
    first, second = (np.sqrt(one[drawn].sum(1) / sizes[drawn].sum(1)) for one in sums)
    low, high = np.quantile(first - second, [0.025, 0.975]).tolist()
    whole = [float(np.sqrt(one.sum() / len(target))) for one in sums]
    return whole[0] - whole[1], (low, high) if count >= LEAST_GROUPS else None


def score_intervals(
    target: Numbers, pred: Numbers, group: NDArray[np.generic]
) -> tuple[tuple[float, float], tuple[float, float]] | None:
    """95 % intervals of RMSE (t/ha) and R2 of forecasts [n], from 2,000 draws of whole groups [n] with replacement.

    None with fewer than LEAST_GROUPS groups.
    """
    _, at = np.unique(group, return_inverse=True)
    count = int(at.max()) + 1
    if count < LEAST_GROUPS:
        return None
    centred = target - target.mean()
    sums = [np.bincount(at, one, count) for one in ((pred - target) ** 2, centred, centred**2)]
    sizes = np.bincount(at, minlength=count)
    drawn = np.random.default_rng(0).integers(0, count, (RESAMPLES, count))
    errors, total, squares, n = (one[drawn].sum(1) for one in (*sums, sizes))
    around = squares - total**2 / n
    rmse, r2 = np.sqrt(errors / n), 1 - errors / np.maximum(around, 1e-12)
    (low, high), (least, most) = (np.quantile(one, [0.025, 0.975]).tolist() for one in (rmse, r2))
    return (low, high), (least, most)


def wilson(held: float, n: int, z: float = 1.959964) -> tuple[float, float]:
    """95 % interval of a share, `held` of `n` > 0 (Wilson 1927). It is valid for small n and for shares near 1.

    It assumes n independent rows. Rows of one year or place are not independent, so the interval is too narrow for
    them. `held` need not be a whole number: if several rows share a yield, the yield counts by the share of its rows.
    """
    share, extra = held / n, z**2 / n
    half = z * math.sqrt(share * (1 - share) / n + extra / (4 * n))
    low, high = (share + extra / 2 - half) / (1 + extra), (share + extra / 2 + half) / (1 + extra)
    return max(low, 0.0), min(high, 1.0)


def share_over_groups(held: NDArray[np.bool_], group: Years) -> tuple[float, float] | None:
    """95 % interval of the share of rows [n] that are held, from 2,000 draws of whole groups (years) with replacement.

    A cluster bootstrap (Field & Welsh 2007): rows of a bad year fail together, which Wilson's interval does not model.
    Returns None with fewer than LEAST_GROUPS groups.
    """
    groups, inverse = np.unique(group, return_inverse=True)
    if len(groups) < LEAST_GROUPS:
        return None
    hits, sizes = (np.bincount(inverse, weights=weights) for weights in (held.astype(float), np.ones(len(held))))
    drawn = np.random.default_rng(0).integers(0, len(groups), (RESAMPLES, len(groups)))
    shares = hits[drawn].sum(1) / sizes[drawn].sum(1)
    low, high = np.quantile(shares, [0.025, 0.975])
    return float(low), float(high)
