"""Single held-out seasons: series, plots as the encoder sees them, forecast, and earlier yields of the same place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from pipeline.render import PALETTE, Style, colourise, draw
from pipeline.series import series_blocks
from pipeline.table import SeasonTable
from report.interactive import BLUE, GREY, RED, Chart, picture
from report.run_page.charts import axis, rounded

EACH = 3  # samples of each kind: best, typical and worst
MOST_VARIATES = 8
COLUMNS = 4


@dataclass(frozen=True, eq=False)
class SampleView:
    """One sample of the page. `pictures` has the data URL and the caption of each plot."""

    name: str
    sentence: str
    chart: Chart
    pictures: Sequence[tuple[str, str]]


def sample_views(
    table: SeasonTable,
    test: pd.DataFrame,
    completed: pd.DataFrame | None,
    ranges: NDArray[np.float64],
    style: Style,
    framing: Any,
) -> list[SampleView]:
    """The best, the typical and the worst test rows.

    test       stages 2 and 3: rows of predictions.parquet; stage 1: one row per sample, with its error in `y_pred`
    completed  stage-1 forecasts of steps: sample_id, variate, step, y_pred in the variate's unit
    ranges     y-ranges [V,2] of the plots
    """
    at = {name: row for row, name in enumerate(table.sample_id.tolist())}
    unlabelled = replace(table, target=np.full(len(table), np.nan))  # plots need no yield
    known = test[test["sample_id"].isin(list(at))]
    known = known.assign(error=(known["y_pred"] - known["y_true"]).abs()).sort_values("error", kind="stable")
    views: list[SampleView] = []
    for kind, rows in _chosen(known):
        for row in rows.to_dict("records"):
            mine = None if completed is None else completed[completed["sample_id"] == row["sample_id"]]
            position = at[row["sample_id"]]
            views.append(
                SampleView(
                    name=f"{kind}: {row['sample_id']}",
                    sentence=_sentence(row, table, position),
                    chart=series_chart(table, position, mine, f"sample-{len(views)}"),
                    pictures=_pictures(unlabelled, position, ranges, style, framing),
                )
            )
    return views


def _chosen(known: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    n = len(known)
    if n <= 3 * EACH:
        return [("sample", known)]
    middle = (n - EACH) // 2
    parts = {"best": known[:EACH], "typical": known[middle : middle + EACH], "worst": known[-EACH:][::-1]}
    return list(parts.items())


def _sentence(row: Mapping[str, Any], table: SeasonTable, position: int) -> str:
    where = f"{table.place[position]}, {table.year[position]}"
    if "y_lo" not in row:
        return f"{where}: completion error {row['y_pred']:.3f} of the range of a variate."
    held = "inside" if row["y_lo"] <= row["y_true"] <= row["y_hi"] else "outside"
    earlier = earlier_yields(table, position)
    history = ""
    if len(earlier):
        history = (
            f" Earlier yields of this place ({earlier['year'].iloc[0]} to {earlier['year'].iloc[-1]}): mean "
            f"{earlier['yield'].mean():.2f}, {earlier['yield'].min():.2f} to {earlier['yield'].max():.2f} t/ha."
        )
    return (
        f"{where}: forecast {row['y_pred']:.2f} t/ha (90 %: {row['y_lo']:.2f} to {row['y_hi']:.2f}), observed "
        f"{row['y_true']:.2f} t/ha, {held} the interval.{history}"
    )


def earlier_yields(table: SeasonTable, position: int) -> pd.DataFrame:
    """Columns year and yield (t/ha): yields of the same place in earlier years, from the table and its history."""
    place, year = table.place[position], table.year[position]
    mine, past = (table.place == place) & (table.year < year), table.history
    before = (past.place == place) & (past.year < year)
    years = np.concatenate([past.year[before], table.year[mine]])
    yields = np.concatenate([past.target[before], table.target[mine]])
    rows = pd.DataFrame({"year": years, "yield": yields}).dropna()
    return rows.groupby("year", as_index=False)["yield"].mean()


def series_chart(table: SeasonTable, position: int, completed: pd.DataFrame | None, name: str) -> Chart:
    """The observed series of each variate, and the half that stage 1 completed."""
    traces: list[dict[str, Any]] = []
    variates = table.variates[:MOST_VARIATES]
    layout: dict[str, Any] = {"showlegend": False, "margin": {"l": 10, "r": 10, "t": 30, "b": 30}}
    columns = min(COLUMNS, len(variates))
    rows = -(-len(variates) // columns)
    layout["grid"] = {"rows": rows, "columns": columns, "pattern": "independent", "xgap": 0.2, "ygap": 0.35}
    layout["height"] = 60 + 190 * rows
    for v, variate in enumerate(variates):
        x, y = (f"{side}{v + 1 if v else ''}" for side in "xy")
        values = [float(f"{one:.4g}") if seen else None for one, seen in
                  zip(table.values[position, v], table.observed[position, v], strict=True)]  # fmt: skip
        traces.append({"type": "scatter", "mode": "lines+markers", "x": list(range(table.steps)), "y": values,
                       "xaxis": x, "yaxis": y, "marker": {"size": 4}, "line": {"color": BLUE, "width": 1.5},
                       "hovertemplate": "step %{x}: %{y}<extra>observed</extra>"})  # fmt: skip
        if completed is not None:
            mine = completed[completed["variate"] == variate.name].sort_values("step")
            traces.append({"type": "scatter", "mode": "lines", "x": mine["step"].tolist(), "y": rounded(mine["y_pred"]),
                           "xaxis": x, "yaxis": y, "line": {"color": RED, "dash": "dot"},
                           "hovertemplate": "step %{x}: %{y}<extra>completed</extra>"})  # fmt: skip
        title = variate.name if variate.unit in ("1", "") else f"{variate.name}, {variate.unit}"
        layout[f"xaxis{v + 1 if v else ''}"] = {"automargin": True, "zeroline": False}
        layout[f"yaxis{v + 1 if v else ''}"] = axis("", zeroline=False)
        layout.setdefault("annotations", []).append(
            {"text": title, "xref": f"{x} domain", "yref": f"{y} domain", "x": 0, "y": 1.16, "showarrow": False,
             "font": {"color": GREY}}
        )  # fmt: skip
    note = "By step. Blue: observed."
    if completed is not None:
        note += " Red: completed by stage 1 from the steps before the cut."
    return Chart(name, "Series", note, traces, layout)


def _pictures(
    table: SeasonTable, position: int, ranges: NDArray[np.float64], style: Style, framing: Any
) -> list[tuple[str, str]]:
    one = table.rows(np.array([position]))
    pictures = []
    blocks = series_blocks(one, ranges, style, framing)
    for v, variate in enumerate(one.variate_names[:MOST_VARIATES]):
        for block in blocks:
            ink = draw(block.values[0, v][None], block.observed[0, v][None], style)
            image = Image.fromarray(colourise(ink, PALETTE[[v % len(PALETTE)]])[0])
            pictures.append((picture(image), f"{variate}, {block.window.name}"))
    return pictures
