"""Numbers that stand for "nothing was measured": a mark that no card names would be drawn and learnt from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.sources.columns import Columns

# The habits of spreadsheets and exports, the fill values of MODIS products, and the ends of 8 and 16 bits.
MARKS = (-99, -999, -9999, -99999, 999, 9999, 99999, -3000, -28672, -32767, -32768, 32767, 65535, 255)
# Whatever is as large as this is one too: 1e20, 9.96921e36 and 3.4028235e38 have many spellings.
HUGE = 1e19
LEAST_CELLS = 2
FAR = 10  # times the largest of the other values


def refuse_marks(
    parts: Sequence[Columns],
    names: Sequence[Sequence[Sequence[str]]],
    scale: Sequence[float],
    missing: Sequence[float],
) -> None:
    """Raise `InputError` where a variate holds a usual mark of missing data, twice or more, far from its other values.

    names     the columns of each variate in each part, [part][variate][column], as they stand in `measured`
    scale     what the stored numbers of each variate were multiplied with
    missing   the marks that the card names already; they were dropped before
    """
    first = 0
    for v, factor in enumerate(scale):
        columns = slice(first, first + len(names[0][v]))
        blocks = [part.measured[:, columns] for part in parts]
        first = columns.stop
        marks, cells, largest = _marks_in(blocks, factor)
        if len(marks) == 0:
            continue
        part, row, column = _first_cell(blocks, marks)
        written = [_written(_as_stored(mark / factor)) for mark in marks.tolist()]
        stand = "stands" if len(written) == 1 else "stand"
        listed = ", ".join([*map(_written, missing), *written])
        raise InputError(
            f"{parts[part].where(row)}, column {names[part][v][column]}: {' and '.join(written)} {stand} in {cells:,} "
            f"cells of this variate, whose other values reach {largest / abs(factor):.3g} at most. This looks like "
            "missing data and would be taken for a measurement: name it in the dataset card, "
            f"`missing = [{listed}]`, or leave those cells empty."
        )


def _marks_in(blocks: Sequence[NDArray[np.float32]], factor: float) -> tuple[NDArray[np.float32], int, float]:
    """(the marks, in how many cells they stand, the largest magnitude of all other values), after scaling."""
    nothing = np.array([], np.float32), 0, 0.0
    # Most tables hold nothing as large as the smallest mark.
    if max(_largest(block) for block in blocks) < min(map(abs, MARKS)) * abs(factor) * 0.999:
        return nothing
    with np.errstate(over="ignore"):
        stored = (np.array(MARKS) * factor).astype(np.float32)
    marked = [np.isin(block, stored) | (np.abs(block) >= HUGE * abs(factor)) for block in blocks]
    largest = max(_largest(block[~mask]) for block, mask in zip(blocks, marked, strict=True))
    found = np.concatenate([block[mask] for block, mask in zip(blocks, marked, strict=True)])
    values, counts = np.unique(found, return_counts=True)
    far = (counts >= LEAST_CELLS) & (np.abs(values).astype(np.float64) > FAR * largest)
    return (values[far], int(counts[far].sum()), largest) if far.any() else nothing


def _largest(values: NDArray[np.float32]) -> float:
    return float(np.fmax.reduce(np.abs(values), axis=None, initial=0.0))


def _first_cell(blocks: Sequence[NDArray[np.float32]], marks: NDArray[np.float32]) -> tuple[int, int, int]:
    for part, block in enumerate(blocks):
        cells = np.argwhere(np.isin(block, marks))
        if len(cells):
            return part, int(cells[0, 0]), int(cells[0, 1])
    raise ValueError("no block holds the marks")


def _as_stored(number: float) -> float:
    """Without what scaling and unscaling did to the last digits of a mark."""
    nearest = min(MARKS, key=lambda mark: abs(mark - number))
    return nearest if abs(nearest - number) <= 1e-5 * abs(nearest) else number


def _written(number: float) -> str:
    """As it would stand in the file, and may stand in a card: -9999, 1e+20."""
    short = np.float32(number)
    return str(int(short)) if abs(short) < 1e9 and short == int(short) else str(short)
