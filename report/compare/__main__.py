"""python -m report.compare RUN RUN...: one page with the paired differences of runs on the samples that they share."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import tyro

from model.calibration import paired_difference
from pipeline.parser import parse_flags
from pipeline.plural import plural
from pipeline.program import run_program
from report.atomic_write import refuse_unless_possible, write_whole
from report.compare.page import compare_page, headline
from report.compare.pairs import ComparedRun, Pair, errors_of, open_runs, shared_rows
from stages.yields.yield_scores import resampled_groups


@dataclass(frozen=True)
class Arguments:
    """Compare runs on the test samples that all of them share."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Two or more run folders of one stage (2 and 3 count as one). The others are compared with the first."""
    out: Path = Path("comparison.html")
    """The page to write; an existing one is replaced."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_program("report.compare", lambda: compare(parse_flags(Arguments, arguments, __doc__, "report.compare")))


def compare(args: Arguments) -> int:
    """Open the runs, join their test rows, write the page and print its headline. Returns the exit code."""
    refuse_unless_possible(args.out, (".html",), replace=True)
    runs = open_runs(args.runs)
    shared = shared_rows(runs)
    pairs = paired(runs, shared)
    text = compare_page(runs, shared, pairs, args.out.parent)
    write_whole(args.out, lambda path: path.write_text(text, encoding="utf-8"))
    print(headline(runs, shared, pairs))
    print(f"page: {args.out}")
    return 0


def paired(runs: Sequence[ComparedRun], shared: pd.DataFrame) -> list[Pair]:
    """The difference of RMSE of every two runs, the later minus the earlier, with intervals.

    The interval resamples the groups of `metric_intervals` in result.json: years if six or more were tested, else
    places, where places that share a yield are one. In stage 1 it resamples samples.
    """
    errors = errors_of(shared, len(runs))
    if runs[0].result["stage"] > 1:
        group, over = resampled_groups(shared)
    else:
        group = shared["sample_id"].to_numpy(dtype=np.str_)
        over = plural(len(np.unique(group)), "sample")
    nothing = np.zeros(len(shared))
    found = []
    for second, first in combinations(range(len(runs)), 2):
        difference, interval = paired_difference(nothing, errors[first], errors[second], group)
        found.append(Pair(runs[first].name, runs[second].name, len(shared), over, difference, interval))
    return found


if __name__ == "__main__":
    sys.exit(main())
