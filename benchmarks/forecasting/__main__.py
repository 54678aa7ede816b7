"""The field's long-term forecasting benchmarks: this model beside neuralforecast's and naive forecasts.

    pip install -r requirements-benchmarks.txt                                   once, for the peers
    python -m benchmarks.forecasting                                             all of it: hours on two cores
    python -m benchmarks.forecasting --benchmarks ili --models PatchTST DLinear --seeds 1
    python -m benchmarks.forecasting --models                                    only write the page again

Finished results are kept in benchmarks/results/forecasting/ and not made again. The page is
docs/long-term-benchmarks.md.
"""

from __future__ import annotations

import resource
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from benchmarks.forecasting import cells, naive, ours, peers, table
from benchmarks.forecasting.cells import Cell
from benchmarks.forecasting.data import BENCHMARKS, SHARED, Series, errors
from pipeline.errors import InputError
from report.run import commit, hardware

MODELS = (*naive.NAIVE, *ours.SETUPS, *peers.PEERS)


@dataclass(frozen=True)
class Arguments:
    """Which results to make."""

    benchmarks: tuple[str, ...] = tuple(BENCHMARKS)
    """Data sets."""
    models: tuple[str, ...] = MODELS
    """Models; none: only write the page."""
    horizons: tuple[int, ...] = ()
    """Only these horizons; all of a data set by default."""
    seeds: int = 3
    """Seeds of each model that learns."""
    data: Path = SHARED
    """The folder that holds illness/ and ett/."""


def main() -> int:
    """Make what is missing, then write the page; returns the exit code."""
    args = tyro.cli(Arguments, description=__doc__)
    try:
        run(args)
    except InputError as error:
        print(f"benchmarks.forecasting: {error}", file=sys.stderr)
        return 2
    print(table.write())
    return 0


def run(args: Arguments) -> None:
    """Every cell that is asked for and not there yet."""
    refuse_unknown(args)
    identity = {"commit": commit(), "hardware": hardware()}  # before a result is written: that would mark the commit
    for name in args.benchmarks:
        series = BENCHMARKS[name].load(args.data)
        for model in args.models:
            for seed in range(1 if model in naive.NAIVE else args.seeds):
                for horizon in args.horizons or series.benchmark.horizons:
                    cell = Cell(name, horizon, model, seed)
                    if cell not in cells.read(name):  # read again: several of these may run at once
                        print(cells.append(cell, measure(cell, series) | identity), flush=True)


def refuse_unknown(args: Arguments) -> None:
    """Raises InputError for names that are none, and for peers that are not installed."""
    for given, allowed, what in ((args.benchmarks, tuple(BENCHMARKS), "benchmarks"), (args.models, MODELS, "models")):
        for one in given:
            if one not in allowed:
                raise InputError(f"--{what} {one} is not known; it must be one of {', '.join(allowed)}.")
    if set(args.models) & set(peers.PEERS):
        peers.refuse_if_absent()


def measure(cell: Cell, series: Series) -> dict[str, Any]:
    """One result: train, forecast every test window, score."""
    began, worked = time.perf_counter(), core_seconds()
    learned: dict[str, Any] = {"steps": 0, "stride": 1}
    if cell.model in naive.NAIVE:
        made = naive.NAIVE[cell.model](series, cell.horizon)
    elif cell.model in ours.SETUPS:
        made, told = ours.forecast(cell.model, series, cell.horizon, cell.seed)
        learned |= told
    else:
        found = peers.forecast(cell.model, series, cell.horizon, cell.seed)
        made, learned = found.values, learned | found.record()
    seconds = {"seconds": time.perf_counter() - began, "core_seconds": core_seconds() - worked}
    _, truth = series.windows("test", cell.horizon)
    counts = {f"n_{part}_windows": len(series.starts(part, cell.horizon)) for part in ("train", "valid", "test")}
    return errors(truth, made) | {name: round(value, 2) for name, value in seconds.items()} | counts | learned


def core_seconds() -> float:
    """Of this process and of those it waited for: other work on the machine disturbs them less than the clock's."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


if __name__ == "__main__":
    sys.exit(main())
