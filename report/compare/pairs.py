"""The test rows that runs share, and what differs in their flags."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.errors import InputError
from report.run import RunFolder

DATED = r"(?<![^/])\d{8}-\d{6}-stage\d-"  # the start of the name of a run
SAME = 1e-6  # relative difference up to which two yields are the same
FACTS = ("data_fingerprint", "encoder", "cache_spec", "commit", "version", "hardware", "n_train", "n_test")


@dataclass(frozen=True, eq=False)
class ComparedRun:
    """A run of the comparison: its short name, folder, result.json, config.json and test rows."""

    name: str
    run: RunFolder
    result: Mapping[str, Any]
    config: Mapping[str, Any]
    test: pd.DataFrame


@dataclass(frozen=True)
class Pair:
    """The error of `first` minus that of `second` on the rows that both tested.

    interval: 95 %, from resampling `over`; None if they are too few.
    """

    first: str
    second: str
    n: int
    over: str
    difference: float
    interval: tuple[float, float] | None

    @property
    def clear(self) -> bool:
        """Whether the interval excludes zero."""
        return self.interval is not None and (self.interval[0] > 0 or self.interval[1] < 0)


def open_runs(paths: Sequence[Path]) -> list[ComparedRun]:
    """The runs of some folders. Raises InputError if fewer than two are given, or if their stages differ."""
    if len(paths) < 2 or len({path.resolve() for path in paths}) < len(paths):
        raise InputError("Name two or more different run folders to compare, as in runs/a runs/b.")
    runs = [RunFolder.open(path) for path in paths]
    compared = []
    for name, run in zip(short_names([path.resolve() for path in paths]), runs, strict=True):
        test = run.read_predictions().query("split == 'test'")
        compared.append(ComparedRun(name, run, run.read_json("result.json"), run.read_json("config.json"), test))
    kinds = {one.result["stage"] == 1 for one in compared}
    if len(kinds) > 1:
        which = ", ".join(f"{one.run.path} (stage {one.result['stage']})" for one in compared)
        raise InputError(f"Stage 1 completes seasons and stages 2 and 3 forecast yields, so {which} share no error. "
                         "Compare runs of stage 1, or runs of stages 2 and 3.")  # fmt: skip
    return compared


def short_names(paths: Sequence[Path]) -> list[str]:
    """The last parts of some paths, as few as distinguish them. Names that train.py gives lose their date."""
    for depth in range(1, max(len(path.parts) for path in paths) + 1):
        names = ["/".join(path.parts[-depth:]) for path in paths]
        if len(set(names)) == len(names):
            short = [re.sub(DATED, "", name) for name in names]
            return short if len(set(short)) == len(short) else names
    raise AssertionError("paths are distinct")


def key_of(stage: int) -> list[str]:
    """The columns that name a test row."""
    return ["sample_id"] if stage > 1 else ["sample_id", "variate", "step"]


def shared_rows(runs: Sequence[ComparedRun]) -> pd.DataFrame:
    """The rows that all runs tested: the columns of the first run, and `pred_0`, `pred_1`, ... of each.

    Raises InputError if there are none, or if the runs have different truths for one row.
    """
    key = key_of(runs[0].result["stage"])
    tables = []
    for number, one in enumerate(runs):
        rows = one.test
        if rows.duplicated(key).any():  # a row that several folds tested
            rows = rows.groupby(key, as_index=False, sort=False).agg(
                {name: "mean" if name == "y_pred" else "first" for name in rows.columns if name not in key}
            )
        renamed = rows.rename(columns={"y_pred": f"pred_{number}", "y_true": f"true_{number}"})
        tables.append(renamed if number == 0 else renamed[[*key, f"pred_{number}", f"true_{number}"]])
    shared = reduce(lambda left, right: left.merge(right, on=key), tables)
    names = ", ".join(one.name for one in runs)
    if shared.empty:
        raise InputError(f"{names}: no test sample is in all of these runs, so there is nothing to compare. Train them "
                         "on the same data with the same --split.")  # fmt: skip
    for number in range(1, len(runs)):
        other, truth = shared[f"true_{number}"], shared["true_0"]
        if (wrong := (other - truth).abs() > SAME * truth.abs().clip(lower=1)).any():
            row = shared[wrong].iloc[0]
            raise InputError(
                f"{runs[0].name} and {runs[number].name} disagree about {row['sample_id']}: observed "
                f"{row['true_0']:.4f} and {row[f'true_{number}']:.4f}. They were trained on different data."
            )
    return shared.rename(columns={"true_0": "y_true"}).sort_values(key, ignore_index=True)


def errors_of(shared: pd.DataFrame, runs: int) -> NDArray[np.float64]:
    """Errors [runs, n] of the shared rows: t/ha, or in stage 1 in units of the variate's observed range."""
    errors = np.stack([(shared[f"pred_{number}"] - shared["y_true"]).to_numpy(np.float64) for number in range(runs)])
    if "variate" not in shared:
        return errors
    ranges = shared.groupby("variate")["y_true"].agg(lambda truth: max(truth.max() - truth.min(), 1e-12))
    shares: NDArray[np.float64] = errors / shared["variate"].map(ranges).to_numpy(np.float64)
    return shares


def differing_flags(runs: Sequence[ComparedRun]) -> list[tuple[str, list[str]]]:
    """(name, value of each run) of every flag and fact that is not the same in all runs."""
    flags = [_flat(one.config) for one in runs]
    names = dict.fromkeys(name for one in flags for name in one)
    found = {f"--{name.replace('_', '-')}": [_text(one.get(name)) for one in flags] for name in names}
    found |= {name.replace("_", " "): [_text(one.result.get(name)) for one in runs] for name in FACTS}
    return [(name, values) for name, values in found.items() if len(set(values)) > 1]


def _flat(config: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in config.items():
        flat |= _flat(value, f"{before}{name}.") if isinstance(value, dict) else {before + name: value}
    return flat


def _text(value: Any) -> str:
    return "not set" if value is None else str(value)
