"""The Python interface does what the programs do; the example notebook runs from top to bottom."""

import json
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

import harvest
import predict
from report.run import RunFolder
from tests.conftest import CARD, small_seasons

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOK = ROOT / "examples" / "first_forecast.ipynb"


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """A folder with a small table, and its runs of both stages on numbers alone."""
    folder = tmp_path_factory.mktemp("harvest")
    small_seasons().to_csv(folder / "seasons.csv", index=False)
    (folder / "card.toml").write_text(CARD)
    flags = {"preset": "language-only", "epochs": 2, "cache": folder / "cache"}
    first = harvest.fit(1, folder / "card.toml", out=folder / "one", **flags)
    second = harvest.fit(2, folder / "card.toml", out=folder / "two", from_=first, **flags)
    return folder, first, second


def test_runs_and_their_tables_are_those_of_the_programs(fitted):
    folder, first, second = fitted
    assert (first, second) == (folder / "one", folder / "two")
    config = RunFolder.open(second).read_json("config.json")
    assert (config["preset"], config["epochs"]) == ("language-only", 2)
    assert "python train.py --stage 2" in RunFolder.open(second).read_json("result.json")["command"]
    scores, result = harvest.scores(second), RunFolder.open(second).read_json("result.json")
    assert scores["rmse"].iloc[0] == result["metrics"]["rmse"]
    assert list(scores.index[1:]) == list(result["baselines"])
    rows = harvest.test_forecasts(second)
    assert np.sqrt(((rows["y_pred"] - rows["y_true"]) ** 2).mean()) == pytest.approx(result["metrics"]["rmse"])


def test_a_forecast_is_that_of_predict_py_and_writes_nothing(fitted, tmp_path):
    folder, _, second = fitted
    before = sorted(folder.rglob("*"))
    rows = harvest.forecast(second, folder / "card.toml", cache=folder / "cache")
    assert sorted(folder.rglob("*")) == before
    assert any("the yield of 72 samples (same place and year)" in line for line in rows.attrs["warnings"])
    assert sorted(set(rows["year"][~rows["in_training"]])) == [2022]
    assert rows["in_training"].sum() == 72
    out = tmp_path / "new.parquet"
    flags = ["--run", str(second), "--data", str(folder / "card.toml"), "--cache", str(folder / "cache")]
    assert predict.main([*flags, "--out", str(out)]) == 0
    pd.testing.assert_frame_equal(rows, pd.read_parquet(out), check_dtype=False)


def test_figures_and_explanations_are_returned(fitted):
    _, first, second = fitted
    figures = harvest.figures(second)
    assert {"forecast", "residual"} <= set(figures)
    assert all(isinstance(figure, go.Figure) for figure in figures.values())
    assert "--" not in json.dumps(figures["forecast"].to_dict(), default=str).replace("<br>", "")
    found = harvest.explain(second)
    assert set(found.means["kind"]) == {"variate", "steps"}
    with pytest.raises(harvest.InputError, match="stage-1 run"):
        harvest.figures(first)


def test_wrong_keywords_and_wrong_files_are_errors_of_python(fitted, capsys):
    folder, _, _ = fitted
    with pytest.raises(harvest.InputError, match="no flag"):
        harvest.fit(1, folder / "card.toml", no_such_flag=3)
    with pytest.raises(harvest.InputError, match="nothing"):
        harvest.read(folder / "nothing.csv")
    capsys.readouterr()


def test_a_table_in_long_form_has_every_value(fitted):
    folder, _, _ = fitted
    table = harvest.read(folder / "card.toml")
    rows = harvest.table_of(table)
    assert len(rows) == len(table) * table.steps
    one = rows[rows["sample_id"] == table.sample_id[3]]
    np.testing.assert_array_equal(one["ndvi"], np.where(table.observed[3, 0], table.values[3, 0], np.nan))


def test_pictures_are_rendered_in_a_thread(fitted, monkeypatch):
    folder, _, _ = fitted
    failures = []

    def work():
        try:
            harvest.render(folder / "card.toml", cache=folder / "drawn", encoder="none", style={"size": 64})
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert failures == []
    assert (folder / "drawn").is_dir()


def test_the_notebook_runs_from_top_to_bottom(tmp_path, monkeypatch):
    """On a small table; `%` magics and outputs are not part of it, so that its cells are plain Python."""
    small_seasons().to_csv(tmp_path / "seasons.csv", index=False)
    (tmp_path / "card.toml").write_text(CARD)
    monkeypatch.chdir(tmp_path)
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    source = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    assert source[0].count('DATA = "demo/card.toml"') == 1
    source[0] = source[0].replace("demo/card.toml", "card.toml")
    fit = harvest.fit
    monkeypatch.setattr(harvest, "fit", lambda stage, data, **flags: fit(stage, data, epochs=2, **flags))
    names: dict = {}
    for cell in source:
        exec(compile(cell, NOTEBOOK.name, "exec"), names)
    assert len(names["new"]) == 84
    assert (tmp_path / "runs").is_dir()
