"""python -m benchmarks.planning: the plan step on random 128-bit keys, from 10^5 series to as many as memory allows.

It measures the part of render_cache.py between keys and work: sort the cached keys (KeyIndex.build), sort and look up
the wanted ones (plan), cut the missing ones into slabs. Not part of `make bench`, because the largest size needs
gigabytes.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np

from benchmarks.alone import Measured
from benchmarks.drawing import row
from cache.fill import IMAGE_ROWS
from pipeline.parser import parse_flags
from report.run import commit, hardware

ROOT = Path(__file__).resolve().parents[1]
KEY_BYTES = 16
AIM = 500_000.0  # series/s on one core, keys and plan, everything cached
AIM_NAME = "the aim of keys and plan, one core"
GOAL = 100_000_000
FROM = 1_000_000  # series; smaller sizes profit from the processor's cache, so slopes start here

Case = Literal["missing", "cached", "claimed"]  # claimed: a run's second pass, which reads the rows of all slabs again
CASES: tuple[Case, ...] = ("missing", "cached", "claimed")


@dataclass(frozen=True)
class Arguments:
    """Sizes to measure."""

    series: tuple[int, ...] = (100_000, 1_000_000, 10_000_000, 30_000_000, GOAL)
    """Numbers of series, ascending."""
    memory_gb: float = 8.0
    """Leave out sizes that would need more memory than this, estimated from the size before."""
    slab_rows: int = IMAGE_ROWS
    """Rows per slab."""


def main() -> None:
    """Print the rows of all sizes, then slopes and the goal."""
    args = parse_flags(Arguments, None, __doc__, "benchmarks.planning")
    identity = {"hardware": hardware(), "commit": commit()}
    for line in measure(args.series, args.slab_rows, args.memory_gb):
        print(json.dumps(line | identity), flush=True)


def measure(sizes: Sequence[int], slab_rows: int, memory_gb: float) -> Iterator[dict[str, Any]]:
    """Rows of every case: one per size, the slope over the sizes, and the goal, measured or extrapolated."""
    for case in CASES:
        done: list[Measured] = []
        for series in sizes:
            if done and series * (KEY_BYTES + done[-1]["peak_bytes"] / done[-1]["series"]) > memory_gb * 1e9:
                break
            done.append(_in_its_own_process(series, case, slab_rows))
            yield _size_row(done[-1], case)
        large = [one for one in done if one["series"] >= FROM]
        chosen = large if len(large) > 1 else done
        if len(chosen) > 1:
            yield from _outlook(chosen, case)


def _in_its_own_process(series: int, case: Case, slab_rows: int) -> Measured:
    command = [sys.executable, "-m", "benchmarks.alone", str(series), case, str(slab_rows)]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE)
    return cast(Measured, json.loads(done.stdout))


def _seconds(one: Measured) -> float:
    return one["seconds"] + one["seconds_index"]


def _size_row(one: Measured, case: Case) -> dict[str, Any]:
    name = f"index and plan of {one['series']:.0e} series, everything {case}"
    figures = {**one, "bytes_a_key": one["peak_bytes"] / one["series"]}
    return row(name, one["series"] / _seconds(one), "series/s", AIM_NAME, AIM) | figures


def _outlook(done: Sequence[Measured], case: Case) -> Iterator[dict[str, Any]]:
    """The slope of log seconds over log series, and the goal, extrapolated from the largest size if not measured."""
    sizes, seconds = [one["series"] for one in done], [_seconds(one) for one in done]
    slope = float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])
    yield {**row(f"log-log slope, everything {case}", slope, "1", "linear", 1.0)}
    growth = GOAL / sizes[-1]
    figures = {
        "extrapolated": sizes[-1] != GOAL,
        "series": GOAL,
        "from_series": sizes[-1],
        "peak_bytes": int(done[-1]["peak_bytes"] * growth),
    }
    name = f"index and plan of {GOAL:.0e} series, everything {case}"
    yield row(name, seconds[-1] * growth**slope, "s", AIM_NAME, GOAL / AIM) | figures


if __name__ == "__main__":
    main()
