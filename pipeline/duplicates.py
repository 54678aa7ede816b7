"""Duplicate seasons: the same season under two names could be in the training rows and in the test rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xxhash
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.splits import Fold
from pipeline.table import SeasonTable

LEAST_VALUES = 4  # distinct numbers that a season needs; two seasons of only zeros or gaps are no duplicates


def twins(table: SeasonTable) -> NDArray[np.int64]:
    """[N]: for each sample the position of the first sample with the same numbers and gaps, bit for bit.

    This is its own position if the sample is no duplicate.
    """
    first: dict[int, int] = {}
    original = np.arange(len(table))
    for row, season in enumerate(np.ascontiguousarray(table.values)):
        same = first.setdefault(xxhash.xxh3_128_intdigest(season.data), row)
        if same != row and len(np.unique(season[~np.isnan(season)])) >= LEAST_VALUES:
            original[row] = same
    return original


def refuse_twins(table: SeasonTable, folds: Sequence[Fold]) -> None:
    """Raises InputError if a fold tests on a season that it also trains or validates on under another name."""
    group = twins(table)
    for fold in folds:
        used = np.concatenate([fold.train, fold.valid])
        both, at, known = np.intersect1d(group[fold.test], group[used], return_indices=True)
        if len(both):
            tested, other = str(table.sample_id[fold.test[at[0]]]), str(table.sample_id[used[known[0]]])
            raise InputError(
                f"{table.name}: samples {tested!r} and {other!r} have the same numbers at every step, and fold "
                f"{fold.name} would test on one and learn from the other ({len(both)} such "
                f"season{'s' * (len(both) != 1)}), so its score would be too good. Remove the copies. If they are "
                "neighbours that share the pixels of a coarse satellite, give them one `place` in the dataset card, "
                "or hold out years (--split year, forward or leave-year-out)."
            )
