"""From a table to the series that are drawn: scaled to the y-range, cut into windows, and keyed.

The renderer and the trainer both use this module, so that they always hash the same numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.keys import series_keys
from pipeline.scaling import to_unit, y_ranges
from pipeline.splits import Fold
from pipeline.style import Style
from pipeline.table import SeasonTable
from pipeline.windows import Framing, Window, windows


@dataclass(frozen=True, eq=False)
class SeriesBlock:
    """All series of one window, scaled to one set of y-ranges.

    values   [N,V,W] float32 in units of the y-range (0 = bottom, 1 = top), NaN if not observed
    observed [N,V,W] bool
    keys     [N,V] of 16 bytes
    """

    window: Window
    values: NDArray[np.float32]
    observed: NDArray[np.bool_]
    keys: NDArray[np.void]

    def select(self, positions: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """The series [n,W] and their masks at flat positions [n] among the N*V series."""
        steps = self.window.length
        return self.values.reshape(-1, steps)[positions], self.observed.reshape(-1, steps)[positions]


def fold_ranges(table: SeasonTable, fold: Fold) -> NDArray[np.float64]:
    """The y-range [V,2] of each variate, from the card or else from observed values of the fold's training rows."""
    lows, highs = [v.low for v in table.variates], [v.high for v in table.variates]
    return y_ranges(table.values, table.observed, fold.train, lows, highs)


def series_blocks(
    table: SeasonTable, ranges: NDArray[np.float64], style: Style, framing: Framing = "halves"
) -> tuple[SeriesBlock, ...]:
    """One block per window. `ranges` [V,2] are the y-ranges of the variates, from the card or from training rows."""
    unit = to_unit(table.values, ranges)
    return tuple(_block(unit, table.observed, window, style) for window in windows(table.steps, table.cut, framing))


def outside(table: SeasonTable, blocks: Sequence[SeriesBlock]) -> dict[str, float]:
    """The share of each variate's values that lie outside its y-range and are drawn on the edge of the picture."""
    seen = sum(block.observed.sum((0, 2)) for block in blocks)
    with np.errstate(invalid="ignore"):
        beyond = sum(((block.values < 0) | (block.values > 1)).sum((0, 2)) for block in blocks)  # NaN is neither
    return {name: float(n / max(of, 1)) for name, n, of in zip(table.variate_names, beyond, seen, strict=True)}


def fold_variants(
    table: SeasonTable,
    folds: Sequence[Fold],
    style: Style,
    drawn: SeasonTable | None = None,
    framing: Framing = "halves",
) -> list[tuple[SeriesBlock, ...]]:
    """The series as each fold draws them. Folds with the same y-ranges (the usual case) share one variant.

    `drawn` is an augmented view of the table, or the table as of a step. It is drawn in the y-ranges of the table.
    """
    distinct = {ranges.tobytes(): ranges for ranges in (fold_ranges(table, fold) for fold in folds)}
    return [series_blocks(drawn or table, ranges, style, framing) for ranges in distinct.values()]


def _block(unit: NDArray[np.float32], observed: NDArray[np.bool_], window: Window, style: Style) -> SeriesBlock:
    values = np.ascontiguousarray(unit[:, :, window.start : window.stop])
    mask = np.ascontiguousarray(observed[:, :, window.start : window.stop])
    if window.until < window.stop:
        mask = mask & (np.arange(window.start, window.stop) < window.until)
        values = np.where(mask, values, np.float32(np.nan))
    keys = series_keys(values.reshape(-1, window.length), mask.reshape(-1, window.length), style)
    return SeriesBlock(window, values, mask, keys.reshape(mask.shape[:2]))
