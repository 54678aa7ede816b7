"""Mid-season forecasts: their skill after each step of `--steps`, and their lead time before harvest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from pipeline.table import SeasonTable
from stages.yields.yield_outcome import YieldOutcome
from stages.yields.yield_scores import rows_of, test_metrics

LINES = (
    "place mean",
    "place mean + trend",
    "offset alone",
)  # baselines that read nothing of the season: the lines to beat


def predictions(outcomes: Sequence[YieldOutcome]) -> pd.DataFrame:
    """The columns of predictions.parquet plus `step` and `completed`: forecasts as known after `step` steps.

    completed: whether stage 1's completion filled the rest of the season, or it stayed unobserved.
    """
    frames = [
        rows_of(outcome.prepared, early.valid, early.test).assign(step=early.step, completed=early.completed)
        for outcome in outcomes
        for early in outcome.early
    ]
    return pd.concat(frames, ignore_index=True)


def scores(
    table: SeasonTable, early: pd.DataFrame, whole: Mapping[str, float], baselines: Mapping[str, Mapping[str, float]]
) -> dict[str, Any]:
    """For result.json: metrics of the test rows by step, the whole season last, and baselines that read no step.

    early: the result of `predictions`. whole: metrics of the whole season. lead_days: days from the end of the step's
    last day to the card's `harvest`, or to the end of the season if the card has none.
    """
    rows = [
        (int(step), bool(completed), test_metrics(part))
        for (step, completed), part in early.groupby(["step", "completed"])
        if step < table.steps
    ]
    rows.append((table.steps, False, dict(whole)))
    return {
        "until": "harvest" if table.knows_harvest else "the end of the season",
        "steps": [
            {"step": step, "lead_days": table.lead_days(step), "completed": completed, **metrics}
            for step, completed, metrics in rows
        ],
        "lines": {name: dict(baselines[name]) for name in LINES if name in baselines},
    }
