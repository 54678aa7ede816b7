"""Report the codes 251 to 255 among whole numbers of one byte, where products such as Copernicus NDVI store flags.

After scaling, a code such as 254 (water) lies just above the highest values of the product, within the declared range.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.card import VariateCard
from pipeline.findings import Finding, missing_line
from pipeline.sources.files.columns import Columns

FIRST, LAST = 251, 255
BELOW = 10  # numbers below the codes, which hold more cells than the codes if these are measurements
LEAST_CELLS = 3
LEAST_DISTINCT = 40  # whole numbers; with fewer, values such as days of the year come in regular steps


def byte_codes(
    parts: Sequence[Columns], series: Sequence[VariateCard], widths: Sequence[int], *, stored: bool = False
) -> tuple[Finding, ...]:
    """A finding for each variate whose codes 251 to 255 hold more cells than the ten numbers below them.

    parts    values before `offset` is added; with `stored`, numbers as they are stored
    widths   the number of columns of each variate
    """
    found, first = [], 0
    for variate, width in zip(series, widths, strict=True):
        columns = slice(first, first + width)
        first += width
        scale = 1.0 if stored else variate.scale
        cells = _cells_of_numbers([part.measured[:, columns] for part in parts], scale)
        codes = [code for code in range(FIRST, LAST + 1) if len(cells) > code and cells[code]]
        held = int(cells[FIRST:].sum())
        below = int(cells[FIRST - BELOW : FIRST].sum())
        if held < LEAST_CELLS or held <= below or np.count_nonzero(cells) < LEAST_DISTINCT:
            continue
        listed = f"{', '.join(map(str, codes[:-1]))} and {codes[-1]}" if len(codes) > 1 else str(codes[0])
        sentence = (
            f"{variate.name} is stored as whole numbers up to {codes[-1]}, and {held:,} of {int(cells.sum()):,} cells "
            f"hold {listed}, more than hold {FIRST - BELOW} to {FIRST - 1} ({below:,}). Many products use {FIRST} to "
            f"{LAST} as flags (cloud, snow, water, no data); here they are read as measured."
        )
        found.append(Finding("warning", sentence, missing_line([*variate.missing, *codes], variate.name)))
    return tuple(found)


def _cells_of_numbers(blocks: Sequence[np.ndarray], scale: float) -> np.ndarray:
    """The number of cells with each stored number 0, 1, 2 ...; empty if these are not whole numbers of one byte."""
    nothing = np.zeros(0, np.int64)
    end = np.fmax if scale > 0 else np.fmin
    largest = max(float(end.reduce(block, axis=None, initial=0.0)) / scale for block in blocks)
    if not FIRST - 0.5 < largest < LAST + 0.5:
        return nothing
    numbers = np.concatenate([block[~np.isnan(block)] for block in blocks]).astype(np.float64) / scale
    whole = np.round(numbers)
    if numbers.min() < -0.5 or np.abs(numbers - whole).max() > 1e-3:
        return nothing
    return np.bincount(whole.astype(np.int64))
