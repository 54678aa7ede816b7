"""Fill the cache: draw the missing pictures in worker processes, then compute the missing embeddings.

The unit of work is one idempotent call that ends in one committed slab, so a run can stop at any time and resume. On
one machine this process embeds, with all cores or the GPU. On a cluster its workers embed, each with an encoder that it
loads once. Workers that draw import neither torch nor zarr, and neither does this module: the encoder is a function
argument.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cache.index import Keys, halves
from cache.plan import Plan, plan
from cache.spec import Spec, image_spec
from cache.storage import CacheError
from cache.store import Reader, Slab, Store, slab_id
from cache.workers import Pool, RetriesExhausted
from pipeline.keys import colour_keys
from pipeline.render import draw_vertices, vertices
from pipeline.series import SeriesBlock
from pipeline.style import PALETTE, Style

Encode = Callable[[NDArray[np.uint8], NDArray[np.uint8]], NDArray[np.float16]]  # ink [n,H,W], rgb [n,3] -> [n,D]
Call = Callable[[Any], tuple[int, int]]  # a job -> rows and bytes written
Part = tuple[NDArray[np.float32], NDArray[np.bool_]]  # values [k,W], observed [k,W]
IMAGE_ROWS = 4096  # per slab: a third of a second of drawing, and few enough files to sync
FEW_SLABS = 4  # 16,384 pictures: half a second on one core, while a worker takes a whole second to start
VECTOR_ROWS = 1024  # per slab: a stop loses at most half a minute of CPU work
STRIP = 32  # pictures per call of the renderer
PATIENCE = 2.0  # seconds that a worker waits for a namespace to appear
Progress = Callable[[int], None]  # called with the number of rows of each committed slab


@dataclass(frozen=True)
class Filled:
    """Result of one stage. `given_up`: slabs that could not be made, each with its reason."""

    wanted: int
    distinct: int
    written: int
    bytes: int
    seconds: float
    given_up: tuple[str, ...] = ()

    @property
    def reused(self) -> int:
        """Distinct rows that were already there."""
        return self.distinct - self.written


@dataclass(frozen=True, eq=False)
class DrawJob:
    """One slab of pictures: keys [n], and the series to draw, in parts of one length each."""

    store: Store
    style: Style
    keys: Keys
    parts: Sequence[Part]


def draw_slab(job: DrawJob) -> tuple[int, int]:
    """Draw and commit one slab; runs in a worker. Returns the number of rows and bytes written."""
    _require_shared(job.store)
    return len(job.keys), job.store.write_strips(job.keys, _drawn(job))


def _drawn(job: DrawJob) -> Iterator[NDArray[np.uint8]]:
    """The pictures of a slab, strip by strip in the same memory, so that they are still in the processor's cache."""
    buffer = np.empty((STRIP, job.style.size, job.style.size), np.uint8)
    for values, observed in job.parts:
        for start in range(0, len(values), STRIP):
            prepared = vertices(values[start : start + STRIP], observed[start : start + STRIP], job.style)
            yield draw_vertices(prepared, job.style, buffer[: len(prepared)])


@dataclass(frozen=True, eq=False)
class ImageWork:
    """The pictures that blocks of series need, and the missing ones among them."""

    store: Store
    style: Style
    blocks: Sequence[SeriesBlock]
    plan: Plan

    @staticmethod
    def of(root: str | Path, style: Style, blocks: Sequence[SeriesBlock], slab_rows: int = IMAGE_ROWS) -> ImageWork:
        """Plan the missing pictures. Reads the cache and writes nothing."""
        store = Store(root, image_spec(style))
        return ImageWork(store, style, blocks, plan(wanted_keys(blocks), store.reader().index, slab_rows))

    def run(self, pool: Pool, progress: Progress) -> Filled:
        """Draw and commit every missing slab."""
        pool = pool if pool.elsewhere else replace(pool, workers=self.processes(pool.workers))
        return _fill(self.store, self.plan, partial(pool.run, draw_slab, self._jobs()), progress)

    def processes(self, most: int) -> int:
        """Number of drawing processes, at most `most`; 1 if this process is done before others have started."""
        return min(most, self.plan.slabs) if self.plan.slabs > FEW_SLABS else 1

    def series(self, positions: NDArray[np.int64]) -> list[Part]:
        """The series at ascending `positions` [n] among all wanted ones, in parts of one length each."""
        ends = np.cumsum([block.keys.size for block in self.blocks])
        parts = np.split(positions, np.searchsorted(positions, ends[:-1]))
        starts = ends - [block.keys.size for block in self.blocks]
        return [
            block.select(part - start)
            for block, part, start in zip(self.blocks, parts, starts, strict=True)
            if len(part)
        ]

    def _jobs(self) -> Iterator[DrawJob]:
        keys = wanted_keys(self.blocks)
        for chosen in self.plan:
            positions = np.sort(chosen)
            yield DrawJob(self.store, self.style, keys[positions], self.series(positions))


@dataclass(frozen=True, eq=False)
class EmbedJob:
    """One slab of embeddings: keys [n], of the pictures image_keys [n] in the colours rgb [n,3].

    `slabs` are the folders with these pictures, so that a worker reads no other rows.
    """

    store: Store
    images: Spec
    slabs: tuple[str, ...]
    keys: Keys
    image_keys: Keys
    rgb: NDArray[np.uint8]
    encode: Encode


def embed_slab(job: EmbedJob) -> tuple[int, int]:
    """Embed and commit one slab. Returns the number of rows and bytes written."""
    return _commit(job, job.encode(_pictures(job), job.rgb))


def _embed_here(jobs: Iterator[EmbedJob], done: Callable[[tuple[int, int]], None]) -> list[RetriesExhausted]:
    """Embed slabs in this process. Meanwhile the next slab is read and the previous one committed."""
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
        loaded = ((job, reader.submit(_pictures, job)) for job in jobs)
        committing: Future[tuple[int, int]] | None = None
        upcoming = next(loaded, None)
        while upcoming:
            job, ink = upcoming[0], upcoming[1].result()
            upcoming = next(loaded, None)
            rows = job.encode(ink, job.rgb)
            if committing:
                done(committing.result())
            committing = writer.submit(_commit, job, rows)
        if committing:
            done(committing.result())
    return []


def _pictures(job: EmbedJob) -> NDArray[np.uint8]:
    _require_shared(job.store)
    return _reader(Store(job.store.root, job.images), job.slabs).read(job.image_keys)


def _commit(job: EmbedJob, rows: NDArray[np.float16]) -> tuple[int, int]:
    return len(job.keys), job.store.write(job.keys, rows)


class NotShared(CacheError):
    """A worker cannot find the namespace that the run created."""


def _require_shared(store: Store) -> None:
    """Raise NotShared if this worker cannot find the run's namespace, because it would write to another cache.

    The run creates the namespace before it submits jobs. A shared file system may show it late, and gc may hide its
    spec for a moment, so this waits up to PATIENCE seconds.
    """
    end = time.monotonic() + PATIENCE
    while not store.exists():
        if time.monotonic() >= end:
            raise NotShared(
                f"{store.storage.where(store.namespace)} does not exist for the process {os.getpid()} on "
                f"{platform.node()}: every worker needs the same cache, a shared folder or a bucket."
            )
        time.sleep(0.05)


@lru_cache(maxsize=1)  # embeddings are planned in picture order, so the next job mostly needs the same slab
def _reader(images: Store, slabs: tuple[str, ...]) -> Reader:
    return Reader(images.spec, [Slab.read(images.storage, folder, images.spec) for folder in slabs])


@dataclass(frozen=True, eq=False)
class EmbeddingWork:
    """The embeddings that blocks of series need, and the missing ones among them. The pictures must be cached."""

    store: Store
    images: Spec
    image_keys: Keys  # [n]
    rgb: NDArray[np.uint8]  # [n,3]
    keys: Keys  # [n], of (picture, colour)
    plan: Plan

    @staticmethod
    def of(
        root: str | Path, style: Style, spec: Spec, blocks: Sequence[SeriesBlock], slab_rows: int = VECTOR_ROWS
    ) -> EmbeddingWork:
        """Plan the missing embeddings. Reads the cache and writes nothing."""
        store = Store(root, spec)
        rgb = np.concatenate([colours(block.keys.shape) for block in blocks]).reshape(-1, 3)
        image_keys = wanted_keys(blocks)
        keys = colour_keys(image_keys, rgb)
        todo = plan(keys, store.reader().index, slab_rows)
        high, low = halves(
            image_keys[todo.missing]
        )  # pictures are sorted by key, so a slab of embeddings reads few slabs
        todo = replace(todo, missing=todo.missing[np.lexsort((low, high))])
        return EmbeddingWork(store, image_spec(style), image_keys, rgb, keys, todo)

    def run(self, pool: Pool, encode: Encode, progress: Progress) -> Filled:
        """Embed and commit every missing slab. On a cluster, `encode` is pickled to the workers."""
        if pool.elsewhere:
            return _fill(self.store, self.plan, partial(pool.run, embed_slab, self._jobs(encode)), progress)
        return _fill(self.store, self.plan, partial(_embed_here, self._jobs(encode)), progress)

    def _jobs(self, encode: Encode) -> Iterator[EmbedJob]:
        pictures = Store(self.store.root, self.images).reader()
        for at in self.plan:
            rows = pictures.index.find(self.image_keys[at])
            numbers = np.unique(pictures.index.slab[rows[rows >= 0]]).tolist()
            slabs = tuple(pictures.slabs[number].folder for number in numbers)
            yield EmbedJob(self.store, self.images, slabs, self.keys[at], self.image_keys[at], self.rgb[at], encode)


def _fill(
    store: Store,
    plan: Plan,
    work: Callable[[Callable[[tuple[int, int]], None]], Sequence[RetriesExhausted]],
    progress: Progress,
) -> Filled:
    started, written, size = time.perf_counter(), 0, 0

    def done(result: tuple[int, int]) -> None:
        nonlocal written, size
        written, size = written + result[0], size + result[1]
        progress(result[0])

    given_up = []
    if plan.slabs:
        store.create()
        given_up = [f"slab {slab_id(one.job.keys)}: {one.reason}" for one in work(done)]
    seconds = time.perf_counter() - started
    return Filled(plan.wanted, plan.distinct, written, size, seconds, tuple(given_up))


def wanted_keys(blocks: Sequence[SeriesBlock]) -> Keys:
    """The keys of all series of all blocks, flat: [sum of N*V]."""
    return np.concatenate([block.keys.reshape(-1) for block in blocks])


def colours(shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """The colour of each series: fixed per variate. shape (N, V) -> [N,V,3]."""
    rgb = PALETTE[np.arange(shape[1]) % len(PALETTE)]
    return np.broadcast_to(rgb, (*shape, 3))
