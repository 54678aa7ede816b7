"""Where the numbers of a table come from: how many keys each source of a join had, and how many met the others."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

KEPT = 10  # names of each kind


@dataclass(frozen=True)
class KeyCount:
    """How many keys there are, and the first of them as a person writes them: "p1 2019", or "p1" without a year."""

    number: int
    first: tuple[str, ...]

    @classmethod
    def of(cls, keys: Collection[tuple[str, int]]) -> KeyCount:
        """From keys (place, year); year 0 means every year."""
        return cls(len(keys), tuple(f"{place} {year}" if year else place for place, year in sorted(keys)[:KEPT]))

    def names(self, most: int) -> str:
        """At most `most` of the first names, and dots if there are more keys; empty without keys."""
        shown = self.first[:most]
        return ", ".join(shown) + ", ..." * (self.number > len(shown))


@dataclass(frozen=True)
class JoinedSource:
    """One source after the join. Its keys are place-years, or places if it has no year (`by_year` is False).

    label      its file, or the first of them and how many more there are
    holds      what was read from it: names of variates, "yield", names of static columns, "calendar", "positions"
    places     how many distinct places it has
    keys       how many distinct keys it has
    met        those in the joined table;  unmet: those that are not
    lost_places  how many places have no key in the joined table
    lacking    keys of the joined table that are not in this source
    """

    label: str
    holds: str
    by_year: bool
    places: int
    keys: int
    met: KeyCount
    unmet: KeyCount
    lost_places: int
    lacking: KeyCount

    @property
    def kind(self) -> str:
        """What its keys are, for messages."""
        return "place-years" if self.by_year else "places"
