"""python -m benchmarks.alone SERIES missing|cached|claimed SLAB_ROWS: one plan, in a process of its own.

Prints core seconds and peak memory as JSON. benchmarks/planning.py starts this program for every size, and
benchmarks/scale.py runs `open_and_sort` in a separate process.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, TypedDict

import numpy as np

from cache.index import KeyIndex, Keys
from cache.plan import plan

if TYPE_CHECKING:
    from cache.store import Store  # loads numba, which the measured plans do not need


class Measured(TypedDict):
    """One size of one case: core seconds, and the peak beyond the memory of the process with the wanted keys."""

    series: int
    seconds: float
    seconds_index: float
    slabs: int
    peak_bytes: int


def measure(series: int, case: str, slab_rows: int) -> Measured:
    """Build the index of the cached keys and the plan of `series` random keys; the best of a few rounds.

    claimed: the second pass of a run, after it has claimed what it needs. The rows of every slab are read again. The
    unit is core seconds, because other work on the machine disturbs them less than wall time.
    """
    keys = np.random.default_rng(0).integers(0, 2**64, (series, 2), np.uint64).view("V16").reshape(-1)
    present = [keys[i : i + slab_rows] for i in range(0, series, slab_rows)] if case != "missing" else []
    with TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as folder:
        build = (
            partial(_read_anew, _written(Path(folder), present))
            if case == "claimed"
            else partial(KeyIndex.build, present)
        )
        forget_peak()
        before = peak()
        best, best_index, slabs = float("inf"), float("inf"), 0
        for _ in range(5 if series <= 1_000_000 else 2):
            seconds_index, seconds, slabs = _once(keys, build, slab_rows)
            best, best_index = min(best, seconds), min(best_index, seconds_index)
    return Measured(series=series, seconds=best, seconds_index=best_index, slabs=slabs, peak_bytes=peak() - before)


def _written(folder: Path, slabs: Sequence[Keys]) -> Store:
    from cache.spec import image_spec
    from cache.store import Store
    from pipeline.style import Style

    store = Store(folder, image_spec(Style()))
    write_rows(store, slabs)
    return store


def _read_anew(store: Store) -> KeyIndex:
    return store.reader().index


def _once(keys: Keys, build: Callable[[], KeyIndex], slab_rows: int) -> tuple[float, float, int]:
    """Core seconds for the index and for the plan, and the number of slabs in the plan."""
    started = time.process_time()
    index = build()
    indexed = time.process_time()
    made = plan(keys, index, slab_rows)
    slabs = sum(1 for _ in made)
    ended = time.process_time()
    if made.reused != len(index) or slabs != made.slabs:
        raise AssertionError(f"{made.reused} of {len(index)} keys found, {slabs} slabs of {made.slabs}")
    return indexed - started, ended - indexed, slabs


def open_and_sort(store: Store) -> tuple[int, int, float, float, int]:
    """Slabs, rows, seconds to read the rows, seconds to sort their keys, and the peak of memory in bytes."""
    forget_peak()
    before, started = peak(), time.perf_counter()
    reader = store.reader()
    loaded_at = time.perf_counter()
    rows = len(reader.index)
    return len(reader.slabs), rows, loaded_at - started, time.perf_counter() - loaded_at, peak() - before


def write_rows(store: Store, slabs: Sequence[Keys]) -> None:
    """Write commit records and rows of slabs, without data and without syncing."""
    import xxhash

    from cache.json_record import FORMAT
    from cache.storage import RECORD
    from cache.store import ROW, Commit, slab_id

    store.create()
    for keys in slabs:
        table = np.zeros(len(keys), ROW)
        table["key"] = keys
        raw = table.tobytes()
        folder = Path(store.root, store.slab_folder, slab_id(keys))
        folder.mkdir(parents=True)
        (folder / "rows.bin").write_bytes(raw)
        record = Commit(
            format=FORMAT,
            spec=store.spec.id,
            rows=len(keys),
            rows_digest=xxhash.xxh3_128_hexdigest(raw),
            data_bytes=1,
        )
        (folder / RECORD).write_text(json.dumps(asdict(record)))


def forget_peak() -> None:
    """Reset the peak to the current use. If that is not permitted, the peak counts from the start of the process."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak() -> int:
    """Peak memory in bytes. Not ru_maxrss, which starts with the memory of the parent process."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]))))
