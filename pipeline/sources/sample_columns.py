"""From the rows of a long table to its samples: series, sides of the split, groups that share a yield."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.card import DatasetCard
from pipeline.errors import InputError
from pipeline.sources import aggregate
from pipeline.sources.aggregate import Index
from pipeline.sources.files.columns import Columns, Text, filled
from pipeline.sources.labels import refuse_empty
from pipeline.sources.long_table import LongTable
from pipeline.sources.radiometry import Level
from pipeline.sources.split_column import side_per_sample
from pipeline.table import Count


def values_of_samples(
    card: DatasetCard,
    seen: Columns,
    inside: NDArray[np.bool_] | slice,
    *,
    sample: Index,
    step: Index,
    n: int,
    steps: int,
) -> tuple[NDArray[np.float32], tuple[Count, ...]]:
    """The values [n,V+R,steps] of rows inside the season, levelled if the card asks for it, and counts of changes."""
    if not isinstance(inside, slice) and inside.all():
        inside = slice(None)  # nothing is copied
    measured, sample, step = seen.measured[inside], sample[inside], step[inside]
    counts: tuple[Count, ...] = ()
    if (level := Level.of(card)) is not None:
        refuse_empty(seen, level.group)
        group = seen.text[level.group]
        rows = np.arange(len(seen))[inside]
        within = Text(group.names, group.codes[inside])
        measured, counts = level.apply(measured, within, step, sample, lambda at: seen.where(int(rows[at])))
    return aggregate.mean_in_cells(measured, sample, step, n, steps), counts


def sides_of_samples(
    card: DatasetCard, table: LongTable, sample: Index, labelled: Index, names: NDArray[np.str_]
) -> NDArray[np.str_] | None:
    """The side of each sample [N], from the rows that name it: observations or yields."""
    if card.split is None:
        return None
    for columns, index in ((table.observations, sample), (table.labels, labelled)):
        if card.split in columns.text:
            return side_per_sample(columns, card.split, index, names)
    return None


def files_of_samples(table: LongTable, sample: Index, n: int) -> Index | None:
    """The file of each sample [N], as a position in `table.files`; None if one file, or if a sample is in several."""
    file = table.observations.file
    if file is None:
        return None
    found = np.zeros(n, np.int64)
    found[sample] = file
    return None if (found[sample] != file).any() else found


def groups_of_samples(
    card: DatasetCard, table: LongTable, sample: Index, labelled: Index, names: NDArray[np.str_]
) -> NDArray[np.str_] | None:
    """The value of `[target] group` for each sample [N], empty if unknown. Raises `InputError` if rows differ."""
    column = card.target.group if card.target else None
    if column is None:
        return None
    for columns, index in ((table.observations, sample), (table.labels, labelled)):
        if column in columns.text:
            found = np.full(len(names), "", columns.text[column].names.dtype)
            said = np.flatnonzero(columns.text[column].codes >= 0)
            first = aggregate.first_rows(index[said], len(names))
            texts = filled(columns.text[column])[said]
            found[first >= 0] = texts[first[first >= 0]]
            if (other := np.flatnonzero(texts != found[index[said]])).size:
                row = int(said[other[0]])
                raise InputError(
                    f"{columns.where(row)}, column {column}: sample {names[index[row]]} is of group "
                    f"{texts[other[0]]} here and of {found[index[row]]} in another row; a sample has one yield."
                )
            return found
    return None
