"""Findings of the page: those of the reader, and what the split, the join, the copies and the y-ranges show."""

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

MOST_OUTSIDE = 0.02  # of a variate's values may lie outside of its y-range
MOST_UNMET = 0.5  # of the keys of a source may have no match in the others
NAMES = 3  # of keys without a match


def folds_of(table: SeasonTable, choice: SplitChoice, seed: int) -> tuple[tuple[Fold, ...], str, tuple[Finding, ...]]:
    """(the folds that train.py would make, the sentence on the split, an error if there are none)."""
    try:
        split, why = resolve_split(choice, table, seed=seed)
        folds = make_folds(table.year, table.place, table.sample_id, split, seed, table.assigned, group=table.group)
    except InputError as error:
        return (), "", (Finding("error", f"train.py cannot split this table: {error}"),)
    return folds, why or f"--split {split}: {len(folds)} fold{'s' * (len(folds) != 1)}", ()


def copy_findings(table: SeasonTable, copies: Sequence[Copy], folds: Sequence[Fold]) -> tuple[Finding, ...]:
    """An error if a fold would test a copy of a season that it learns from; else a warning if there are copies."""
    if not copies:
        return ()
    try:
        refuse_twins(table, folds)
    except InputError as error:
        return (Finding("error", f"train.py will stop here: {error}", 'place = "<column>"'),)
    one = copies[0]
    sentence = (
        f"{len(copies)} of {len(table)} seasons have the same numbers and gaps as another one, such as "
        f"{one.sample} and {one.same_as}. No fold of this split tests such a season and learns from its copy."
    )
    return (Finding("warning", sentence, f'[[exclude]]\nsample_id = "{one.sample}"\nreason = "a copy"'),)


def join_findings(sources: Sequence[JoinedSource]) -> Iterator[Finding]:
    """A finding for each source of which some keys have no match in the others; a warning if most have none."""
    for one in sources:
        if not one.unmet.number:
            continue
        share = one.unmet.number / one.keys
        sentence = (
            f"{one.unmet.number:,} of {one.keys:,} {one.kind} of {one.label} ({one.holds}) have no match in the other "
            f"sources and are not in the table: {one.unmet.names(NAMES)}."
        )
        # If all places have some match, it is years that differ, and no spelling of a place settles that.
        line = '[[sources]]\nplace = "<column>"' if one.lost_places else ""
        yield Finding("warning" if share > MOST_UNMET else "note", sentence, line)


def range_findings(ranges: Sequence[Range]) -> Iterator[Finding]:
    """A warning for each variate whose plots would lose part of their values at the edge."""
    for one in ranges:
        if one.outside <= MOST_OUTSIDE:
            continue
        low, high = snapped(one.lowest, one.highest)
        sentence = (
            f"{one.outside:.1%} of the values of {one.name} lie outside of its y-range {one.low:g} to {one.high:g} and "
            f"are drawn on the edge of the plot; they reach from {one.lowest:.4g} to {one.highest:.4g}."
        )
        yield Finding("warning", sentence, f'[[variates]]\nname = "{one.name}"\nlow = {low:g}\nhigh = {high:g}')
