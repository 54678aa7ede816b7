"""Assemble the season table from what was read: drop and count samples, reject invalid values, sort."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from pipeline.card import ExcludeCard
from pipeline.errors import InputError
from pipeline.findings import Finding
from pipeline.provenance import JoinedSource
from pipeline.sources.checks.copied_years import copied_years
from pipeline.sources.checks.median_yield import large_yields, refuse_large_median, tiny_yields
from pipeline.sources.checks.missing_values_report import marks_among_static
from pipeline.sources.checks.nested_places import nested_places
from pipeline.sources.checks.place_report import report_places
from pipeline.sources.checks.plausibility import Seasons, check_series
from pipeline.sources.checks.repeated_labels import label_groups
from pipeline.sources.checks.total_rows import refuse_total_rows
from pipeline.sources.checks.unobserved_steps import unobserved_steps
from pipeline.sources.checks.yield_among_inputs import yield_among_inputs
from pipeline.sources.checks.yield_checks import Yields, check_yields, marked_as_missing, negative_yields
from pipeline.sources.files.columns import Columns, Unread, no_texts
from pipeline.sources.files.missing_values import VERY_FAR, Stored, refuse_marks
from pipeline.sources.files.stored_numbers import as_measured
from pipeline.sources.names.place_names import TWO_OF_ONE_NAME, normal_name
from pipeline.sources.names.place_parts import joined_name
from pipeline.sources.row_kinds import advice_on_texts
from pipeline.table import Count, SeasonTable, Variate, YieldHistory, cut_of


@dataclass(frozen=True)
class Description:
    """The properties of a table that come from its card. `source` is the file or card that messages name.

    drivers   read like the variates, and stored after them; known [R]: which of them are known ahead
    missing   the marks of missing data that the card names
    """

    name: str
    source: str
    variates: tuple[Variate, ...]
    step_days: float
    season_start: str
    target_factor: float = 1.0
    static_names: tuple[str, ...] = ()
    exclude: tuple[ExcludeCard, ...] = ()
    drivers: tuple[Variate, ...] = ()
    known: tuple[bool, ...] = ()
    missing: tuple[float, ...] = ()
    cut: int | None = None
    harvest_days: float | None = None
    notes: tuple[str, ...] = ()
    crop: str | None = None
    target_column: str = ""
    group_column: str | None = None
    sources: tuple[JoinedSource, ...] = ()


@dataclass(frozen=True)
class TableDraft:
    """N seasons as read, before any is dropped. target [N] is in the stored unit.

    values           [N,V+R,T] f32, variates and then drivers, NaN if unobserved
    static           [N,S] f64 as stored, NaN if unknown
    incomplete       [N] bool: a part of the season should be in a row that is missing
    assigned         [N] str, one of SIDES or empty; None without a column of sides
    days_to_harvest  [N] days from the start of each sample's season to its harvest; None without a calendar
    group            [N] str, the value of `[target] group`, empty if unknown; None without that key
    file             [N] position of a sample's file in `files`; None if its rows may be in several files
    where            returns the file and row of a sample
    advice           what to do if two samples have one name
    unread           returns the texts of a sample's row in the columns that were not read
    where_label      returns the file and row of a sample's yield, if that differs from `where`
    """

    values: NDArray[np.float32]
    target: NDArray[np.float64]
    place: NDArray[np.str_]
    year: NDArray[np.int64]
    sample_id: NDArray[np.str_]
    static: NDArray[np.float64]
    incomplete: NDArray[np.bool_]
    where: Callable[[int], str]
    counts: tuple[Count, ...] = field(default=())
    assigned: NDArray[np.str_] | None = None
    days_to_harvest: NDArray[np.float64] | None = None
    group: NDArray[np.str_] | None = None
    findings: tuple[Finding, ...] = ()
    files: tuple[str, ...] = ()
    file: NDArray[np.int64] | None = None
    advice: str = TWO_OF_ONE_NAME
    unread: Unread = no_texts
    where_label: Callable[[int], str] | None = None


def finish(about: Description, draft: TableDraft, history: YieldHistory, *, for_prediction: bool) -> SeasonTable:
    """The immutable table, sorted by sample_id, so that the order of rows in the files does not matter.

    Raises `InputError` for a repeated sample, for an implausible range or yield, or if no sample is left.
    """
    cut = cut_of(about.cut, draft.values.shape[2], about.source)
    _refuse_duplicates(draft)
    _refuse_unscaled(about, draft)
    static = _static(about, draft)
    marked, marks = marked_as_missing(draft.target)
    target = np.where(marked, np.nan, draft.target) * about.target_factor
    remaining, counts = _keep(about, draft, target, for_prediction)
    if not remaining.any():
        raise InputError(
            f"{about.source}: none of the {len(remaining)} samples is left. {_list_counts(counts)} Correct the data or "
            "the dataset card. A table without yields can only be read for prediction."
        )
    refuse_large_median(target[remaining], about.source)
    rows = np.flatnonzero(remaining)
    refuse_total_rows(draft.place[rows], lambda row: draft.where(int(np.flatnonzero(remaining)[row])))
    rows = rows[np.argsort(draft.sample_id[rows], kind="stable")]
    findings = _checked(about, draft, target, static=static, rows=rows, for_prediction=for_prediction)
    findings += marks_among_static(about.static_names, static[rows], draft.place[rows], about.missing)
    if not for_prediction:
        findings = (
            *marks,
            *negative_yields(target),
            *tiny_yields(target[rows], about.crop),
            *large_yields(target[rows]),
            *findings,
        )
    draft = replace(draft, counts=(*draft.counts, *counts), findings=(*draft.findings, *findings))
    places = report_places(draft.place[rows], draft.year[rows], history, for_prediction=for_prediction)
    return _sealed(about, draft, target, static=static, rows=rows, history=history, cut=cut, places=places)


def _sealed(
    about: Description,
    draft: TableDraft,
    target: NDArray[np.float64],
    *,
    static: NDArray[np.float32],
    rows: NDArray[np.int64],
    history: YieldHistory,
    cut: int,
    places: tuple[Finding, ...],
) -> SeasonTable:
    """The table of the samples `rows` [n] of the draft [N]. target [N] in t/ha."""
    labels = None if draft.group is None else draft.group[rows]
    group, repeated = label_groups(draft.target[rows], draft.year[rows], labels, about.group_column)
    variates = len(about.variates)
    values, drivers = draft.values[:, :variates][rows], draft.values[:, variates:][rows]
    observed, drivers_observed = ~np.isnan(values), ~np.isnan(drivers)
    return SeasonTable(
        name=about.name,
        values=values,
        observed=observed,
        target=np.where(target[rows] > 0, target[rows], np.nan),
        sample_id=draft.sample_id[rows],
        place=draft.place[rows],
        year=draft.year[rows],
        variates=about.variates,
        step_days=about.step_days,
        season_start=about.season_start,
        static=static[rows],
        static_names=about.static_names,
        drivers=drivers,
        drivers_observed=drivers_observed,
        driver_names=tuple(driver.name for driver in about.drivers),
        driver_units=tuple(driver.unit for driver in about.drivers),
        drivers_known=np.array(about.known, bool),
        history=history,
        cut=cut,
        harvest_days=about.harvest_days,
        days_to_harvest=None if draft.days_to_harvest is None else draft.days_to_harvest[rows],
        notes=about.notes,
        assigned=None if draft.assigned is None else draft.assigned[rows],
        group=group,
        group_column=about.group_column,
        files=draft.files,
        file=None if draft.file is None else draft.file[rows],
        sources=about.sources,
        findings=(*draft.findings, *repeated, *places),
        counts=(
            *draft.counts,
            *_masked(about.variates, observed),
            *_masked(about.drivers, drivers_observed),
            *_unknown(about.static_names, static[rows]),
        ),
    )


def _checked(
    about: Description,
    draft: TableDraft,
    target: NDArray[np.float64],
    *,
    static: NDArray[np.float32],
    rows: NDArray[np.int64],
    for_prediction: bool,
) -> tuple[Finding, ...]:
    """Findings from comparisons of the series, static numbers and yields of the samples `rows` with each other."""
    file = None if draft.file is None else draft.file[rows]

    def where(row: int) -> str:
        return draft.where(int(rows[row]))

    seasons = Seasons(
        source=about.source,
        variates=(*about.variates, *about.drivers),
        values=draft.values[rows],
        year=draft.year[rows],
        sample_id=draft.sample_id[rows],
        where=where,
        files=draft.files,
        file=file,
        place=draft.place[rows],
    )
    found = check_series(seasons, for_prediction=for_prediction)
    if for_prediction:
        return found
    where_label = draft.where_label or draft.where
    yields = Yields(
        source=about.source,
        target=target[rows],
        year=draft.year[rows],
        where=lambda row: where_label(int(rows[row])),
        column=about.target_column,
        factor=about.target_factor,
        files=draft.files,
        file=file,
    )
    nested = nested_places(draft.place[rows], draft.year[rows], draft.target[rows])
    copied = copied_years(draft.place[rows], draft.year[rows], draft.target[rows])
    # A table that is read for prediction may end at the step as of which it is known, so it has no such check.
    empty = unobserved_steps(seasons.values[:, : len(about.variates)])
    names = [variate.name for variate in seasons.variates]
    leaks = yield_among_inputs(names, seasons.values, about.static_names, static[rows], target[rows])
    return (*leaks, *check_yields(yields, about.missing), *copied, *nested, *found, *empty)


def excluded(
    rules: Sequence[ExcludeCard],
    place: NDArray[np.str_],
    year: NDArray[np.int64],
    sample_id: NDArray[np.str_] | None = None,
) -> list[NDArray[np.bool_]]:
    """For each rule a mask [N] of the samples it excludes. Without `sample_id`, rules that name one match nothing."""
    masks = []
    for rule in rules:
        mask = np.ones(len(year), bool)
        if rule.year is not None:
            mask &= year == rule.year
        if rule.before is not None:
            mask &= year < rule.before
        if rule.after is not None:
            mask &= year > rule.after
        if rule.place is not None:
            mask &= np.isin(place, [joined_name(rule.place), joined_name([normal_name(part) for part in rule.place])])
        if rule.sample_id is not None:
            mask &= sample_id == rule.sample_id if sample_id is not None else False
        masks.append(mask)
    return masks


def _keep(
    about: Description, draft: TableDraft, target: NDArray[np.float64], for_prediction: bool
) -> tuple[NDArray[np.bool_], list[Count]]:
    remaining = np.ones(len(target), bool)
    counts: list[Count] = []

    def drop(mask: NDArray[np.bool_], reason: str, count_zero: bool = False) -> None:
        nonlocal remaining
        rows = int((mask & remaining).sum())
        if rows or count_zero:
            counts.append(Count(reason, rows))
        remaining = remaining & ~mask

    if not for_prediction:
        drop(np.isnan(target), "sample without a yield dropped")
        drop(target <= 0, "sample with a yield of zero or below dropped (a real crop failure of 0 t/ha, too)")
    if draft.assigned is not None:
        drop(draft.assigned == "", "sample without a side (train, valid, test) in the column of `split` dropped")
    # A rule that matches nothing is reported as well, because it may be misspelt.
    masks = excluded(about.exclude, draft.place, draft.year, draft.sample_id)
    for rule, mask in zip(about.exclude, masks, strict=True):
        nothing = "" if mask.any() else f" ({rule.describe_keys()} matches no sample)"
        drop(mask, f"sample excluded by the dataset card{nothing}: {rule.reason}", count_zero=True)
    drop(draft.incomplete, "sample dropped because half of its season lies in a row that is not in the table")
    seen = ~np.isnan(draft.values[:, : len(about.variates)])
    drop(~np.asarray(seen.any(axis=(1, 2))), "sample without any observation in its season dropped")
    return remaining, counts


def _masked(variates: Sequence[Variate], observed: NDArray[np.bool_]) -> list[Count]:
    """A count for each variate that has no observation in some sample."""
    empty = (~observed.any(axis=2)).sum(axis=0)
    return [
        Count(f"sample without any observation of {variate.name}, kept with that series masked", int(rows), lost=False)
        for variate, rows in zip(variates, empty, strict=True)
        if rows
    ]


def _static(about: Description, draft: TableDraft) -> NDArray[np.float32]:
    """The static columns [N,S], NaN for marks of missing data that the card names.

    Raises `InputError` for a mark that it does not name, and for a number too large for float32.
    """
    static = as_measured(draft.static, about.missing, 1.0)
    names = [(name,) for name in about.static_names]
    # A static number is repeated in all rows of its place, so only a wide gap shows that it is a mark.
    refuse_marks(
        [Columns({}, {}, static, draft.where)], [names], [Stored()] * len(names), missing=about.missing, far=VERY_FAR
    )
    if np.isinf(static).any():
        n, s = (int(i[0]) for i in np.nonzero(np.isinf(static)))
        raise InputError(
            f"{draft.where(n)}, column {about.static_names[s]}: {draft.static[n, s]:g} is too large for a float32 "
            "(3.4e38). Leave the cell empty (or NA) if the value is not known."
        )
    return static


def _unknown(names: Sequence[str], static: NDArray[np.float32]) -> list[Count]:
    """A count for each static column that is unknown for some samples. They stay, with NaN."""
    lacking = np.isnan(static).sum(axis=0)
    return [
        Count(f"sample without a value in the static column {name}", int(rows), lost=False)
        for name, rows in zip(names, lacking, strict=True)
        if rows
    ]


def _refuse_duplicates(draft: TableDraft) -> None:
    ids, first, count = np.unique(draft.sample_id, return_index=True, return_counts=True)
    if (count <= 1).all():
        return
    i = int(np.argmax(count > 1))
    second = int(np.flatnonzero(draft.sample_id == ids[i])[1])
    raise InputError(
        f"{draft.where(second)}: sample {ids[i]} is there already ({draft.where(int(first[i]))}). A sample is one "
        "place in one year. Remove one of the rows, or name the column that distinguishes them as `sample_id` in the "
        f"dataset card. {advice_on_texts(draft.unread(int(first[i])), draft.unread(second), draft.advice)}"
    )


def _refuse_unscaled(about: Description, draft: TableDraft) -> None:
    """Raise `InputError` if most values lie outside the range: the scale or unit is wrong, and no later step checks."""
    for v, variate in enumerate((*about.variates, *about.drivers)):
        if variate.low is None and variate.high is None:
            continue
        seen = draft.values[:, v][~np.isnan(draft.values[:, v])]
        low = -np.inf if variate.low is None else variate.low
        high = np.inf if variate.high is None else variate.high
        outside = (seen < low) | (seen > high)
        if outside.mean() > 0.5 if len(seen) else False:
            raise InputError(
                f"{about.source}: {outside.mean():.0%} of the values of {variate.name} lie outside its range "
                f"{_describe_range(variate)} (median {np.median(seen):g}). Correct `scale`, `low` or `high` of this "
                "variate in the dataset card."
            )


def _describe_range(variate: Variate) -> str:
    unit = "" if variate.unit == "1" else f" {variate.unit}"
    if variate.low is None:
        return f"up to {variate.high}{unit}"
    if variate.high is None:
        return f"from {variate.low}{unit}"
    return f"{variate.low} to {variate.high}{unit}"


def _list_counts(counts: Sequence[Count]) -> str:
    return " ".join(f"{c.rows} x {c.reason}." for c in counts)
