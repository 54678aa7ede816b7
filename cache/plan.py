"""The plan: the missing keys, cut into slabs. Pure and deterministic, so that it can be printed before the work."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cache.index import CHUNK, KeyIndex, Keys, first_of_each


@dataclass(frozen=True, eq=False)
class Plan:
    """`missing` [m]: positions, among the wanted keys, of the distinct keys that no slab holds, sorted by key."""

    wanted: int
    distinct: int
    missing: NDArray[np.int64]
    slab_rows: int

    @property
    def reused(self) -> int:
        """Distinct rows that are already in the cache."""
        return self.distinct - len(self.missing)

    @property
    def slabs(self) -> int:
        """Number of slabs to write."""
        return -(-len(self.missing) // self.slab_rows)

    def __iter__(self) -> Iterator[NDArray[np.int64]]:
        """The positions of one slab at a time."""
        return (self.missing[i : i + self.slab_rows] for i in range(0, len(self.missing), self.slab_rows))


def plan(wanted: Keys, index: KeyIndex, slab_rows: int) -> Plan:
    """Compare the wanted keys [n] with the committed ones."""
    first = first_of_each(wanted)
    missing = [some[index.find(wanted[some]) < 0] for some in np.split(first, range(CHUNK, len(first), CHUNK))]
    return Plan(wanted=len(wanted), distinct=len(first), missing=np.concatenate(missing), slab_rows=slab_rows)
