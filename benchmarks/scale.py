"""python -m benchmarks.scale: the unit costs of docs/scale.md: bytes and seconds per series, slab, job and entry.

Slabs are written with their rows and commit records but without data, which no measurement here opens.
"""

from __future__ import annotations

import json
import pickle
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from benchmarks.alone import forget_peak, open_and_sort, peak, write_rows
from benchmarks.drawing import STEPS, row, seasons
from benchmarks.planning import AIM, AIM_NAME
from cache.catalog import Entry
from cache.dask_workers import drain
from cache.fill import EmbeddingWork, ImageWork, wanted_keys
from cache.spec import embedding_spec
from cache.storage import open_storage
from cache.store import Store
from model.encoders import encode, resolve
from pipeline.parser import parse_flags
from pipeline.render import draw
from pipeline.series import SeriesBlock, series_blocks
from pipeline.style import Style
from pipeline.table import SeasonTable, Variate
from report.run import commit, hardware

VARIATES = 7
Result = TypeVar("Result")


@dataclass(frozen=True)
class Arguments:
    """Size of the table."""

    series: int = 1_000_000
    """Series of the table: samples x 7 variates x 2 half seasons."""
    dask: bool = False
    """Also send jobs through a Dask scheduler with two workers here (needs distributed)."""
    encoder: bool = True
    """Also embed some pictures in a separate process."""


def main() -> None:
    """Print the rows."""
    args = parse_flags(Arguments, None, __doc__, "benchmarks.scale")
    identity = {"hardware": hardware(), "commit": commit()}
    with tempfile.TemporaryDirectory() as folder:
        for line in measure(Path(folder) / "cache", args.series, args.dask, args.encoder):
            print(json.dumps(line | identity), flush=True)


def measure(cache: Path, series: int, dask: bool, encoder: bool) -> Iterator[dict[str, Any]]:
    """Rows in the order of a run: table, keys and plans, jobs, slabs read back, keys again, entry."""
    table = table_of(series)
    series = len(table) * VARIATES * 2
    held = sum(part.nbytes for part in vars(table).values() if isinstance(part, np.ndarray))
    yield figure("bytes per series of the table in memory", held / series, "bytes", "16 of its key", 16)
    style, spec = Style(), embedding_spec(Style(), resolve("efficientnet-lite0").to_dict())

    def key() -> tuple[Sequence[SeriesBlock], ImageWork, EmbeddingWork]:
        blocks = series_blocks(table, np.tile([0.0, 1.0], (VARIATES, 1)), style)
        return blocks, ImageWork.of(cache, style, blocks), EmbeddingWork.of(cache, style, spec, blocks)

    (blocks, images, vectors), seconds, most = measured(key)
    yield rate("keys and both plans, everything missing", series, seconds, most)
    yield from job_sizes(images, vectors)
    if encoder:
        yield embedding_worker()
    if dask:
        yield through_dask(images)
    keys = wanted_keys(blocks)
    write_rows(images.store, [keys[rows] for rows in images.plan])
    write_rows(vectors.store, [vectors.keys[rows] for rows in vectors.plan])
    for store in (images.store, vectors.store):
        yield from read_back(store)
    del blocks, images, vectors, keys
    (blocks, images, vectors), seconds, most = measured(key)
    assert len(images.plan.missing) == len(vectors.plan.missing) == 0
    yield rate("keys and both plans, everything cached", series, seconds, most)
    yield from entry_rows(table, blocks, cache)


def measured(action: Callable[[], Result]) -> tuple[Result, float, int]:
    """The result, core seconds, and the peak of memory beyond what was in use before."""
    forget_peak()
    before, started = peak(), time.process_time()
    result = action()
    return result, time.process_time() - started, peak() - before


def figure(name: str, value: float, unit: str, reference: str, reference_value: float) -> dict[str, Any]:
    """A row that may get more fields."""
    return {**row(name, value, unit, reference, reference_value)}


def rate(name: str, series: int, seconds: float, most: int) -> dict[str, Any]:
    """A row of series per second, compared with the aim."""
    figures = {"series": series, "core_seconds": seconds, "peak_bytes_a_series": most / series}
    return figure(name, series / seconds, "series/s", AIM_NAME, AIM) | figures


def table_of(series: int) -> SeasonTable:
    """A table of synthetic seasons."""
    samples = -(-series // (2 * VARIATES))
    values, observed = seasons(samples * VARIATES)
    values[~observed] = np.nan
    shape = (samples, VARIATES, STEPS)
    names = np.array([f"field{i:08d}-2020" for i in range(samples)])
    return SeasonTable(
        name="made",
        values=values.reshape(shape),
        observed=observed.reshape(shape),
        target=np.full(samples, 5.0),
        sample_id=names,
        place=names,
        year=np.full(samples, 2020),
        variates=tuple(Variate(f"b{i}") for i in range(VARIATES)),
        step_days=10,
    )


def job_sizes(images: ImageWork, vectors: EmbeddingWork) -> Iterator[dict[str, Any]]:
    """Bytes that a scheduler moves for one slab, and the rate at which one process makes and pickles them."""
    embed = partial(encode, resolve("efficientnet-lite0"), engine="torch")
    for name, jobs, rows in (
        ("DrawJob", images._jobs(), images.plan.slab_rows),
        ("EmbedJob", vectors._jobs(embed), vectors.plan.slab_rows),
    ):
        started = time.perf_counter()
        sizes = [len(pickle.dumps(job)) for job, _ in zip(jobs, range(20), strict=False)]
        made = len(sizes) / (time.perf_counter() - started)
        yield figure(f"pickled {name} of {rows} rows", max(sizes), "bytes", "24 of each row in rows.bin", 24 * rows) | {
            "jobs_a_second": made
        }


def embedding_worker() -> dict[str, Any]:
    """Speed and memory of a worker with an encoder; set OMP_NUM_THREADS=1, as Dask does for its workers."""
    with get_context("spawn").Pool(1) as other:
        rows, seconds, most = other.apply(embed_some)
    name = "efficientnet-lite0 on torch, one process"
    return figure(name, rows / seconds, "pictures/core s", "half of 65 a second on two cores", 32.5) | {
        "peak_bytes": most
    }


def embed_some(rows: int = 256) -> tuple[int, float, int]:
    """Pictures embedded, core seconds, and the peak of the whole process."""
    values, observed = seasons(rows)
    ink, rgb = draw(values, observed, Style()), np.zeros((rows, 3), np.uint8)
    embed = partial(encode, resolve("efficientnet-lite0"), engine="torch")
    embed(ink[:16], rgb[:16])
    started = time.process_time()
    embed(ink, rgb)
    return rows, time.process_time() - started, peak()


def through_dask(images: ImageWork) -> dict[str, Any]:
    """Rate of DrawJobs that reach a worker and are discarded there."""
    from distributed import Client, LocalCluster

    jobs = list(images._jobs())
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as here,
        Client(here, set_as_default=False) as client,
    ):
        drain(client, throw_away, iter(jobs[:8]), {}, lambda rows: None, timeout=60)
        started = time.perf_counter()
        drain(client, throw_away, iter(jobs), {}, lambda rows: None, timeout=60)
        moved = len(jobs) / (time.perf_counter() - started)
    size = len(pickle.dumps(jobs[0]))
    return figure("DrawJobs through a Dask scheduler to two workers", moved, "jobs/s", "100 MB/s", 1e8 / size)


def throw_away(job: Any) -> int:
    """The work of a worker in this measurement."""
    return len(job.keys)


def read_back(store: Store) -> Iterator[dict[str, Any]]:
    """Time to read the rows of all slabs, in a separate process, as every process does that looks up keys."""
    with get_context("spawn").Pool(1) as other:
        slabs, rows, reading, sorting, most = other.apply(open_and_sort, (store,))
    name = f"{store.spec.kind}: rows of {slabs} slabs read"
    yield figure(name, 1e3 * reading / slabs, "ms per slab", "sorting its keys", 1e3 * sorting / slabs) | {
        "rows": rows,
        "seconds": reading + sorting,
        "peak_bytes_a_row": most / rows,
    }


def entry_rows(table: SeasonTable, blocks: Sequence[SeriesBlock], cache: Path) -> Iterator[dict[str, Any]]:
    """Size of the catalogue entry, and the memory for saving and loading it."""
    entry = Entry.of(table, blocks, "0" * 32, "0" * 32)
    _, seconds, most = measured(lambda: entry.save(cache))
    storage, series = open_storage(str(cache)), entry.keys.size
    loaded, loading, most_loading = measured(lambda: Entry.load(storage, entry.file))
    assert loaded.keys.size == series
    size = sum(file.bytes for file in storage.files("datasets"))
    yield figure("bytes per series of the catalogue entry", size / series, "bytes", "16 of its key", 16) | {
        "core_seconds_to_save": seconds,
        "peak_bytes_a_series_to_save": most / series,
        "core_seconds_to_load": loading,
        "peak_bytes_a_series_to_load": most_loading / series,
    }


if __name__ == "__main__":
    main()
