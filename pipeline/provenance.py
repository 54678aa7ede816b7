"""How sources were joined: the number of keys of each source, and how many of them matched the other sources."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

KEPT = 10  # names that are kept of each kind


@dataclass(frozen=True)
class KeyCount:
    """The number of keys, and the first of them in words: "p1 2019", or "p1" without a year."""

    number: int
    first: tuple[str, ...]

    @classmethod
    def of(cls, keys: Collection[tuple[str, int]]) -> KeyCount:
        """Count keys (place, year). Year 0 means every year."""
        return cls(len(keys), tuple(f"{place} {year}" if year else place for place, year in sorted(keys)[:KEPT]))

    def names(self, most: int) -> str:
        """The first `most` names, with dots if there are more keys; empty without keys."""
        shown = self.first[:most]
        return ", ".join(shown) + ", ..." * (self.number > len(shown))


@dataclass(frozen=True)
class JoinedSource:
    """One source after the join. Its keys are place-years, or places if it has no year (`by_year` is False).

    label        its file, or its first file and the number of the others
    holds        what was read from it: names of variates, "yield", names of static columns, "calendar", "positions"
    places       number of its distinct places
    keys         number of its distinct keys
    met          its keys that are in the joined table
    unmet        its keys that are not
    lost_places  number of its places without any key in the joined table
    lacking      keys of the joined table that this source does not have
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
        """The kind of its keys, for messages."""
        return "place-years" if self.by_year else "places"
