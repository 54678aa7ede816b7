"""Places of one name in two states: counties called Adams in Illinois and in Iowa, which would be read as one place."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.card import place_key
from pipeline.errors import InputError
from pipeline.findings import Finding
from pipeline.sources.files.columns import Columns, column_names, joined, load_columns
from pipeline.sources.files.csv_format import USUAL, CsvKeys
from pipeline.sources.files.memory_budget import Budget
from pipeline.sources.files.wanted_columns import Keep, Wanted
from pipeline.sources.names.place_names import both_columns
from pipeline.sources.place_column import state_column


def places_of_one_name(
    files: Sequence[Path],
    columns: Columns,
    place: Sequence[str],
    *,
    when: Sequence[NDArray[np.int64] | NDArray[np.float64]],
    budget: Budget,
    form: CsvKeys = USUAL,
    keep: Keep | None = None,
) -> tuple[Finding, ...]:
    """A finding if a place lies in two states. Raises `InputError` if two of its rows also share their time.

    when    the time of each row, [R] each: a date, or a year and a step
    """
    state = state_column(column_names(files[0], form))
    if state is None or state in place or not all(state in column_names(path, form) for path in files):
        return ()
    wanted = Wanted(text=(state,), keys=form, places=(state,), keep=keep or {})
    states = joined(load_columns([(path, wanted) for path in files], budget)).text[state]
    text = columns.text[place_key(place)]
    pairs = np.unique(np.stack([text.codes, states.codes], axis=1), axis=0)
    pairs = pairs[(pairs >= 0).all(axis=1)]
    twice = np.flatnonzero(pairs[1:, 0] == pairs[:-1, 0])
    if not len(twice):
        return ()
    code = pairs[twice[0], 0]
    one, other = (states.names[found] for found in pairs[twice[0] : twice[0] + 2, 1])
    claim = f"{str(text.names[code])!r} is the name of places in two of column {state}, {one} and {other}"
    if _share_a_time(text.codes, when):
        row = int(np.argmax((text.codes == code) & (states.codes == pairs[twice[0] + 1, 1])))
        raise InputError(
            f"{columns.where(row)}, column {place_key(place)}: {claim}, and their rows would be read as one place. "
            f"{both_columns([state, *place])}"
        )
    line = f"place = {json.dumps([state, *place], ensure_ascii=False)}"
    return (Finding("warning", f"{claim}; their rows are read as one place.", line),)


def _share_a_time(place: NDArray[np.int64], when: Sequence[NDArray[np.int64] | NDArray[np.float64]]) -> bool:
    """Whether two rows have the same place and time."""
    keys = place
    for part in when:
        distinct, codes = np.unique(part, return_inverse=True)
        keys = keys * (len(distinct) + 1) + codes
    keys = np.sort(keys)
    return bool((keys[1:] == keys[:-1]).any())
