"""Reading and writing the store, compared with the usual libraries for it."""

from __future__ import annotations

import io
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorstore
import torch
import zarr
from PIL import Image

from cache.index import KeyIndex
from cache.plan import plan
from cache.spec import embedding_spec, image_spec
from cache.store import Reader, Store
from model.season_tensors import WindowTensors
from pipeline.keys import series_keys
from pipeline.render import draw
from pipeline.style import Style

SERIES, BATCH, REPEATS, DIM = 2048, 64, 20, 512


def measure() -> list[dict[str, Any]]:
    """Rows of name, value, unit, reference, reference_value, ratio (value over reference; above 1 is better)."""
    rng = np.random.default_rng(0)
    values = np.clip(0.5 + np.cumsum(rng.normal(0, 0.05, (SERIES, 36)), 1), 0, 1).astype(np.float32)
    observed = np.ones(values.shape, bool)
    style = Style()
    keys, ink = series_keys(values, observed, style), draw(values, observed, style)
    with tempfile.TemporaryDirectory() as folder:
        images = Store(Path(folder), image_spec(style))
        images.create()
        for start in range(0, SERIES, 1024):
            images.write(keys[start : start + 1024], ink[start : start + 1024])
        return [
            *_random_images(images, keys, rng),
            _random_vectors(Store(Path(folder), embedding_spec(style, {"name": "random", "dim": DIM})), keys, rng),
            _training_batches(rng),
            _bytes(images, ink[:200]),
            _planning(),
        ]


def _random_images(store: Store, keys: Any, rng: np.random.Generator) -> list[dict[str, Any]]:
    reader = store.reader()
    first = reader.slabs[0]
    array = zarr.open_array(first.path, mode="r")
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{first.path}/"}}
    other = tensorstore.open(spec, open=True).result()
    picks = [rng.integers(0, len(first.keys), BATCH) for _ in range(REPEATS)]
    ours = _rate(lambda rows: reader.read(first.keys[rows]), picks)
    by_zarr = _rate(lambda rows: array.oindex[rows], picks[:3])
    by_tensorstore = _rate(lambda rows: other[np.sort(rows)].read().result(), picks)
    name = f"{BATCH} random images of the store"
    return [
        _row(name, ours, "images/s", "zarr oindex", by_zarr),
        _row(name, ours, "images/s", "tensorstore", by_tensorstore),
    ]


def _random_vectors(store: Store, keys: Any, rng: np.random.Generator) -> dict[str, Any]:
    store.create()
    vectors = rng.normal(size=(len(keys), DIM)).astype(np.float16)
    store.write(keys, vectors)
    reader: Reader = store.reader()
    picks = [rng.integers(0, len(keys), 1024) for _ in range(REPEATS)]
    ours = _rate(lambda rows: reader.read(keys[rows]), picks)
    memory = _rate(lambda rows: vectors[rows], picks)
    return _row(
        "gather embeddings from the store by key, each checked", ours, "vectors/s", "numpy in memory, unchecked", memory
    )


def _training_batches(rng: np.random.Generator) -> dict[str, Any]:
    """Gather a training step's inputs from the trainer's tables: numbers, masks and embeddings of one window."""
    vectors = rng.normal(size=(2, 2048, 7, DIM)).astype(np.float16)
    values = rng.normal(size=(2048, 7, 18)).astype(np.float32)
    arrays = (values, values > 0, vectors[1])
    numbers, masks, pictures = map(torch.from_numpy, arrays)
    window = WindowTensors(numbers, masks, pictures)
    picks = [rng.integers(0, 2048, 256) for _ in range(REPEATS)]
    ours = _rate(lambda rows: window.rows(torch.from_numpy(rows)), picks)
    memory = _rate(lambda rows: [array[rows] for array in arrays], picks)
    return _row("gather a training batch", ours, "samples/s", "numpy in memory", memory)


def _bytes(store: Store, ink: Any) -> dict[str, Any]:
    slabs = store.slabs()
    ours = sum(slab.commit.data_bytes for slab in slabs) / sum(slab.commit.rows for slab in slabs)
    sizes = []
    for plane in ink:
        buffer = io.BytesIO()
        Image.fromarray(plane).save(buffer, "PNG")
        sizes.append(buffer.tell())
    return _row("bytes an image", ours, "bytes", "PNG of the same plane", float(np.mean(sizes)))


def _planning(series: int = 1_000_000) -> dict[str, Any]:
    keys = np.random.default_rng(1).integers(0, 2**63, (series, 2), np.uint64).view("V16").reshape(-1)
    index = KeyIndex.build([keys[i : i + 1024] for i in range(0, series, 1024)])
    started = time.perf_counter()
    assert plan(keys, index, 1024).reused == series
    rate = series / (time.perf_counter() - started)
    present = {key.tobytes() for key in keys}
    started = time.perf_counter()
    assert all(key.tobytes() in present for key in keys)
    return _row(
        "plan, everything cached", rate, "series/s", "Python set of bytes", series / (time.perf_counter() - started)
    )


def _rate(read: Callable[[Any], Any], picks: list[Any]) -> float:
    read(picks[0])  # opens files and caches pages, so that both sides are warm
    started = time.perf_counter()
    for rows in picks:
        read(rows)
    return sum(len(rows) for rows in picks) / (time.perf_counter() - started)


def _row(name: str, value: float, unit: str, reference: str, reference_value: float) -> dict[str, Any]:
    ratio = value / reference_value
    return {"name": name, "value": value, "unit": unit, "reference": reference, "reference_value": reference_value,
            "ratio": ratio}  # fmt: skip


if __name__ == "__main__":
    for line in measure():
        print(line)
