"""Find marks of missing data that the card does not name. They would be drawn and used in training.

A number that is a usual mark is treated as one if it lies outside the variate's declared range, or if its sign or a
wide gap separates it from all other values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.card import VariateCard
from pipeline.errors import InputError
from pipeline.sources.files.columns import Columns

# Nines as people and exports write them, with and without decimals.
_WRITTEN = ("99", "99.9", "99.99", "999", "999.9", "999.99", "9999", "9999.9", "9999.99", "99999", "999999")
_NINES = (*map(float, _WRITTEN), *(-float(digits) for digits in _WRITTEN), -9998.0, -8888.0, -88888.0, -888.0)
# Fill values of MODIS products (NDVI, LAI, GPP), and the ends of 8, 16 and 32 bits.
_MODIS = (-3000, -28672, *range(249, 256), *range(32761, 32767))
_ENDS = (-32767, -32768, 32767, 65534, 65535, -2147483648, 2147483647, 4294967295)
MARKS = (*_NINES, *map(float, (*_MODIS, *_ENDS)))
# Whatever is as large as this is one too: 1e20, 9.96921e36 and 3.4028235e38 have many spellings.
HUGE = 1e19
LEAST_CELLS = 2
FAR = 2.0  # times the largest magnitude of the other values
VERY_FAR = 10.0  # from here on one cell is enough
OF_ONE = 500.0  # smaller marks may be measurements of another variate
LARGE_NEGATIVE = -1000.0  # a mark like this among positive numbers needs one cell only


@dataclass(frozen=True)
class Stored:
    """How one variate is stored: value = number * scale + offset, with the declared range of the values.

    variate   its name in the card; empty for yields and static columns
    missing   the numbers that its section of the card names as missing data
    """

    scale: float = 1.0
    offset: float = 0.0
    low: float | None = None
    high: float | None = None
    variate: str = ""
    missing: tuple[float, ...] = ()

    def value(self, number: NDArray[np.float64]) -> NDArray[np.float32]:
        """Values, in float32 as they are read."""
        with np.errstate(over="ignore"):
            return np.asarray(number * self.scale + self.offset + 0.0).astype(np.float32)

    def number(self, value: float) -> float:
        """The stored number of a value."""
        return (value - self.offset) / self.scale

    def declared(self) -> bool:
        """Whether the card gives both ends of the range."""
        return self.low is not None and self.high is not None

    def outside(self, value: float) -> bool:
        """Whether a value lies outside the declared range."""
        return (self.low is not None and value < self.low) or (self.high is not None and value > self.high)


def before_offset(variate: VariateCard) -> Stored:
    """How a variate is stored, if its numbers were scaled already and its `offset` is still to be added."""
    low, high = (None if end is None else end - variate.offset for end in (variate.low, variate.high))
    return Stored(variate.scale, 0.0, low, high, variate.name, tuple(variate.missing))


def refuse_marks(
    parts: Sequence[Columns],
    names: Sequence[Sequence[Sequence[str]]],
    stored: Sequence[Stored],
    *,
    missing: Sequence[float],
    for_prediction: bool = False,
    far: float = FAR,
) -> None:
    """Raise `InputError` if a variate contains a usual mark of missing data that lies far from its other values.

    names           the columns of each variate in each part, [part][variate][column], as they stand in `measured`
    stored          how each variate is stored, and its declared range
    missing         the marks that the card names already; they were dropped before
    for_prediction  whether the table is to be forecast; one cell is then enough, as every row is used
    far             how many times the largest of the other values a mark must be at least
    """
    first = 0
    for v, form in enumerate(stored):
        columns = slice(first, first + len(names[0][v]))
        blocks = [part.measured[:, columns] for part in parts]
        first = columns.stop
        found = marks_in(blocks, form, 1 if for_prediction else LEAST_CELLS, far)
        if len(found.marks) == 0:
            continue
        part, row, column = _first_cell(blocks, found.marks)
        written = [_written(_as_stored(form.number(mark))) for mark in found.marks.tolist()]
        stand = "stands" if len(written) == 1 else "stand"
        # What another variate may really reach, such as 255 mm of rain, is named for this variate alone.
        alone = form.variate != "" and len(stored) > 1 and max(abs(form.number(m)) for m in found.marks) < OF_ONE
        listed = ", ".join([*map(_written, form.missing if alone else missing), *written])
        section = f" among the keys of {form.variate}" if alone else ""
        number = f"{found.cells:,} cell{'s' * (found.cells != 1)}"
        raise InputError(
            f"{parts[part].where(row)}, column {names[part][v][column]}: {' and '.join(written)} {stand} in {number} "
            f"of this variate, {found.others(form)}. This looks like missing data and would be taken for a "
            f"measurement: name it in the dataset card{section}, `missing = [{listed}]`, or leave those cells empty. "
            "If it was measured, give the variate its `low` and `high`."
        )


@dataclass(frozen=True)
class FoundMarks:
    """The marks after scaling, the number of their cells, and the range of all other values (NaN: none)."""

    marks: NDArray[np.float32]
    cells: int
    lowest: float
    highest: float

    def others(self, form: Stored) -> str:
        """The range of the other stored numbers, as text."""
        if np.isnan(self.lowest):
            return "which has no other values"
        low, high = sorted((form.number(self.lowest), form.number(self.highest)))
        return f"whose other values lie between {low:.3g} and {high:.3g}"


def marks_in(
    blocks: Sequence[NDArray[np.float32]], form: Stored, least_cells: int = LEAST_CELLS, far: float = FAR
) -> FoundMarks:
    """The marks among the values of one variate. blocks: arrays of any shape, NaN for what is missing."""
    nothing = FoundMarks(np.array([], np.float32), 0, np.nan, np.nan)
    smallest = float(np.abs(form.value(np.array(MARKS))).min())
    # Most tables hold nothing as large as the smallest mark.
    if form.offset == 0 and max(_largest(block) for block in blocks) < smallest * 0.999:
        return nothing
    values, counts = _candidates(blocks, form)
    if len(values) == 0:
        return nothing
    rest = [block[~(_marked(block, form) | np.isnan(block))] for block in blocks]
    rest = [one for one in rest if len(one)]
    low = min((float(one.min()) for one in rest), default=np.nan)
    high = max((float(one.max()) for one in rest), default=np.nan)
    kept = [
        _is_mark(float(v), int(n), low, high=high, form=form, least=least_cells, far=far)
        for v, n in zip(values, counts, strict=True)
    ]
    chosen = np.array(kept, bool)
    return FoundMarks(values[chosen], int(counts[chosen].sum()), low, high) if chosen.any() else nothing


def _candidates(blocks: Sequence[NDArray[np.float32]], form: Stored) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    found = np.concatenate([block[_marked(block, form)] for block in blocks])
    values, counts = np.unique(found, return_counts=True)
    return values, counts.astype(np.int64)


def _marked(block: NDArray[np.float32], form: Stored) -> NDArray[np.bool_]:
    marked: NDArray[np.bool_] = np.isin(block, form.value(np.array(MARKS)))
    return marked | ((np.abs(block) >= HUGE * abs(form.scale)) & np.isfinite(block))


def _is_mark(value: float, cells: int, low: float, *, high: float, form: Stored, least: int, far: float) -> bool:
    """Whether a usual mark means missing data here. low, high: of the other values, NaN if there are none."""
    if np.isnan(low):
        return cells >= least
    if low <= value <= high:
        return False
    size, largest = abs(value - form.offset), max(abs(low - form.offset), abs(high - form.offset))
    beyond = form.outside(low) if value < low else form.outside(high)
    if form.outside(value) and (not beyond or cells > LEAST_CELLS):
        return True
    if value > high and form.declared() and not form.outside(value):
        return False  # 255 mm of rain, if the card says that there may be 500
    number, other = form.number(value), form.number(low if value < low else high)
    if number <= LARGE_NEGATIVE and other > 0:
        return True
    gap = low - value if value < low else value - high
    if gap > high - low and size > far * largest:
        return cells >= (1 if size > VERY_FAR * largest else least)
    # A sign that no other value has: MODIS' -3000 among vegetation indices times 10,000.
    return number < 0 < other and cells >= least


def _largest(values: NDArray[np.float32]) -> float:
    return float(np.fmax.reduce(np.abs(values), axis=None, initial=0.0))


def _first_cell(blocks: Sequence[NDArray[np.float32]], marks: NDArray[np.float32]) -> tuple[int, int, int]:
    for part, block in enumerate(blocks):
        cells = np.argwhere(np.isin(block, marks))
        if len(cells):
            return part, int(cells[0, 0]), int(cells[0, 1])
    raise ValueError("no block holds the marks")


def _as_stored(number: float) -> float:
    """A mark without the rounding errors of scaling and unscaling."""
    nearest = min(MARKS, key=lambda mark: abs(mark - number))
    return nearest if abs(nearest - number) <= 1e-5 * abs(nearest) else number


def _written(number: float) -> str:
    """A mark as the file and a card would spell it: -9999, 1e+20."""
    short = np.float32(number)
    return str(int(short)) if abs(short) < 1e9 and short == int(short) else str(short)
