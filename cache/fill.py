"""Fill the cache: draw the missing pictures in worker processes, then embed the missing vectors in this one.

The unit of work is one idempotent call that ends in one committed slab, so a run can stop anywhere and go on.
Workers import neither torch nor zarr; this module does not either: the encoder is a function it is given.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from numpy.typing import NDArray

from cache.index import Keys
from cache.plan import SLAB_ROWS, Plan, plan
from cache.spec import Spec, image_spec
from cache.store import Store
from pipeline.keys import colour_keys
from pipeline.render import PALETTE, Style, draw
from pipeline.series import SeriesBlock

Encode = Callable[[NDArray[np.uint8], NDArray[np.uint8]], NDArray[np.float16]]  # ink [n,H,W], rgb [n,3] -> [n,D]
Progress = Callable[[int], None]  # told the number of rows each time a slab is committed


@dataclass(frozen=True)
class Filled:
    """What one stage did."""

    wanted: int
    distinct: int
    written: int
    bytes: int
    seconds: float

    @property
    def reused(self) -> int:
        """Distinct rows that were there already."""
        return self.distinct - self.written


@dataclass(frozen=True, eq=False)
class ImageWork:
    """The pictures that blocks of series need, and which of them are missing."""

    store: Store
    style: Style
    blocks: Sequence[SeriesBlock]
    plan: Plan

    @staticmethod
    def of(root: Path, style: Style, blocks: Sequence[SeriesBlock], slab_rows: int = SLAB_ROWS) -> ImageWork:
        """Reads the cache, writes nothing."""
        store = Store(root, image_spec(style))
        return ImageWork(store, style, blocks, plan(wanted_keys(blocks), store.reader().index, slab_rows))

    def run(self, workers: int, backend: str, progress: Progress) -> Filled:
        """Draw and commit every missing slab with `workers` processes, never more than there are slabs."""
        started, written, size = time.perf_counter(), 0, 0
        if self.plan.slabs:
            self.store.create()
            with joblib.parallel_config(backend=backend):
                pool = joblib.Parallel(
                    n_jobs=min(workers, self.plan.slabs), return_as="generator_unordered", pre_dispatch="2*n_jobs"
                )
                for rows, data_bytes in pool(joblib.delayed(draw_slab)(*job) for job in self._jobs()):
                    written, size = written + rows, size + data_bytes
                    progress(rows)
        return Filled(self.plan.wanted, self.plan.distinct, written, size, time.perf_counter() - started)

    def _jobs(self) -> Any:
        keys = wanted_keys(self.blocks)
        starts = np.cumsum([0, *(block.keys.size for block in self.blocks)])
        for positions in self.plan:
            block_of = np.searchsorted(starts, positions, side="right") - 1
            parts = []
            for number in np.unique(block_of):
                rows = np.flatnonzero(block_of == number)
                parts.append((rows, *self.blocks[number].select(positions[rows] - starts[number])))
            yield self.store, self.style, keys[positions], parts


def draw_slab(
    store: Store,
    style: Style,
    keys: Keys,
    parts: list[tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.bool_]]],
) -> tuple[int, int]:
    """Draw and commit one slab; runs in a worker. Returns rows and bytes written.

    keys [n]; each part: rows [k] of the slab, values [k,W] and observed [k,W] of series of one length.
    """
    ink = np.empty((len(keys), style.size, style.size), np.uint8)
    for rows, values, observed in parts:
        ink[rows] = draw(values, observed, style)
    return len(keys), store.write(keys, ink)


@dataclass(frozen=True, eq=False)
class EmbeddingWork:
    """The vectors that blocks of series need, and which of them are missing. The pictures must be there."""

    store: Store
    images: Spec
    image_keys: Keys  # [n]
    rgb: NDArray[np.uint8]  # [n,3]
    keys: Keys  # [n], of (picture, colour)
    plan: Plan

    @staticmethod
    def of(
        root: Path, style: Style, spec: Spec, blocks: Sequence[SeriesBlock], slab_rows: int = SLAB_ROWS
    ) -> EmbeddingWork:
        """Reads the cache, writes nothing."""
        store = Store(root, spec)
        rgb = np.concatenate([colours(block.keys.shape) for block in blocks]).reshape(-1, 3)
        image_keys = wanted_keys(blocks)
        keys = colour_keys(image_keys, rgb)
        return EmbeddingWork(
            store, image_spec(style), image_keys, rgb, keys, plan(keys, store.reader().index, slab_rows)
        )

    def run(self, load: Callable[[], Encode], progress: Progress) -> Filled:
        """Embed and commit every missing slab; `load` is called only when something is missing."""
        started, written, size = time.perf_counter(), 0, 0
        if self.plan.slabs:
            self.store.create()
            images, encode = Store(self.store.root, self.images).reader(), load()
            for positions in self.plan:
                vectors = encode(images.read(self.image_keys[positions]), self.rgb[positions])
                size += self.store.write(self.keys[positions], vectors)
                written += len(positions)
                progress(len(positions))
        return Filled(self.plan.wanted, self.plan.distinct, written, size, time.perf_counter() - started)


def wanted_keys(blocks: Sequence[SeriesBlock]) -> Keys:
    """The keys of all series of all blocks, flat: [sum of N*V]."""
    return np.concatenate([block.keys.reshape(-1) for block in blocks])


def colours(shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """The colour of each series: fixed per variate. shape (N, V) -> [N,V,3]."""
    rgb = PALETTE[np.arange(shape[1]) % len(PALETTE)]
    return np.broadcast_to(rgb, (*shape, 3))
