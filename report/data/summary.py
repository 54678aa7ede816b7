"""The summary of a season table: everything that the data page shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.findings import Finding, by_severity
from pipeline.sources.files_read import FileRead, files_read
from pipeline.sources.geometry import known_shapes
from pipeline.splits import Fold, SplitChoice
from pipeline.style import Style
from pipeline.table import SeasonTable
from pipeline.windows import Framing
from report.data.findings import copy_findings, folds_of, join_findings, range_findings
from report.data.places import Positions, Presence, positions_of, presence_of
from report.data.plots import Plot, Range, describe_ranges, plots_of, ranges_of
from report.data.series import Observed, Spread, observed_shares, series_of, spreads
from report.data.yields import Copy, Yields, copies_of, yields_of


@dataclass(frozen=True)
class SeriesLook:
    """A variate or driver, with the spread of its values by year, and by file if files are not years."""

    name: str
    unit: str
    by_year: tuple[Spread, ...]
    by_file: tuple[Spread, ...]


@dataclass(frozen=True, eq=False)
class DataSummary:
    """A table and its summaries. `split` is the sentence on the folds; it is empty if there are no folds."""

    table: SeasonTable
    data: str
    files: tuple[FileRead, ...]
    findings: tuple[Finding, ...]
    split: str
    observed: Observed
    series: tuple[SeriesLook, ...]
    yields: Yields
    copies: tuple[Copy, ...]
    presence: Presence
    positions: Positions | None
    ranges: tuple[Range, ...]
    style: Style
    plots: tuple[Plot, ...]


def summarise(
    table: SeasonTable,
    data: str,
    split: SplitChoice = "auto",
    *,
    seed: int = 0,
    style: Style | None = None,
    framing: Framing = "halves",
) -> DataSummary:
    """Summarise `table`, which was read from `data`."""
    style = style or Style()
    labelled = yields_of(table)
    folds: Sequence[Fold] = ()
    split_sentence, findings = "", tuple[Finding, ...]()
    if labelled.labelled:
        folds, split_sentence, findings = folds_of(table, split, seed)
    spans = ranges_of(table, folds)
    ranges, copies = describe_ranges(table, spans), copies_of(table)
    positions, unplaced = _positions(table, data)
    findings += (*copy_findings(table, copies, folds), *table.findings, *join_findings(table.sources), *unplaced)
    if style.y_range == "fixed":
        findings += tuple(range_findings(ranges))
    return DataSummary(
        table=table,
        data=data,
        files=files_read(data),
        findings=tuple(by_severity(findings)),
        split=split_sentence,
        observed=observed_shares(table),
        series=_series(table),
        yields=labelled,
        copies=copies,
        presence=presence_of(table),
        positions=positions,
        ranges=ranges,
        style=style,
        plots=plots_of(table, spans, style, framing),
    )


def files_are_years(table: SeasonTable) -> bool:
    """Whether each file contains one year and each year is in one file."""
    if table.file is None:
        return False
    pairs = np.unique(np.stack([table.file, table.year]), axis=1).shape[1]
    return bool(pairs == len(np.unique(table.file)) == len(np.unique(table.year)))


def _series(table: SeasonTable) -> tuple[SeriesLook, ...]:
    several = table.file is not None and len(table.files) > 1 and not files_are_years(table)
    return tuple(
        SeriesLook(
            name=name,
            unit=unit,
            by_year=spreads(values, table.year),
            by_file=spreads(values, table.file) if several and table.file is not None else (),
        )
        for name, unit, values in series_of(table)
    )


def _positions(table: SeasonTable, data: str) -> tuple[Positions | None, tuple[Finding, ...]]:
    """Returns (positions or None, a warning if the positions that the card names cannot be read)."""
    shapes, why = known_shapes(data)
    if why:
        return None, (Finding("warning", f"The positions cannot be read, so there is no map: {why}"),)
    return None if shapes is None else positions_of(table, shapes), ()
