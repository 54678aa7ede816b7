"""explain.html: how much the forecasts of a run change when steps, a variate or a driver are hidden from the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from report.interactive import BLUE, GREY, RED, Cell, Chart, SortedTable, fill_template
from report.run_page.charts import axis, rounded
from report.run_page.sentences import number


def explain_page(
    result: Mapping[str, Any],
    summary: pd.DataFrame,
    changes: pd.DataFrame,
    *,
    selection: pd.DataFrame | None,
    samples: Sequence[str],
    headline: str,
    note: str,
) -> str:
    """The HTML text.

    summary, changes  tables of `stages.yields.occlusion`, in t/ha
    headline          which parts move the forecasts most
    samples           ids of the samples that get a chart of their own
    """
    charts = [steps_chart("all test samples", summary, "mean_abs_change", "mean |change|, t/ha", 0)]
    for name in samples:
        mine = changes[changes["sample_id"] == name].assign(change=lambda rows: rows["y_without"] - rows["y_pred"])
        charts.append(steps_chart(name, mine, "change", "change, t/ha", len(charts)))
    parts = summary[summary["kind"] != "steps"].sort_values("mean_abs_change", ascending=False)
    steps = summary[summary["kind"] == "steps"]
    tables = [change_table("parts", "Variates and drivers", parts), change_table("steps", "Steps", steps)]
    if selection is not None:
        tables.append(selection_table(selection))
    return fill_template(
        Path(__file__).parent,
        "explain_page.html",
        [parts_chart(parts), *charts],
        result=result,
        headline=headline,
        note=note,
        tables=tables,
    )


def parts_chart(parts: pd.DataFrame) -> Chart:
    """A bar per variate and driver: the mean size of the change."""
    rows = parts[::-1]
    bars = {"type": "bar", "orientation": "h", "y": rows["hidden"].tolist(), "x": rounded(rows["mean_abs_change"]),
            "marker": {"color": BLUE}, "hovertemplate": "%{y}: %{x:.3f} t/ha<extra></extra>"}  # fmt: skip
    layout = {"height": 110 + 26 * len(rows), "xaxis": axis("mean |change|, t/ha", rangemode="tozero"),
              "yaxis": {"automargin": True, "type": "category"}}  # fmt: skip
    return Chart("parts", "Variates and drivers hidden", "", [bars], layout)


def steps_chart(name: str, rows: pd.DataFrame, column: str, label: str, count: int) -> Chart:
    """The change of a forecast, plotted at the middle of the hidden steps."""
    steps = rows[rows["kind"] == "steps"].groupby("first_step").mean(numeric_only=True).reset_index()
    at = ((steps["first_step"] + steps["last_step"]) / 2).tolist()
    line = {"type": "scatter", "mode": "lines+markers", "x": at, "y": rounded(steps[column]), "line": {"color": RED},
            "hovertemplate": "step %{x}: %{y:.3f} t/ha<extra></extra>"}  # fmt: skip
    none = {"type": "scatter", "mode": "lines", "x": [min(at), max(at)], "y": [0, 0], "hoverinfo": "skip",
            "line": {"color": GREY, "dash": "dot"}}  # fmt: skip
    layout = {"height": 320, "xaxis": axis("step"), "yaxis": axis(label)}
    return Chart(f"steps-{count}", f"Steps hidden: {name}", "", [none, line], layout)


def change_table(name: str, title: str, rows: pd.DataFrame) -> SortedTable:
    """A row per hidden part."""
    cells = [
        [
            Cell(f"{row['hidden']}{' (driver)' if row['kind'] == 'driver' else ''}"),
            *(Cell(number(row[column]), row[column]) for column in ("mean_abs_change", "mean_change")),
            Cell(f"{row['n']}", row["n"]),
        ]
        for row in rows.to_dict("records")
    ]
    return SortedTable(
        name, title, "", ["hidden", "mean |change|, t/ha", "mean change, t/ha", "forecasts compared"], cells
    )


def selection_table(selection: pd.DataFrame) -> SortedTable:
    """How much each variate (row) draws on each other variate (column) in the first window."""
    cells = [
        [Cell(str(name)), *(Cell(number(value), value) for value in row.tolist())] for name, row in selection.iterrows()
    ]
    note = "How much each variate (row) draws on each other variate (column) in the first window. Rows sum to 1."
    return SortedTable("selection", "Variate selection", note, ["", *map(str, selection.columns)], cells)
