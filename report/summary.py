"""python -m report.summary: the newest run of each stage, with its scores beside the baselines and the seconds."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.table import Table

from report.page import metric_rows
from report.run import RunFolder, complete_runs

COLUMNS = {
    1: ("rmse_over_range", "mse_standardised", "mae_standardised", "alignment"),
    2: ("r2", "rmse", "mae", "nrmse"),
}


def score_table(run: RunFolder) -> Table:
    """The metrics of a run and of its baselines on the same test rows."""
    result = run.read_json("result.json")
    title = f"{result['data']}: stage {result['stage']}, split {result['split']}, {result['n_test']} test samples"
    if result["stage"] > 1:
        title += ", t/ha"
    table = Table("model", *COLUMNS[min(result["stage"], 2)], title=title, title_justify="left")
    for row in metric_rows(result):
        cells = [f"{row[name]:.3f}" if name in row else "" for name in COLUMNS[min(result["stage"], 2)]]
        table.add_row(row["name"], *cells)
    return table


def print_scores(run: RunFolder) -> None:
    """The score table of a run, who saw the pictures, the seconds and where the report is."""
    console, result = Console(), run.read_json("result.json")
    console.print(score_table(run))
    console.print(f"pictures seen by: {result['encoder'] or 'nothing'}")
    console.print("seconds: " + ", ".join(f"{name} {value:.1f}" for name, value in result["seconds"].items()))
    console.print(f"report: {run.path / 'report.html'}\n")


def main() -> int:
    """Print the newest complete run of each stage; returns the exit code."""
    newest: dict[int, RunFolder] = {}
    for run in complete_runs():
        newest.setdefault(run.read_json("result.json")["stage"], run)
    if not newest:
        print("no complete run under runs/; start with `python render_cache.py`", file=sys.stderr)
        return 2
    for stage in sorted(newest):
        print_scores(newest[stage])
    return 0


if __name__ == "__main__":
    sys.exit(main())
