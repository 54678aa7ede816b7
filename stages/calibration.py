"""Refusals of calibration: what an interval needs of a fold before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from model.calibration import LEAST_YEARS
from pipeline.errors import InputError
from pipeline.splits import Fold
from pipeline.table import SeasonTable


def refuse_few_years(table: SeasonTable, folds: Sequence[Fold]) -> None:
    """Raises InputError where a fold has too few training years for `--interval year`."""
    for fold in folds:
        years = np.unique(table.year[np.concatenate([fold.train, fold.valid])])
        if len(years) < LEAST_YEARS:
            raise InputError(
                f"--interval year: fold {fold.name} learns from {len(years)} years; at least {LEAST_YEARS} are needed "
                "to tell how much worse a bad year is. Leave it out (--interval pooled), or choose another --split."
            )
