"""Estimate the time and size of a run, from the rates of earlier runs or a trial of a few rows. Writes nothing."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cache import shard
from cache.fill import EmbeddingWork, Encode, ImageWork
from cache.store import ROW, row_digests
from pipeline.render import draw

TRIAL_ROWS = 32  # two batches of the encoder: one for each core of a small machine
WORKER_START = 1.2  # core seconds until a worker draws, to load numpy and the compiled kernel (benchmarks)


class Cost(NamedTuple):
    """Cost of one row of a stage."""

    seconds: float
    bytes: float


@dataclass(frozen=True)
class Estimate:
    """Seconds to draw and to embed the missing rows, and their bytes."""

    draw: float
    embed: float
    bytes: float

    def __str__(self) -> str:
        draw, embed = round(self.draw), round(self.embed)  # the sum is that of the numbers shown
        return f"{draw + embed} s (draw {draw}, embed {embed}) and {self.bytes / 1e6:.1f} MB"


def estimate(
    images: ImageWork, vectors: EmbeddingWork | None, encode: Encode | None, workers: int, known: Mapping[str, Cost]
) -> Estimate:
    """The estimate from the measured costs of `draw` and `embed` in earlier runs, if they cover the missing rows.

    Otherwise this draws, packs and embeds a few of the missing rows, spread over the plan, on this machine.
    """
    if is_known(images, vectors, known):
        return _by_history(images, vectors, known)
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
    encode(ink, rgb)  # the first call also loads the encoder, so it is not timed
    started = time.perf_counter()
    encode(ink, rgb)
    each = (time.perf_counter() - started) / TRIAL_ROWS
    return Estimate(seconds, each * todo, total + todo * (2 * dim + ROW.itemsize))


def is_known(images: ImageWork, vectors: EmbeddingWork | None, known: Mapping[str, Cost]) -> bool:
    """Whether the cost of every stage with missing rows is known, so that no trial is needed."""
    return all(name in known for name, rows in _missing(images, vectors).items() if rows)


def _by_history(images: ImageWork, vectors: EmbeddingWork | None, known: Mapping[str, Cost]) -> Estimate:
    work = {name: (rows, known[name]) for name, rows in _missing(images, vectors).items() if rows}
    seconds = {name: rows * cost.seconds for name, (rows, cost) in work.items()}
    size = sum(rows * cost.bytes for rows, cost in work.values())
    return Estimate(seconds.get("draw", 0.0), seconds.get("embed", 0.0), size)


def _missing(images: ImageWork, vectors: EmbeddingWork | None) -> dict[str, int]:
    return {"draw": len(images.plan.missing), "embed": len(vectors.plan.missing) if vectors else 0}


def _trial_drawing(images: ImageWork) -> tuple[NDArray[np.uint8], float, float]:
    """Pictures [n,H,W], and the seconds and bytes per picture, drawn, packed and digested as in a worker."""
    rows = images.plan.missing if len(images.plan.missing) else np.arange(min(images.plan.wanted, TRIAL_ROWS))
    some = np.sort(rows[np.unique(np.linspace(0, len(rows) - 1, TRIAL_ROWS).astype(int))])
    parts = images.series(some)
    for values, observed in parts:
        draw(values[:1], observed[:1], images.style)  # load the kernel first
    started = time.perf_counter()
    ink = np.concatenate([draw(values, observed, images.style) for values, observed in parts])
    data = shard.data_file("images", shard.pack("images", ink))
    row_digests(ink)
    return ink, (time.perf_counter() - started) / len(ink), len(data) / len(ink)
