"""python -m report.summary: print scores, baselines and run times of the newest run of each stage."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from pipeline.errors import InputError
from pipeline.parser import parse_flags
from report.run import RunFolder, complete_runs
from report.run_page.sentences import metric_rows, standing

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


def console() -> Console:
    """A console that is as wide as the terminal, or 140 characters if there is none."""
    return Console(width=None if sys.stdout.isatty() else 140, soft_wrap=True)


def print_scores(run: RunFolder) -> None:
    """Print the score table of a run, its rank among the baselines, its run times and the path of the report."""
    screen, result = console(), run.read_json("result.json")
    screen.print(score_table(run))
    screen.print(standing(result))
    screen.print(f"vision encoder: {result['encoder'] or 'none'}")
    if result["control"]:
        screen.print(f"negative control: its embeddings are {result['control']} and carry no information")
    screen.print("seconds: " + ", ".join(f"{name} {value:.1f}" for name, value in result["seconds"].items()))
    screen.print(f"report: {run.path / 'report.html'}\n")


def write_spread(folder: Path, runs: Sequence[RunFolder]) -> None:
    """Write summary.json of runs that differ in their seed, and print it: one row per run, then mean and SD."""
    results = [run.read_json("result.json") for run in runs]
    names = [name for name in results[0]["metrics"] if all(name in result["metrics"] for result in results)]
    scores = {name: [result["metrics"][name] for result in results] for name in names}
    mean = {name: float(np.mean(values)) for name, values in scores.items()}
    spread = {name: float(np.std(values, ddof=1)) for name, values in scores.items()}
    rows = [
        {"seed": result["seed"], "run": run.path.name, **result["metrics"]}
        for run, result in zip(runs, results, strict=True)
    ]
    RunFolder(folder).write_json("summary.json", {"runs": rows, "mean": mean, "sd": spread})
    shown = [name for name in COLUMNS[min(results[0]["stage"], 2)] if name in names]
    table = Table("seed", *shown, title=f"{len(runs)} seeds, {results[0]['n_test']} test samples", title_justify="left")
    for row in rows:
        table.add_row(str(row["seed"]), *(f"{row[name]:.3f}" for name in shown))
    table.add_row("mean±sd", *(f"{mean[name]:.3f}±{spread[name]:.3f}" for name in shown))
    console().print(table)
    print(f"summary: {folder / 'summary.json'}")


@dataclass(frozen=True)
class Arguments:
    """Print the newest complete run of each stage, beside its baselines."""

    runs: Path = Path("runs")
    """The folder that contains the run folders."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    args = parse_flags(Arguments, arguments, __doc__, "report.summary")
    newest: dict[int, RunFolder] = {}
    for run in complete_runs(args.runs):
        try:
            newest.setdefault(run.read_json("result.json")["stage"], run)
        except InputError as error:
            print(f"left out: {error}", file=sys.stderr)
    if not newest:
        print(f"no complete run under {args.runs}; start with `python render_cache.py`", file=sys.stderr)
        return 2
    for stage in sorted(newest):
        print_scores(newest[stage])
    return 0


if __name__ == "__main__":
    sys.exit(main())
