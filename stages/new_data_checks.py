"""Whether new seasons fit what a run learnt from: the same checks as within a table, against the training rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.findings import Finding
from pipeline.sources.missing_values import MARKS
from pipeline.sources.place_names import restore_zeros_like
from pipeline.table import SeasonTable

MOST_SPREADS = 5.0  # of the training values may the median of a variate lie from their mean
MOST_SPREADS_OF_A_ROW = 12.0  # and the median of one sample
MOST_SPREADS_OF_A_MARK = 8.0  # and a usual mark of missing data
SCALED = 20.0  # times the largest level that was learnt


def in_the_order_of(table: SeasonTable, seasons: Mapping[str, Any]) -> SeasonTable:
    """The table with its variates, drivers and static columns in the order that a run learnt, if it has the same ones.

    seasons: what `SeasonTable.describe_seasons` said of the training table.
    """
    mine = table.describe_seasons()
    order = {key: _order(mine[key], seasons[key]) for key in ("variates", "drivers", "static") if key in seasons}
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


def _order(found: Any, wanted: Any) -> list[int] | None:
    """Where each of `wanted` stands in `found`; None if they are the same already, or not the same set."""
    if found == wanted or sorted(found) != sorted(wanted) or len(set(found)) != len(found):
        return None
    return [found.index(name) for name in wanted]


def spelled_as_learnt(table: SeasonTable, places: Sequence[str]) -> tuple[SeasonTable, tuple[Finding, ...]]:
    """The table with places that differ from the run's in leading zeros alone spelled as the run knows them."""
    known = np.array(sorted(set(places)), np.str_)
    if not len(known):
        return table, ()
    names, found = restore_zeros_like(table.place, known, "the new table, which the run knows otherwise")
    return (replace(table, place=names), found) if found else (table, ())


def refuse_other_numbers(table: SeasonTable, fitted: Mapping[str, Any]) -> None:
    """Raise `InputError` for numbers in another unit or scale than the run learnt from, in all samples or in some.

    fitted: fold -> what it learnt; its `scaler` holds mean and standard deviation of each variate.
    """
    for v, name in enumerate(table.variate_names):
        values = np.where(table.observed[:, v], table.values[:, v], np.nan).astype(np.float64)
        scales = [(r["scaler"]["mean"][v], r["scaler"]["std"][v]) for r in fitted.values()]
        if np.isnan(values).all():
            continue
        _refuse_median(table, name, values, scales)
        _refuse_rows(table, name, values, scales)
        _refuse_marks(table, name, values, scales)


def _refuse_median(
    table: SeasonTable, name: str, values: NDArray[np.float64], scales: Sequence[tuple[float, float]]
) -> None:
    middle = float(np.nanmedian(values))
    if all(abs(middle - mean) > MOST_SPREADS * std for mean, std in scales):
        mean, std = scales[0]
        raise InputError(
            f"{table.name} has {name} of {middle:.4g} in the middle, the run learnt from {mean:.4g} +- {std:.2g}: "
            "another unit or scale? Bring the numbers to those of the run (`scale` in a dataset card does it)."
        )


def _refuse_rows(
    table: SeasonTable, name: str, values: NDArray[np.float64], scales: Sequence[tuple[float, float]]
) -> None:
    """Some samples in another scale, which the median of all does not show."""
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
            f"{table.sample_id[row]} has {middle[np.argmax(far)]:.4g} in the middle, the run learnt from {mean:.4g} +- "
            f"{std:.2g}. Store all rows in the scale of the run, or leave these out with [[exclude]] in a dataset card."
        )


def _refuse_marks(
    table: SeasonTable, name: str, values: NDArray[np.float64], scales: Sequence[tuple[float, float]]
) -> None:
    """One usual mark of missing data is enough, far from everything that was learnt."""
    marked = np.isin(values.astype(np.float32), np.array(MARKS, np.float32))
    for mean, std in scales:
        marked &= np.abs(values - mean) > MOST_SPREADS_OF_A_MARK * std
    if marked.any():
        row, step = (int(index[0]) for index in np.nonzero(marked))
        mean, std = scales[0]
        raise InputError(
            f"{table.name}: {name} of sample {table.sample_id[row]} is {values[row, step]:g} at step "
            f"{step}, and the run "
            f"learnt from {mean:.4g} +- {std:.2g}. This looks like missing data and would be forecast from: "
            "name it in a "
            f"dataset card, `missing = [{values[row, step]:g}]`, or leave those cells empty "
            f"({int(marked.sum())} cells)."
        )
