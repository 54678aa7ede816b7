"""Check the plausibility of yields: marks of missing data, and units that change between rows, years or files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.findings import Finding
from pipeline.plural import plural
from pipeline.sources.files.missing_values import Stored, marks_in

Floats = NDArray[np.float64]

HIGHEST_YIELD = 250.0  # t/ha; sugar cane reaches about 200
OTHER_UNIT = 30.0  # ratio of a yield to the median that is an error
OTHER_UNIT_YEAR = 8.0  # ratio of a year's median to that of the others that is an error; dt/ha to t/ha is 10
ODD_YEAR = 2.2  # ratio of a year's median to that of the others that is reported
OUTLIER = 4.0  # ratio of a yield to the median that is reported, if NEXT also holds
LOW = 20.0  # ratio of the median to a yield that is reported, if GAP also lies above it
NEXT = 2.0  # ratio of an outlier to the next lower yield
GAP, LEAST_SHARE = 5.0, 0.2  # ratio across a gap between two groups of yields, and least share of each group
LEAST_GROUP, ALIKE = 0.05, 2.0  # least share of a group that is reported, and ratio of the ratios of its tails
LEAST_ROWS = 4


@dataclass(frozen=True)
class Yields:
    """Yields [N] in t/ha, NaN where unknown, with their year [N], and file [N] of `files` if that is known.

    factor   factor by which the stored numbers were multiplied
    what     "yield" or "known yield of the history", for messages
    """

    source: str
    target: Floats
    year: NDArray[np.int64]
    where: Callable[[int], str]
    column: str = ""
    factor: float = 1.0
    what: str = "yield"
    files: tuple[str, ...] = ()
    file: NDArray[np.int64] | None = None

    def at(self, row: int) -> str:
        """The file, sample and year of a yield, for messages."""
        return f"{self.where(row)}{f', column {self.column}' if self.column else ''}"


def check_yields(yields: Yields, missing: Sequence[float] = ()) -> tuple[Finding, ...]:
    """Findings about yields that are odd but may be right. Raises `InputError` for yields that cannot be right."""
    _refuse_marks(yields, missing)
    rows = np.flatnonzero(yields.target > 0)
    if len(rows) < LEAST_ROWS:
        return ()
    _refuse_another_unit(yields, rows)
    found = _odd_groups(yields, rows)
    _refuse_two_units(yields, rows)
    return (*found, *(_outliers(yields, rows) or _two_alike_groups(yields, rows)))


def marked_as_missing(target: Floats) -> tuple[NDArray[np.bool_], tuple[Finding, ...]]:
    """Returns (mask [N] of yields that are negative marks such as -9999, findings). target [N] is as stored.

    Such samples are dropped in any case, but should not be counted as crop failures.
    """
    numbers, counts = np.unique(target[target < 0], return_counts=True)
    marks = [float(n) for n in numbers if n <= -99]
    if not marks:
        return np.zeros(len(target), bool), ()
    cells = int(counts[np.isin(numbers, marks)].sum())
    listed = ", ".join(f"{mark:g}" for mark in marks)
    sentence = (
        f"{cells} yield{'s' * (cells != 1)} of {listed} {'are' if cells != 1 else 'is'} read as missing, because no "
        "yield is negative."
    )
    return np.isin(target, marks), (Finding("warning", sentence, f"missing = [{listed}]"),)


def negative_yields(target: Floats) -> tuple[Finding, ...]:
    """A warning about yields [N] below zero, in t/ha, which are left out. Marks of missing data are not among them."""
    below = target[target < 0]
    if not len(below):
        return ()
    return (
        Finding(
            "warning",
            f"{plural(len(below), 'yield')} of {int((~np.isnan(target)).sum())} {'are' if len(below) > 1 else 'is'} "
            f"negative, down to {below.min():.3g} t/ha, and left out. Are they anomalies? Give the yields themselves.",
        ),
    )


def _refuse_marks(yields: Yields, missing: Sequence[float]) -> None:
    form = Stored(scale=yields.factor)
    positive = np.where(yields.target > 0, yields.target, np.nan).astype(np.float32)
    found = marks_in([positive], form, 1)
    if len(found.marks) == 0 or np.isnan(found.lowest):
        return
    row = int(np.argmax(np.isin(positive, found.marks)))
    listed = ", ".join([*(f"{mark:g}" for mark in missing), *(f"{form.number(m):g}" for m in found.marks.tolist())])
    raise InputError(
        f"{yields.at(row)}: the {yields.what} is {form.number(float(positive[row])):g}, and {found.cells} "
        "such stand in "
        f"the table, {found.others(form)}. This looks like missing data and would be used in training. Name it in the "
        f"dataset card, `missing = [{listed}]`, or leave those cells empty."
    )


def _refuse_another_unit(yields: Yields, rows: NDArray[np.int64]) -> None:
    known = yields.target[rows]
    median = float(np.median(known))
    far = (known > max(OTHER_UNIT * median, 25.0)) | ((known > HIGHEST_YIELD) & (known > GAP * median))
    if far.any():
        row = int(rows[np.argmax(far)])
        raise InputError(
            f"{yields.at(row)}: the {yields.what} is {yields.target[row]:,.6g} t/ha, {yields.target[row] / median:.0f} "
            f"times the median of {median:.3g}; {int(far.sum())} of {len(known)} are so large. Is it in another unit, "
            "such as kg/ha? Correct these cells, or leave the rows out with [[exclude]] in the dataset card; the unit "
            "of a whole column is [target] `unit`."
        )


def _odd_groups(yields: Yields, rows: NDArray[np.int64]) -> list[Finding]:
    """Findings about years with an unusual median. Raises `InputError` if a year or file is in another unit."""
    known, found = yields.target[rows], list[Finding]()
    groupings: list[tuple[str, NDArray[np.int64], Callable[[int], str]]] = [("year", yields.year[rows], str)]
    if yields.file is not None:
        groupings.append(("file", yields.file[rows], lambda one: yields.files[one]))
    for kind, group, name in groupings:
        names = np.unique(group).tolist()
        medians = {one: float(np.median(known[group == one])) for one in names}
        for one in names:
            others = [median for other, median in medians.items() if other != one]
            if not others:
                continue
            ratio = medians[one] / float(np.median(others))
            suspect = (
                f"the median {yields.what} of {kind} {name(one)} is {medians[one]:.4g} t/ha, that of the other {kind}s "
                f"{float(np.median(others)):.4g}"
            )
            large = max(ratio, 1 / ratio)
            mine = group == one
            # Another unit moves low and high yields alike; a year of failed harvests does not.
            tails = np.quantile(known[mine], (0.1, 0.9)) / np.quantile(known[~mine], (0.1, 0.9))
            alike = (tails >= GAP).all() if ratio > 1 else (1 / tails >= GAP).all()
            if large >= OTHER_UNIT_YEAR and alike and mine.sum() >= 2:
                row = int(rows[np.argmax(group == one)])
                raise InputError(
                    f"{yields.at(row)}: {suspect}. This looks like another unit: store all yields in one unit, or "
                    f"leave this {kind} out with [[exclude]] in the dataset card."
                )
            if large >= ODD_YEAR and kind == "year" and (group == one).sum() >= 2:
                line = f'[[exclude]]\nyear = {one}\nreason = "yields look faulty"'
                found.append(Finding("warning", f"{suspect[0].upper()}{suspect[1:]}; is it right?", line))
    return found


def _refuse_two_units(yields: Yields, rows: NDArray[np.int64]) -> None:
    """Raise `InputError` if there are two large groups of yields with a wide gap between them."""
    known = np.sort(yields.target[rows])
    ratio = known[1:] / known[:-1]
    least = max(2, int(np.ceil(LEAST_SHARE * len(known))))
    inner = ratio[least - 1 : len(known) - least]
    if not len(inner) or inner.max() < GAP:
        return
    at = least - 1 + int(np.argmax(inner))
    low, high = np.quantile(known[: at + 1], (0.1, 0.9))
    if high > GAP * low:
        return  # failed harvests spread down to zero; another unit keeps its spread
    row = int(rows[np.argmax(yields.target[rows] >= known[at + 1])])
    raise InputError(
        f"{yields.at(row)}: the {yields.what} is {yields.target[row]:.4g} t/ha. {at + 1} yields are "
        f"{known[at]:.4g} t/ha or less, {len(known) - at - 1} are {known[at + 1]:.4g} t/ha or more, and none lies "
        "between. This looks like two units (or two crops) in one column: store all yields in one unit, or leave rows "
        "out with [[exclude]] in the dataset card."
    )


def _two_alike_groups(yields: Yields, rows: NDArray[np.int64]) -> list[Finding]:
    """A warning if yields fall into two groups with a gap between them, and one is as spread as the other times GAP.

    Another unit multiplies low and high yields alike. Failed harvests spread down to zero.
    """
    known = np.sort(yields.target[rows])
    least = max(2, int(np.ceil(LEAST_GROUP * len(known))))
    inner = (known[1:] / known[:-1])[least - 1 : len(known) - least]
    if not len(inner) or inner.max() < NEXT:
        return []
    at = least + int(np.argmax(inner))
    low, high = known[:at], known[at:]
    tails = np.quantile(high, (0.1, 0.9)) / np.quantile(low, (0.1, 0.9))
    if tails.min() < GAP or tails.max() > ALIKE * tails.min():
        return []
    row = int(rows[np.argmax(yields.target[rows] >= high[0])])
    return [
        Finding(
            "warning",
            f"{yields.at(row)}: the {yields.what} is {yields.target[row]:.4g} t/ha. {len(low)} yields are "
            f"{low[-1]:.4g} t/ha or less, {len(high)} are {high[0]:.4g} t/ha or more, and none lies between. Are "
            "they in one unit?",
        )
    ]


def _outliers(yields: Yields, rows: NDArray[np.int64]) -> list[Finding]:
    """Findings about yields far above or far below the median, and beyond a gap."""
    known = yields.target[rows]
    median = float(np.median(known))
    ordered = np.sort(known)
    jumps = np.flatnonzero((ordered[1:] >= OUTLIER * median) & (ordered[1:] >= NEXT * ordered[:-1]))
    found = []
    if len(jumps):
        below, least = ordered[jumps[0]], ordered[jumps[0] + 1]
        high = rows[known >= least]
        found.append(_outlier(yields, int(high[0]), len(high), median, f"the next lower one is {below:.4g}"))
    drops = np.flatnonzero((ordered[:-1] * LOW <= median) & (ordered[:-1] * GAP <= ordered[1:]))
    if len(drops):
        most, above = ordered[drops[-1]], ordered[drops[-1] + 1]
        low = rows[known <= most]
        found.append(_outlier(yields, int(low[0]), len(low), median, f"the next higher one is {above:.4g}"))
    return found


def _outlier(yields: Yields, row: int, cells: int, median: float, beside: str) -> Finding:
    more = f" {cells} yields lie so far out; are they in one unit?" if cells > 1 else " Is it right?"
    return Finding(
        "warning",
        f"{yields.at(row)}: the {yields.what} is {yields.target[row]:.4g} t/ha where the median is {median:.3g} and "
        f"{beside}.{more}",
    )
