"""The sortable tables of a run's page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from report.interactive import Cell, SortedTable
from report.run_page.sentences import metric_rows, number

METRICS = {
    "rmse": "RMSE, t/ha",
    "r2": "R2",
    "mae": "MAE, t/ha",
    "bias": "bias, t/ha",
    "nrmse": "RMSE / mean yield",
    "nrmse_by_year": "NRMSE by year, %",
    "coverage_90": "held by the 90 % interval",
    "rmse_over_range": "RMSE / range",
    "mse_standardised": "MSE, standardised",
    "mae_standardised": "MAE, standardised",
}


def score_table(result: Mapping[str, Any]) -> SortedTable:
    """The run and every baseline on the same test rows, sorted by RMSE (stage 1: standardised MSE), the best first."""
    rows = metric_rows(result)
    by = "rmse" if result["stage"] > 1 else "mse_standardised"
    names = [name for name in METRICS if any(name in row for row in rows)]
    names += [name for name in rows[0] if name not in names and name not in ("name", "alignment")]
    names += ["alignment"] if "alignment" in rows[0] else []
    ordered = sorted(rows, key=lambda row: float(row[by]))
    cells = [
        [Cell(str(row["name"])), *(Cell(number(row[name]), row[name]) if name in row else Cell("") for name in names)]
        for row in ordered
    ]
    note = "All on the same test rows." if result["stage"] > 1 else "The MAE of a variate is in its own unit."
    return SortedTable(
        "scores", "This run and the baselines", note, ["model", *(METRICS.get(n, n) for n in names)], cells
    )


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
    return SortedTable(f"by-{column}", f"By {column}", "A positive bias is a forecast that is too high.", head, rows)


def errors_by(test: pd.DataFrame, column: str) -> list[dict[str, Any]]:
    """The numbers of `error_table`: years in order, places from the largest RMSE to the smallest."""
    rows = []
    for name, group in test.groupby(column):
        error = (group["y_pred"] - group["y_true"]).to_numpy()
        held = (group["y_true"] >= group["y_lo"]) & (group["y_true"] <= group["y_hi"])
        rows.append(
            {
                column: name,
                "n": len(group),
                "mean yield": float(group["y_true"].mean()),
                "rmse": float(np.sqrt((error**2).mean())),
                "bias": float(error.mean()),
                "held": float(held.mean()),
            }
        )
    return rows if column == "year" else sorted(rows, key=lambda row: -row["rmse"])


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
    """What is needed to repeat the run: command, commit, data and hardware."""
    names = {"command": "Command", "commit": "Commit", "data_fingerprint": "Data", "cache_spec": "Embeddings",
             "hardware": "Hardware"}  # fmt: skip
    found = {label: str(result[name]) for name, label in names.items() if result.get(name)}
    found["Seconds"] = ", ".join(f"{name} {value:.1f}" for name, value in result["seconds"].items())
    return found
