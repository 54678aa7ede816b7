"""The tables of the data page, made from the summaries."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.provenance import JoinedSource
from pipeline.sources.files_read import FileRead
from pipeline.table import Count, SeasonTable
from report.data.plots import Range
from report.data.season import StepOfSeason, day_name
from report.data.yields import FENCE, Copy, Outlier, YearOfLabels
from report.interactive import Cell, SortedTable

MOST_ROWS = 20  # in a list of outliers or copies
MOST_FILES = 60
NAMES = 3


def number(value: float, form: str = ".4g") -> Cell:
    """A cell with a number; empty if the number is NaN."""
    return Cell(format(value, form), value) if value == value else Cell("")


def whole(value: int) -> Cell:
    """A cell with a count."""
    return Cell(f"{value:,}", value)


def size(count: int) -> str:
    """A number of bytes with a unit, as in "3.2 MB"; empty for 0."""
    if count == 0:
        return ""
    unit, name = next(pair for pair in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1, "B")) if count >= pair[0])
    return f"{count / unit:.3g} {name}"


def files_table(files: Sequence[FileRead], table: SeasonTable) -> SortedTable:
    """What was read from each file, and the number of its samples if it is known."""
    known = table.file is not None
    counts = [] if table.file is None else np.bincount(table.file, minlength=len(table.files)).tolist()
    samples = dict(zip(table.files, counts, strict=False))
    head = ("file", "size", *(("samples",) if known else ()), "what is read from it")
    rows = []
    for one in files[:MOST_FILES]:
        count = samples.get(one.path.name)
        cells = [Cell(one.path.name), Cell(size(one.bytes), one.bytes)]
        cells += [] if not known else [Cell("") if count is None else whole(count)]
        rows.append([*cells, Cell(one.gives)])
    note = "" if len(files) <= MOST_FILES else f"The first {MOST_FILES} of {len(files)} files."
    if not known and sum(one.gives_series for one in files) > 1:
        note += " The rows of a sample may come from several files, so samples are not counted by file."
    return SortedTable("files", "Files", note.strip(), head, rows)


def joined_table(sources: Sequence[JoinedSource]) -> SortedTable:
    """How the sources were joined by place and season."""
    rows = [
        [
            Cell(one.label),
            Cell(one.kind),
            whole(one.keys),
            whole(one.met.number),
            whole(one.unmet.number),
            whole(one.lacking.number),
            Cell(one.holds),
            Cell(_examples(one)),
        ]
        for one in sources
    ]
    head = ("source", "counted in", "has", "met", "lost: no match", "not in it", "what is read", "such as")
    note = (
        "Keys without a match in the other sources are not in the table. “Not in it” counts keys of the table that "
        "the source lacks."
    )
    return SortedTable("joined", "How the sources were joined", note, head, rows)


def _examples(one: JoinedSource) -> str:
    lost = f"lost: {one.unmet.names(NAMES)}" if one.unmet.number else ""
    lacking = f"not in it: {one.lacking.names(NAMES)}" if one.lacking.number else ""
    return "; ".join(filter(None, (lost, lacking)))


def counts_table(counts: Sequence[Count]) -> SortedTable:
    """What was dropped, left out or excluded."""
    rows = [[Cell(one.reason), whole(one.rows)] for one in counts if one.lost and one.rows]
    return SortedTable("counts", "Rows lost, and why", "", ("reason", "rows"), rows)


def noted_table(counts: Sequence[Count]) -> SortedTable:
    """Rows that are still used (averaged, changed, moved, read in one of two ways), and rules without rows."""
    rows = [[Cell(one.reason), whole(one.rows)] for one in counts if not (one.lost and one.rows)]
    return SortedTable("noted", "Counted, but not lost", "", ("what", "rows"), rows)


def outliers_table(outliers: Sequence[Outlier]) -> SortedTable:
    """The outliers, the most extreme first."""
    rows = [
        [
            Cell(one.place),
            Cell(str(one.year), one.year),
            number(one.value),
            number(one.median),
            number(one.ranges, ".2f"),
            Cell(one.sample),
        ]
        for one in outliers[:MOST_ROWS]
    ]
    lie = "yields lie" if len(outliers) > 1 else "yield lies"
    note = f"{len(outliers):,} {lie} more than {FENCE} interquartile ranges above or below the quartiles of their year."
    if len(outliers) > MOST_ROWS:
        note += f" The {MOST_ROWS} furthest are listed."
    head = ("place", "year", "yield, t/ha", "median of the year, t/ha", "ranges beyond the quartile", "sample")
    return SortedTable("outliers", "Outliers", note, head, rows)


def labels_table(labels: Sequence[YearOfLabels]) -> SortedTable:
    """Rows and distinct yields by year."""
    rows = [[Cell(str(one.year), one.year), whole(one.rows), whole(one.distinct), whole(one.groups)] for one in labels]
    head = ("year", "rows", "distinct yields", "groups of one yield")
    return SortedTable("labels", "Rows and distinct yields by year", "", head, rows)


def copies_table(copies: Sequence[Copy]) -> SortedTable:
    """The duplicate seasons."""
    rows = [[Cell(one.sample), Cell(one.same_as), number(one.value), number(one.other)] for one in copies[:MOST_ROWS]]
    head = ("sample", "same numbers as", "yield, t/ha", "yield of that one, t/ha")
    note = f"The first {MOST_ROWS} of {len(copies):,}." if len(copies) > MOST_ROWS else ""
    return SortedTable("copies", "Duplicate seasons", note, head, rows)


def season_table(steps: Sequence[StepOfSeason], to_harvest: bool) -> SortedTable:
    """The season by number of known steps, with dates and lead times in days."""
    dated = any(one.until is not None for one in steps)
    head = ("steps known", *(("until",) if dated else ()), f"days before {'harvest' if to_harvest else 'the end'}", "")
    rows = []
    for one in steps:
        cells = [whole(one.steps)]
        if one.until is not None:
            cells.append(Cell(day_name(one.until), float(one.until.toordinal())))
        rows.append([*cells, number(one.lead_days, ".0f"), Cell(one.what)])
    return SortedTable("season", "Lead time", "", head, rows)


def ranges_table(ranges: Sequence[Range]) -> SortedTable:
    """The y-range of each variate beside the range of its values."""
    rows = [
        [
            Cell(one.name),
            Cell("" if one.unit == "1" else one.unit),
            number(one.low, "g"),
            number(one.high, "g"),
            number(one.lowest),
            number(one.highest),
            Cell(f"{one.outside:.1%}", one.outside),
            Cell("the card" if one.from_card else "1st to 99th percentile of training values, rounded outward"),
        ]
        for one in ranges
    ]
    head = ("variate", "unit", "low", "high", "lowest value", "highest value", "values outside", "y-range from")
    return SortedTable("ranges", "y-ranges", "", head, rows)
