"""The same season twice: under two names it could be learnt from and tested on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xxhash
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.splits import Fold
from pipeline.table import SeasonTable

LEAST_VALUES = 4  # different numbers that a season must have: two that are all zeros, or all gaps, are not one season


def twins(table: SeasonTable) -> NDArray[np.int64]:
    """[N]: a sample's own position, or that of the first sample with the same numbers and gaps, bit for bit."""
    first: dict[int, int] = {}
    found = np.arange(len(table))
    for row, season in enumerate(np.ascontiguousarray(table.values)):
        same = first.setdefault(xxhash.xxh3_128_intdigest(season.data), row)
        if same != row and len(np.unique(season[~np.isnan(season)])) >= LEAST_VALUES:
            found[row] = same
    return found


def refuse_twins(table: SeasonTable, folds: Sequence[Fold]) -> None:
    """Raises InputError where a fold tests a season that it learns from under another name."""
    group = twins(table)
    for fold in folds:
        learnt = np.concatenate([fold.train, fold.valid])
        both, at, known = np.intersect1d(group[fold.test], group[learnt], return_indices=True)
        if len(both):
            tested, other = str(table.sample_id[fold.test[at[0]]]), str(table.sample_id[learnt[known[0]]])
            raise InputError(
                f"{table.name}: samples {tested!r} and {other!r} hold the same numbers at every step, and fold "
                f"{fold.name} would test the one and learn from the other ({len(both)} such seasons): its score would "
                "be flattered. Remove the copies; or, where neighbours share the pixels of a coarse satellite, give "
                "them one `place` in the dataset card, or hold out years (--split year, forward or leave-year-out)."
            )
