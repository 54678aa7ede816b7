"""data.html: the contents and the oddities of a season table, in one file that opens offline."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.plural import plural
from report.atomic_write import write_whole
from report.data.charts import MOST_SERIES, charts_of
from report.data.season import describe_season, season_steps
from report.data.summary import DataSummary, files_are_years
from report.data.tables import (
    copies_table,
    counts_table,
    files_table,
    joined_table,
    labels_table,
    noted_table,
    outliers_table,
    ranges_table,
    season_table,
)
from report.interactive import SortedTable, fill_template, picture

SHOWN_FILES = 4  # in the headline


def write_data_page(seen: DataSummary, path: Path) -> None:
    """Write the page completely or not at all. Raises `OSError` if it cannot be written."""
    text = page(seen)
    write_whole(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def page(seen: DataSummary) -> str:
    """The whole HTML text."""
    table, charts = seen.table, charts_of(seen)
    left = [one.name for one in seen.series[MOST_SERIES:]]
    return fill_template(
        Path(__file__).parent,
        "page.html",
        [chart for several in charts.values() for chart in several],
        seen=seen,
        table=table,
        headline=headline(seen),
        facts=facts(seen),
        sections=charts,
        tables=tables_of(seen),
        left_out=left,
        # Notes on the sources of a join begin with blanks. The table of sources has their numbers already.
        notes=[note for note in table.notes if not note.startswith("  ")],
        files_note=files_note(seen),
        labels_note=labels_note(seen),
        season=describe_season(table),
        pictures=[(picture(one.image), one) for one in seen.plots],
    )


def headline(seen: DataSummary) -> str:
    """The table in one sentence."""
    table = seen.table
    years = np.unique(table.year)
    span = f"{years[0]}" if len(years) == 1 else f"{years[0]} to {years[-1]}"
    n, labelled = len(table), seen.yields.labelled
    yields = "all with a yield" if labelled == n else f"{labelled:,} with a yield" if labelled else "without yields"
    drivers = f" and {plural(len(table.driver_names), 'driver')}" if table.driver_names else ""
    return (
        f"{plural(n, 'sample')} of {plural(len(seen.presence.places), 'place')} in {plural(len(years), 'year')} "
        f"({span}), {yields}; {plural(len(table.variates), 'variate')}{drivers} on {plural(table.steps, 'step')}."
    )


def facts(seen: DataSummary) -> dict[str, str]:
    """The facts that a person checks first."""
    table = seen.table
    files = [one.path.name for one in seen.files]
    more = f" and {len(files) - SHOWN_FILES} more" if len(files) > SHOWN_FILES else ""
    found = {
        "Files": ", ".join(files[:SHOWN_FILES]) + more,
        "Variates": ", ".join(table.variate_names),
        "Drivers": ", ".join(table.driver_names),
        "Static columns": ", ".join(table.static_names),
        "Yields": table.describe_yields() or "None is known.",
        "Known yields of earlier years": f"{len(table.history):,}" if len(table.history) else "",
        "Split": seen.split,
        "Fingerprint": table.fingerprint(),
    }
    return {name: text for name, text in found.items() if text}


def tables_of(seen: DataSummary) -> dict[str, SortedTable]:
    """The tables that have rows, by id."""
    table = seen.table
    tables = (
        files_table(seen.files, table),
        joined_table(table.sources),
        counts_table(table.counts),
        noted_table(table.counts),
        outliers_table(seen.yields.outliers),
        labels_table(seen.yields.labels),
        copies_table(seen.copies),
        season_table(season_steps(table), table.knows_harvest),
        ranges_table(seen.ranges),
    )
    return {one.id: one for one in tables if one.rows}


def files_note(seen: DataSummary) -> str:
    """Why samples are not compared by file; empty if they are."""
    if sum(one.gives_series for one in seen.files) == 1:
        return "All samples come from one file."
    if seen.table.file is None:
        return "Samples are not compared by file: the rows of a sample may come from several."
    if files_are_years(seen.table):
        return "Each file holds one year, so the charts by year show the files as well."
    return ""


def labels_note(seen: DataSummary) -> str:
    """How many yields are distinct, and how many seasons are duplicates."""
    copies = f"{plural(len(seen.copies), 'season')} {'is a duplicate' if len(seen.copies) == 1 else 'are duplicates'}"
    doubled = copies if seen.copies else "No season is a duplicate"
    if not seen.yields.labelled:
        return f"{doubled}."
    distinct = sum(one.distinct for one in seen.yields.labels)
    groups = sum(one.groups for one in seen.yields.labels)
    shared = f" They are treated as {groups:,} measured yields." if groups < seen.yields.labelled else ""
    has = "has" if seen.yields.labelled == 1 else "have"
    return (
        f"{plural(seen.yields.labelled, 'row')} {has} a yield, with {plural(distinct, 'distinct value')}, counted "
        f"within years.{shared} {doubled}."
    )
