"""The sample browser: series, plots, completion, forecast, history and explanation of single held-out seasons."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from pipeline.render import colourise, draw
from pipeline.series import series_blocks
from pipeline.style import PALETTE, Style
from pipeline.table import SeasonTable
from report.data.charts import step_axis, with_unit
from report.interactive import BLUE, GREY, LEGEND, RED, Chart, picture

EACH = 3  # samples of each kind: best, median and worst
MOST_VARIATES = 8
COLUMNS = 4
SERIES_BYTES, PICTURE_BYTES = 500_000, 450_000  # of all samples together, so that a page stays below 6 MB
INKS = 16  # shades of a plot on the page
MOST_CAUSES = 10  # hidden parts of a season in the chart of an explanation


@dataclass(frozen=True, eq=False)
class TestRow:
    """A held-out sample: its position in the table, its error, its fold, and in stages 2 and 3 its forecast in t/ha."""

    __test__ = False  # pytest takes the name for a test

    position: int
    fold: str
    error: float
    forecast: tuple[float, float, float] | None = None  # y_pred, y_lo, y_hi


@dataclass(frozen=True, eq=False)
class Browser:
    """What the browser of samples needs.

    rows       the test rows
    completed  stage-1 forecasts of steps: sample_id, fold, variate, step, y_pred in the variate's unit; None if unknown
    changes    samples.csv of explain.py; None if it was not run
    ranges     y-ranges [V,2] of the plots, by fold
    """

    table: SeasonTable
    rows: Sequence[TestRow]
    completed: pd.DataFrame | None
    changes: pd.DataFrame | None
    ranges: Mapping[str, NDArray[np.float64]]
    style: Style
    framing: Any

    def payload(self) -> dict[str, Any]:
        """The JSON that samples.js reads: variates, samples, the notable ones, and how many are left out."""
        samples: list[dict[str, Any]] = []
        spent = 0
        for row in self.in_order():
            one = self.describe(row)
            spent += len(json.dumps(one))
            if samples and spent > SERIES_BYTES:
                break
            samples.append(one)
        self._add_pictures(samples)
        samples.sort(key=lambda one: (one["place"], one["year"], one["id"]))
        notable = {kind: [self.key(row) for row in rows] for kind, rows in self.notable.items()}
        return {"samples": samples, "notable": notable, "of": len(self.rows), "cut": self.table.cut}

    def key(self, row: TestRow) -> str:
        """What names a test row on the page; a sample may be tested in several folds."""
        return f"{self.table.sample_id[row.position]} {row.fold}"

    @cached_property
    def notable(self) -> dict[str, list[TestRow]]:
        """The rows with the smallest, the median and the largest errors."""
        rows = sorted(self.rows, key=lambda row: row.error)
        if len(rows) <= 3 * EACH:
            return {"sample": rows}
        middle = (len(rows) - EACH) // 2
        return {"best": rows[:EACH], "median": rows[middle : middle + EACH], "worst": rows[-EACH:][::-1]}

    def in_order(self) -> Iterator[TestRow]:
        """Every test row once: the notable ones, then the others in a random order."""
        first = [row for rows in self.notable.values() for row in rows]
        yield from first
        taken = {id(row) for row in first}
        for at in np.random.default_rng(0).permutation(len(self.rows)):
            if id(self.rows[at]) not in taken:
                yield self.rows[at]

    def describe(self, row: TestRow) -> dict[str, Any]:
        """One sample, without its pictures."""
        table, at = self.table, row.position
        variates = range(len(table.variates[:MOST_VARIATES]))
        series = [_numbers(table.values[at, v], table.observed[at, v]) for v in variates]
        earlier = earlier_yields(table, at)
        truth = float(table.target[at])
        return {
            "key": self.key(row), "id": str(table.sample_id[at]), "place": str(table.place[at]),
            "year": int(table.year[at]), "text": sentence(row, table), "series": series,
            "completed": self._completed(row), "causes": self._causes(row),
            "history": [earlier["year"].tolist(), [round(float(one), 3) for one in earlier["yield"]]],
            "forecast": None if row.forecast is None else [round(one, 3) for one in row.forecast],
            "observed": round(truth, 3) if np.isfinite(truth) else None,
        }  # fmt: skip

    def _completed(self, row: TestRow) -> list[Any] | None:
        """[steps, values] of each variate."""
        if self.completed is None:
            return None
        mine = self._by_sample.get((str(self.table.sample_id[row.position]), row.fold))
        if mine is None:
            return None
        found = []
        for variate in self.table.variates[:MOST_VARIATES]:
            one = mine[mine["variate"] == variate.name].sort_values("step")
            found.append([one["step"].tolist(), _numbers(one["y_pred"].to_numpy(), np.ones(len(one), bool))])
        return found

    @cached_property
    def _by_sample(self) -> dict[tuple[str, str], pd.DataFrame]:
        assert self.completed is not None
        groups = self.completed.groupby(["sample_id", "fold"], sort=False)
        return {(str(sample), str(fold)): part for (sample, fold), part in groups}

    def _causes(self, row: TestRow) -> list[Any] | None:
        """[names, changes in t/ha] of the hidden parts that move the forecast most, the largest last."""
        if self.changes is None:
            return None
        mine = self.changes[self.changes["sample_id"] == self.table.sample_id[row.position]]
        if mine.empty:
            return None
        change = (mine["y_without"] - mine["y_pred"]).groupby(mine["hidden"], sort=False).mean()
        largest = change.loc[change.abs().sort_values().index[-MOST_CAUSES:]]
        return [largest.index.tolist(), [round(float(one), 3) for one in largest]]

    def _add_pictures(self, samples: Sequence[dict[str, Any]]) -> None:
        """The plots of as many samples as PICTURE_BYTES allow, the notable ones first."""
        rows, spent = {self.key(row): row for row in self.rows}, 0
        unlabelled = replace(self.table, target=np.full(len(self.table), np.nan))  # plots need no yield
        for one in samples:
            if spent > PICTURE_BYTES:
                one["plots"] = None
                continue
            row = rows[one["key"]]
            one["plots"] = self.plots(unlabelled.rows(np.array([row.position])), row.fold)
            spent += sum(len(address) for address, _ in one["plots"])

    def plots(self, one: SeasonTable, fold: str) -> list[tuple[str, str]]:
        """The data URL and the caption of each plot of a table of one sample."""
        blocks = series_blocks(one, self.ranges[fold], self.style, self.framing)
        found = []
        for v, variate in enumerate(one.variate_names[:MOST_VARIATES]):
            for block in blocks:
                ink = draw(block.values[0, v][None], block.observed[0, v][None], self.style)
                image = Image.fromarray(colourise(ink, PALETTE[[v % len(PALETTE)]])[0]).quantize(INKS)
                found.append((picture(image), f"{variate}, {block.window.name}"))
        return found

    def charts(self) -> list[Chart]:
        """The empty charts that samples.js fills."""
        charts = [series_frame(self.table)]
        if any(row.forecast for row in self.rows):
            layout = {"height": 330, "showlegend": True, "legend": LEGEND,
                      "xaxis": {"title": {"text": "harvest year"}, "tickformat": "d", "automargin": True},
                      "yaxis": {"title": {"text": "yield, t/ha"}, "automargin": True}}  # fmt: skip
            charts.append(Chart("sample-history", "Forecast and history of the place", "", _history_traces(), layout))
        if self.changes is not None:
            layout = {"height": 330, "xaxis": {"title": {"text": "change if hidden, t/ha"}, "automargin": True},
                      "yaxis": {"automargin": True, "type": "category"}}  # fmt: skip
            bars = {"type": "bar", "orientation": "h", "x": [], "y": [], "marker": {"color": BLUE},
                    "hovertemplate": "%{y} hidden: %{x:+.3f} t/ha<extra></extra>"}  # fmt: skip
            note = "The parts of the season that change this forecast most when explain.py hides them."
            charts.append(Chart("sample-causes", "What moves the forecast", note, [bars], layout))
        return charts


def series_frame(table: SeasonTable) -> Chart:
    """A panel per variate with two traces: the observed series, and the half that stage 1 completed."""
    variates = table.variates[:MOST_VARIATES]
    columns = min(COLUMNS, len(variates))
    rows = -(-len(variates) // columns)
    layout: dict[str, Any] = {
        "margin": {"l": 10, "r": 10, "t": 30, "b": 30},
        "grid": {"rows": rows, "columns": columns, "pattern": "independent", "xgap": 0.2, "ygap": 0.45},
        "height": 60 + 200 * rows,
        "annotations": [],
        "shapes": [],
    }
    ticks = {name: one for name, one in step_axis(table).items() if name != "title"}
    traces: list[dict[str, Any]] = []
    for v, variate in enumerate(variates):
        end = str(v + 1) if v else ""
        place = {"xaxis": f"x{end}", "yaxis": f"y{end}"}
        traces += [
            {"type": "scatter", "mode": "lines+markers", "x": [], "y": [], **place, "marker": {"size": 4},
             "line": {"color": BLUE, "width": 1.5}, "hovertemplate": "step %{x}: %{y}<extra>observed</extra>"},
            {"type": "scatter", "mode": "lines", "x": [], "y": [], **place, "line": {"color": RED, "width": 2.5},
             "hovertemplate": "step %{x}: %{y}<extra>completed</extra>"},
        ]  # fmt: skip
        layout[f"xaxis{end}"] = {"automargin": True, "zeroline": False, "range": [-0.5, table.steps - 0.5], **ticks}
        layout[f"yaxis{end}"] = {"automargin": True, "zeroline": False}
        layout["annotations"].append(
            {"text": with_unit(variate.name, variate.unit), "xref": f"x{end} domain", "yref": f"y{end} domain",
             "x": 0, "y": 1.18, "showarrow": False, "font": {"size": 13}}
        )  # fmt: skip
        at = table.cut - 0.5
        layout["shapes"].append(
            {"type": "line", "xref": f"x{end}", "x0": at, "x1": at, "yref": f"y{end} domain", "y0": 0, "y1": 1,
             "line": {"color": GREY, "width": 1, "dash": "dot"}}
        )  # fmt: skip
    note = "By step. Blue: observed. Red: completed by stage 1 from the steps before the dotted line."
    more = len(table.variates) - len(variates)
    note += f" {more} more variates are not shown." if more else ""
    return Chart("sample-series", "Series", note, traces, layout)


def _history_traces() -> list[dict[str, Any]]:
    """Earlier yields, the forecast with its interval, and the observed yield; samples.js sets x and y."""
    hover = "%{x}: %{y:.2f} t/ha<extra></extra>"
    return [
        {"type": "scatter", "mode": "lines+markers", "name": "earlier yields", "x": [], "y": [],
         "line": {"color": GREY, "width": 1}, "marker": {"size": 6}, "hovertemplate": hover},
        {"type": "scatter", "mode": "markers", "name": "forecast, 90 % interval", "x": [], "y": [],
         "marker": {"color": RED, "size": 11}, "hovertemplate": hover,
         "error_y": {"type": "data", "symmetric": False, "array": [], "arrayminus": [], "color": RED}},
        {"type": "scatter", "mode": "markers", "name": "observed", "x": [], "y": [], "hovertemplate": hover,
         "marker": {"color": BLUE, "size": 11, "symbol": "diamond"}},
    ]  # fmt: skip


def sentence(row: TestRow, table: SeasonTable) -> str:
    """The sample in words."""
    at = row.position
    where = f"{table.place[at]}, {table.year[at]}"
    if row.forecast is None:
        return f"{where}: completion error {row.error:.3f} of the range of a variate."
    pred, low, high = row.forecast
    truth = table.target[at]
    held = "inside" if low <= truth <= high else "outside"
    earlier = earlier_yields(table, at)
    history = ""
    if len(earlier):
        history = (
            f" Earlier yields of this place ({earlier['year'].iloc[0]} to {earlier['year'].iloc[-1]}): mean "
            f"{earlier['yield'].mean():.2f}, {earlier['yield'].min():.2f} to {earlier['yield'].max():.2f} t/ha."
        )
    return (
        f"{where}: forecast {pred:.2f} t/ha (90 %: {low:.2f} to {high:.2f}), observed {truth:.2f} t/ha, {held} the "
        f"interval.{history}"
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


def _numbers(values: NDArray[Any], seen: NDArray[np.bool_]) -> list[float | None]:
    """Four significant digits; None for what is not observed."""
    return [float(f"{value:.4g}") if one else None for value, one in zip(values.tolist(), seen.tolist(), strict=True)]
