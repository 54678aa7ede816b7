"""Check the plausibility of series: compare files, years and samples with each other and with the declared range.

The median of all values does not show a file or year that was stored times 10,000, a shift between two processing
baselines, a scale that was applied twice, or zeros that stand for missing data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.findings import Finding, missing_line
from pipeline.sources.checks.isolated_values import isolated_values
from pipeline.sources.checks.medians import Floats, column_medians, row_medians
from pipeline.sources.checks.negative_mark import negative_mark
from pipeline.sources.checks.outside_range import MOST_OUTSIDE, far_outside
from pipeline.sources.checks.repeated_extremes import repeated_extremes
from pipeline.sources.checks.scaled_places import scaled_places
from pipeline.sources.checks.scaled_values import scaled_values
from pipeline.sources.checks.two_ranges import two_ranges
from pipeline.table import Variate

# A way to compare samples: its kind, the group of each sample [N], the name of a group, and some samples of each.
Grouping = tuple[str, NDArray[np.int64], Callable[[int], str], NDArray[np.int64]]

SOME = 300  # samples of a year or file from which its quantiles are taken
SCALED_GROUP = 5.0  # ratio to the level of the other years or files, at nearly every step, that is an error
SCALED_CELLS = 100.0  # ratio of neighbouring magnitudes that is an error; no quantity has such a gap
SCALED_ROWS = 30.0  # ratio of neighbouring levels of samples that is an error; ten times that if few are smaller
LEAST_LOW_ROWS = 0.4  # share of samples below the gap under which these count as few
FEW_SAMPLES = 3  # with fewer samples, a year may differ from others as places do
LEAST_SPREAD = 0.02  # range of the values, as a share of the declared range
LEAST_VALUES = 8
LEAST_LOWER = 0.1  # share of the values that must lie below a gap, so that noise around zero is no gap
FEW_CELLS = 0.02  # share of values above a gap up to which they are spikes, which are only reported
ISOLATED_ZERO = 0.2  # share of the median magnitude; smaller values show that zero is a real value
SHIFTED_STEPS = 3  # steps at which two levels must be known, to compare them
SHIFT_STEPS = 0.8  # share of the steps that must agree on a shift
SHIFT_TIMES = 3.0  # ratio of a shift to the largest shift among the other years
LEAST_SHIFT = 0.15  # least shift, as a share of the interquartile range of the values


@dataclass(frozen=True)
class Seasons:
    """What is compared. values [N,V,T], year and place [N]; file [N]: the file of each sample, of `files`, if known."""

    source: str
    variates: tuple[Variate, ...]
    values: NDArray[np.float32]
    year: NDArray[np.int64]
    sample_id: NDArray[np.str_]
    where: Callable[[int], str]
    files: tuple[str, ...] = ()
    file: NDArray[np.int64] | None = None
    place: NDArray[np.str_] | None = None

    def groupings(self) -> Iterator[tuple[str, NDArray[np.int64], Callable[[int], str]]]:
        """(kind, group [N], name of a group) of each way to compare. A way with a single group is left out."""
        if self.file is not None and len(np.unique(self.file)) > 1 and not self._file_is_year(self.file):
            yield "file", self.file, lambda group: self.files[group]
        if len(np.unique(self.year)) > 1:
            yield "year", self.year, str

    def _file_is_year(self, file: NDArray[np.int64]) -> bool:
        """Whether files and years are the same groups, so that comparing years is enough."""
        pairs = len(np.unique(np.stack([file, self.year]), axis=1).T)
        return pairs == len(np.unique(file)) == len(np.unique(self.year))


def check_series(seasons: Seasons, *, for_prediction: bool = False) -> tuple[Finding, ...]:
    """Findings about series that are odd but may be right. Raises `InputError` for series that cannot be right."""
    groups = [(kind, group, name, _some_of_each(group)) for kind, group, name in seasons.groupings()]
    places = None if seasons.place is None else np.unique(seasons.place, return_inverse=True)

    def of_variate(v: int) -> list[Finding]:
        variate, values = seasons.variates[v], np.ascontiguousarray(seasons.values[:, v])
        if np.isnan(values).all():
            return [_no_information(variate, "has no value in any sample, so its plots are empty")]
        least = float(np.nanmin(values))
        if least == float(np.nanmax(values)) and len(values) > 1 and not for_prediction:
            return [_no_information(variate, f"is {least:.4g} in every cell, so nothing can be learned from it")]
        _refuse_narrow(seasons, variate, values)
        for kind, group, name, some in groups:
            _refuse_group_outside(seasons, variate, values, kind=kind, group=group, name=name)
            _refuse_scaled_group(seasons, variate, values[some], kind=kind, group=group[some], name=name, rows=some)
        _refuse_scaled_rows(seasons, variate, values)
        found = _scaled_cells(seasons, variate, values)
        found += _zeros(variate, values)
        found += (
            isolated_values(variate, values) or negative_mark(variate, values) or repeated_extremes(variate, values)
        )
        found += two_ranges(variate, values)
        if places is not None:
            found += scaled_places(variate, values, *places)
        found += far_outside(variate, values, seasons.sample_id) or scaled_values(variate, values)
        return found if for_prediction else found + _shifts(groups, variate, values)

    # The first variate that cannot be right is named, whichever thread ends first.
    with ThreadPoolExecutor() as threads:
        return tuple(chain.from_iterable(threads.map(of_variate, range(len(seasons.variates)))))


def _no_information(variate: Variate, why: str) -> Finding:
    return Finding("warning", f"{variate.name} {why}. Is its column the right one?")


def _some_of_each(group: NDArray[np.int64]) -> NDArray[np.int64]:
    """Evenly spaced samples of each group. They suffice for quantiles, and a large table is not sorted many times."""
    order = np.argsort(group, kind="stable")
    _, first, size = np.unique(group[order], return_index=True, return_counts=True)
    chosen = [
        start + np.unique(np.linspace(0, n - 1, min(n, SOME), dtype=np.int64))
        for start, n in zip(first, size, strict=True)
    ]
    return np.sort(order[np.concatenate(chosen)])


def _refuse_narrow(seasons: Seasons, variate: Variate, values: Floats) -> None:
    """Raise `InputError` if the values span almost nothing of the declared range, as after a scale applied twice."""
    if variate.low is None or variate.high is None or np.count_nonzero(~np.isnan(values)) < LEAST_VALUES:
        return
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    if high - low >= LEAST_SPREAD * (variate.high - variate.low) or low == high:
        return
    raise InputError(
        f"{seasons.source}: all values of {variate.name} lie between {low:.3g} and {high:.3g}, less than "
        f"{LEAST_SPREAD:.0%} of the declared range {variate.low:g} to {variate.high:g}, so every plot would "
        "be one flat "
        "line. Was the scale applied twice? Correct `scale`, `low` or `high` of this variate in the dataset card."
    )


def _refuse_group_outside(
    seasons: Seasons,
    variate: Variate,
    values: Floats,
    *,
    kind: str,
    group: NDArray[np.int64],
    name: Callable[[int], str],
) -> None:
    low = -np.inf if variate.low is None else variate.low
    high = np.inf if variate.high is None else variate.high
    if variate.low is None and variate.high is None:
        return
    for one in np.unique(group).tolist():
        seen = values[group == one]
        seen = seen[~np.isnan(seen)]
        outside = (seen < low) | (seen > high)
        if len(seen) >= LEAST_VALUES and outside.mean() > MOST_OUTSIDE:
            first = int(np.flatnonzero(group == one)[0])
            raise InputError(
                f"{seasons.where(first)}: {outside.mean():.0%} of the values of {variate.name} in {kind} {name(one)} "
                f"lie outside of the declared range {low:g} to {high:g} (median {np.median(seen):.4g}; all others have "
                f"{np.nanmedian(values[group != one]):.4g}). Bring this {kind} to the scale of the others, or correct "
                "`scale`, `low` or `high` of this variate in the dataset card."
            )


def _refuse_scaled_group(
    seasons: Seasons,
    variate: Variate,
    values: Floats,
    *,
    kind: str,
    group: NDArray[np.int64],
    name: Callable[[int], str],
    rows: NDArray[np.int64],
) -> None:
    """Raise `InputError` if the level of a year or file is many times that of the others at nearly every step.

    Of two groups, the message names the one with fewer samples. rows [n]: positions of these samples in the table.
    """
    names, sizes = np.unique(group, return_counts=True)
    for one in names[np.argsort(sizes, kind="stable")].tolist():
        mine, others = np.abs(values[group == one]), np.abs(values[group != one])
        if min(np.count_nonzero(mine > 0), np.count_nonzero(others > 0)) < LEAST_VALUES:
            continue
        ratio = _level_ratios(mine, others)
        if len(ratio) < 3:
            continue
        # A scale moves the whole distribution: its quarters, not only its middle, and nearly every step.
        quarters = np.quantile(mine[mine > 0], (0.25, 0.5, 0.75)) / np.quantile(others[others > 0], (0.25, 0.5, 0.75))
        samples = min(int((group == one).sum()), int((group != one).sum()))
        least = SCALED_GROUP if samples >= FEW_SAMPLES else SCALED_CELLS
        for times in (ratio, 1 / ratio):
            agree = (times >= least).mean() >= SHIFT_STEPS
            apart = quarters if times is ratio else 1 / quarters
            if agree and (apart >= least).all():
                first = int(rows[np.flatnonzero(group == one)[0]])
                large = float(np.median(ratio))
                shown = f"{large:,.0f}" if large >= 10 else f"{large:.3g}"
                raise InputError(
                    f"{seasons.where(first)}: {variate.name} of {kind} {name(one)} is about {shown} times as large "
                    f"as that of the other {kind}s at the same steps (median {np.nanmedian(values[group == one]):.4g} "
                    f"beside {np.nanmedian(values[group != one]):.4g}). This looks like another scale or unit: store "
                    f"all {kind}s in one, or leave this {kind} out with [[exclude]] in the dataset card."
                )


def _level_ratios(mine: Floats, others: Floats) -> Floats:
    """The ratio of a level to that of the others, at each step at which both are known [<=T]."""
    one, other = (column_medians(np.where(part > 0, part, np.float32(np.nan))) for part in (mine, others))
    both = ~np.isnan(one) & ~np.isnan(other)
    return np.asarray(one[both] / other[both])


def _refuse_scaled_rows(seasons: Seasons, variate: Variate, values: Floats) -> None:
    """Raise `InputError` if the levels of samples, relative to the median of each step, have a wide gap."""
    size = np.abs(values)
    size[size == 0] = np.nan
    rows = np.flatnonzero(np.count_nonzero(~np.isnan(size), axis=1) >= 3)
    if len(rows) < 2 * FEW_SAMPLES:
        return
    usual = column_medians(size[_some_of_each(np.zeros(len(size), np.int64))])
    level = row_medians(size[rows] / usual)
    rows, level = rows[~np.isnan(level)], level[~np.isnan(level)]
    order = np.argsort(level)
    gaps = level[order][1:] / level[order][:-1]
    at = int(np.argmax(gaps))
    few_low = at + 1 < LEAST_LOW_ROWS * len(rows)
    if gaps[at] < (10 * SCALED_ROWS if few_low else SCALED_ROWS):
        return
    odd = rows[order[: at + 1]] if few_low else rows[order[at + 1 :]]
    row = int(odd.min())
    others = np.setdiff1d(rows, odd)
    raise InputError(
        f"{seasons.where(row)}: {variate.name} of {len(odd)} of {len(rows)} samples, such as "
        f"{seasons.sample_id[row]}, lies around {np.nanmedian(size[odd]):.4g}, that of all others around "
        f"{np.nanmedian(size[others]):.4g}, and none lies between. This looks like two scales or units in one column: "
        "store all rows in one, or leave these out with [[exclude]] in the dataset card."
    )


def _scaled_cells(seasons: Seasons, variate: Variate, values: Floats) -> list[Finding]:
    """Raise `InputError` if a wide gap between magnitudes suggests two scales. A few such cells are only reported."""
    size = np.abs(values)
    if not _has_gap(size):
        return []
    ordered = np.sort(size[size > 0])
    if len(ordered) < LEAST_VALUES:
        return []
    first = max(1, int(np.ceil(LEAST_LOWER * len(ordered))))
    gaps = ordered[first:] / ordered[first - 1 : -1]
    if not len(gaps) or gaps.max() < SCALED_CELLS:
        return []
    at = first + int(np.argmax(gaps))
    large = size >= ordered[at]
    row = int(np.argmax(large.any(axis=1)))
    step = int(np.argmax(large[row]))
    claim = (
        f"{variate.name} is {values[row, step]:.6g} at step {step} of sample {seasons.sample_id[row]}, and nothing "
        f"lies between {ordered[at - 1]:.4g} and {ordered[at]:.4g}"
    )
    whole_rows = int(((large | np.isnan(values)).all(axis=1) & large.any(axis=1)).sum())
    samples = int(large.any(axis=1).sum())
    if large.sum() <= max(1, FEW_CELLS * len(ordered)) and (samples < FEW_SAMPLES or not whole_rows):
        one = int(large.sum()) == 1
        sentence = (
            f"{claim}. {int(large.sum())} cell{' lies' if one else 's lie'} far above all others and "
            f"{'is' if one else 'are'} read as measured."
        )
        line = f'[[exclude]]\nsample_id = "{seasons.sample_id[row]}"\nreason = "spike"'
        return [Finding("warning", sentence, line)]
    raise InputError(
        f"{seasons.where(row)}: {claim}. {samples} of {len(values)} samples hold such values, which "
        "looks like two scales in one column. Store all rows in one scale, and set `scale` of this variate in the "
        "dataset card."
    )


def _has_gap(size: Floats) -> bool:
    """Whether some powers of two hold no magnitude although smaller and larger ones do; cheaper than a sort."""
    exponents = np.frexp(size[size > 0])[1]
    used = np.flatnonzero(np.bincount(exponents - exponents.min())) if len(exponents) else np.zeros(0, np.int64)
    return bool((np.diff(used) >= int(np.log2(SCALED_CELLS))).any())


def _zeros(variate: Variate, values: Floats) -> list[Finding]:
    """A finding about exact zeros in a band that has no other value near zero."""
    zeros = int((values == 0).sum())
    if zeros == 0:
        return []
    seen = values[~np.isnan(values)]
    others = np.abs(seen[seen != 0])
    if len(others) < LEAST_VALUES or others.min() < ISOLATED_ZERO * np.median(others):
        return []
    sentence = (
        f"{variate.name} is exactly 0 in {zeros} of {len(seen)} cells, and no other value is nearer to zero than "
        f"{others.min():.3g}. Zeros that stand for missing data are read as measured."
    )
    return [Finding("warning", sentence, missing_line([0], variate.name))]


def _shifts(groups: Sequence[Grouping], variate: Variate, values: Floats) -> list[Finding]:
    """Findings about years or files whose level differs from the others by the same amount at nearly every step.

    Only years or files that hold the variate are compared. Of two that differ, nobody knows which one is right.
    """
    evenly = values[_some_of_each(np.zeros(len(values), np.int64))]
    spread = float(np.subtract(*np.nanquantile(evenly, (0.75, 0.25))))
    for kind, group, name, some in groups:
        names = np.unique(group)
        part, of = values[some], group[some]
        level = np.stack([column_medians(part[of == one]) for one in names])
        held = np.count_nonzero(~np.isnan(level), axis=1) >= SHIFTED_STEPS
        names, level, found = names[held], level[held], []
        if len(names) < 2:
            continue
        for g, one in enumerate(names.tolist()):
            others = np.delete(level, g, axis=0)
            size = _steady_shift(level[g], others)
            if abs(size) <= LEAST_SHIFT * spread or abs(size) < SHIFT_TIMES * _largest_shift(others):
                continue
            if len(names) == 2:
                return [_two_levels(variate, kind, name(one), name(int(names[1 - g])), size)]
            sentence = (
                f"{variate.name} of {kind} {name(one)} lies {abs(size):.3g} {'above' if size > 0 else 'below'} that of "
                f"the other {kind}s, about the same at every step. A change of sensor or processing looks like this, "
                "such as the offset of Sentinel-2 since 2022."
            )
            line = f'[[exclude]]\nyear = {one}\nreason = "another level"' if kind == "year" else ""
            found.append(Finding("warning", sentence, line))
        if kind == "year" and not found:
            found = _lasting_shift(variate, names, level, LEAST_SHIFT * spread)
        if found:
            return found
    return []


def _lasting_shift(variate: Variate, years: NDArray[np.int64], level: Floats, least: float) -> list[Finding]:
    """A finding if the levels [G,T] of all years from one on lie above or below those of all years before it.

    Both sides have two years or more, and differ by SHIFT_TIMES the largest shift within a side. least: of a shift.
    """
    largest, since = 0.0, 0
    for first in range(2, len(years) - 1):
        before, after = level[:first], level[first:]
        size = _steady_shift(column_medians(after), before)
        within = max(_largest_shift(before), _largest_shift(after))
        if abs(size) > max(least, abs(largest)) and abs(size) >= SHIFT_TIMES * within:
            largest, since = size, int(years[first])
    if not since:
        return []
    sentence = (
        f"{variate.name} lies {abs(largest):.3g} {'above' if largest > 0 else 'below'} its earlier level from {since} "
        "on, about the same at every step. A change of sensor or processing looks like this. Convert the values of one "
        "side, or leave years out."
    )
    return [Finding("warning", sentence, f'[[exclude]]\nbefore = {since}\nreason = "another level"')]


def _two_levels(variate: Variate, kind: str, one: str, other: str, size: float) -> Finding:
    """The finding if only two years or files hold a variate, and the level of `one` is `size` above that of `other`."""
    return Finding(
        "warning",
        f"{variate.name} of {kind} {one} lies {abs(size):.3g} {'above' if size > 0 else 'below'} that of {kind} "
        f"{other}, about the same at every step. A change of sensor or processing looks like this. Only these two "
        f"{kind}s hold {variate.name}, so the data do not show which of them is right.",
    )


def _steady_shift(mine: Floats, others: Floats) -> float:
    """The shift of a level [T] from the others [G,T] if it is about equal at nearly every step, else 0."""
    shift = mine - column_medians(others)
    shift = shift[~np.isnan(shift)]
    if len(shift) < SHIFTED_STEPS:
        return 0.0
    size = float(np.median(shift))
    near = np.abs(shift - size) <= 0.5 * abs(size)
    return size if near.mean() >= SHIFT_STEPS else 0.0


def _largest_shift(level: Floats) -> float:
    """The largest median shift of one of these levels [G,T] from the rest; 0 if no two of them share a step."""
    if len(level) < 2:
        return 0.0
    differences = np.stack([one - column_medians(np.delete(level, g, axis=0)) for g, one in enumerate(level)])
    shifts = np.abs(row_medians(differences))
    return float(shifts[~np.isnan(shifts)].max(initial=0.0))
