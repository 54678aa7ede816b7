"""Long-term forecasting benchmarks of the field: this model against neuralforecast's models and naive forecasts.

    pip install -r requirements-benchmarks.txt                                   once, for the peers
    python -m benchmarks.forecasting                                             all of it: hours on two cores
    python -m benchmarks.forecasting --benchmarks ili --models PatchTST DLinear --seeds 1
    python -m benchmarks.forecasting --models                                    write the page again, and nothing else

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

from benchmarks.forecasting import cells, naive, ours, peers, table
from benchmarks.forecasting.cells import Cell
from benchmarks.forecasting.data import BENCHMARKS, SHARED, Series, errors
from pipeline.errors import InputError
from pipeline.parser import parse_flags
from report.run import commit, hardware

MODELS = (*naive.NAIVE, *ours.SETUPS, *peers.PEERS)


@dataclass(frozen=True)
class Arguments:
    """The results to make."""

    benchmarks: tuple[str, ...] = tuple(BENCHMARKS)
    """Data sets."""
    models: tuple[str, ...] = MODELS
    """Models; none: only write the page."""
    horizons: tuple[int, ...] = ()
    """Only these horizons; by default all of a data set."""
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
    for name in args.benchmarks:
        series = BENCHMARKS[name].load(args.data)
        for model in args.models:
            for seed in range(1 if model in naive.NAIVE else args.seeds):
                for horizon in args.horizons or series.benchmark.horizons:
                    cell = Cell(name, horizon, model, seed)
                    if cell not in cells.read(name):  # read again, as several of these may run at once
                        print(cells.append(cell, measure(cell, series) | identity), flush=True)


def refuse_unknown(args: Arguments) -> None:
    """Raise InputError for unknown names, and for peers that are not installed."""
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
        made, record = ours.forecast(cell.model, series, cell.horizon, cell.seed)
        learned |= record
    else:
        peer = peers.forecast(cell.model, series, cell.horizon, cell.seed)
        made, learned = peer.values, learned | peer.record()
    seconds = {"seconds": time.perf_counter() - began, "core_seconds": core_seconds() - worked}
    _, truth = series.windows("test", cell.horizon)
    counts = {f"n_{part}_windows": len(series.starts(part, cell.horizon)) for part in ("train", "valid", "test")}
    return errors(truth, made) | {name: round(value, 2) for name, value in seconds.items()} | counts | learned


def core_seconds() -> float:
    """Core seconds of this process and its finished children, which other work disturbs less than wall time."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


if __name__ == "__main__":
    sys.exit(main())
