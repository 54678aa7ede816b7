"""python -m report.summary: print scores, baselines and run times of the newest run of each stage."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from pipeline.errors import InputError
from pipeline.parser import parse_flags
from pipeline.plural import plural
from report.progress import WIDTH, say
from report.run import RunFolder, complete_runs
from report.run_page.sentences import held_out, metric_rows, standing, too_good

COLUMNS = {
    1: {"rmse_over_range": "RMSE / range", "mse_standardised": "MSE, std.", "mae_standardised": "MAE, std."},
    2: {"rmse": "RMSE, t/ha", "r2": "R2", "mae": "MAE, t/ha"},
}
BEST = 3  # baselines in the table at the end of a stage
LINES = ("place mean", "offset alone")  # baselines that the table always has


def columns_of(result: Mapping[str, Any]) -> dict[str, str]:
    """The metrics that a table shows, with their headings. The first one orders the rows."""
    return COLUMNS[min(result["stage"], 2)]


def short_rows(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The run, its best three baselines, the place mean and the offset: at most six rows, the run first."""
    (mine, *others), by = metric_rows(result), next(iter(columns_of(result)))
    best = sorted(others, key=lambda row: float(row[by]))[:BEST]
    return [mine, *best, *(row for row in others if row["name"] in LINES and row not in best)]


def score_table(result: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> Table:
    """The metrics of a run and of baselines on the same test rows. It fits 80 columns."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("model", overflow="fold")
    for heading in columns_of(result).values():
        table.add_column(heading, justify="right")
    for at, row in enumerate(rows):
        cells = [f"{row[name]:.3f}" if name in row else "" for name in columns_of(result)]
        table.add_row(row["name"], *cells, style="bold" if at == 0 else None)
    return table


def print_table(table: Table) -> None:
    """Print a table as wide as the terminal, or 80 characters if there is none. Bold only on a terminal."""
    screen = Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False)
    with screen.capture() as captured:
        screen.print(table)
    print("\n".join(line.rstrip() for line in captured.get().splitlines()), flush=True)


def print_scores(run: RunFolder, every: bool = False) -> None:
    """Print the scores of a run beside its best baselines (or all), one sentence, and the path of its page."""
    result = run.read_json("result.json")
    say(f"{result['data']}, stage {result['stage']}: {plural(result['n_test'], 'test sample')}, {held_out(result)}")
    print_table(score_table(result, metric_rows(result) if every else short_rows(result)))
    if result["control"]:
        say(f"Negative control: the embeddings are {result['control']} and carry no information.")
    say(standing(result))
    for sentence in too_good(result):
        say(f"warning: {sentence}")
    say(f"page: {run.path / 'report.html'}")


def print_last_lines(runs: Sequence[RunFolder], folder: Path) -> None:
    """Three lines: the score of the forecasts beside the best baseline, and the pages of the runs and of their list."""
    from report.run_list import write_list  # here, since it imports Pillow and Plotly, which training does not need

    last = runs[-1]
    result = last.read_json("result.json")
    by, label = next(iter(columns_of(result).items()))
    best = min(result["baselines"], key=lambda name: float(result["baselines"][name][by]))
    say(f"{label} on {plural(result['n_test'], 'test sample')}: {result['metrics'][by]:.3f}, best baseline ({best}): "
        f"{result['baselines'][best][by]:.3f}")  # fmt: skip
    say("pages of the runs: " + " ".join(str(run.path / "report.html") for run in runs))
    say(f"all runs: {write_list(folder)}")


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
    shown = {name: title for name, title in columns_of(results[0]).items() if name in names}
    title = f"{plural(len(runs), 'seed')}, {plural(results[0]['n_test'], 'test sample')}"
    table = Table("seed", *shown.values(), title=title, title_justify="left", title_style="", box=box.SIMPLE_HEAD)
    for row in rows:
        table.add_row(str(row["seed"]), *(f"{row[name]:.3f}" for name in shown))
    table.add_row("mean±sd", *(f"{mean[name]:.3f}±{spread[name]:.3f}" for name in shown))
    print_table(table)
    print(f"summary: {folder / 'summary.json'}")


@dataclass(frozen=True)
class Arguments:
    """Print the newest complete run of each stage, beside its baselines."""

    runs: Path = Path("runs")
    """The folder that contains the run folders."""
    short: bool = False
    """Print three lines only: the score beside the best baseline, and the paths of the pages."""


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
    ordered = [newest[stage] for stage in sorted(newest)]
    if args.short:
        print_last_lines(ordered, args.runs)
        return 0
    for run in ordered:
        print_scores(run, every=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
