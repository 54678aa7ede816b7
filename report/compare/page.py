"""The page of a comparison: the scores of each run on shared rows, their differences, and their flags."""

from __future__ import annotations

import html
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from report.compare.pairs import ComparedRun, Pair, differing_flags, errors_of
from report.interactive import BLUE, GREY, LEGEND, Cell, Chart, SortedTable, fill_template
from report.run_page.charts import MOST_POINTS, YEARS, axis, rounded
from report.run_page.sentences import number

MOST_GROUPS = 40  # groups of bars in a chart


def compare_page(runs: Sequence[ComparedRun], shared: pd.DataFrame, pairs: Sequence[Pair], folder: Path) -> str:
    """The HTML text.

    shared  the result of `shared_rows`
    pairs   every two runs; the first ones are those with the first run
    folder  the folder of the page, from which links to the pages of the runs start
    """
    errors = errors_of(shared, len(runs))
    return fill_template(
        Path(__file__).parent,
        "page.html",
        list(charts_of(runs, shared, errors, pairs)),
        headline=headline(runs, shared, pairs),
        tables=[score_table(runs, shared, errors, folder), pair_table(runs, pairs)],
        flags=flag_table(runs),
        commands=[f"{one.name}: {one.result['command']}" for one in runs],
        data=runs[0].result["data"],
    )


def unit_of(runs: Sequence[ComparedRun]) -> str:
    """The unit of the errors."""
    return "t/ha" if runs[0].result["stage"] > 1 else "share of the variate's range"


def headline(runs: Sequence[ComparedRun], shared: pd.DataFrame, pairs: Sequence[Pair]) -> str:
    """Which runs differ clearly from the first, and on how many shared rows."""
    what = "test samples" if runs[0].result["stage"] > 1 else "test steps"
    sentences = [f"{len(runs)} runs share {len(shared):,} {what}."]
    if differing := other_rows(runs):
        sentences.append(
            f"The runs have different {differing}, so their own pages score different test rows, and those errors "
            "cannot be compared. The errors here are of the shared rows only."
        )
    for pair in (one for one in pairs if one.second == runs[0].name):
        size = f"{number(abs(pair.difference))} {unit_of(runs).replace('share of', 'of')}"
        word = "lower" if pair.difference < 0 else "higher"
        found = f"{pair.first}: RMSE {word} by {size} than {pair.second}"
        if pair.interval is None:
            sentences.append(f"{found}. They share {pair.over}, too few for an interval.")
            continue
        sure = "The interval excludes zero." if pair.clear else "The interval includes zero."
        low, high = sorted(-end if pair.difference < 0 else end for end in pair.interval)
        sentences.append(f"{found} (95 %: {low:.3f} to {high:.3f}). {sure}")
    return " ".join(sentences)


def other_rows(runs: Sequence[ComparedRun]) -> str:
    """What makes the test rows of the runs differ: "tables", "splits", "tables and splits", or nothing."""
    kinds = {"tables": "data_fingerprint", "splits": "split"}
    return " and ".join(kind for kind, name in kinds.items() if len({one.result[name] for one in runs}) > 1)


def _range(interval: tuple[float, float]) -> str:
    return f"{interval[0]:+.3f} to {interval[1]:+.3f}"


def score_table(
    runs: Sequence[ComparedRun], shared: pd.DataFrame, errors: NDArray[np.float64], folder: Path
) -> SortedTable:
    """RMSE, MAE and bias of each run on the shared rows, and R2 of yields; beside them the run's own test rows."""
    yields = runs[0].result["stage"] > 1
    spread = float(((shared["y_true"] - shared["y_true"].mean()) ** 2).sum())
    rmse = np.sqrt((errors**2).mean(1))
    rows = []
    for at, (one, error) in enumerate(zip(runs, errors, strict=True)):
        cells = [
            Cell(one.name, link=quote(os.path.relpath(one.run.path / "report.html", folder))),
            Cell(number(rmse[at]), float(rmse[at]), best=rmse[at] == rmse.min()),
        ]
        if yields:
            r2 = 1 - float((error**2).sum()) / max(spread, 1e-12)
            cells.append(Cell(f"{r2:.3f}", r2))
        cells += [Cell(number(float(np.abs(error).mean())), float(np.abs(error).mean())),
                  Cell(f"{error.mean():+.3f}", float(error.mean())),
                  Cell(f"{one.result['n_test']:,}", one.result["n_test"])]  # fmt: skip
        rows.append(cells)
    unit = unit_of(runs)
    head = ["run", f"RMSE, {unit}", *(["R2"] if yields else []), f"MAE, {unit}", f"bias, {unit}", "samples it tested"]
    note = f"On the {len(shared):,} rows that all runs tested."
    return SortedTable("shared", "Scores on shared rows", note, head, sorted(rows, key=lambda row: row[1].value or 0.0))


def pair_table(runs: Sequence[ComparedRun], pairs: Sequence[Pair]) -> SortedTable:
    """The difference of every two runs with its interval."""
    rows = [
        [
            Cell(one.first),
            Cell(one.second),
            Cell(f"{one.difference:+.3f}", one.difference),
            Cell("too few groups") if one.interval is None else Cell(_range(one.interval), one.interval[0]),
            Cell(("lower" if one.difference < 0 else "higher") if one.clear else "not clear"),
            Cell(f"{one.n:,}", one.n),
            Cell(one.over),
        ]
        for one in pairs
    ]
    head = ["run", "minus", f"RMSE, {unit_of(runs)}", "95 % interval", "error", "shared rows", "resampled"]
    note = (
        "A difference below zero means that the first run has the lower error. Bootstrap of whole groups: rows of one "
        "year or place have errors in common. Fewer than six groups give no interval. The intervals do not include the "
        "variation between seeds."
    )
    return SortedTable("pairs", "Paired differences", note, head, rows)


def flag_table(runs: Sequence[ComparedRun]) -> SortedTable | None:
    """The flags and facts that differ between the runs; None if none does."""
    rows = [[Cell(name), *map(Cell, values)] for name, values in differing_flags(runs)]
    if not rows:
        return None
    return SortedTable("flags", "What differs", "", ["flag or fact", *(one.name for one in runs)], rows)


def charts_of(
    runs: Sequence[ComparedRun], shared: pd.DataFrame, errors: NDArray[np.float64], pairs: Sequence[Pair]
) -> Iterator[Chart]:
    """Differences to the first run, errors by group, and the errors of single rows against those of the first run."""
    yield _difference_chart(runs, [one for one in pairs if one.second == runs[0].name])
    groups = ("year", "place") if runs[0].result["stage"] > 1 else ("variate",)
    for group in groups:
        if shared[group].nunique() > 1:
            yield _group_chart(runs, shared, errors, group)
    yield _scatter_chart(runs, shared, errors)


def _difference_chart(runs: Sequence[ComparedRun], pairs: Sequence[Pair]) -> Chart:
    below = [0.0 if one.interval is None else one.difference - one.interval[0] for one in pairs]
    above = [0.0 if one.interval is None else one.interval[1] - one.difference for one in pairs]
    trace = {
        "type": "scatter",
        "mode": "markers",
        "x": rounded(one.difference for one in pairs),
        "y": [html.escape(one.first) for one in pairs],
        "error_x": {"type": "data", "symmetric": False, "array": rounded(above), "arrayminus": rounded(below),
                    "color": GREY},
        "marker": {"size": 10, "color": [BLUE if one.clear else GREY for one in pairs]},
        "hovertemplate": "%{y}: %{x:+.3f}<extra></extra>",
    }  # fmt: skip
    layout: dict[str, Any] = {
        "height": 130 + 34 * len(pairs),
        "xaxis": axis(f"difference of RMSE, {unit_of(runs)}", zeroline=True, zerolinewidth=2),
        "yaxis": {"type": "category", "automargin": True, "autorange": "reversed"},
    }
    note = f"Each run minus {runs[0].name}, with 95 % intervals. Left of zero is better. Grey includes zero."
    return Chart("differences", f"RMSE beside {runs[0].name}", note, [trace], layout)


def _group_chart(runs: Sequence[ComparedRun], shared: pd.DataFrame, errors: NDArray[np.float64], group: str) -> Chart:
    squares = pd.DataFrame(errors.T**2).groupby(shared[group].to_numpy()).mean() ** 0.5
    names, note = list(squares.index), ""
    if len(names) > MOST_GROUPS:
        apart = (squares.max(axis=1) - squares.min(axis=1)).sort_values(ascending=False)
        names = list(apart.index[:MOST_GROUPS])
        note = f"The {MOST_GROUPS} of {len(squares)} {group}s where the runs differ most."
    traces = [
        {"type": "scatter" if group == "year" else "bar", "name": html.escape(one.name), "x": [str(n) for n in names],
         "y": rounded(squares.loc[names, at]), "marker": {"color": YEARS[at % len(YEARS)], "size": 8},
         "hovertemplate": f"%{{x}}: %{{y:.3f}}<extra>{html.escape(one.name)}</extra>"}
        for at, one in enumerate(runs)
    ]  # fmt: skip
    layout = {"height": 380, "showlegend": True, "legend": LEGEND,
              "xaxis": {"type": "category", "automargin": True},
              "yaxis": axis(f"RMSE, {unit_of(runs)}", rangemode="tozero")}  # fmt: skip
    return Chart(f"error-{group}", f"RMSE by {group}", note, traces, layout)


def _scatter_chart(runs: Sequence[ComparedRun], shared: pd.DataFrame, errors: NDArray[np.float64]) -> Chart:
    picked = np.arange(len(shared))
    note = "One dot per shared row. Below the dotted line the run named in the menu has the smaller error."
    if len(picked) > MOST_POINTS:
        picked = np.sort(np.random.default_rng(0).choice(len(shared), MOST_POINTS, replace=False))
        note += f" {MOST_POINTS:,} of {len(shared):,} rows, drawn at random."
    sizes = np.abs(errors[:, picked])
    labels = [html.escape(name) for name in shared["sample_id"].to_numpy()[picked]]
    traces: list[dict[str, Any]] = [
        {"type": "scatter", "mode": "markers", "name": one.name, "x": rounded(sizes[0]), "y": rounded(sizes[at]),
         "text": labels, "visible": at == 1, "marker": {"color": BLUE, "size": 6, "opacity": 0.55},
         "hovertemplate": "%{text}: %{x:.2f} and %{y:.2f}<extra></extra>"}
        for at, one in enumerate(runs) if at > 0
    ]  # fmt: skip
    top = float(sizes.max())
    line = {"type": "line", "x0": 0, "y0": 0, "x1": top, "y1": top, "line": {"color": GREY, "dash": "dot"}}
    layout = {"height": 460, "xaxis": axis(f"{runs[0].name}: |error|, {unit_of(runs)}"),
              "yaxis": axis(f"other run: |error|, {unit_of(runs)}"), "shapes": [line]}  # fmt: skip
    choose = "Run" if len(traces) > 1 else ""
    return Chart("rows", f"Each row: its error beside that of {runs[0].name}", note, traces, layout, choose)
