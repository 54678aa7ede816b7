"""What groups that were left out of learning tell: how long to learn, and how much of what was learnt to keep."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import GroupKFold

PARTS = 5  # in which groups are left out in turn

Numbers = NDArray[np.float64]


def kept_share(anomaly: Numbers, forecast: Numbers) -> float:
    """The share of a forecast anomaly that fits the true one best, 0 to 1; both [n], t/ha, of rows not learnt from.

    The slope of least squares through zero, clipped: what is learnt from few rows is too bold, and forecasts of rows
    that were left out tell by how much (Copas 1983, J. R. Stat. Soc. B 45, 311-354; Breiman 1996, Mach. Learn. 24,
    49-64). A forecast of zero everywhere says nothing, and is kept.
    """
    power = float(forecast @ forecast)
    return float(np.clip((anomaly @ forecast) / power, 0.0, 1.0)) if power > 0 else 1.0


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
