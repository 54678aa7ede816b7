"""python -m benchmarks.alone SERIES missing|cached SLAB_ROWS: one plan, in a process that has loaded nothing else.

Prints core seconds and peak memory as JSON. benchmarks/planning.py starts one of these for every size, and
benchmarks/scale.py runs `open_and_sort` in a process of its own.
"""

from __future__ import annotations

import json
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

import numpy as np

from cache.index import KeyIndex, Keys
from cache.plan import plan

if TYPE_CHECKING:
    from cache.store import Store  # loads numba, which the measured plans do not need


class Measured(TypedDict):
    """One size of one case: core seconds, and the peak beyond the process with the wanted keys in it."""

    series: int
    seconds: float
    seconds_index: float
    slabs: int
    peak_bytes: int


def measure(series: int, cached: bool, slab_rows: int) -> Measured:
    """Index of what is cached, and plan of `series` random keys; the best of a few rounds.

    Core seconds: work of others on the machine disturbs them less than the clock's.
    """
    keys = np.random.default_rng(0).integers(0, 2**64, (series, 2), np.uint64).view("V16").reshape(-1)
    present = [keys[i : i + slab_rows] for i in range(0, series, slab_rows)] if cached else []
    forget_peak()
    before = peak()
    best, best_index, slabs = float("inf"), float("inf"), 0
    for _ in range(5 if series <= 1_000_000 else 2):
        seconds_index, seconds, slabs = _once(keys, present, slab_rows)
        best, best_index = min(best, seconds), min(best_index, seconds_index)
    return Measured(series=series, seconds=best, seconds_index=best_index, slabs=slabs, peak_bytes=peak() - before)


def _once(keys: Keys, present: list[Keys], slab_rows: int) -> tuple[float, float, int]:
    """Core seconds for the index and for the plan, and the number of slabs it was cut into."""
    started = time.process_time()
    index = KeyIndex.build(present)
    indexed = time.process_time()
    made = plan(keys, index, slab_rows)
    slabs = sum(1 for _ in made)
    ended = time.process_time()
    if made.reused != len(index) or slabs != made.slabs:
        raise AssertionError(f"{made.reused} of {len(index)} keys found, {slabs} slabs of {made.slabs}")
    return indexed - started, ended - indexed, slabs


def open_and_sort(store: Store) -> tuple[int, int, float, float, int]:
    """Slabs, rows, seconds to read the rows, seconds to sort their keys, and the peak of memory."""
    forget_peak()
    before, started = peak(), time.perf_counter()
    reader = store.reader()
    read = time.perf_counter()
    rows = len(reader.index)
    return len(reader.slabs), rows, read - started, time.perf_counter() - read, peak() - before


def forget_peak() -> None:
    """Let the peak begin at what is in use now; where that is not allowed it counts from the start of the process."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak() -> int:
    """Bytes. Not ru_maxrss: that one starts with what the process that started this one had in memory."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]), sys.argv[2] == "cached", int(sys.argv[3]))))
