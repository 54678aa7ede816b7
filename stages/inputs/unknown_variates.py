"""Variates, drivers and static columns about which the training rows of a fold show nothing."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.errors import InputError
from pipeline.findings import Finding
from pipeline.plural import plural
from pipeline.scaling import LEAST_ROWS
from pipeline.table import SeasonTable
from stages.inputs.fold_data import FoldData


def unknown_findings(table: SeasonTable, prepared: Sequence[FoldData]) -> tuple[Finding, ...]:
    """One warning per set of folds whose training rows do not show the same columns (`Scaler.known`).

    Raises InputError if no variate is left in a fold.
    """
    folds: dict[tuple[str, ...], list[str]] = {}
    for one in prepared:
        if not one.scales.scaler.known.any():
            raise InputError(
                f"{table.name}: no variate ({', '.join(table.variate_names)}) has two different values in the training "
                f"rows of fold {one.fold.name}, so there is nothing to learn from. Check the columns of the variates, "
                "or choose another --split."
            )
        folds.setdefault(tuple(one.scales.unknown(table)), []).append(one.fold.name)
    return tuple(
        Finding(
            "warning",
            f"{', '.join(names)}: the training rows of {plural(len(where), 'fold')} ({', '.join(where)}) have no two "
            f"different values of {'it' if len(names) == 1 else 'each'}, or values in fewer than {LEAST_ROWS} rows. "
            f"{'It is' if len(names) == 1 else 'They are'} read as missing there.",
        )
        for names, where in folds.items()
        if names
    )
