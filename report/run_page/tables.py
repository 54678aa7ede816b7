"""The sortable tables of a run's page."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from report.interactive import Cell, SortedTable
from report.metric_titles import METRICS
from report.run_page.sentences import metric_rows, number

BETTER = {  # the smallest value of this key is the best; of other metrics, the smallest number
    "r2": lambda value: -value,
    "bias": abs,
    "coverage_90": lambda value: abs(value - 0.9),
    "retrieval_56": lambda value: -value,
}
ALIGNMENT = (
    " The alignment loss says how badly plots and series of a batch find each other; it is 0 if all do. Near-equal "
    "pairs are different series of a batch that hardly differ. Training pushes them apart all the same; the column has "
    "their share in all pairs."
)
MOST_ROWS = 500  # of a table of places


def score_table(result: Mapping[str, Any]) -> SortedTable:
    """The run and every baseline on the same test rows, the smallest RMSE first (stage 1: as a share of the range).

    The run's row is marked. The best number of each column is bold, as are those that are printed the same.
    """
    rows = metric_rows(result)
    by = "rmse" if result["stage"] > 1 else "rmse_over_range"
    names = [name for name in METRICS if any(name in row for row in rows)]
    if all(math.isclose(100 * row.get("nrmse", 0.0), row.get("nrmse_by_year", 0.0)) for row in rows):
        names = [name for name in names if name != "nrmse_by_year"]  # of one test year, both are the same
    ordered = sorted(rows, key=lambda row: float(row[by]))
    known = {name: [row[name] for row in rows if name in row] for name in names}
    best = {
        name: shown(name, min(values, key=BETTER.get(name, float))) for name, values in known.items() if len(values) > 1
    }
    cells = [
        [
            Cell(str(row["name"])),
            *(
                Cell(shown(name, row[name]), row[name], best=shown(name, row[name]) == best.get(name))
                if name in row
                else Cell("")
                for name in names
            ),
        ]
        for row in ordered
    ]
    note = "All on the same test rows. The best number of each column is bold."
    if "alignment" in names:
        note += ALIGNMENT
    head = ["model", *(METRICS[name] for name in names)]
    marked = frozenset(at for at, row in enumerate(ordered) if row is rows[0])
    return SortedTable("scores", "This run and the baselines", note, head, cells, marked)


def shown(name: str, value: float) -> str:
    """A metric as text: shares of rows in percent, everything else as a number."""
    return f"{value:.0%}" if name in ("coverage_90", "retrieval_56") else number(value)


def error_table(test: pd.DataFrame, column: str) -> SortedTable:
    """Number of samples, mean yield, RMSE, bias and interval coverage of each year or place, as `errors_by` sorts."""
    groups = errors_by(test, column)
    rows = [
        [
            Cell(str(row[column])),
            Cell(f"{row['n']:,}", row["n"]),
            *(Cell(number(row[name]), row[name]) for name in ("mean yield", "rmse", "bias")),
            Cell(f"{row['held']:.0%}", row["held"]),
        ]
        for row in groups
    ]
    head = [column, "samples", "mean yield, t/ha", "RMSE, t/ha", "bias, t/ha", "held by the interval"]
    note = "A positive bias is a forecast that is too high."
    if len(rows) > MOST_ROWS:
        note += f" The {MOST_ROWS} of {len(rows):,} {column}s with the largest RMSE."
    return SortedTable(f"by-{column}", f"By {column}", note, head, rows[:MOST_ROWS])


def errors_by(test: pd.DataFrame, column: str) -> list[dict[str, Any]]:
    """The numbers of `error_table`: years in order, places from the largest RMSE to the smallest."""
    error = test["y_pred"] - test["y_true"]
    held = test["y_true"].between(test["y_lo"], test["y_hi"]).astype(float)
    rows = test.assign(bias=error, square=error**2, held=held).groupby(column)
    means = rows[["y_true", "square", "bias", "held"]].mean().assign(n=rows.size())
    means = means.assign(rmse=means["square"] ** 0.5).rename(columns={"y_true": "mean yield"})
    if column != "year":
        means = means.sort_values("rmse", ascending=False, kind="stable")
    found: list[dict[str, Any]] = means.drop(columns="square").reset_index().to_dict("records")
    return found


def early_table(early: Mapping[str, Any]) -> SortedTable:
    """One row per step, the whole season last, followed by the baselines that do not use the season."""
    rows = [
        [
            Cell(f"{row['step']}{', the rest completed' * row['completed']}", row["step"]),
            Cell(f"{row['lead_days']:.0f}", row["lead_days"]),
            Cell(number(row["rmse"]), row["rmse"]),
            Cell(number(row["r2"]), row["r2"]),
            Cell(f"{row['coverage_90']:.0%}", row["coverage_90"]),
        ]
        for row in early["steps"]
    ]
    rows += [
        [Cell(line), Cell("any"), *(Cell(number(scores[name]), scores[name]) for name in ("rmse", "r2")), Cell("")]
        for line, scores in early["lines"].items()
    ]
    head = ["steps known", f"days before {early['until']}", "RMSE, t/ha", "R2", "held by the interval"]
    return SortedTable("early", "Scores by number of known steps", "", head, rows)


def origin_table(result: Mapping[str, Any]) -> dict[str, str]:
    """What is needed to repeat the run: command, version, commit, fingerprints, hardware and seconds."""
    names = {"command": "Command", "from": "Starts from", "version": "Version", "commit": "Commit",
             "data_fingerprint": "Data fingerprint", "cache_spec": "Embeddings", "hardware": "Hardware"}  # fmt: skip
    found = {label: str(result[name]) for name, label in names.items() if result.get(name)}
    found["Seconds"] = ", ".join(f"{name} {value:.1f}" for name, value in result["seconds"].items())
    return found
