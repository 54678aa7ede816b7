"""python -m benchmarks.budget: time of one picture by step, on one core, in a slab as a worker commits it."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from benchmarks.drawing import seasons
from cache import shard
from cache.fill import IMAGE_ROWS, STRIP
from cache.spec import image_spec
from cache.storage import RECORD
from cache.store import Store, row_digests
from model.encoders.encoder import load
from model.encoders.resolve import resolve
from pipeline.keys import series_keys
from pipeline.render import draw_vertices, vertices
from pipeline.style import Style


def main() -> None:
    """Print milliseconds per picture of each step, and the seconds until an encoder is ready."""
    style, (values, observed) = Style(), seasons(IMAGE_ROWS)
    spent: dict[str, float] = {}
    values, observed = np.ascontiguousarray(values[:, :18]), np.ascontiguousarray(observed[:, :18])
    series_keys(values, observed, style)  # compiles the kernels
    draw_vertices(vertices(values[:1], observed[:1], style), style, np.empty((1, style.size, style.size), np.uint8))
    with _clock(spent, "key"):
        keys = series_keys(values, observed, style)
    ink = np.empty((len(values), style.size, style.size), np.uint8)
    for start in range(0, len(values), STRIP):
        rows = slice(start, start + STRIP)
        with _clock(spent, "draw"):
            draw_vertices(vertices(values[rows], observed[rows], style), style, ink[rows])
        with _clock(spent, "compress"):
            shard.pack("images", ink[rows])
        with _clock(spent, "digest"):
            row_digests(ink[rows])
    spent |= _committing(style, keys, ink)
    for step, seconds in spent.items():
        print(f"{step:22} {1e3 * seconds / len(values):.5f} ms per picture")
    for engine in ("torch", "openvino"):
        started = time.perf_counter()
        load(resolve("efficientnet-lite0"), engine)
        print(f"efficientnet-lite0 is ready with {engine} after {time.perf_counter() - started:.1f} s")


def _committing(style: Style, keys: np.ndarray, ink: np.ndarray) -> dict[str, float]:
    """Seconds of the steps of the commit protocol, with those of fsync counted separately."""
    times, spent, real = list[tuple[str, float]](), dict[str, float](), os.fsync

    def synced(handle: int) -> None:
        with _clock(spent, "fsync"):
            real(handle)

    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as folder:
        store = Store(Path(folder), image_spec(style))
        store.create()
        os.fsync = synced  # type: ignore[assignment]
        try:
            store.write(keys, ink, lambda step: times.append((step, time.perf_counter())))
        finally:
            os.fsync = real
    begun = dict(times)
    spent["write"] = begun["read back"] - begun["create"] - spent["fsync"]
    spent["read back, compare"] = begun[RECORD] - begun["read back"]
    return spent


@contextmanager
def _clock(spent: dict[str, float], name: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    spent[name] = spent.get(name, 0.0) + time.perf_counter() - started


if __name__ == "__main__":
    main()
