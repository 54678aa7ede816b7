"""DataSummary at a season table before anything is learnt from it: one page with findings, charts and tables.

    python -m report.data --data my_card.toml --out data.html
    python -m report.data --data "exports/*.csv"
    python -m report.data --data new_2025.csv --for-prediction      a table without yields

Open the page in a browser; it needs no network.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from pipeline.findings import describe_findings
from pipeline.program import run_program
from pipeline.sources import read
from pipeline.splits import SplitChoice
from report.atomic_write import refuse_unless_possible
from report.data.page import headline, write_data_page
from report.data.summary import summarise


@dataclass(frozen=True)
class Arguments:
    """Write a page that shows what a season table holds and what is odd about it."""

    data: str = "demo/card.toml"
    """Dataset card, data file, folder or glob."""
    out: Path = Path("data.html")
    """The page to write; an earlier one is replaced."""
    year: int | None = None
    """Label year of a table without a card whose name does not hold it."""
    for_prediction: bool = False
    """The table has no yields, or those that it has do not count."""
    split: SplitChoice = "auto"
    """The split that train.py will be given: y-ranges come from its training rows, and it must not separate copies."""
    seed: int = 0
    """Seed of the place and random splits."""
    memory_gb: float | None = None
    """Refuse a table that needs more memory than this; 60 % of what is free by default."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code: 0, 1 (the page could not be written), 2 (bad input)."""
    args = tyro.cli(Arguments, args=arguments, description=__doc__)
    return run_program("report.data", lambda: describe(args))


def describe(args: Arguments) -> int:
    """Read the table, write the page, print the headline and the findings."""
    refuse_unless_possible(args.out, (".html",), replace=True)
    table = read(args.data, year=args.year, memory_gb=args.memory_gb, for_prediction=args.for_prediction)
    summary = summarise(table, args.data, args.split, args.seed)
    write_data_page(summary, args.out)
    print(f"{table.name}: {headline(summary)}")
    if summary.findings:
        print(describe_findings(summary.findings))
    print(f"page: {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
