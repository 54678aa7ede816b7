"""Look at a season table before training: write one page with findings, charts and tables.

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

from pipeline.findings import describe_findings
from pipeline.flags import ReadingFlags, TableFlags
from pipeline.parser import parse_flags
from pipeline.program import run_program
from pipeline.sources import read
from pipeline.splits import SplitChoice
from report.atomic_write import refuse_unless_possible
from report.data.page import headline, write_data_page
from report.data.summary import summarise


@dataclass(frozen=True)
class Arguments(ReadingFlags, TableFlags):
    """Write a page that shows the contents and the oddities of a season table."""

    out: Path = Path("data.html")
    """The page to write. An existing page is replaced."""
    for_prediction: bool = False
    """The table has no yields, or they are to be ignored."""
    split: SplitChoice = "auto"
    """The split that train.py will use. Its training rows set the y-ranges, and it must not separate copies."""
    seed: int = 0
    """Seed of the place and random splits."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code: 0, 1 (the page could not be written), 2 (bad input)."""
    return run_program("report.data", lambda: describe(parse_flags(Arguments, arguments, __doc__, "report.data")))


def describe(args: Arguments) -> int:
    """Read the table, write the page, and print the headline and the findings. Returns the exit code."""
    refuse_unless_possible(args.out, (".html",), replace=True)
    table = read(args.data, year=args.year, memory_gb=args.memory_gb, for_prediction=args.for_prediction)
    summary = summarise(table, args.data, args.split, seed=args.seed)
    write_data_page(summary, args.out)
    print(f"{table.name}: {headline(summary)} {table.describe_yields()}".rstrip())
    if summary.findings:
        print(describe_findings(summary.findings))
    print(f"page: {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
