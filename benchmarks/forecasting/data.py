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
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from benchmarks.forecasting.csv_file import Table, read_csv
from pipeline.errors import InputError

PartName = Literal["train", "valid", "test"]
PARTS: tuple[PartName, ...] = get_args(PartName)
SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Benchmark:
    """One data set and the settings of its tasks."""

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
        """Read the series. Raises InputError if the file is missing, damaged or too short for a window of each task."""
        path = folder / self.file
        if not path.is_file():
            raise InputError(f"{path} does not exist; `--data FOLDER` names the folder that contains {self.file}.")
        return self.of(read_csv(path), path)

    def of(self, table: Table, path: Path) -> Series:
        """The standardised series of a table that was read from `path`; raises InputError as `load` does."""
        train, valid, test = self.rows or shares(len(table.values))
        if len(table.values) < train + valid + test:
            raise InputError(f"{path} has {len(table.values)} rows, but {train + valid + test} are needed.")
        self.refuse_short(path, (train, valid, test))
        values = table.values[: train + valid + test]
        mean, std = values[:train].mean(0), values[:train].std(0)
        if (std == 0).any():
            constant = table.variates[int(np.argmin(std))]
            raise InputError(
                f"{path}, column {constant!r}: all {train} training rows are {mean[np.argmin(std)]:g}, so they have no "
                "scale. Remove this column."
            )
        return Series(self, table.variates, (values - mean) / std, (train, valid, test), table.digest)

    def refuse_short(self, path: Path, rows: tuple[int, int, int]) -> None:
        """Raise InputError if a part has no window of the longest horizon, or no season before the test part."""
        horizon = max(self.horizons)
        for part, have in zip(PARTS, rows, strict=True):
            need = horizon + (self.look_back if part == "train" else 0)
            if have < need:
                raise InputError(
                    f"{path}: the {part} part has {have} rows of {sum(rows)}, but a window of {self.look_back} and "
                    f"{horizon} steps needs {need}. Choose shorter --horizons or a shorter --lookback."
                )
        if sum(rows[:2]) < max(self.period, self.look_back):
            raise InputError(
                f"{path}: {sum(rows[:2])} rows before the test part are less than a season of {self.period} steps or "
                f"the look-back of {self.look_back}."
            )


def shares(rows: int) -> tuple[int, int, int]:
    """Rows to train, validate and test on, for a data set without fixed borders: 0.7, the rest, 0.2."""
    train, test = int(rows * 0.7), int(rows * 0.2)
    return train, rows - train - test, test


@dataclass(frozen=True, eq=False)
class Series:
    """values [R,V], standardised by the mean and standard deviation of the training rows.

    digest: of the file, so that results of another file with the same name are noticed.
    """

    benchmark: Benchmark
    variates: tuple[str, ...]
    values: Numbers
    rows: tuple[int, int, int]
    digest: str

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
HOURLY = (8640, 2880, 2880)  # 12, 4 and 4 months of 30 days
BORDERS = {
    "etth1": HOURLY,
    "etth2": HOURLY,
    "ettm1": (34560, 11520, 11520),
    "ettm2": (34560, 11520, 11520),
}  # the months of the ETT files, in rows, as in the Time-Series-Library
LOOK_BACK, HORIZONS = 96, (96, 192, 336, 720)  # the field's usual settings
PERIODS = ((3600, 24), (86400, 7), (7 * 86400, 52), (31 * 86400, 12), (92 * 86400, 4))  # step up to s -> steps a season


def of_file(path: Path) -> tuple[Benchmark, Table]:
    """The benchmark that a CSV is named after, and its content. Raises InputError for a file that cannot be read.

    A file that BENCHMARKS names has the settings given there, the other ETT files their months, any other file 0.7, 0.1
    and 0.2 of its rows. The season of a new file follows from the step of its dates.
    """
    table = read_csv(path)
    name = path.stem.lower()
    known = {Path(one.file).stem.lower(): one for one in BENCHMARKS.values()}
    if name in known:
        return known[name], table
    return Benchmark(name, path.name, LOOK_BACK, HORIZONS, season(table.step), BORDERS.get(name)), table


def season(step: float) -> int:
    """Steps per season of a series with a step of so many seconds: a day for hours, a week for days, and so on."""
    if step < 3600:
        return round(86400 / step)
    return next((period for longest, period in PERIODS if step <= longest), 1)
