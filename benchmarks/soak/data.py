"""Synthetic series and tables for `make soak`, equal in every process, so that any row can be drawn again."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.keys import series_keys
from pipeline.series import SeriesBlock
from pipeline.style import Style
from pipeline.windows import Window

STEPS, VARIATES, YEARS = 36, 7, (2019, 2020, 2021, 2022)


def block(count: int, style: Style, seed: int = 0) -> SeriesBlock:
    """Random walks with a tenth of the steps clouded: `count` series of one variate and one window."""
    rng = np.random.default_rng(seed)
    values = np.clip(0.5 + np.cumsum(rng.normal(0, 0.05, (count, STEPS)), 1), 0, 1).astype(np.float32)
    observed = rng.random(values.shape) >= 0.1
    keys = series_keys(values, observed, style).reshape(-1, 1)
    return SeriesBlock(Window("season", 0, STEPS, STEPS), values[:, None], observed[:, None], keys)


def write_table(folder: Path, samples: int, seed: int = 0) -> Path:
    """A wide Parquet table without a card, one file per year, with `samples` samples of 14 pictures each."""
    import pandas as pd  # imported here, so that watched and killed processes do not load it

    folder.mkdir(parents=True)
    names = [f"b{variate}_{step:02d}" for variate in range(VARIATES) for step in range(STEPS)]
    for number, year in enumerate(YEARS):
        count = len(range(number, samples, len(YEARS)))
        drawn = block(count * VARIATES, Style(), seed * len(YEARS) + number)
        values = np.where(drawn.observed, drawn.values, np.nan).reshape(count, VARIATES * STEPS)
        frame = pd.DataFrame(values, columns=names)
        frame.insert(0, "field", [f"f{i}" for i in range(count)])
        frame[f"y{year}"] = 5.0
        frame.to_parquet(folder / f"{year}.parquet")
    return folder
