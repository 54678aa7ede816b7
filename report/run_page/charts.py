"""The charts of a run's page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from report.interactive import BLUE, GREY, LEGEND, RED, Chart
from report.map_chart import Quantity, map_chart
from report.run_page.tables import errors_by

MOST_POINTS = 2_000  # in a scatter chart; a larger table is sampled
MOST_PLACES = 40  # bars of a chart
LEAST_WEIGHT = 0.05  # of a learner whose variance shares are drawn
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
    layout = {"height": 520, "showlegend": few, "legend": LEGEND,
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
    """RMSE, bias and interval coverage by year and by place."""
    for column in ("year", "place"):
        rows = errors_by(test, column)
        if len(rows) < 2:
            continue
        shown = rows[:MOST_PLACES] if column == "place" else rows
        left = f" The {MOST_PLACES} of {len(rows):,} places with the largest RMSE." if len(shown) < len(rows) else ""
        note = f"Bias is forecast minus observed, so a positive bias is a forecast that is too high.{left}"
        yield Chart(f"error-{column}", f"Error and coverage by {column}", note, *_error_panels(shown, column))


def _error_panels(rows: Sequence[Mapping[str, Any]], column: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Traces and layout: RMSE and bias above, the share of yields that their intervals contain below."""
    names = [str(row[column]) for row in rows]
    bars = {"type": "bar", "name": "RMSE", "x": names, "y": rounded(row["rmse"] for row in rows),
            "marker": {"color": BLUE}, "text": [f"{row['n']:,} samples" for row in rows], "textposition": "none",
            "hovertemplate": "%{x}: RMSE %{y:.3f} t/ha, %{text}<extra></extra>"}  # fmt: skip
    bias = {"type": "scatter", "mode": "markers", "name": "bias", "x": names, "marker": {"color": RED, "size": 8},
            "y": rounded(row["bias"] for row in rows),
            "hovertemplate": "%{x}: bias %{y:+.3f} t/ha<extra></extra>"}  # fmt: skip
    held = {"type": "bar", "name": "inside the 90 % interval", "x": names, "marker": {"color": GREY}, "yaxis": "y2",
            "y": rounded(row["held"] for row in rows), "text": [f"{row['n']:,} samples" for row in rows],
            "textposition": "none", "hovertemplate": "%{x}: %{y:.0%} of %{text}<extra></extra>"}  # fmt: skip
    promised = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "yref": "y2", "y0": 0.9, "y1": 0.9,
                "line": {"color": RED, "dash": "dot", "width": 1.5}}  # fmt: skip
    layout = {**SMALL, "height": 430, "showlegend": True, "legend": LEGEND,
              "xaxis": {"type": "category", "automargin": True, "anchor": "y2"}, "shapes": [promised],
              "yaxis": axis("t/ha", domain=[0.42, 1]),
              "yaxis2": axis("coverage", domain=[0, 0.3], range=[0, 1.02], tickformat=".0%")}  # fmt: skip
    return [bars, bias, held], layout


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
        layout = {**SMALL, "height": 380, "showlegend": True, "legend": LEGEND,
                  "xaxis": axis(f"days before {early['until']}", autorange="reversed"),
                  "yaxis": axis(label)}  # fmt: skip
        yield Chart(f"lead-{metric}", f"{label.partition(',')[0]} by lead time", "", traces, layout)


def learner_charts(result: Mapping[str, Any]) -> Iterator[Chart]:
    """The weight of each learner, and the share of the variance of anomalies that each feature block explains."""
    if len(result.get("learners", {})) > 2:
        weights = sorted(result["learners"].items(), key=lambda item: item[1])
        note = "Means over folds. They add up to 1. The offset is the forecast from earlier yields alone."
        yield Chart("learners", "Weights of the learners", note,
                    [_bars(weights)], _bar_layout(len(weights), "weight"))  # fmt: skip
    folds = [fold["variance_shares"] for fold in result.get("learnt", {}).values() if fold.get("variance_shares")]
    weight = result.get("learners", {}).get("gp", 0.0)
    if folds and "gp" in folds[0] and weight >= LEAST_WEIGHT:
        names = list(folds[0]["gp"])
        shares = sorted(((n, float(np.mean([f["gp"].get(n, 0.0) for f in folds]))) for n in names), key=lambda s: s[1])
        note = (
            "Share of the variance of yield anomalies that the Gaussian process (gp) assigns to each, on training "
            f"rows. The weight of this learner in the forecast is {weight:.2f}."
        )
        layout = _bar_layout(len(shares), "share of variance")
        yield Chart("blocks", "What carries the Gaussian process", note, [_bars(shares)], layout)


def _bars(rows: Sequence[tuple[str, float]]) -> dict[str, Any]:
    return {"type": "bar", "orientation": "h", "y": [name for name, _ in rows], "marker": {"color": BLUE},
            "x": rounded(value for _, value in rows), "hovertemplate": "%{y}: %{x:.2f}<extra></extra>"}  # fmt: skip


def _bar_layout(bars: int, title: str) -> dict[str, Any]:
    return {**SMALL, "height": 110 + 26 * bars, "xaxis": axis(title, rangemode="tozero"),
            "yaxis": {"automargin": True, "type": "category"}}  # fmt: skip


def yield_map(test: pd.DataFrame, shapes: Mapping[str, Any]) -> Iterator[Chart]:
    """A map of places: forecast, observed yield, error, and its size, each the mean over the test years.

    shapes: GeoJSON geometries by place, in degrees
    """
    known = test[test["place"].isin(list(shapes))]
    if known.empty:
        return
    error = known["y_pred"] - known["y_true"]
    means = known.assign(error=error, size=error.abs()).groupby("place")[["y_pred", "y_true", "error", "size"]].mean()
    left = test["place"].nunique() - len(means)
    note = "Means over the test years of each place. A positive error is a forecast that is too high."
    if left:
        note += f" {left:,} places have no position."
    quantities = [
        Quantity("observed yield", means["y_true"].to_numpy()),
        Quantity("forecast", means["y_pred"].to_numpy()),
        Quantity("error: forecast minus observed", means["error"].to_numpy(), signed=True),
        Quantity("mean |error|", means["size"].to_numpy()),
    ]
    yield map_chart(means.index.tolist(), [shapes[place] for place in means.index], quantities, note)


def training_charts(metrics: Sequence[Mapping[str, Any]]) -> Iterator[Chart]:
    """Training and validation error by epoch. A menu selects the fold."""
    epochs = [row for row in metrics if "epoch" in row]
    folds = list(dict.fromkeys(row["fold"] for row in epochs))
    if not folds:
        return
    traces: list[dict[str, Any]] = []
    for number, fold in enumerate(folds):
        mine = [row for row in epochs if row["fold"] == fold]
        term = "completion" if "completion" in mine[0]["valid"] else "yield"
        x = [row["epoch"] for row in mine]
        train = rounded(row["train"].get(term, row["train"]["loss"]) for row in mine)
        valid = rounded(row["valid"]["score"] for row in mine)
        for rows, values, colour in (("training", train, GREY), ("validation", valid, RED)):
            traces.append({"type": "scatter", "mode": "lines+markers", "name": f"fold {fold}", "x": x, "y": values,
                           "visible": number == 0, "marker": {"color": colour, "size": 5},
                           "line": {"color": colour, "width": 1.5},
                           "hovertemplate": f"epoch %{{x}}, {rows}: %{{y:.3f}}<extra></extra>"})  # fmt: skip
    layout = {**SMALL, "xaxis": axis("epoch"), "yaxis": axis("MSE, standardised", rangemode="tozero")}
    note = "Red: validation (or left-out) rows. Grey: training rows."
    yield Chart("training", "Learning curves", note, traces, layout, "Fold" if len(folds) > 1 else "")
