"""The samples of a table without ids: its distinct places and years."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.card import DatasetCard
from pipeline.findings import Finding
from pipeline.sources import aggregate
from pipeline.sources.aggregate import Index
from pipeline.sources.files.columns import merged
from pipeline.sources.labels import default_ids
from pipeline.sources.long_table import LongTable
from pipeline.sources.names.place_names import restore_zeros


@dataclass(frozen=True)
class PlaceYears:
    """The samples of a table without ids, [N] each; which of them each observation [R] and label row [L] is in."""

    place: NDArray[np.str_]
    year: NDArray[np.int64]
    names: NDArray[np.str_]
    sample: Index
    labelled: Index
    findings: tuple[Finding, ...] = ()


def place_years(card: DatasetCard, table: LongTable, year: Index, label_year: Index) -> PlaceYears:
    """The samples of a table by place and year, under one spelling of each place. year [R], label_year [L]."""
    seen, labels = table.observations, table.labels
    together = labels is seen and (year is label_year or np.array_equal(year, label_year))
    parts = [(seen, year)] if together else [(seen, year), (labels, label_year)]
    place = merged([columns.text[card.place_key] for columns, _ in parts])
    # One whole number for a (place, year): years have four digits.
    distinct, index = aggregate.distinct_pairs(place.codes, np.concatenate([years for _, years in parts]), 10_000)
    names, years = np.asarray(place.names[distinct // 10_000], np.str_), distinct % 10_000
    names, repaired = restore_zeros(names, years, str(card.path))
    if repaired:
        _, first, again = np.unique(default_ids(names, years), return_index=True, return_inverse=True)
        names, years, index = names[first], years[first], again[index]
    rows = len(seen)
    labelled = index[:rows] if together else index[rows:]
    return PlaceYears(names, years, default_ids(names, years), index[:rows], labelled, repaired)
