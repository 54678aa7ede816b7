"""What a run will take, from a trial of a few rows: nothing is written."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cache import shard
from cache.fill import EmbeddingWork, Encode, ImageWork
from cache.store import ROW, row_digests
from pipeline.render import draw

TRIAL_ROWS = 32  # two batches of the encoder
WORKER_START = 1.2  # core seconds until a worker draws: numpy and the compiled kernel are loaded (benchmarks)


@dataclass(frozen=True)
class Estimate:
    """Seconds of drawing and of embedding, and bytes, of what is missing."""

    draw: float
    embed: float
    bytes: float

    def __str__(self) -> str:
        parts = f"draw {self.draw:.0f}, embed {self.embed:.0f}"
        return f"{self.draw + self.embed:.0f} s ({parts}) and {self.bytes / 1e6:.1f} MB"


def estimate(images: ImageWork, vectors: EmbeddingWork | None, encode: Encode | None, workers: int) -> Estimate:
    """Draw, pack and embed a few of the missing rows, spread over the plan, on this machine."""
    ink, drawing, size = _trial_drawing(images)
    processes, missing = images.processes(workers), len(images.plan.missing)
    cores = min(processes, len(os.sched_getaffinity(0)))
    start = WORKER_START * processes / cores if processes > 1 else 0.0
    seconds, total = start + drawing * missing / cores, missing * (size + ROW.itemsize)
    if not vectors or not encode or not len(vectors.plan.missing):
        return Estimate(seconds, 0.0, total)
    todo, (dim,) = len(vectors.plan.missing), vectors.store.spec.shape
    ink = np.resize(ink, (TRIAL_ROWS, *ink.shape[1:]))
    rgb = vectors.rgb[vectors.plan.missing[np.linspace(0, todo - 1, TRIAL_ROWS).astype(int)]]
    encode(ink[:16], rgb[:16])  # the first call loads the encoder and is no measure of the others
    started = time.perf_counter()
    encode(ink, rgb)
    each = (time.perf_counter() - started) / TRIAL_ROWS
    return Estimate(seconds, each * todo, total + todo * (2 * dim + ROW.itemsize))


def _trial_drawing(images: ImageWork) -> tuple[NDArray[np.uint8], float, float]:
    """Pictures [n,H,W], and the seconds and bytes of one: drawn, packed and digested as a worker does it."""
    rows = images.plan.missing if len(images.plan.missing) else np.arange(min(images.plan.wanted, TRIAL_ROWS))
    some = np.sort(rows[np.unique(np.linspace(0, len(rows) - 1, TRIAL_ROWS).astype(int))])
    parts = images.series(some)
    for values, observed in parts:
        draw(values[:1], observed[:1], images.style)  # the kernel is loaded
    started = time.perf_counter()
    ink = np.concatenate([draw(values, observed, images.style) for values, observed in parts])
    data = shard.data_file("images", shard.pack("images", ink))
    row_digests(ink)
    return ink, (time.perf_counter() - started) / len(ink), len(data) / len(ink)
