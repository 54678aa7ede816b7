"""Index of keys: sorted arrays of 128-bit keys, searched many at a time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Keys = NDArray[np.void]  # [n] of 16 bytes
CHUNK = 1 << 16  # keys copied at a time, so that the copies stay in the processor's cache


def halves(keys: Keys) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """The two 64-bit halves of each key, [n] each."""
    words = np.ascontiguousarray(keys).reshape(-1).view(np.uint64).reshape(-1, 2)
    return words[:, 0], words[:, 1]


def first_of_each(keys: Keys) -> NDArray[np.int64]:
    """Positions [m] of the first occurrence of every distinct key, sorted by key, for any order of work.

    One word per key is sorted: its leading bits, followed by its position. Different keys with equal leading bits
    (36,000 pairs among 10^8 keys) are then sorted by all their bits.
    """
    position = np.uint64((1 << len(keys).bit_length()) - 1)
    words = halves(keys)[0] & ~position
    words |= np.arange(len(keys), dtype=np.uint64)
    words.sort()
    new, alike = np.ones(len(keys), bool), [words[:0]]
    for start in range(1, len(keys), CHUNK):
        high, low = halves(keys[words[start - 1 : start + CHUNK] & position])
        other = _differs(high, low)
        new[start : start + CHUNK] = other
        alike.append(high[1:][other & ((high[1:] ^ high[:-1]) <= position)] & ~position)
    for leading in np.unique(np.concatenate(alike)):
        first, end = np.searchsorted(words, np.array([leading, leading | position]))
        high, low = halves(keys[words[first:end] & position])
        again = np.lexsort((low, high))  # stable: equal keys keep their order, so the first one is the first occurrence
        words[first:end] = words[first:end][again]
        new[first + 1 : end] = _differs(high[again], low[again])
    return (words[new] & position).view(np.int64)


def _differs(high: NDArray[np.uint64], low: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Whether each key except the first [n-1] differs from the key before it."""
    differs: NDArray[np.bool_] = (high[1:] != high[:-1]) | (low[1:] != low[:-1])
    return differs


@dataclass(frozen=True, eq=False)
class KeyIndex:
    """Key -> (slab, row). If two slabs hold a key, the first wins, because equal keys have equal content."""

    high: NDArray[np.uint64]
    low: NDArray[np.uint64]
    slab: NDArray[np.int32]
    row: NDArray[np.int32]

    @staticmethod
    def build(keys_of_slab: list[Keys]) -> KeyIndex:
        """The index of slabs s with keys `keys_of_slab[s]` [rows of slab s]."""
        sizes = [len(keys) for keys in keys_of_slab]
        keys = np.concatenate([*keys_of_slab, np.zeros(0, "V16")])
        slab = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)
        row = np.concatenate([*(np.arange(n, dtype=np.int32) for n in sizes), np.zeros(0, np.int32)])
        order = first_of_each(keys)
        high, low = halves(keys)
        return KeyIndex(high=high[order], low=low[order], slab=slab[order], row=row[order])

    def __len__(self) -> int:
        return len(self.high)

    def find(self, keys: Keys) -> NDArray[np.int64]:
        """Position in this index of each key [n], -1 if it is not there."""
        if len(self) == 0:
            return np.full(len(keys), -1, np.int64)
        high, low = halves(keys)
        at = np.searchsorted(self.high, high).astype(np.int64)
        while True:  # walk over keys that share their first 64 bits; practically never more than one pass
            inside = np.minimum(at, len(self) - 1)
            same_high = (at < len(self)) & (self.high[inside] == high)
            passed = same_high & (self.low[inside] < low)
            if not passed.any():
                return np.where(same_high & (self.low[inside] == low), inside, -1)
            at[passed] += 1
