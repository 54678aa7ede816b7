"""make soak: some minutes of faults against the cache: killed runs, flipped bits, long runs, concurrent gc, forks.

    python -m benchmarks.soak
    python -m benchmarks.soak --kills 1000 --seed 7

Prints one JSON object per part and line, with its counts and its problems. Exits with 1 if anything was lost, silently
wrong, hung, or grew without end, else with 0. All files are in a temporary folder (below SOAK_DIR if that is set).
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.soak import collecting, flips, forks, growth, kills
from benchmarks.soak.process import end_all
from pipeline.parser import parse_flags

Part = Callable[[Path], dict[str, Any]]  # an empty folder -> a row of counts, with "problems"


@dataclass(frozen=True)
class Arguments:
    """Inject faults into caches and check that nothing is lost and nothing is wrong."""

    kills: int = 200
    """SIGKILLs that hit a run before its end: a third each on workers, on runs with their workers, on the program."""
    flips: int = 2000
    """Single bits to flip, an equal share for each kind of file."""
    series: int = 100_000
    """Series of the long run whose memory and descriptors are watched."""
    seconds: float = 30.0
    """Seconds of reading from a growing cache, and of gc during a run and a reader."""
    forks: int = 200
    """Readers to use after a fork."""
    seed: int = 0
    """Seed of every random choice; the times of faults also depend on the machine."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point. Returns the exit code."""
    args = parse_flags(Arguments, arguments, __doc__, "benchmarks.soak")
    failed = 0
    for part in parts(args):
        started = time.perf_counter()
        with tempfile.TemporaryDirectory(prefix="soak-", dir=os.environ.get("SOAK_DIR")) as folder:
            try:
                row = part(Path(folder))
            except Exception:  # the other parts can still find problems
                row = {"part": "?", "problems": [traceback.format_exc()]}
            finally:
                end_all()
        failed += bool(row["problems"])
        print(json.dumps(row | {"seconds": round(time.perf_counter() - started, 1)}), flush=True)
    return 1 if failed else 0


def parts(args: Arguments) -> list[Part]:
    """Every part, in the order of execution."""
    return [
        lambda folder: kills.measure(folder, args.kills, args.seed),
        lambda folder: flips.measure(folder, args.flips, args.seed),
        lambda folder: growth.measure_run(folder, args.series, args.seed),
        lambda folder: growth.measure_reader(folder, args.seconds, args.seed),
        lambda folder: collecting.measure(folder, args.seconds, args.seed),
        lambda folder: forks.measure(folder, args.forks, args.seed),
    ]


if __name__ == "__main__":
    sys.exit(main())
