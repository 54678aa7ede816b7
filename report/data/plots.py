"""The y-ranges of the plots, and a few example plots as the encoder sees them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.render import colourise, draw
from pipeline.scaling import y_ranges
from pipeline.series import SeriesBlock, fold_ranges, outside, series_blocks
from pipeline.splits import Fold
from pipeline.style import PALETTE, Style
from pipeline.table import SeasonTable
from pipeline.windows import Framing
from report.data.series import evenly

MOST_PICTURES = 8
MOST_ROWS = 2_000  # rows from which the share of values outside the y-range is estimated


@dataclass(frozen=True)
class Range:
    """The y-range of a variate. `from_card` is True if the card gives it.

    lowest, highest  extremes of all observed values
    outside          share of the values that lie outside the y-range and are drawn on the edge
    """

    name: str
    unit: str
    low: float
    high: float
    from_card: bool
    lowest: float
    highest: float
    outside: float


@dataclass(frozen=True, eq=False)
class Plot:
    """A picture of one series in the colour of its variate. Its frame shows steps `first` to `last`, both included."""

    sample: str
    variate: str
    window: str
    first: int
    last: int
    image: Image.Image


def ranges_of(table: SeasonTable, folds: Sequence[Fold]) -> NDArray[np.float64]:
    """The y-range [V,2] of each variate, from the training rows of the first fold, or from all rows without folds."""
    if folds:
        return fold_ranges(table, folds[0])
    lows, highs = [v.low for v in table.variates], [v.high for v in table.variates]
    return y_ranges(table.values, table.observed, np.arange(len(table)), lows, highs)


def describe_ranges(table: SeasonTable, ranges: NDArray[np.float64]) -> tuple[Range, ...]:
    """The y-range of each variate, from `ranges` [V,2], with the share of values outside it."""
    some = table.rows(evenly(np.arange(len(table)), MOST_ROWS))
    # The keys are not needed here. `series_blocks` is used so that the share equals what render_cache.py prints.
    shares = outside(some, series_blocks(some, ranges, Style(), "halves"))
    found = []
    for v, variate in enumerate(table.variates):
        seen = table.values[:, v][table.observed[:, v]]
        lowest, highest = (float(seen.min()), float(seen.max())) if len(seen) else (np.nan, np.nan)
        found.append(
            Range(
                name=variate.name,
                unit=variate.unit,
                low=float(ranges[v, 0]),
                high=float(ranges[v, 1]),
                from_card=variate.low is not None and variate.high is not None,
                lowest=lowest,
                highest=highest,
                outside=shares[variate.name],
            )
        )
    return tuple(found)


def plots_of(
    table: SeasonTable, ranges: NDArray[np.float64], style: Style, framing: Framing, most: int = MOST_PICTURES
) -> tuple[Plot, ...]:
    """At most `most` plots: up to four variates in both windows, for as many samples as fit."""
    variates = evenly(np.arange(len(table.variates)), max(1, most // 2))
    samples = max(1, most // (2 * len(variates)))
    # The middle row of equal parts of the table, so that a single sample is not the first row.
    rows = np.unique(((np.arange(samples) + 0.5) * len(table) / samples).astype(np.int64))
    few = table.rows(rows)
    blocks = series_blocks(few, ranges, style, framing)
    found = [
        _plot(few, block, row, variate, style)
        for row in range(len(few))
        for variate in variates.tolist()
        for block in blocks
    ]
    return tuple(found[:most])


def _plot(table: SeasonTable, block: SeriesBlock, row: int, variate: int, style: Style) -> Plot:
    ink = draw(block.values[row, variate][None], block.observed[row, variate][None], style)
    image = Image.fromarray(colourise(ink, PALETTE[[variate % len(PALETTE)]])[0])
    return Plot(
        sample=str(table.sample_id[row]),
        variate=table.variate_names[variate],
        window=block.window.name,
        first=block.window.start,
        last=block.window.stop - 1,
        image=image,
    )
