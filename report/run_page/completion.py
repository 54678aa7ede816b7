"""The completions of a stage-1 run on its page: errors by variate and by lead, and retrieval of plots."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from pipeline.table import SeasonTable
from report.interactive import BLUE, GREEN, GREY, LEGEND, RED, Cell, Chart, SortedTable
from report.run_page.charts import axis, rounded
from report.run_page.sentences import number


def spans(table: SeasonTable) -> dict[str, float]:
    """The range of the observed values of each variate that has any, in its unit."""
    observed = {
        name: table.values[:, v][table.observed[:, v]]
        for v, name in enumerate(table.variate_names)
        if table.observed[:, v].any()
    }
    return {name: float(np.ptp(values)) or 1.0 for name, values in observed.items()}


def completion_errors(rows: pd.DataFrame, table: SeasonTable) -> pd.DataFrame:
    """One row per sample and fold. `error` is its root mean squared error, as a share of the range of each variate."""
    error = (rows["y_pred"] - rows["y_true"]) / rows["variate"].map(spans(table))
    means = (error**2).groupby([rows["sample_id"], rows["fold"]]).mean() ** 0.5
    return means.rename("error").reset_index()


def variate_table(result: Mapping[str, Any], table: SeasonTable, rows: pd.DataFrame) -> SortedTable:
    """Errors of each variate in its own unit, beside the baselines."""
    cells = []
    for variate in table.variates:
        mine = rows[rows["variate"] == variate.name]
        if mine.empty:
            continue
        rmse = float(np.sqrt(((mine["y_pred"] - mine["y_true"]) ** 2).mean()))
        maes = [result["metrics"], *result["baselines"].values()]
        values = [rmse, *(float(one[f"mae_{variate.name}"]) for one in maes)]
        lowest = number(min(values[1:]))
        cells.append(
            [
                Cell(variate.name),
                Cell("" if variate.unit in ("1", "") else variate.unit),
                Cell(number(values[0]), values[0]),
                *(Cell(number(one), one, best=number(one) == lowest) for one in values[1:]),
            ]
        )
    head = ["variate", "unit", "RMSE", "MAE", *(f"MAE of {name}" for name in result["baselines"])]
    note = (
        "Over all completed steps of the test rows. Ridge is linear in the steps before the cut. Persistence repeats "
        "the last value; climatology is the mean season."
    )
    return SortedTable("variates", "Completion error by variate", note, head, cells)


def completion_charts(result: Mapping[str, Any], table: SeasonTable, rows: pd.DataFrame) -> Iterator[Chart]:
    """MAE by variate as a share of its range, and RMSE by days after the cut in the unit of each variate."""
    ranges = spans(table)
    names = [name for name in table.variate_names if f"mae_{name}" in result["metrics"]]
    colours = (BLUE, GREEN, GREY, RED)
    kinds = {"this run": result["metrics"], **result["baselines"]}
    bars = [
        {"type": "bar", "name": kind, "x": names, "marker": {"color": colour},
         "y": rounded(scores[f"mae_{name}"] / ranges[name] for name in names),
         "hovertemplate": "%{x}: %{y:.1%} of its range<extra>" + kind + "</extra>"}
        for (kind, scores), colour in zip(kinds.items(), colours, strict=False)
    ]  # fmt: skip
    layout = {"height": 380, "showlegend": True, "legend": LEGEND,
              "xaxis": {"type": "category", "automargin": True},
              "yaxis": axis("MAE, share of the range", tickformat=".0%", rangemode="tozero")}  # fmt: skip
    yield Chart(
        "variates", "Error by variate", "As a share of each variate's range, so that they compare.", bars, layout
    )
    yield _lead_chart(table, rows)


def _lead_chart(table: SeasonTable, rows: pd.DataFrame) -> Chart:
    traces: list[dict[str, Any]] = []
    for variate in table.variates:
        mine = rows[rows["variate"] == variate.name]
        if mine.empty:
            continue
        steps = mine.assign(square=(mine["y_pred"] - mine["y_true"]) ** 2).groupby("step")
        rmse, spread = steps["square"].mean() ** 0.5, steps["y_true"].std(ddof=0)
        days = [round((step - table.cut + 1) * table.step_days, 1) for step in rmse.index]
        unit = "" if variate.unit in ("1", "") else f", {variate.unit}"
        shown = {"type": "scatter", "x": days, "name": variate.name + unit, "visible": not traces}
        traces += [
            {**shown, "mode": "lines", "y": rounded(spread), "line": {"color": GREY, "dash": "dot"},
             "hovertemplate": "%{x} days: SD of the samples %{y}<extra></extra>"},
            {**shown, "mode": "lines+markers", "y": rounded(rmse), "line": {"color": BLUE},
             "hovertemplate": "%{x} days: RMSE %{y}<extra></extra>"},
        ]  # fmt: skip
    layout = {"height": 380, "xaxis": axis("days after the cut", rangemode="tozero"),
              "yaxis": axis("RMSE, in the variate's unit", rangemode="tozero")}  # fmt: skip
    note = "Dotted: the standard deviation of the test seasons, which is the error of a forecast by their mean."
    return Chart("lead", "Error by lead", note, traces, layout, "Variate")


def retrieval_sentence(result: Mapping[str, Any]) -> str:
    """How often a plot finds its own series by its token; empty if the run does not align pictures and numbers."""
    share = result["metrics"].get("retrieval_56")
    if share is None:
        return ""
    return (
        f"Of a batch of about 56 plots, {share:.0%} find their own series by the nearest token; by chance it would be "
        f"{1 / 56:.1%}."
    )
