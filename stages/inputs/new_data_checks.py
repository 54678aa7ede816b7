"""Check that new seasons have the variates, names and scale of a run's training rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.findings import Finding
from pipeline.sources.files.missing_values import MARKS
from pipeline.sources.names.place_names import restore_zeros_like
from pipeline.table import SeasonTable

MOST_SPREADS = 5.0  # largest distance of a variate's median from the training mean, in standard deviations
MOST_SPREADS_OF_A_ROW = 12.0  # the same for the median of one sample
MOST_SPREADS_OF_A_MARK = 8.0  # the same for a usual mark of missing data
MOST_OUTSIDE = 0.1  # share of a variate's values outside the y-range of a run's plots without a warning
SCALED = 20.0  # largest level of a sample, as a multiple of the training level


def in_the_order_of(table: SeasonTable, seasons: Mapping[str, Any]) -> SeasonTable:
    """The table with variates, drivers and static columns in a run's order, if it has the same ones.

    seasons: the result of `SeasonTable.describe_seasons` for the training table.
    """
    own = table.describe_seasons()
    order = {key: _order(own[key], seasons[key]) for key in ("variates", "drivers", "static") if key in seasons}
    variates, drivers, static = (order.get(key) for key in ("variates", "drivers", "static"))
    if variates is not None:
        table = replace(
            table,
            variates=tuple(table.variates[v] for v in variates),
            values=np.ascontiguousarray(table.values[:, variates]),
            observed=np.ascontiguousarray(table.observed[:, variates]),
        )
    if drivers is not None:
        table = replace(
            table,
            drivers=np.ascontiguousarray(table.drivers[:, drivers]),
            drivers_observed=np.ascontiguousarray(table.drivers_observed[:, drivers]),
            driver_names=tuple(table.driver_names[d] for d in drivers),
            driver_units=tuple(table.driver_units[d] for d in drivers),
            drivers_known=table.drivers_known[drivers],
        )
    if static is not None:
        table = replace(
            table,
            static=np.ascontiguousarray(table.static[:, static]),
            static_names=tuple(table.static_names[s] for s in static),
        )
    return table


def _order(actual: Any, wanted: Any) -> list[int] | None:
    """Index of each of `wanted` in `actual`; None if they are equal already, or not the same set."""
    if actual == wanted or sorted(actual) != sorted(wanted) or len(set(actual)) != len(actual):
        return None
    return [actual.index(name) for name in wanted]


def spelled_as_in_run(table: SeasonTable, places: Sequence[str]) -> tuple[SeasonTable, tuple[Finding, ...]]:
    """The table with places spelled as in the run, if they differ in leading zeros only."""
    known = np.array(sorted(set(places)), np.str_)
    if not len(known):
        return table, ()
    names, findings = restore_zeros_like(table.place, known, "the new table, which the run spells differently")
    return (replace(table, place=names), findings) if findings else (table, ())


def capitals_differ(unseen: Sequence[str], known: Iterable[str]) -> str:
    """A sentence, after a blank, on new places that a run spells with other capitals; empty if there are none."""
    spelled = {name.casefold(): name for name in sorted(known)}
    alike = [(name, spelled[name.casefold()]) for name in unseen if name.casefold() in spelled]
    if not alike:
        return ""
    how_many = "Names" if len(alike) == len(unseen) else f"{len(alike)} of these names"
    return f" {how_many} differ only in capitals: {alike[0][0]} and {alike[0][1]}. Write them as in the training data."


def knows(record: Mapping[str, Any], variate: int) -> bool:
    """Whether the training rows of a fold show the variate (`Scaler.known`). record: its fitted.json."""
    scaler = record["scaler"]
    return bool(scaler["known"][variate]) if "known" in scaler else True


def unlike_training(table: SeasonTable, fitted: Mapping[str, Any]) -> Iterator[str]:
    """One sentence per variate that the run does not know, or of which many values lie outside its y-range.

    The y-range is that of the card, or holds 98 % of the observed training values.
    """
    for v, name in enumerate(table.variate_names):
        values = table.values[:, v][table.observed[:, v]]
        ranges = [record["ranges"][v] for record in fitted.values() if knows(record, v)]
        if len(values) and not ranges:
            yield f"The values of {name} are not used, because the run's training rows do not show how it varies."
        if not len(values) or not ranges:
            continue
        low, high = min(one[0] for one in ranges), max(one[1] for one in ranges)
        share = float(np.mean((values < low) | (values > high)))
        if share > MOST_OUTSIDE:
            yield (
                f"{share:.0%} of the values of {name} lie outside {low:g} to {high:g}, the y-range of the run's plots: "
                "another unit, scale or sensor? The forecast and its interval are not reliable there."
            )


def years_not_tested(table: SeasonTable, split: str, known: set[int]) -> Iterator[str]:
    """A sentence on new years if the run's test rows were of its training years `known`, as places or at random."""
    new = sorted(set(table.year.tolist()) - known)
    if split in ("place", "random") and new:
        years = f"{min(known)} to {max(known)}" if len(known) > 1 else f"{min(known)} only"
        yield (
            f"The run was trained and tested on {years}, with test rows from training years. What {new[0]} has in "
            "common at all places is not in its test error or its intervals. A run with --split year or forward, on "
            "several years, tests that."
        )


def check_scale(table: SeasonTable, fitted: Mapping[str, Any]) -> None:
    """Raise `InputError` if numbers have another unit or scale than the run's training rows, in all samples or in some.

    fitted: fold -> its fitted.json; `scaler` holds mean and standard deviation of each variate.
    """
    for v, name in enumerate(table.variate_names):
        values = np.where(table.observed[:, v], table.values[:, v], np.nan).astype(np.float64)
        scales = [(r["scaler"]["mean"][v], r["scaler"]["std"][v]) for r in fitted.values() if knows(r, v)]
        if np.isnan(values).all() or not scales:
            continue
        _check_median(table, name, values, scales)
        _check_rows(table, name, values, scales)
        _check_marks(table, name, values, scales)


def _check_median(
    table: SeasonTable, name: str, values: NDArray[np.float64], scales: Sequence[tuple[float, float]]
) -> None:
    middle = float(np.nanmedian(values))
    if all(abs(middle - mean) > MOST_SPREADS * std for mean, std in scales):
        mean, std = scales[0]
        raise InputError(
            f"{table.name} has a median {name} of {middle:.4g}, but the run was trained on {mean:.4g} +- {std:.2g}: "
            "another unit or scale? Convert the numbers to the run's scale (`scale` in a dataset card does it)."
        )


def _check_rows(
    table: SeasonTable, name: str, values: NDArray[np.float64], scales: Sequence[tuple[float, float]]
) -> None:
    """Check single samples, whose scale the median of all does not show."""
    rows = np.flatnonzero(~np.isnan(values).all(axis=1))
    middle = np.nanmedian(values[rows], axis=1)
    far = np.all(
        [
            (np.abs(middle - mean) > MOST_SPREADS_OF_A_ROW * std) & (np.abs(middle) > SCALED * (abs(mean) + std))
            for mean, std in scales
        ],
        axis=0,
    )
    if far.any():
        row, mean, std = int(rows[np.argmax(far)]), *scales[0]
        raise InputError(
            f"{table.name}: {name} of {int(far.sum())} of {len(table)} samples is in another unit or scale: sample "
            f"{table.sample_id[row]} has a median of {middle[np.argmax(far)]:.4g}, but the run was trained on "
            f"{mean:.4g} +- {std:.2g}. Store all rows in the run's scale, or leave these out with "
            "[[exclude]] in a dataset card."
        )


def _check_marks(
    table: SeasonTable, name: str, values: NDArray[np.float64], scales: Sequence[tuple[float, float]]
) -> None:
    """Check for marks of missing data: one is enough if it is far from all training values."""
    marked = np.isin(values.astype(np.float32), np.array(MARKS, np.float32))
    for mean, std in scales:
        marked &= np.abs(values - mean) > MOST_SPREADS_OF_A_MARK * std
    if marked.any():
        row, step = (int(index[0]) for index in np.nonzero(marked))
        mean, std = scales[0]
        raise InputError(
            f"{table.name}: {name} of sample {table.sample_id[row]} is {values[row, step]:g} at step {step}, but the "
            f"run was trained on {mean:.4g} +- {std:.2g}. It looks like missing data and would be an input of the "
            f"forecast. Name it in a dataset card, `missing = [{values[row, step]:g}]`, or leave those cells empty "
            f"({int(marked.sum())} cells)."
        )
