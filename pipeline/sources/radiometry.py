"""Radiometry: bring flights, dates or sensors that are too dark or too bright to one level, without using labels.

Leakage: the median of a group includes all of its samples at a step, also those of the validation and test rows. It
uses no yield, but a sample's numbers depend on the other samples of its group in the same table. A table read for
prediction is levelled by itself. Differences between whole groups, which may explain yields, are removed on purpose.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.card import DatasetCard
from pipeline.errors import InputError
from pipeline.sources.aggregate import Index
from pipeline.sources.files.columns import Text
from pipeline.table import Count

LEAST_SAMPLES = 3  # samples that a group needs at a step, so that its median describes the flight
MOST_LEFT_OUT = 0.5  # share of a variate's values that may be left out; with more, the column has no real groups


@dataclass(frozen=True)
class Level:
    """The variates to level, by their `positions` among the series and their `names`, and the column of the groups."""

    group: str
    positions: tuple[int, ...]
    names: tuple[str, ...]
    source: str

    @staticmethod
    def of(card: DatasetCard) -> Level | None:
        """The levelling of a card, or None: of all variates unless the card lists some, never of drivers."""
        if card.radiometry is None:
            return None
        names = [variate.name for variate in card.variates]
        chosen = tuple(dict.fromkeys(card.radiometry.variates or names))
        return Level(card.radiometry.group, tuple(map(names.index, chosen)), chosen, str(card.path))

    def apply(
        self, values: NDArray[np.float32], group: Text, step: Index, sample: Index, where: Callable[[int], str]
    ) -> tuple[NDArray[np.float32], tuple[Count, ...]]:
        """Returns (levelled values [n,M], counts of changes). sample, group and step [n] are those of each row.

        A value is divided by the median of its (group, step) and multiplied by the variate's median over all remaining
        values. This removes the levels of groups and the common course over the steps, while differences between
        samples stay. Values with fewer than LEAST_SAMPLES samples in their (group, step) are left out. Raises
        `InputError` for a median of zero or below, or if more than half of a variate would be left out.
        """
        levelled = values.copy()
        _, cell = np.unique(group.codes * (int(step.max(initial=0)) + 1) + step, return_inverse=True)
        changed, counts = 0, []
        for position, name in zip(self.positions, self.names, strict=True):
            seen = np.flatnonzero(~np.isnan(values[:, position]))
            enough = samples_in_cell(cell[seen], sample[seen]) >= LEAST_SAMPLES
            self._refuse_small_groups(name, enough)
            kept, left_out = seen[enough], seen[~enough]
            numbers = values[kept, position].astype(np.float64)
            median, overall = medians(numbers, cell[kept]), float(np.median(numbers)) if len(kept) else 1.0
            self._refuse_no_ratio(name, np.minimum(median, overall), kept, group, where)
            levelled[kept, position] = numbers / median * overall
            levelled[left_out, position] = np.nan
            changed += len(kept)
            if len(left_out):
                reason = f"value of {name} left out: fewer than {LEAST_SAMPLES} samples of its {self.group} at its step"
                counts.append(Count(reason, len(left_out)))
        reason = (
            f"value of {', '.join(self.names)} divided by the median of its {self.group} and step, over samples of "
            "all sides of the split, as [radiometry] asks"
        )
        return levelled, (Count(reason, changed, lost=False), *counts)

    def apply_to_rows(
        self, values: NDArray[np.float32], group: Text, where: Callable[[int], str]
    ) -> tuple[NDArray[np.float32], tuple[Count, ...]]:
        """The same for stored rows [R,V,C], each of which is a sample of one group [R]."""
        rows, variates, steps = values.shape
        row, step = np.divmod(np.arange(rows * steps), steps)
        flat = values.transpose(0, 2, 1).reshape(-1, variates)
        spread = Text(group.names, group.codes[row])
        flat, counts = self.apply(flat, spread, step, row, lambda at: where(at // steps))
        return np.ascontiguousarray(flat.reshape(rows, steps, variates).transpose(0, 2, 1)), counts

    def _refuse_small_groups(self, name: str, enough: NDArray[np.bool_]) -> None:
        if len(enough) and 1 - enough.mean() > MOST_LEFT_OUT:
            raise InputError(
                f"{self.source}: {1 - enough.mean():.0%} of the values of {name} have fewer than {LEAST_SAMPLES} "
                f"samples in their {self.group} and step, too few for a median, and would be left out. Name a column "
                "with larger groups as `group` of [radiometry], or leave it out."
            )

    def _refuse_no_ratio(
        self, name: str, lowest: NDArray[np.float64], rows: Index, group: Text, where: Callable[[int], str]
    ) -> None:
        """Raise `InputError` if a median is not above zero. lowest [k]: the smaller median of each value."""
        if (lowest > 0).all():
            return
        at = int(np.argmax(lowest <= 0))
        raise InputError(
            f"{where(int(rows[at]))}: {name} has a median of {lowest[at]:g} in {self.group} "
            f"{group.names[group.codes[rows[at]]]} at this step. [radiometry] divides by medians, which needs numbers "
            f"above zero, such as reflectances: list those variates as its `variates` in {self.source}."
        )


def medians(values: NDArray[np.float64], cell: Index) -> NDArray[np.float64]:
    """The median of the cell [n] of each value [n], equal to `numpy.median`, by one sort for all cells."""
    order = np.lexsort((values, cell))
    ranked, count = values[order], np.bincount(cell)
    first = np.cumsum(count) - count
    present = np.flatnonzero(count)
    middle = np.zeros(len(count))
    low, high = (first[present] + (count[present] - one) // 2 for one in (1, 0))
    middle[present] = (ranked[low] + ranked[high]) / 2
    return middle[cell]


def samples_in_cell(cell: Index, sample: Index) -> Index:
    """The number of different samples in the cell of each value [n]."""
    if len(cell) == 0:
        return cell
    span = int(sample.max()) + 1
    return np.bincount(np.unique(cell * span + sample) // span)[cell]
