"""Step numbers of the rows of a long table, which count from 0 or from 1, and from the same number everywhere."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.card import DatasetCard
from pipeline.errors import InputError
from pipeline.sources.aggregate import Index
from pipeline.sources.files.columns import Columns

YEARS = 10_000  # a file and a year are one whole number, file * YEARS + year
USUAL = 0.5  # share of the years whose last step must be the same


def steps_of_rows(card: DatasetCard, columns: Columns) -> Index:
    """Step numbers from 0 [R]."""
    assert card.step is not None
    numbers = columns.exact[card.step]
    first = card.first_step if card.first_step is not None else int(np.nanmin(numbers, initial=1.0) > 0)
    bad = ~((numbers >= first) & (numbers < 10_000) & (numbers == np.floor(numbers)))
    if bad.any():
        row = int(np.argmax(bad))
        raise InputError(
            f"{columns.where(row)}, column {card.step}: the step is {numbers[row]:g}; steps are whole numbers from "
            f"{first}. Correct it, or set `first_step` in the dataset card."
        )
    return numbers.astype(np.int64) - first


def refuse_two_first_steps(card: DatasetCard, columns: Columns, year: Index) -> None:
    """Raise `InputError` if steps count from 0 in some files or years [R], and from 1 in others.

    Years that only lack an observation of step 0 end with the same step as the others. Those that count from 1 end one
    step later.
    """
    assert card.step is not None
    if card.first_step is not None:
        return
    numbers = columns.exact[card.step]
    file = np.zeros(len(columns), np.int64) if columns.file is None else columns.file.astype(np.int64)
    groups, group = np.unique(file * YEARS + year, return_inverse=True)
    low, high = np.full(len(groups), np.inf), np.zeros(len(groups))
    np.minimum.at(low, group, numbers)
    np.maximum.at(high, group, numbers)
    last_from_0, last_from_1 = _usual(high[low == 0]), _usual(high[low == 1])
    if last_from_0 is None or last_from_1 != last_from_0 + 1:
        return
    zero, one = (int(np.argmax((numbers == step) & (low[group] == step))) for step in (0, 1))
    raise InputError(
        f"{columns.where(one)}, column {card.step}: the steps of {year[one]} count from 1 to {last_from_1:g} here, but "
        f"from 0 to {last_from_0:g} in {year[zero]} ({columns.where(zero)}), so they would be read one step apart. "
        "Count from the same number in all files and years. If step 0 was not observed here, set `first_step = 0` in "
        "the dataset card."
    )


def _usual(last: NDArray[np.float64]) -> float | None:
    """The last step of more than half of the years [G], or None."""
    if not len(last):
        return None
    steps, counts = np.unique(last, return_counts=True)
    most = int(np.argmax(counts))
    return float(steps[most]) if counts[most] > USUAL * len(last) else None
