"""The rows of one source of a card: observations of places on days, or numbers of places."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pipeline.card import SourceCard
from pipeline.findings import Finding
from pipeline.sources.aggregate import Index
from pipeline.sources.files.columns import Text, Unread, no_texts
from pipeline.sources.files.stored_numbers import Marks
from pipeline.sources.joins.join_names import PlacesOfSource
from pipeline.sources.times.calendar import Dates
from pipeline.table import Count


@dataclass(frozen=True)
class Observations:
    """R rows of one source of series: measurements [R,V] at a place on a day.

    marks   number of cells of each column with each number of `missing`
    unread  returns the texts of a row in the columns that were not read, for messages
    """

    source: SourceCard
    place: Text
    dates: Dates
    measured: NDArray[np.float32]
    where: Callable[[int], str]
    unread: Unread = no_texts
    counts: tuple[Count, ...] = ()
    findings: tuple[Finding, ...] = ()
    marks: Marks = field(default_factory=dict)

    @property
    def named(self) -> PlacesOfSource:
        """Its places and the years of its days."""
        years = self.dates.astype("datetime64[Y]").astype(np.int64) + 1970
        return PlacesOfSource(self.source.label, self.place, years)


@dataclass(frozen=True)
class Numbers:
    """R rows of yields or static columns: numbers [R,S] of a place, in a year or (None) in every year.

    unread  returns the texts of a row in the columns that were not read, for messages
    group   [R] str, the value of `[target] group`, empty if unknown; None without that key
    marks   number of cells of each column with each number of `missing`
    """

    source: SourceCard
    place: Text
    year: Index | None
    columns: tuple[str, ...]
    numbers: NDArray[np.float64]
    where: Callable[[int], str]
    unread: Unread = no_texts
    group: NDArray[np.str_] | None = None
    marks: Marks = field(default_factory=dict)
    counts: tuple[Count, ...] = ()
    findings: tuple[Finding, ...] = ()

    @property
    def named(self) -> PlacesOfSource:
        """Its places and years."""
        years = np.zeros(len(self.numbers), np.int64) if self.year is None else self.year
        return PlacesOfSource(self.source.label, self.place, years)
