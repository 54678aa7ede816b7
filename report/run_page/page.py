"""report.html: headline, scores, charts, a map and single seasons of a run."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from pipeline.errors import InputError
from pipeline.sources.geometry import Shapes, known_shapes
from pipeline.style import Style
from pipeline.table import SeasonTable
from report.interactive import Chart, SortedTable, as_json, fill_template
from report.run import RunFolder
from report.run_page.charts import (
    error_charts,
    forecast_charts,
    lead_charts,
    learner_charts,
    training_charts,
    yield_map,
)
from report.run_page.completion import completion_charts, completion_errors, retrieval_sentence, variate_table
from report.run_page.samples import Browser, TestRow
from report.run_page.sentences import coverage_sentence, fold_sentences, headline, warning_sentences
from report.run_page.tables import early_table, error_table, origin_table, score_table

SECTIONS = ("forecasts", "lead", "errors", "map", "completion", "learners", "training")
HERE = Path(__file__).parent


def write_page(run: RunFolder, table: SeasonTable | None = None, data: str | None = None) -> Path:
    """Write report.html of a run. Returns its path.

    table  the table that the run read; without it the page shows no single samples and no map
    data   where its card is, if the data have moved; it may name positions or outlines for the map
    """
    result, predictions = run.read_json("result.json"), run.read_predictions()
    fitted, config = run.read_json("fitted.json"), run.read_json("config.json")
    test = predictions[predictions["split"] == "test"]
    shapes, no_map = (None, "") if table is None else known_shapes(data or config["data"])
    charts = charts_of(result, test, run.metrics(), table, shapes)
    browser = None if table is None else browser_of(run, result, fitted, test, table)
    frames = [] if browser is None else browser.charts()
    text = fill_template(
        HERE,
        "page.html",
        [*(chart for section in charts.values() for chart in section), *frames],
        result=result,
        headline=headline(result),
        held=coverage_sentence(result["coverage"]) if "coverage" in result else retrieval_sentence(result),
        sections=charts,
        tables={one.id: one for one in tables_of(result, test, table)},
        frames=frames,
        browsed=None if browser is None else as_json(browser.payload()),
        folds=[*warning_sentences(result), *fold_sentences(result, fitted, config)],
        origin=origin_table(result),
        config=config,
        no_map=no_map,
        browse=Markup((HERE / "samples.js").read_text(encoding="utf-8")),
    )
    run.write_text("report.html", text)
    return run.path / "report.html"


def tables_of(result: Mapping[str, Any], test: pd.DataFrame, table: SeasonTable | None) -> list[SortedTable]:
    """The tables of the page."""
    tables = [score_table(result)]
    if "early" in result:
        tables.append(early_table(result["early"]))
    if result["stage"] > 1:
        tables += [error_table(test, column) for column in ("year", "place") if test[column].nunique() > 1]
    elif table is not None:
        tables.append(variate_table(result, table, test))
    return tables


def charts_of(
    result: Mapping[str, Any],
    test: pd.DataFrame,
    metrics: list[dict[str, Any]],
    table: SeasonTable | None,
    shapes: Shapes | None,
) -> dict[str, list[Chart]]:
    """The charts of each section."""
    sections: dict[str, list[Chart]] = {name: [] for name in SECTIONS}
    sections["training"] = list(training_charts(metrics))
    if result["stage"] == 1:
        sections["completion"] = [] if table is None else list(completion_charts(result, table, test))
        return sections
    sections["forecasts"] = list(forecast_charts(test))
    sections["lead"] = list(lead_charts(result["early"])) if "early" in result else []
    sections["errors"] = list(error_charts(test))
    if shapes is not None:
        places = test.drop_duplicates("place")
        known = zip(places["place"], shapes.of_samples(places["sample_id"], places["place"]), strict=True)
        sections["map"] = list(yield_map(test, {place: one for place, one in known if one is not None}))
    sections["learners"] = list(learner_charts(result))
    return sections


def browser_of(
    run: RunFolder, result: Mapping[str, Any], fitted: Mapping[str, Any], test: pd.DataFrame, table: SeasonTable
) -> Browser:
    """The browser of the test rows, each drawn in the y-ranges of its fold."""
    at = {name: row for row, name in enumerate(table.sample_id.tolist())}
    completed = test if result["stage"] == 1 else completion_of(result)
    first = next(iter(fitted.values()))
    changes = run.path / "explain" / "samples.csv"
    return Browser(
        table=table,
        rows=list(_test_rows(result, test, table, at)),
        completed=completed,
        changes=pd.read_csv(changes, dtype={"sample_id": str}) if changes.is_file() else None,
        ranges={
            fold: np.array(record["ranges"]) if record.get("ranges") else _declared_ranges(table)
            for fold, record in fitted.items()
        },
        style=Style(**result["style"]) if result.get("style") else Style(),
        framing=first.get("framing", "halves"),
    )


def _test_rows(
    result: Mapping[str, Any], test: pd.DataFrame, table: SeasonTable, at: Mapping[str, int]
) -> Sequence[TestRow]:
    if result["stage"] == 1:
        errors = completion_errors(test, table)
        return [
            TestRow(position=at[sample], fold=str(fold), error=float(error))
            for sample, fold, error in zip(errors["sample_id"], errors["fold"], errors["error"], strict=True)
            if sample in at
        ]
    return [
        TestRow(
            position=at[row.sample_id],
            fold=str(row.fold),
            error=abs(row.y_pred - row.y_true),
            forecast=(row.y_pred, row.y_lo, row.y_hi),
        )
        for row in test.itertuples(index=False)
        if row.sample_id in at
    ]


def completion_of(result: Mapping[str, Any]) -> pd.DataFrame | None:
    """The completed halves of the stage-1 run that this run started from; None if its folder is gone."""
    if not result.get("from"):
        return None
    with contextlib.suppress(InputError):
        rows = RunFolder.open(Path(result["from"])).read_predictions()
        if "variate" in rows:
            return rows[rows["split"] == "test"]
    return None


def _declared_ranges(table: SeasonTable) -> np.ndarray:
    lows_highs = []
    for v, variate in enumerate(table.variates):
        values = table.values[:, v][table.observed[:, v]]
        low = float(values.min()) if variate.low is None else variate.low
        high = float(values.max()) if variate.high is None else variate.high
        lows_highs.append((low, high))
    return np.array(lows_highs)
