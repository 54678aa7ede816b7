"""Cross-fitting: whole years or places are left out in turn, and what they show chooses epochs and weights."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls
from sklearn.model_selection import GroupKFold

PARTS = 5  # in which groups are left out in turn
PRIOR_SPREAD = 0.25  # how far a weight may be expected to lie from its prior

Numbers = NDArray[np.float64]


def ensemble_weights(
    target: Numbers, forecasts: Numbers, group: NDArray[np.generic], prior: Numbers, spread: float = PRIOR_SPREAD
) -> Numbers:
    """Weights [L] of L learners, none below 0, whose sum is at most 1; what is left to 1 is the offset's.

    target [n] anomalies and forecasts [n,L] of them, both t/ha, of rows that were left out; group [n] what was left out
    together; prior [L] the weights that are believed before, such as equal ones.

    Minimises  n_eff * mean squared error / mse(prior) + |w - prior|^2 / spread^2,  so weights leave the prior only as
    far as the data ask for. Rows of one group err together, so n rows count as n_eff = n / (1 + (m - 1) * rho) of
    them, m being rows per group and rho the intraclass correlation of the errors (design effect: Kish 1965). Without
    this shrinkage a handful of groups gives everything to one learner (docs/log.md). A forecast of zero everywhere
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
    heavy = 1e4 * max(1.0, float(np.abs(left).max()))  # the sum is held at 1 by a row that outweighs all others
    held: Numbers = nnls(np.vstack([left, np.full(len(prior), heavy)]), np.append(right, heavy))[0]
    return held / float(held.sum())


def effective_rows(error: Numbers, group: NDArray[np.generic]) -> float:
    """How many independent rows the n rows of some groups are worth, by the intraclass correlation of their errors.

    The analysis-of-variance estimate (Donner 1986, Int. Stat. Rev. 54, 67-82), cut to 0 and 1.
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

    curves: of each part [1 + epochs], from epoch 0 (nothing learnt) on, the mean squared error of its left-out rows,
    of which there are `rows` [parts]. Only epochs that every part came to count. (Cross-validation: Stone 1974, J. R.
    Stat. Soc. B 36, 111-147.)
    """
    reached = min(len(curve) for curve in curves)
    return int((rows @ np.stack([curve[:reached] for curve in curves])).argmin())


def parts_of(group: NDArray[np.generic], parts: int = PARTS) -> NDArray[np.int64]:
    """Of each row [n] the part, from 0, in which its group is left out: whole groups, parts of about equal size."""
    count = min(parts, len(np.unique(group)))
    found = np.zeros(len(group), np.int64)
    if count > 1:
        for number, (_, left_out) in enumerate(GroupKFold(count).split(found, groups=group)):
            found[left_out] = number
    return found
