"""Report a join of sources in sentences: what each source has, how much of it matched the others, and what did not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.card import DatasetCard, SourceCard
from pipeline.errors import InputError
from pipeline.findings import Finding
from pipeline.provenance import JoinedSource, KeyCount
from pipeline.sources.files.locate_files import files_of
from pipeline.sources.names.unmet_names import advice_on_spelling, report_unmet_names

NAMES = 3  # names shown of each kind
YEARS = 10_000

Key = tuple[str, int]  # a place and a year; 0 where every year is meant


@dataclass(frozen=True)
class Part:
    """What one source has: its keys, by place and year or by place alone."""

    what: str
    source: SourceCard
    keys: frozenset[Key]

    @classmethod
    def of(cls, what: str, source: SourceCard, names: NDArray[np.str_], keys: NDArray[np.int64]) -> Part:
        """From keys `place * YEARS + year` [R] of the places `names`."""
        distinct = np.unique(keys)
        pairs = zip(names[distinct // YEARS].tolist(), (distinct % YEARS).tolist(), strict=True)
        return cls(what, source, frozenset(pairs))

    @classmethod
    def of_places(cls, what: str, source: SourceCard, places: NDArray[np.str_]) -> Part:
        """From places alone [R]."""
        return cls(what, source, frozenset((place, 0) for place in places.tolist()))

    @property
    def by_year(self) -> bool:
        """Whether it has a year for each row."""
        return any(year for _, year in self.keys)

    def label(self, card: DatasetCard) -> str:
        """Its file, or how many there are."""
        files = files_of(card, self.source.files)
        return files[0].name if len(files) == 1 else f"{files[0].name} and {len(files) - 1} more"

    def restricted(self, keys: frozenset[Key]) -> frozenset[Key]:
        """Keys of places and years, as this source identifies them."""
        return keys if self.by_year else frozenset((place, 0) for place, _ in keys)


def join_report(parts: Sequence[Part], card: DatasetCard) -> tuple[tuple[str, ...], tuple[JoinedSource, ...]]:
    """(a line for all and one for each source, the same as numbers). `InputError` if the yields meet no series."""
    series = frozenset[Key]().union(*(part.keys for part in parts if part.what == "variates" and part.source.variates))
    labels = [part for part in parts if part.what == "target"]
    met = series.intersection(*(part.keys for part in labels))
    if not met:
        _refuse_nothing(series, labels, card)
    places = len({place for place, _ in met})
    what = "have series and a yield" if labels else "have series"
    lines = [f"joined by place and season: {len(met):,} place-years of {places:,} places {what}"]
    joined = tuple(_joined(part, part.restricted(met), card) for part in parts)
    return (*lines, *map(_line, joined)), joined


def spelling_findings(parts: Sequence[Part], card: DatasetCard) -> tuple[Finding, ...]:
    """A finding for each source whose places miss those of the first series because of their spelling."""
    first, *others = parts
    places = {place for place, _ in first.keys}
    return tuple(
        finding
        for part in others
        for finding in report_unmet_names(
            {place for place, _ in part.keys}, part.label(card), places, first.label(card)
        )
    )


def _joined(part: Part, met: frozenset[Key], card: DatasetCard) -> JoinedSource:
    columns = {
        "variates": ", ".join(variate.name for variate in part.source.series),
        "target": "yield",
        "static": ", ".join(part.source.static),
    }
    places = {place for place, _ in part.keys}
    return JoinedSource(
        label=part.label(card),
        holds=columns.get(part.what, part.what),
        by_year=part.by_year,
        places=len(places),
        keys=len(part.keys),
        met=KeyCount.of(part.keys & met),
        unmet=KeyCount.of(part.keys - met),
        lost_places=len(places - {place for place, _ in met}),
        lacking=KeyCount.of(met - part.keys),
    )


def _line(one: JoinedSource) -> str:
    has = f"{one.places:,} places" + (f", {one.keys:,} place-years" if one.by_year else "")
    said = [f"{one.met.number:,} met{_some(one.met)}"]
    said += [f"{one.unmet.number:,} did not{_some(one.unmet)}"] if one.unmet.number else ["none did not"]
    if one.lacking.number:
        said.append(f"{one.lacking.number:,} joined {one.kind} are not in it{_some(one.lacking)}")
    return f"  {one.label} ({one.holds}): {has}; {'; '.join(said)}"


def _some(keys: KeyCount) -> str:
    """The first names in brackets, or nothing."""
    return f" ({keys.names(NAMES)})" if keys.number else ""


def _refuse_nothing(series: frozenset[Key], labels: Sequence[Part], card: DatasetCard) -> None:
    if not series:
        raise InputError(
            f"{card.path}: no series has an observation in any season, so nothing can be joined. Correct `calendar`, "
            "`season_start`, `date` or `place` of the sources."
        )
    yields = labels[0]
    one, other = sorted(series)[0], sorted(yields.keys)[0] if yields.keys else None
    found = f"{other[0]!r} in {other[1]}" if other else "nothing"
    shared = {place for place, _ in series} & {place for place, _ in yields.keys}
    advice = (
        f"{len(shared)} places are in both, their years are not: correct `year`, `season_start` or `season_year`."
        f"{_met_a_year_off(series, yields.keys)}"
        if shared
        else "No place is in both. "
        + advice_on_spelling(
            {place for place, _ in yields.keys},
            {place for place, _ in series},
            "Spell the places alike, or correct `place` of the sources.",
        )
    )
    raise InputError(
        f"{card.path}: no yield of {yields.label(card)} ({found} and others) meets a season of the series ({one[0]!r} "
        f"in {one[1]} and others). {advice}"
    )


def _met_a_year_off(series: frozenset[Key], yields: frozenset[Key]) -> str:
    """A sentence, after a blank, if yields would meet seasons of the next or the previous year; empty if not."""
    for off, meaning in ((1, "after"), (-1, "before")):
        met = len({(place, year + off) for place, year in yields} & series)
        if met:
            asked = " Is their year that of sowing?" if off > 0 else ""
            return (
                f" If each yield counted for the year {meaning} its own, {met:,} of {len(yields):,} would meet.{asked}"
            )
    return ""
