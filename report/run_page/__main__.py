"""Write the page of a complete run again, for example if the run was stopped while it wrote the page.

python -m report.run_page runs/x
python -m report.run_page runs/x --data moved/card.toml      if the data have moved
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from pipeline.parser import parse_flags
from pipeline.program import run_program
from pipeline.sources import read
from report.run import RunFolder
from report.run_list import refresh_list
from report.run_page.page import write_page


@dataclass(frozen=True)
class Arguments:
    """Write report.html of a run again."""

    run: tyro.conf.Positional[Path]
    """The run folder."""
    data: str | None = None
    """Where its table is, if that has moved."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code: 0, 1 (the page could not be written), 2 (bad input)."""
    given = parse_flags(Arguments, arguments, __doc__, "report.run_page")
    return run_program("report.run_page", lambda: rewrite(given))


def rewrite(args: Arguments) -> int:
    """Read the run and its table, and write the page. Returns the exit code."""
    run = RunFolder.open(args.run)
    config = run.read_json("config.json")
    table = read(args.data or config["data"], year=config.get("year"))
    print(f"page: {write_page(run, table, args.data)}")
    refresh_list(run.path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
