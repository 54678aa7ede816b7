"""Cross-fitting: leave out whole years or places in turn, and choose epochs and ensemble weights on them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls
from sklearn.model_selection import GroupKFold

PARTS = 5  # in which groups are left out in turn
PRIOR_SPREAD = 1.0  # standard deviation of a weight around its prior (docs/log.md)

Numbers = NDArray[np.float64]


def ensemble_weights(
    target: Numbers, forecasts: Numbers, group: NDArray[np.generic], prior: Numbers, spread: float = PRIOR_SPREAD
) -> Numbers:
    """Weights [L] of L learners, none below 0 and their sum at most 1; the offset gets the rest.

    target [n] anomalies and forecasts [n,L] of them, both in t/ha, of left-out rows. group [n]: rows left out together.
    prior [L]: the prior weights, such as equal ones.

    Minimises  n_eff * mean squared error / mse(prior) + |w - prior|^2 / spread^2,  so weights leave the prior only as
    far as the data support it. Errors of one group are correlated, so n rows count as n_eff = n / (1 + (m - 1) * rho),
    with m rows per group and rho the intraclass correlation of the errors (design effect: Kish 1965). Without this
    shrinkage, a handful of groups gives all weight to one learner (docs/log.md). A learner that always forecasts zero
    keeps its prior weight.
    """
    error = target - forecasts @ prior
    level = float(np.mean(error**2))
    if level <= 0:
        return prior.copy()
    count = effective_rows(error, group)
    scale = np.sqrt(count / len(target) / level)
    left = np.vstack([scale * forecasts, np.eye(len(prior)) / spread])
    right = np.concatenate([scale * target, prior / spread])
    free: Numbers = nnls(left, right)[0]
    if free.sum() <= 1:
        return free
    heavy = 1e4 * max(1.0, float(np.abs(left).max()))  # this row outweighs all others and holds the sum at 1
    held: Numbers = nnls(np.vstack([left, np.full(len(prior), heavy)]), np.append(right, heavy))[0]
    return held / float(held.sum())


def weights_without_own_part(
    target: Numbers, forecasts: Numbers, group: NDArray[np.generic], part: NDArray[np.int64], prior: Numbers
) -> Numbers:
    """The weights [n,L] for each row, fitted on the rows of other parts; see `ensemble_weights`. part [n] of each row.

    Errors of left-out rows are too small under weights that were fitted on these rows, and so are margins from such
    errors (nested cross-validation: Varma & Simon 2006, BMC Bioinformatics 7, 91). A single part has the prior weights.
    """
    weights = np.tile(prior, (len(target), 1))
    for one in np.unique(part):
        other = part != one
        if other.any():
            weights[~other] = ensemble_weights(target[other], forecasts[other], group[other], prior)
    return weights


def effective_rows(error: Numbers, group: NDArray[np.generic]) -> float:
    """Effective number of independent rows among n rows in groups, by the intraclass correlation of their errors.

    The analysis-of-variance estimate (Donner 1986, Int. Stat. Rev. 54, 67-82), clipped to 0 to 1.
    """
    _, index, sizes = np.unique(group, return_inverse=True, return_counts=True)
    n, count = len(error), len(sizes)
    if count in (1, n):
        return float(count)
    means = np.bincount(index, error) / sizes
    between = float((sizes * (means - error.mean()) ** 2).sum()) / (count - 1)
    within = float(((error - means[index]) ** 2).sum()) / (n - count)
    usual = (n - float((sizes**2).sum()) / n) / (count - 1)
    total = between + (usual - 1) * within
    rho = float(np.clip((between - within) / total, 0.0, 1.0)) if total > 0 else 0.0
    return n / (1 + (n / count - 1) * rho)


def best_epoch_of_all(curves: Sequence[Numbers], rows: NDArray[np.int64]) -> int:
    """The epoch with the least squared error over all parts.

    curves: per part [1 + epochs] the mean squared error of its left-out rows, from epoch 0 (untrained) on. rows
    [parts]: the number of those rows. Only epochs that every part reached count. (Cross-validation: Stone 1974, J. R.
    Stat. Soc. B 36, 111-147.)
    """
    reached = min(len(curve) for curve in curves)
    return int((rows @ np.stack([curve[:reached] for curve in curves])).argmin())


def parts_of(group: NDArray[np.generic], parts: int = PARTS) -> NDArray[np.int64]:
    """[n] -> the part, from 0, in which each row is left out. Groups stay whole; parts are of about equal size."""
    count = min(parts, len(np.unique(group)))
    part = np.zeros(len(group), np.int64)
    if count > 1:
        for number, (_, left_out) in enumerate(GroupKFold(count).split(part, groups=group)):
            part[left_out] = number
    return part
