"""Series of random numbers, and a cache that holds their pictures."""

import numpy as np

from cache.fill import ImageWork
from cache.workers import Pool
from pipeline.keys import series_keys
from pipeline.series import SeriesBlock
from pipeline.style import Style
from pipeline.windows import Window

STYLE = Style(size=32)


def block(samples=40, variates=3, steps=9, seed=0, name="first-half"):
    rng = np.random.default_rng(seed)
    values = rng.random((samples, variates, steps), np.float32)
    observed = rng.random(values.shape) > 0.2
    keys = series_keys(values.reshape(-1, steps), observed.reshape(-1, steps), STYLE).reshape(samples, variates)
    return SeriesBlock(Window(name, 0, steps, steps), values, observed, keys)


def fill(root, blocks, workers=1, backend="sequential", slab_rows=16):
    work = ImageWork.of(root, STYLE, blocks, slab_rows)
    return work, work.run(Pool(workers, backend), lambda rows: None)


def some_keys(n, seed=0):
    return np.random.default_rng(seed).integers(0, 2**63, (n, 2), np.uint64).view("V16").reshape(-1)


def some_rows(spec, n, seed=0):
    rng = np.random.default_rng(seed)
    if spec.kind == "images":
        return (rng.random((n, *spec.shape)) < 0.02).astype(np.uint8) * 255
    return rng.normal(size=(n, *spec.shape)).astype(np.float16)
