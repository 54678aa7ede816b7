"""The programs as functions, for notebooks: read a table, render, fit, forecast, explain.

    import harvest

    table = harvest.read("my_card.toml")
    harvest.render("my_card.toml", workers=8)
    harvest.fit(1, "my_card.toml")
    run = harvest.fit(2, "my_card.toml")
    harvest.scores(run)                               # the run beside its baselines
    harvest.test_forecasts(run)                       # t/ha, one row per held-out sample
    harvest.forecast(run, "2025.csv", as_of=12)       # new seasons
    harvest.explain(run).means
    harvest.figures(run)["forecast"]                  # a Plotly figure

Each function runs the code of a program (`render_cache.py`, `train.py`, `predict.py`, `explain.py`) in this process and
takes the program's flags as keywords: `batch_size=32` for `--batch-size 32`. Input that cannot be used raises
`harvest.InputError`. Everything works from a thread, as in a notebook server.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
import plotly.graph_objects as go

import explain as explain_program
import predict as predict_program
import render_cache as render_program
import train as train_program
from model.training.distributed import Processes
from pipeline.errors import InputError
from pipeline.parser import command_of, parse_or_raise
from pipeline.sources import read
from pipeline.table import SeasonTable
from report.run import RunFolder
from report.run_page import charts
from report.run_page.sentences import metric_rows
from stages.runs.command_line import parse
from stages.runs.commands import train_command

T = TypeVar("T")

__all__ = ["InputError", "SeasonTable", "explain", "figures", "fit", "forecast", "read", "render", "scores",
           "table_of", "test_forecasts"]  # fmt: skip


def render(data: str | Path, **flags: Any) -> None:
    """Draw and embed every series of a table that the cache lacks. flags: those of render_cache.py."""
    args = _parsed(render_program.Arguments, "render_cache.py", _flags(flags, data=data))
    if render_program.render(args) != 0:
        raise RuntimeError(
            "some pictures could not be made; the lines above name them. Call render again to try those."
        )


def fit(stage: int, data: str | Path, **flags: Any) -> Path:
    """Train stage 1, 2 or 3 on a table and return the run folder. flags: those of train.py.

    Stage 2 starts from the newest stage-1 run that fits, or from the run that `from_` names.
    """
    args = parse(_flags(flags, stage=stage, data=data), "")
    run = train_program.train_seeds(args, Processes.start(args.learning.device), train_command(args))
    assert run is not None  # only further processes of torchrun write nothing
    return run


def forecast(run: str | Path, data: str | Path, **flags: Any) -> pd.DataFrame:
    """Forecasts of new seasons, with the columns that docs/forecasts.md lists. flags: those of predict.py.

    Sentences about forecasts whose interval is likely too narrow are in `.attrs["warnings"]`.
    """
    args = _parsed(predict_program.Arguments, "predict.py", _flags(flags, run=run, data=data))
    found = predict_program.forecast_new_seasons(args)
    rows = found.rows.copy()
    rows.attrs["warnings"] = list(found.warnings)
    return rows


def explain(run: str | Path, **flags: Any) -> explain_program.Explanation:
    """How far test forecasts move when steps, a variate or a driver are hidden. flags: those of explain.py."""
    args = _parsed(explain_program.Arguments, "explain.py", _flags(flags, run=run))
    return explain_program.explain_run(args, RunFolder.open(args.run))


def scores(run: str | Path) -> pd.DataFrame:
    """The metrics of a run and of its baselines on the same test rows, the run first; RMSE and MAE in t/ha."""
    return pd.DataFrame(metric_rows(RunFolder.open(Path(run)).read_json("result.json"))).set_index("name")


def test_forecasts(run: str | Path) -> pd.DataFrame:
    """The test rows of predictions.parquet: in stages 2 and 3 with y_true, y_pred, y_lo, y_hi in t/ha."""
    rows = RunFolder.open(Path(run)).read_predictions()
    return rows[rows["split"] == "test"].drop(columns="split").reset_index(drop=True)


test_forecasts.__test__ = False  # type: ignore[attr-defined]  # pytest takes the name for a test


def figures(run: str | Path) -> dict[str, go.Figure]:
    """The charts of a stage-2 or stage-3 run's page as Plotly figures, by name: `forecast`, `residual`, ..."""
    folder = RunFolder.open(Path(run))
    result = folder.read_json("result.json")
    if result["stage"] < 2:
        raise InputError(f"{run} is a stage-1 run; figures of forecasts need a run of stage 2 or 3.")
    test = test_forecasts(run)
    made = [*charts.forecast_charts(test), *charts.error_charts(test), *charts.learner_charts(result)]
    return {chart.id: _figure(chart) for chart in made}


def table_of(table: SeasonTable) -> pd.DataFrame:
    """A season table in long form: a row per sample and step, a column per variate (NaN: unobserved), yield in t/ha."""
    n, _, steps = table.values.shape
    rows: dict[str, Any] = {
        "sample_id": table.sample_id.repeat(steps),
        "place": table.place.repeat(steps),
        "year": table.year.repeat(steps),
        "step": list(range(steps)) * n,
    }
    rows |= {name: table.values[:, v].reshape(-1) for v, name in enumerate(table.variate_names)}
    return pd.DataFrame(rows | {"yield": table.target.repeat(steps)})


def _parsed(arguments: type[T], program: str, flags: list[str]) -> T:
    return parse_or_raise(arguments, flags, None, command_of(program))


def _flags(flags: dict[str, Any], **first: Any) -> list[str]:
    """Keywords as a command line gives them; None leaves a flag at its default."""
    given = []
    for name, value in (first | flags).items():
        flag = f"--{name.rstrip('_').replace('_', '-')}"
        if isinstance(value, bool):
            given.append(flag if value else f"--no-{flag[2:]}")
        elif isinstance(value, dict):  # style={"size": 96}
            given += [part for key, one in value.items() for part in (f"{flag}.{key.replace('_', '-')}", str(one))]
        elif value is not None:
            text = ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
            given += [flag, text]
    return given


def _figure(chart: Any) -> go.Figure:
    colours = {"--blue": "#0066aa", "--red": "#c8401a", "--grey": "#778899", "--pale": "#eef1f5", "--ink": "#222222"}

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(one) for key, one in value.items()}
        if isinstance(value, list | tuple):
            return [plain(one) for one in value]
        return colours.get(value, value) if isinstance(value, str) else value

    title = {"title": {"text": chart.title}}
    return go.Figure(data=plain(list(chart.traces)), layout=plain(dict(chart.layout)) | title)
