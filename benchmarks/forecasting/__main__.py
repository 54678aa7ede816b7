"""Long-term forecasting benchmarks of the field: this model against neuralforecast's models and naive forecasts.

    pip install -r requirements-benchmarks.txt                                   once, for the peers
    python -m benchmarks.forecasting                                             all of it: hours on two cores
    python -m benchmarks.forecasting --benchmarks ili --models PatchTST DLinear --seeds 1
    python -m benchmarks.forecasting --benchmarks ili --lookback 104             another look-back
    python -m benchmarks.forecasting --csv ETTh2.csv exchange_rate.csv           other files of the same form
    python -m benchmarks.forecasting --models                                    write the page again, and nothing else

A file for --csv has the column `date`, then one column per variate. Its name decides the parts: ETTh1, ETTh2, ETTm1 and
ETTm2 have their own months, other files .7, .1 and .2 of the rows. The tasks are 96 steps to 96, 192, 336 and 720.

Finished results are kept in benchmarks/results/forecasting/ and not made again. The page is
docs/long-term-benchmarks.md.
"""

from __future__ import annotations

import resource
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.forecasting import cells, naive, ours, peers, table
from benchmarks.forecasting.cells import Cell
from benchmarks.forecasting.data import BENCHMARKS, SHARED, Series, of_file
from benchmarks.forecasting.scores import errors
from pipeline.errors import InputError
from pipeline.parser import parse_flags
from report.run import commit, hardware

MODELS = (*naive.NAIVE, *ours.SETUPS, *peers.PEERS)


@dataclass(frozen=True)
class Arguments:
    """The results to make."""

    benchmarks: tuple[str, ...] = ()
    """Data sets: ili, etth1. By default both, unless --csv is given."""
    csv: tuple[Path, ...] = ()
    """Other files of the same form."""
    models: tuple[str, ...] = MODELS
    """Models; none: only write the page."""
    horizons: tuple[int, ...] = ()
    """Only these horizons; by default all of a data set."""
    lookback: int | None = None
    """Steps that the models read; by default 36 on ILI and 96 elsewhere."""
    seeds: int = 3
    """Seeds per trained model."""
    data: Path = SHARED
    """The folder that contains illness/ and ett/."""


def main() -> int:
    """Make the missing results, then write the page. Returns the exit code."""
    args = parse_flags(Arguments, None, __doc__, "benchmarks.forecasting")
    try:
        run(args)
    except InputError as error:
        print(f"benchmarks.forecasting: {error}", file=sys.stderr)
        return 2
    print(table.write())
    return 0


def run(args: Arguments) -> None:
    """Make every requested result that is missing."""
    refuse_unknown(args)
    identity = {
        "commit": commit(),
        "hardware": hardware(),
    }  # read first, because a written result would mark the commit
    for series in [load(name, args) for name in wanted(args)]:
        task = series.benchmark
        refuse_another_file(series)
        for model in args.models:
            if not ours.fits(model, task):
                print(f"{model}: its initial weights do not fit a look-back of {task.look_back} steps; left out")
                continue
            once = model in naive.NAIVE or "mean of" in model
            for seed in range(1 if once else args.seeds):
                for horizon in task.horizons:
                    cell = Cell(task.name, task.look_back, horizon, model, seed)
                    if cell not in cells.read(task.name):  # read again, as several of these may run at once
                        print(cells.append(cell, measure(cell, series) | identity), flush=True)


def wanted(args: Arguments) -> tuple[str | Path, ...]:
    """Names of benchmarks, and paths of CSV files."""
    return (*(args.benchmarks or (() if args.csv else tuple(BENCHMARKS))), *args.csv)


def load(named: str | Path, args: Arguments) -> Series:
    """The series of a benchmark's name or of a CSV, with look-back and horizons of the flags."""
    benchmark, read = (BENCHMARKS[named], None) if isinstance(named, str) else of_file(named)
    benchmark = replace(
        benchmark, look_back=args.lookback or benchmark.look_back, horizons=args.horizons or benchmark.horizons
    )
    return benchmark.load(args.data) if read is None else benchmark.of(read, Path(named))


def refuse_another_file(series: Series) -> None:
    """Raise InputError if results of another file with the same name are kept."""
    for cell, row in cells.read(series.benchmark.name).items():
        if row.get("file_digest", series.digest) != series.digest:
            raise InputError(
                f"benchmarks/results/forecasting/{cell.data}.jsonl holds results of another file named {cell.data}. "
                "Rename your file, or remove those results."
            )


def refuse_unknown(args: Arguments) -> None:
    """Raise InputError for unknown names, numbers below 1, and peers that are not installed."""
    for given, allowed, what in ((args.benchmarks, tuple(BENCHMARKS), "benchmarks"), (args.models, MODELS, "models")):
        for one in given:
            if one not in allowed:
                raise InputError(f"--{what} {one} is not known; it must be one of {', '.join(allowed)}.")
    for name, number in (("lookback", args.lookback), ("seeds", args.seeds), *(("horizons", h) for h in args.horizons)):
        if number is not None and number < 1:
            raise InputError(f"--{name} is {number}; it must be at least 1.")
    if set(args.models) & set(peers.PEERS):
        peers.refuse_if_absent()


def measure(cell: Cell, series: Series) -> dict[str, Any]:
    """One result: train, forecast every test window, score."""
    began, worked = time.perf_counter(), core_seconds()
    learned: dict[str, Any] = {"steps": 0, "stride": 1}
    if cell.model in naive.NAIVE:
        made = naive.NAIVE[cell.model](series, cell.horizon)
    elif cell.model in ours.SETUPS:
        made, record = ours.forecast(cell.model, series, cell.horizon, cell.seed)
        learned |= record
    else:
        peer = peers.forecast(cell.model, series, cell.horizon, cell.seed)
        made, learned = peer.values, learned | peer.record()
    seconds = {"seconds": time.perf_counter() - began, "core_seconds": core_seconds() - worked}
    _, truth = series.windows("test", cell.horizon)
    counts = {f"n_{part}_windows": len(series.starts(part, cell.horizon)) for part in ("train", "valid", "test")}
    rounded = {name: round(value, 2) for name, value in seconds.items()}
    return errors(truth, made) | rounded | counts | {"file_digest": series.digest} | learned


def core_seconds() -> float:
    """Core seconds of this process and its finished children, which other work disturbs less than wall time."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


if __name__ == "__main__":
    sys.exit(main())
