"""explain.html: how far the forecasts of a run move when the model is not shown some steps or a variate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup

from report.run_page import Series, chart, number


def why_page(
    result: Mapping[str, Any],
    summary: pd.DataFrame,
    changes: pd.DataFrame,
    selection: pd.DataFrame | None,
    samples: Sequence[str],
    note: str,
) -> str:
    """The page. summary, changes: what `stages.occlusion` tells; samples: whose own charts are drawn."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["number"] = number
    charts = [steps_chart("all test samples", summary, "mean_abs_change", "mean |change|, t/ha")]
    for name in samples:
        mine = changes[changes["sample_id"] == name].assign(change=lambda rows: rows["y_without"] - rows["y_pred"])
        charts.append(steps_chart(name, mine, "change", "change, t/ha"))
    parts = summary[summary["kind"] != "steps"].sort_values("mean_abs_change", ascending=False)
    return environment.get_template("explain_page.html").render(
        result=result,
        note=note,
        charts=charts,
        parts=parts.to_dict("records"),
        steps=summary[summary["kind"] == "steps"].to_dict("records"),
        selection=None if selection is None else selection.to_dict("index"),
    )


def steps_chart(name: str, rows: pd.DataFrame, column: str, label: str) -> Markup:
    """The change of a forecast by the steps that are hidden, at their middle, beside no change."""
    steps = rows[rows["kind"] == "steps"].groupby("first_step").mean(numeric_only=True).reset_index()
    at = ((steps["first_step"] + steps["last_step"]) / 2).tolist()
    none = Series("no change", [min(at), max(at)], [0.0, 0.0], "#888", line=True)
    return chart(f"Steps hidden: {name}", "step", label, [none, Series(name, at, steps[column].tolist(), "#c40", True)])
