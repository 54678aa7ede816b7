"""The charts of a run's page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from report.interactive import BLUE, GREY, RED, Chart
from report.run_page.tables import errors_by

MOST_POINTS = 3_000  # in a scatter chart; a larger table is sampled
MOST_PLACES = 40  # bars of a chart
YEARS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8a8a00", "#7a5195")
SMALL: dict[str, Any] = {"height": 320, "margin": {"l": 10, "r": 10, "t": 30, "b": 50}}


def rounded(values: Any) -> list[float]:
    """Numbers rounded to four decimals, so that the page stays small."""
    return [round(float(one), 4) for one in values]


def axis(title: str, **more: Any) -> dict[str, Any]:
    """An axis that makes room for its labels."""
    return {"title": {"text": title}, "automargin": True, **more}


def forecast_charts(test: pd.DataFrame) -> Iterator[Chart]:
    """Forecast against observed yield with intervals, and the error against the observed yield."""
    some = test.sample(MOST_POINTS, random_state=0).sort_index() if len(test) > MOST_POINTS else test
    sampled = f" {MOST_POINTS:,} of {len(test):,} test rows, drawn at random." if len(some) < len(test) else ""
    span = [float(np.floor(test[["y_true", "y_pred"]].to_numpy().min())),
            float(np.ceil(test[["y_true", "y_pred"]].to_numpy().max()))]  # fmt: skip
    perfect = {"type": "scatter", "mode": "lines", "x": span, "y": span, "line": {"color": GREY, "dash": "dot"},
               "name": "perfect", "hoverinfo": "skip", "showlegend": False}  # fmt: skip
    traces = [perfect, *(_points(rows, str(year), colour) for (year, rows), colour in _by_year(some))]
    few = test["year"].nunique() <= len(YEARS)
    layout = {"height": 520, "showlegend": few, "legend": {"orientation": "h", "y": 1.08},
              "xaxis": axis("observed, t/ha"), "yaxis": axis("forecast, t/ha")}  # fmt: skip
    note = f"Bars: 90 % intervals. Colours: years.{sampled}"
    yield Chart("forecast", "Forecast and observed yield", note, traces, layout)
    error = some["y_pred"] - some["y_true"]
    slope, level = np.polyfit(test["y_true"], test["y_pred"] - test["y_true"], 1) if len(test) > 2 else (0.0, 0.0)
    points = {"type": "scatter", "mode": "markers", "x": rounded(some["y_true"]), "y": rounded(error),
              "marker": {"color": BLUE, "size": 6, "opacity": 0.55}, "text": _labels(some),
              "hovertemplate": "%{text}<br>observed %{x:.2f}, error %{y:+.2f} t/ha<extra></extra>"}  # fmt: skip
    line = {"type": "scatter", "mode": "lines", "x": span, "y": [level + slope * one for one in span],
            "line": {"color": RED}, "hoverinfo": "skip"}  # fmt: skip
    note = (
        f"The line is a least-squares fit: the error changes by {slope:+.2f} t/ha per t/ha of observed yield. A "
        "negative slope means that high yields are forecast too low and low yields too high. Any imperfect forecast "
        "tends to do that."
    )
    layout = {"height": 380, "xaxis": axis("observed, t/ha"), "yaxis": axis("forecast minus observed, t/ha")}
    yield Chart("residual", "Are extremes flattened?", note, [points, line], layout)


def _by_year(test: pd.DataFrame) -> list[tuple[tuple[Any, pd.DataFrame], str]]:
    groups = list(test.groupby("year"))
    colours = YEARS if len(groups) <= len(YEARS) else (BLUE,) * len(groups)
    return list(zip(groups, colours, strict=False))


def _labels(rows: pd.DataFrame) -> list[str]:
    return [f"{place}, {year}" for place, year in zip(rows["place"], rows["year"], strict=True)]


def _points(rows: pd.DataFrame, name: str, colour: str) -> dict[str, Any]:
    bars = {"type": "data", "symmetric": False, "array": rounded(rows["y_hi"] - rows["y_pred"]), "width": 0,
            "arrayminus": rounded(rows["y_pred"] - rows["y_lo"]), "thickness": 0.6, "color": colour}  # fmt: skip
    texts = [f"{label}<br>interval {low:.2f} to {high:.2f}" for label, low, high in
             zip(_labels(rows), rows["y_lo"], rows["y_hi"], strict=True)]  # fmt: skip
    return {"type": "scatter", "mode": "markers", "name": name, "x": rounded(rows["y_true"]), "opacity": 0.75,
            "y": rounded(rows["y_pred"]), "error_y": bars, "marker": {"color": colour, "size": 7}, "text": texts,
            "hovertemplate": "%{text}<br>forecast %{y:.2f}, observed %{x:.2f} t/ha<extra></extra>"}  # fmt: skip


def error_charts(test: pd.DataFrame) -> Iterator[Chart]:
    """RMSE and bias by year and by place."""
    for column in ("year", "place"):
        rows = errors_by(test, column)
        if len(rows) < 2:
            continue
        shown = rows[:MOST_PLACES] if column == "place" else rows
        left = f" The {MOST_PLACES} of {len(rows)} places with the largest RMSE." if len(shown) < len(rows) else ""
        names = [str(row[column]) for row in shown]
        held = [f"{row['held']:.0%} of {row['n']} held by the interval" for row in shown]
        bars = {"type": "bar", "name": "RMSE", "x": names, "y": rounded(row["rmse"] for row in shown), "text": held,
                "textposition": "none", "marker": {"color": BLUE},
                "hovertemplate": "%{x}: RMSE %{y:.3f} t/ha<br>%{text}<extra></extra>"}  # fmt: skip
        bias = {"type": "scatter", "mode": "markers", "name": "bias", "x": names, "marker": {"color": RED, "size": 8},
                "y": rounded(row["bias"] for row in shown),
                "hovertemplate": "%{x}: bias %{y:+.3f} t/ha<extra></extra>"}  # fmt: skip
        layout = {**SMALL, "height": 340, "showlegend": True, "legend": {"orientation": "h", "y": 1.12},
                  "xaxis": {"type": "category", "automargin": True}, "yaxis": axis("t/ha")}  # fmt: skip
        note = f"Bias is forecast minus observed, so a positive bias is a forecast that is too high.{left}"
        yield Chart(f"error-{column}", f"Error by {column}", note, [bars, bias], layout)


def lead_charts(early: Mapping[str, Any]) -> Iterator[Chart]:
    """RMSE and R2 against days before harvest, with the baselines as horizontal lines."""
    days = [float(row["lead_days"]) for row in early["steps"]]
    kinds = [("this run", RED, [row for row in early["steps"] if not row["completed"]])]
    completed = [row for row in early["steps"] if row["completed"]]
    kinds += [("completed seasons", BLUE, completed)] if completed else []
    dashes = ("dot", "dash", "dashdot", "longdash")
    for metric, label in (("rmse", "RMSE, t/ha"), ("r2", "R2")):
        traces: list[dict[str, Any]] = [
            {"type": "scatter", "mode": "lines", "name": name, "x": [max(days), min(days)], "y": [scores[metric]] * 2,
             "line": {"color": GREY, "dash": dash}}
            for (name, scores), dash in zip(early["lines"].items(), dashes, strict=False)
        ]  # fmt: skip
        for name, colour, rows in kinds:
            traces.append({"type": "scatter", "mode": "lines+markers", "name": name, "line": {"color": colour},
                           "x": [float(row["lead_days"]) for row in rows], "y": rounded(row[metric] for row in rows),
                           "hovertemplate": f"%{{x:.0f}} days before: {label} %{{y:.3f}}<extra></extra>"})  # fmt: skip
        layout = {**SMALL, "height": 380, "showlegend": True, "legend": {"orientation": "h", "y": 1.1},
                  "xaxis": axis(f"days before {early['until']}", autorange="reversed"),
                  "yaxis": axis(label)}  # fmt: skip
        yield Chart(f"lead-{metric}", f"{label.partition(',')[0]} by lead time", "", traces, layout)


def learner_charts(result: Mapping[str, Any]) -> Iterator[Chart]:
    """The weight of each learner, and the share of the variance of anomalies that each feature block explains."""
    if len(result.get("learners", {})) > 2:
        weights = sorted(result["learners"].items(), key=lambda item: item[1])
        note = "Means over folds. The rest, up to 1, is the weight of the offset."
        yield Chart("learners", "Weights of the learners", note,
                    [_bars(weights)], _bar_layout(len(weights), "weight"))  # fmt: skip
    folds = [fold["variance_shares"] for fold in result.get("learnt", {}).values() if fold.get("variance_shares")]
    if folds and "gp" in folds[0]:
        names = list(folds[0]["gp"])
        shares = sorted(((n, float(np.mean([f["gp"].get(n, 0.0) for f in folds]))) for n in names), key=lambda s: s[1])
        note = "Share of the variance of yield anomalies that the Gaussian process assigns to each, on training rows."
        layout = _bar_layout(len(shares), "share of variance")
        yield Chart("blocks", "What carries the forecast", note, [_bars(shares)], layout)


def _bars(rows: Sequence[tuple[str, float]]) -> dict[str, Any]:
    return {"type": "bar", "orientation": "h", "y": [name for name, _ in rows], "marker": {"color": BLUE},
            "x": rounded(value for _, value in rows), "hovertemplate": "%{y}: %{x:.2f}<extra></extra>"}  # fmt: skip


def _bar_layout(bars: int, title: str) -> dict[str, Any]:
    return {**SMALL, "height": 110 + 26 * bars, "xaxis": axis(title, rangemode="tozero"),
            "yaxis": {"automargin": True, "type": "category"}}  # fmt: skip


def map_chart(test: pd.DataFrame, positions: Mapping[str, tuple[float, float]]) -> Iterator[Chart]:
    """A map of places with a menu for forecast, observed yield or error, each the mean over the test years."""
    known = test[test["sample_id"].isin(list(positions))]
    if known.empty:
        return
    at = known.assign(
        longitude=[positions[one][0] for one in known["sample_id"]],
        latitude=[positions[one][1] for one in known["sample_id"]],
        error=known["y_pred"] - known["y_true"],
    )
    places = at.groupby("place")[["longitude", "latitude", "y_true", "y_pred", "error"]].mean().reset_index()
    traces = []
    for number, (name, column, scale) in enumerate(
        (("forecast", "y_pred", "Viridis"), ("observed", "y_true", "Viridis"), ("error", "error", "RdBu"))
    ):
        marker: dict[str, Any] = {"size": 9, "color": rounded(places[column]), "colorscale": scale, "showscale": True,
                                  "colorbar": {"title": {"text": "t/ha"}, "outlinewidth": 0}}  # fmt: skip
        marker |= {"cmid": 0, "reversescale": True} if column == "error" else {}
        traces.append({"type": "scatter", "mode": "markers", "name": name, "x": rounded(places["longitude"]),
                       "y": rounded(places["latitude"]), "text": places["place"].tolist(), "marker": marker,
                       "visible": number == 0,
                       "hovertemplate": "%{text}: %{marker.color:.2f} t/ha<extra></extra>"})  # fmt: skip
    middle = float(np.cos(np.deg2rad(places["latitude"].mean())))
    layout = {"height": 480, "xaxis": axis("longitude, °"),
              "yaxis": axis("latitude, °", scaleanchor="x", scaleratio=1 / max(middle, 0.2))}  # fmt: skip
    note = "Means over the test years of each place. Outlines of countries would need a network and are not drawn."
    yield Chart("map", "Map", note, traces, layout, "Show")


def training_charts(metrics: Sequence[Mapping[str, Any]]) -> Iterator[Chart]:
    """Training and validation error by epoch. A menu selects the fold."""
    epochs = [row for row in metrics if "epoch" in row]
    folds = list(dict.fromkeys(row["fold"] for row in epochs))
    if not folds:
        return
    traces = []
    for number, fold in enumerate(folds):
        mine = [row for row in epochs if row["fold"] == fold]
        term = "completion" if "completion" in mine[0]["valid"] else "yield"
        x = [row["epoch"] for row in mine]
        train = rounded(row["train"].get(term, row["train"]["loss"]) for row in mine)
        valid = rounded(row["valid"]["score"] for row in mine)
        gap = {"x": [*x, None, *x], "y": [*train, None, *valid]}
        colours = [GREY] * len(x) + [GREY] + [RED] * len(x)
        traces.append({"type": "scatter", "mode": "markers+lines", "name": str(fold), **gap, "visible": number == 0,
                       "marker": {"color": colours, "size": 5}, "line": {"color": GREY, "width": 1},
                       "hovertemplate": "epoch %{x}: %{y:.3f}<extra></extra>"})  # fmt: skip
    layout = {**SMALL, "xaxis": axis("epoch"), "yaxis": axis("MSE, standardised")}
    note = "Red: validation (or left-out) rows. Grey: training rows."
    yield Chart("training", "Training", note, traces, layout, "Fold" if len(folds) > 1 else "")
