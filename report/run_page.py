"""report.html of a run: one file that opens offline, made from what the run folder holds; charts are SVG."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
from markupsafe import Markup, escape

from report.run import RunFolder

WIDTH, HEIGHT, LEFT, BOTTOM = 430, 300, 66, 40  # of a chart, pixels


@dataclass(frozen=True)
class Series:
    """Points or a line of one chart."""

    name: str
    x: list[float]
    y: list[float]
    colour: str
    line: bool = False


def write_page(run: RunFolder) -> Path:
    """Write report.html from config, result, metrics and predictions."""
    result, predictions = run.read_json("result.json"), pd.read_parquet(run.path / "predictions.parquet")
    charts = [training_chart(run.metrics()), rate_chart(run.metrics())]
    tables = []
    test = predictions[predictions["split"] == "test"]
    if result["stage"] > 1:
        charts += [truth_chart(test)]
        charts += [error_chart(test, column) for column in ("year", "place") if test[column].nunique() > 1]
        tables += [("By year", error_table(test, "year")), ("By place (worst ten)", error_table(test, "place")[:10])]
    if len(result.get("learners", {})) > 2:
        tables.insert(0, ("Learners and their mean weights", learner_table(result)))
    if "coverage" in result:
        tables += [("What the 90 % intervals held", coverage_table(result["coverage"]))]
    if "early" in result:
        charts += early_charts(result["early"])
        tables.insert(0, ("By how much of the season is known", early_table(result["early"])))
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["number"] = number
    page = environment.get_template("run_page.html").render(
        result=result,
        config=run.read_json("config.json"),
        charts=charts,
        tables=tables,
        rows=metric_rows(result),
        verdict=verdict(result),
        held=coverage_sentence(result["coverage"]) if "coverage" in result else "",
        forecasters={
            name: one["forecaster"] for name, one in run.read_json("fitted.json").items() if "forecaster" in one
        },
    )
    run.write_text("report.html", page)
    return run.path / "report.html"


def number(value: float) -> str:
    """Three decimals, or two significant digits where that would hide a small number; below 0.0001 it is zero."""
    if abs(value) < 1e-4:
        return "0.000"
    return f"{value:.3f}" if abs(value) >= 1e-3 else f"{value:.2g}"


def metric_rows(result: dict[str, Any]) -> list[dict[str, Any]]:
    """The model first, then every baseline on the same rows."""
    return [{"name": f"{result['preset']} (this run)", **result["metrics"]}] + [
        {"name": name, **metrics} for name, metrics in result["baselines"].items()
    ]


def verdict(result: dict[str, Any]) -> str:
    """Where the run stands among its baselines on the same test rows, by RMSE (stage 1: standardised MSE)."""
    name, unit = ("rmse", " t/ha") if result["stage"] > 1 else ("mse_standardised", "")
    mine = result["metrics"][name]
    others = {baseline: scores[name] for baseline, scores in result["baselines"].items()}
    best = min(others, key=lambda baseline: others[baseline])
    label = "RMSE" if result["stage"] > 1 else "error"
    leader = f"the best is {best} ({others[best]:.3f}{unit})"
    if others[best] >= mine:
        return f"No baseline has a lower {label} than this run ({mine:.3f}{unit}); {leader}."
    better = sum(score < mine for score in others.values())
    found = f"{better} of {len(others)} baselines have a lower {label} than this run ({mine:.3f}{unit}); {leader}"
    ahead = result.get("best_baseline")
    if ahead is None:
        return f"{found}."
    clearly = "clearly " if ahead["low"] > 0 else "not clearly "
    return (
        f"{found}: {clearly}ahead, by {ahead['ahead']:.3f}{unit} "
        f"(95 %: {ahead['low']:.3f} to {ahead['high']:.3f} over {ahead['over']})."
    )


def learner_table(result: dict[str, Any]) -> list[dict[str, Any]]:
    """A row per learner, the largest weight first; `offset` is what the others leave to 1."""
    ordered = sorted(result["learners"].items(), key=lambda item: -item[1])
    return [{"learner": name, "weight": weight} for name, weight in ordered]


def error_table(test: pd.DataFrame, column: str) -> list[dict[str, Any]]:
    """n, mean truth, RMSE and bias of each year or place, in t/ha; the largest RMSE first for places."""
    rows = []
    for name, group in test.groupby(column):
        error = group["y_pred"] - group["y_true"]
        rows.append(
            {
                column: name,
                "n": len(group),
                "mean yield": float(group["y_true"].mean()),
                "rmse": float(np.sqrt((error**2).mean())),
                "bias": float(error.mean()),
            }
        )
    return rows if column == "year" else sorted(rows, key=lambda row: -row["rmse"])


def training_chart(metrics: list[dict[str, Any]]) -> Markup:
    """The validation score of every fold by epoch, and the same term of the loss in training."""
    epochs = [row for row in metrics if "epoch" in row]
    lines = []
    for fold in dict.fromkeys(row["fold"] for row in epochs):
        mine = [row for row in epochs if row["fold"] == fold]
        x = [float(row["epoch"]) for row in mine]
        term = "completion" if "completion" in mine[0]["valid"] else "yield"
        train = [row["train"].get(term, row["train"]["loss"]) for row in mine]
        lines.append(Series(f"train {fold}", x, train, "#9ab", line=True))
        lines.append(Series(f"valid {fold}", x, [row["valid"]["score"] for row in mine], "#c40", line=True))
    return chart("Error (grey: training, red: validation)", "epoch", "MSE, standardised", lines)


def rate_chart(metrics: list[dict[str, Any]]) -> Markup:
    """The learning rate at the beginning of each epoch, every fold."""
    epochs = [row for row in metrics if "epoch" in row]
    lines = []
    for fold in dict.fromkeys(row["fold"] for row in epochs):
        mine = [row for row in epochs if row["fold"] == fold]
        x = [float(row["epoch"]) for row in mine]
        lines.append(Series(f"fold {fold}", x, [row["lr"] for row in mine], "#06a", line=True))
    return chart("Learning rate", "epoch", "rate", lines)


def error_chart(test: pd.DataFrame, column: str) -> Markup:
    """RMSE (line) and bias (points) of each year in order, or of each place from the worst to the best."""
    rows = error_table(test, column)
    at = [float(row[column]) if column == "year" else float(rank) for rank, row in enumerate(rows, 1)]
    label = "year" if column == "year" else "place, by rank of its RMSE"
    rmse = Series("RMSE", at, [row["rmse"] for row in rows], "#c40", line=True)
    bias = Series("bias", at, [row["bias"] for row in rows], "#06a")
    none = Series("no bias", [min(at), max(at)], [0.0, 0.0], "#888", line=True)
    return chart(f"Error by {column} (red: RMSE, blue: bias)", label, "t/ha", [none, rmse, bias])


def coverage_table(coverage: dict[str, Any]) -> list[dict[str, Any]]:
    """The share of yields within their interval: all, each year, and the ten places where it is least."""
    worst = sorted(coverage["by_place"], key=lambda row: (row["share"], row["place"]))[:10]
    named = [("all", coverage), *((row["year"], row) for row in coverage["by_year"]), *((r["place"], r) for r in worst)]
    return [
        {"rows": name, "n": row["n"], "share": row["share"], "from": row["low"], "to": row["high"]}
        for name, row in named
    ]


def coverage_sentence(coverage: dict[str, Any]) -> str:
    """Whether the intervals held what they promise, in a sentence that follows from the numbers by a rule."""
    low, high = coverage["over_years"] or (coverage["low"], coverage["high"])
    fits = (
        "fewer than" if high < coverage["nominal"] else "more than" if low > coverage["nominal"] else "about as many as"
    )
    told = "whole years drawn again" if coverage["over_years"] else "rows taken as independent, as there are few years"
    return (
        f"Intervals of {coverage['nominal']:.0%} held {coverage['share']:.1%} of {coverage['n']} test yields, {fits} "
        f"promised ({low:.0%} to {high:.0%} with 95 % confidence, {told})."
    )


def early_table(early: dict[str, Any]) -> list[dict[str, Any]]:
    """A row a step, the whole season last, then the baselines that see nothing of the season."""
    names = ("r2", "rmse", "coverage_90")
    days = f"days before {early['until']}"
    rows = [
        {
            "steps known": f"{row['step']}{', the rest completed' * row['completed']}",
            days: round(row["lead_days"]),
            **{name: row[name] for name in names},
        }
        for row in early["steps"]
    ]
    lines = [
        {"steps known": line, days: "any", "r2": scores["r2"], "rmse": scores["rmse"], "coverage_90": ""}
        for line, scores in early["lines"].items()
    ]
    return rows + lines


def early_charts(early: dict[str, Any]) -> list[Markup]:
    """RMSE and R2 of the test rows against lead time, the harvest on the right, beside the lines to beat."""
    days = [-float(row["lead_days"]) for row in early["steps"]]
    kinds = [("this run", "#c40", [row for row in early["steps"] if not row["completed"]])]
    completed = [row for row in early["steps"] if row["completed"]]
    kinds += [("completed", "#2a2", completed)] if completed else []
    charts = []
    for metric, label in (("rmse", "RMSE, t/ha"), ("r2", "R2")):
        lines = [
            Series(name, [min(days), max(days)], [scores[metric]] * 2, colour, line=True)
            for (name, scores), colour in zip(early["lines"].items(), ("#888", "#06a"), strict=True)
        ]
        for name, colour, rows in kinds:
            at = [-float(row["lead_days"]) for row in rows]
            lines.append(Series(name, at, [row[metric] for row in rows], colour, line=True))
        title = f"{label.split(',')[0]} by lead time (red: this run, green: completed, grey: place mean, blue: offset)"
        charts.append(chart(title, f"days to {early['until']}", label, lines))
    return charts


def truth_chart(test: pd.DataFrame) -> Markup:
    """Prediction against truth, with the line of a perfect forecast."""
    both = test[["y_true", "y_pred"]].to_numpy()
    low, high = float(both.min()), float(both.max())
    points = Series("test samples", test["y_true"].tolist(), test["y_pred"].tolist(), "#06a")
    perfect = Series("perfect", [low, high], [low, high], "#888", line=True)
    return chart("Prediction against truth, test rows", "observed, t/ha", "predicted, t/ha", [perfect, points])


def chart(title: str, x_label: str, y_label: str, series: list[Series]) -> Markup:
    """A small SVG chart with linear axes."""
    xs, ys = ([v for s in series for v in getattr(s, axis)] or [0.0, 1.0] for axis in "xy")
    x_low, x_high, y_low, y_high = min(xs), max(xs), min(ys), max(ys)

    def place(x: float, y: float) -> tuple[float, float]:
        right = (x - x_low) / ((x_high - x_low) or 1) * (WIDTH - LEFT - 10)
        up = (y - y_low) / ((y_high - y_low) or 1) * (HEIGHT - BOTTOM - 10)
        return LEFT + right, HEIGHT - BOTTOM - up

    parts = []
    for tick in np.linspace(0, 1, 5):
        x, y = x_low + tick * (x_high - x_low), y_low + tick * (y_high - y_low)
        at_x, at_y = place(x, y)
        anchor = "end" if tick == 1 else "middle"
        parts.append(f'<text x="{at_x:.0f}" y="{HEIGHT - BOTTOM + 15}" text-anchor="{anchor}">{x:.4g}</text>')
        parts.append(f'<text x="{LEFT - 5}" y="{at_y + 4:.0f}" text-anchor="end">{y:.3g}</text>')
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - 10}" y1="{at_y:.1f}" y2="{at_y:.1f}" stroke="#eee"/>')
    for s in series:
        at = [place(x, y) for x, y in zip(s.x, s.y, strict=True)]
        if s.line:
            points = " ".join(f"{x:.1f},{y:.1f}" for x, y in at)
            name = f"<title>{escape(s.name)}</title>"
            parts.append(
                f'<polyline points="{points}" fill="none" stroke="{s.colour}" stroke-width="1.5">{name}</polyline>'
            )
        else:
            parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{s.colour}" fill-opacity=".6"/>' for x, y in at]
    middle = (HEIGHT - BOTTOM) / 2
    parts.append(f'<text x="{WIDTH / 2}" y="{HEIGHT - 6}" text-anchor="middle">{x_label}</text>')
    parts.append(f'<text transform="translate(12 {middle}) rotate(-90)" text-anchor="middle">{y_label}</text>')
    svg = f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img">{"".join(parts)}</svg>'
    return Markup(f"<figure><figcaption>{title}</figcaption>{svg}</figure>")
