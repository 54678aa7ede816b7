"""Findings of the data page about the split, the join, duplicate seasons and the y-ranges."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pipeline.duplicates import refuse_twins
from pipeline.errors import InputError
from pipeline.findings import Finding
from pipeline.provenance import JoinedSource
from pipeline.scaling import snapped
from pipeline.splits import Fold, SplitChoice, make_folds, resolve_split
from pipeline.table import SeasonTable
from report.data.plots import Range
from report.data.yields import Copy

MOST_OUTSIDE = 0.02  # share of a variate's values that may lie outside its y-range without a warning
MOST_UNMET = 0.5  # share of a source's keys that may have no match before the finding becomes a warning
NAMES = 3  # names of keys without a match that a finding shows


def folds_of(table: SeasonTable, choice: SplitChoice, seed: int) -> tuple[tuple[Fold, ...], str, tuple[Finding, ...]]:
    """Returns (the folds that train.py would make, a sentence on the split, an error if no fold can be made)."""
    try:
        split, why = resolve_split(choice, table, seed=seed)
        folds = make_folds(
            table.year, table.place, table.sample_id, split=split, seed=seed, assigned=table.assigned, group=table.group
        )
    except InputError as error:
        return (), "", (Finding("error", f"train.py cannot split this table: {error}"),)
    return folds, why or f"--split {split}: {len(folds)} fold{'s' * (len(folds) != 1)}", ()


def copy_findings(table: SeasonTable, copies: Sequence[Copy], folds: Sequence[Fold]) -> tuple[Finding, ...]:
    """An error if a fold would test on a copy of a training season; else a warning if there are copies."""
    if not copies:
        return ()
    try:
        refuse_twins(table, folds)
    except InputError as error:
        return (Finding("error", f"train.py will stop here: {error}", 'place = "<column>"'),)
    one = copies[0]
    sentence = (
        f"{len(copies)} of {len(table)} seasons {'has' if len(copies) == 1 else 'have'} the same numbers and gaps as "
        f"another one, such as {one.sample} and {one.same_as}. No fold of this split trains on one and tests on its "
        "copy."
    )
    return (Finding("warning", sentence, f'[[exclude]]\nsample_id = "{one.sample}"\nreason = "a copy"'),)


def join_findings(sources: Sequence[JoinedSource]) -> Iterator[Finding]:
    """A note for each source that has keys without a match in the other sources; a warning if most have none."""
    for one in sources:
        if not one.unmet.number:
            continue
        share = one.unmet.number / one.keys
        have, are = ("has", "is") if one.unmet.number == 1 else ("have", "are")
        sentence = (
            f"{one.unmet.number:,} of {one.keys:,} {one.kind} of {one.label} ({one.holds}) {have} no match in the "
            f"other sources and {are} not in the table ({one.unmet.names(NAMES)})."
        )
        # If every place has some match, it is the years that differ, and a different spelling would not help.
        line = '[[sources]]\nplace = "<column>"' if one.lost_places else ""
        yield Finding("warning" if share > MOST_UNMET else "note", sentence, line)


def range_findings(ranges: Sequence[Range]) -> Iterator[Finding]:
    """A warning for each variate with too many values outside its y-range."""
    for one in ranges:
        if one.outside <= MOST_OUTSIDE:
            continue
        low, high = snapped(one.lowest, one.highest)
        sentence = (
            f"{one.outside:.1%} of the values of {one.name} lie outside its y-range {one.low:g} to {one.high:g} and "
            f"are drawn on the edge of the plot. The values reach from {one.lowest:.4g} to {one.highest:.4g}."
        )
        yield Finding("warning", sentence, f'[[variates]]\nname = "{one.name}"\nlow = {low:g}\nhigh = {high:g}')
