"""report.html: headline, scores, charts and single seasons of a run."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.errors import InputError
from pipeline.render import Style
from pipeline.table import SeasonTable
from report.interactive import Chart, fill_template
from report.run import RunFolder
from report.run_page.charts import (
    error_charts,
    forecast_charts,
    lead_charts,
    learner_charts,
    map_chart,
    training_charts,
)
from report.run_page.samples import SampleView, sample_views
from report.run_page.sentences import coverage_sentence, fold_sentences, headline
from report.run_page.tables import early_table, error_table, origin_table, score_table

SECTIONS = ("forecasts", "lead", "errors", "map", "learners", "training")
Positions = Mapping[str, tuple[float, float]]


def write_page(run: RunFolder, table: SeasonTable | None = None, positions: Positions | None = None) -> Path:
    """Write report.html of a run. Returns its path.

    table      the table that the run read; without it the page shows no single samples
    positions  longitude and latitude of samples in degrees, for the map
    """
    result, predictions = run.read_json("result.json"), run.read_predictions()
    fitted, config = run.read_json("fitted.json"), run.read_json("config.json")
    test = predictions[predictions["split"] == "test"]
    charts = charts_of(result, test, run.metrics(), positions or {})
    views = [] if table is None else views_of(run, result, fitted, test, table)
    tables = [score_table(result)]
    if "early" in result:
        tables.append(early_table(result["early"]))
    if result["stage"] > 1:
        tables += [error_table(test, column) for column in ("year", "place") if test[column].nunique() > 1]
    text = fill_template(
        Path(__file__).parent,
        "page.html",
        [*(chart for section in charts.values() for chart in section), *(view.chart for view in views)],
        result=result,
        headline=headline(result),
        held=coverage_sentence(result["coverage"]) if "coverage" in result else "",
        sections=charts,
        tables={one.id: one for one in tables},
        views=views,
        folds=fold_sentences(result, fitted, config),
        origin=origin_table(result),
        config=config,
    )
    run.write_text("report.html", text)
    return run.path / "report.html"


def charts_of(
    result: Mapping[str, Any], test: pd.DataFrame, metrics: list[dict[str, Any]], positions: Positions
) -> dict[str, list[Chart]]:
    """The charts of each section."""
    training = list(training_charts(metrics))
    if result["stage"] == 1:
        return {name: [] for name in SECTIONS} | {"training": training}
    return {
        "forecasts": list(forecast_charts(test)),
        "lead": list(lead_charts(result["early"])) if "early" in result else [],
        "errors": list(error_charts(test)),
        "map": list(map_chart(test, positions)),
        "learners": list(learner_charts(result)),
        "training": training,
    }


def views_of(
    run: RunFolder, result: Mapping[str, Any], fitted: Mapping[str, Any], test: pd.DataFrame, table: SeasonTable
) -> list[SampleView]:
    """Single seasons of the first fold, drawn in the y-ranges of that fold."""
    fold = result["folds"][0]
    record, mine = fitted[fold], test[test["fold"] == fold]
    if result["stage"] == 1:
        completed: pd.DataFrame | None = mine
        mine = completion_errors(mine, table)
    else:
        completed = completion_of(result, fold)
    ranges = np.array(record["ranges"]) if record.get("ranges") else _declared_ranges(table)
    style = Style(**result["style"]) if result.get("style") else Style()
    return sample_views(table, mine, completed, ranges, style, record.get("framing", "halves"))


def completion_errors(rows: pd.DataFrame, table: SeasonTable) -> pd.DataFrame:
    """One row per sample. `y_pred` is its root mean squared error, as a share of the range of each variate."""
    spans = {
        name: float(np.ptp(table.values[:, v][table.observed[:, v]])) or 1.0
        for v, name in enumerate(table.variate_names)
    }
    error = (rows["y_pred"] - rows["y_true"]) / rows["variate"].map(spans)
    rmse = (error**2).groupby(rows["sample_id"]).mean() ** 0.5
    return pd.DataFrame({"sample_id": rmse.index, "y_pred": rmse.to_numpy(), "y_true": 0.0})


def completion_of(result: Mapping[str, Any], fold: str) -> pd.DataFrame | None:
    """The completed halves of the stage-1 run that this run started from; None if its folder is gone."""
    if not result.get("from"):
        return None
    with contextlib.suppress(InputError):
        rows = RunFolder.open(Path(result["from"])).read_predictions()
        if "variate" in rows:
            return rows[(rows["split"] == "test") & (rows["fold"] == fold)]
    return None


def _declared_ranges(table: SeasonTable) -> np.ndarray:
    lows_highs = []
    for v, variate in enumerate(table.variates):
        values = table.values[:, v][table.observed[:, v]]
        low = float(values.min()) if variate.low is None else variate.low
        high = float(values.max()) if variate.high is None else variate.high
        lows_highs.append((low, high))
    return np.array(lows_highs)
