"""Forecasts in mid-season: what a run with `--steps` is worth after each of them, and how long before the harvest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from pipeline.table import SeasonTable
from stages.yield_forecast import Forecast
from stages.yield_scores import rows_of, test_metrics

LINES = ("place mean", "offset alone")  # baselines that see nothing of the season: the lines to beat


def predictions(outcomes: Sequence[Forecast]) -> pd.DataFrame:
    """The columns of predictions.parquet, `step` and `completed`: forecasts as known after so many steps.

    completed: whether the rest of the season was filled by stage 1's completion, or left unobserved.
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
    """For result.json: metrics of the test rows by step, the whole season last, and the baselines that see no step.

    early: what `predictions` gives; whole: metrics of the whole season. lead_days: from the end of the step's last day
    to the card's `harvest`, or to the end of the season where the card names none.
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
        "lines": {name: dict(baselines[name]) for name in LINES},
    }
