"""Benchmark series, cut into windows as in the Time-Series-Library.

Rows are split in order of time. Scaling is fitted on the training rows alone. A window of the validation or test part
may look back into the part before it, but all its forecast steps lie in its own part. Every window counts.

Dimensions: R rows, V variates, N windows, L steps of look-back, H steps of forecast.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import pandas as pd
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from pipeline.errors import InputError

PartName = Literal["train", "valid", "test"]
PARTS: tuple[PartName, ...] = get_args(PartName)
SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Benchmark:
    """One data set and the field's usual settings for it."""

    name: str
    file: str
    """Path below the data folder; the first column is the date, then V variates."""
    look_back: int
    """L."""
    horizons: tuple[int, ...]
    """H of each task."""
    period: int
    """Steps per season, for the seasonal naive forecast."""
    rows: tuple[int, int, int] | None = None
    """Rows to train, validate and test on; None: 0.7, 0.1 and 0.2 of all rows."""

    def load(self, folder: Path = SHARED) -> Series:
        """Read the series. Raises InputError if the file is missing or has too few rows."""
        path = folder / self.file
        if not path.is_file():
            raise InputError(f"{path} does not exist; `--data FOLDER` names the folder that contains {self.file}.")
        table = pd.read_csv(path).iloc[:, 1:]
        train, valid, test = self.rows or shares(len(table))
        if len(table) < train + valid + test:
            raise InputError(f"{path} has {len(table)} rows, but {train + valid + test} are needed.")
        values = table.to_numpy(np.float64)[: train + valid + test]
        mean, std = values[:train].mean(0), values[:train].std(0)
        return Series(self, tuple(map(str, table.columns)), (values - mean) / std, (train, valid, test))


def shares(rows: int) -> tuple[int, int, int]:
    """Rows to train, validate and test on, for a data set without fixed borders: 0.7, the rest, 0.2."""
    train, test = int(rows * 0.7), int(rows * 0.2)
    return train, rows - train - test, test


@dataclass(frozen=True, eq=False)
class Series:
    """values [R,V], standardised by the mean and standard deviation of the training rows."""

    benchmark: Benchmark
    variates: tuple[str, ...]
    values: Numbers
    rows: tuple[int, int, int]

    def borders(self, part: PartName) -> tuple[int, int]:
        """First row (included) and last row (excluded) of the windows of a part."""
        at = PARTS.index(part)
        first = sum(self.rows[:at])
        return first - (self.benchmark.look_back if at else 0), first + self.rows[at]

    def starts(self, part: PartName, horizon: int) -> NDArray[np.int64]:
        """The first row of every window [N] of a part."""
        start, stop = self.borders(part)
        return np.arange(start, stop - self.benchmark.look_back - horizon + 1)

    def windows(self, part: PartName, horizon: int) -> tuple[Numbers, Numbers]:
        """Look-back [N,V,L] and the following steps [N,V,H] of every window of a part, in order of time."""
        length = self.benchmark.look_back + horizon
        both = sliding_window_view(self.values, length, axis=0)[self.starts(part, horizon)]
        return both[..., : self.benchmark.look_back], both[..., self.benchmark.look_back :]


BENCHMARKS = {
    "ili": Benchmark("ili", "illness/national_illness.csv", look_back=36, horizons=(24, 36, 48, 60), period=52),
    "etth1": Benchmark("etth1", "ett/ETTh1.csv", look_back=96, horizons=(96,), period=24, rows=(8640, 2880, 2880)),
}


def errors(truth: Numbers, forecast: Numbers) -> dict[str, float]:
    """mse and mae over all windows, variates and steps [N,V,H], for every model of the table.

    Raises ValueError for shapes that differ, empty arrays, and numbers that are not finite.
    """
    if truth.shape != forecast.shape or truth.size == 0:
        raise ValueError(f"truth {truth.shape} and forecast {forecast.shape} must be equal in shape and not empty")
    if not (np.isfinite(truth).all() and np.isfinite(forecast).all()):
        raise ValueError("truth or forecast holds values that are not finite")
    error = forecast.astype(np.float64) - truth
    return {"mse": float(np.mean(error**2)), "mae": float(np.mean(np.abs(error)))}
