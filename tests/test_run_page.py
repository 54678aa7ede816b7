"""report.html of both stages: its sentences follow from result.json, and a real browser draws, sorts and browses it."""

import json
import re

import numpy as np
import pandas as pd
import pytest

import train
from pipeline.sources import read
from report.run import RunFolder
from report.run_page.charts import MOST_POINTS, forecast_charts, map_chart
from report.run_page.page import write_page
from report.run_page.samples import earlier_yields
from report.run_page.sentences import headline, standing
from report.run_page.tables import errors_by, score_table
from tests.browser import NEEDS, opened
from tests.conftest import CARD, small_seasons

pytestmark = pytest.mark.slow

MARKS = """
const found = {};
for (const chart of document.querySelectorAll(".chart"))
  found[chart.id] = chart.querySelectorAll(".trace, .point").length;
document.title = JSON.stringify(found);
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run of stage 1 and one of stage 2, numbers alone, and their table."""
    folder = tmp_path_factory.mktemp("pages")
    small_seasons().to_csv(folder / "seasons.csv", index=False)
    (folder / "card.toml").write_text(CARD)
    flags = ["--data", str(folder / "card.toml"), "--preset", "language-only", "--split", "forward", "--epochs", "3"]
    one, two = str(folder / "one"), str(folder / "two")
    assert train.main(["--stage", "1", *flags, "--out", one]) == 0
    assert train.main(["--stage", "2", *flags, "--from", one, "--out", two]) == 0
    return RunFolder.open(folder / "one"), RunFolder.open(folder / "two"), read(folder / "card.toml")


def test_the_headline_gives_the_score_and_where_it_stands(runs):
    one, two, _ = runs
    result = two.read_json("result.json")
    sentence = headline(result)
    assert f"RMSE {result['metrics']['rmse']:.3f} t/ha" in sentence
    assert "years 2020 to 2022" in sentence
    assert standing(result) in sentence
    best = min(scores["rmse"] for scores in result["baselines"].values())
    assert ("No baseline has a lower RMSE" in sentence) == (best >= result["metrics"]["rmse"])
    assert "completed from the first" in headline(one.read_json("result.json"))


def test_scores_are_ordered_and_errors_are_those_of_the_rows(runs):
    _, two, _ = runs
    result = two.read_json("result.json")
    table = score_table(result)
    rmse = [row[1].value for row in table.rows]
    assert rmse == sorted(rmse)
    assert len(table.rows) == 1 + len(result["baselines"])
    test = two.read_predictions().query("split == 'test'")
    for row in errors_by(test, "year"):
        mine = test[test["year"] == row["year"]]
        assert row["rmse"] == pytest.approx(np.sqrt(((mine["y_pred"] - mine["y_true"]) ** 2).mean()))
        assert row["held"] == pytest.approx(mine["y_true"].between(mine["y_lo"], mine["y_hi"]).mean())


def test_a_large_table_is_drawn_by_a_sample_of_its_rows():
    rows = 100_000
    rng = np.random.default_rng(0)
    truth = rng.normal(5, 1, rows)
    test = pd.DataFrame({"place": "p", "year": 2020, "y_true": truth, "y_pred": truth, "y_lo": truth, "y_hi": truth})
    scatter, _ = forecast_charts(test)
    assert sum(len(trace["x"]) for trace in scatter.traces[1:]) == MOST_POINTS
    assert f"{MOST_POINTS:,} of {rows:,} test rows" in scatter.note


def test_a_map_has_a_point_per_place_with_a_position():
    test = pd.DataFrame({"sample_id": ["a1", "a2", "b1", "c1"], "place": ["a", "a", "b", "c"], "year": [1, 2, 1, 1],
                         "y_true": [4.0, 6.0, 5.0, 5.0], "y_pred": [5.0, 6.0, 4.0, 5.0]})  # fmt: skip
    (chart,) = map_chart(test, {"a1": (10.0, 50.0), "a2": (10.0, 50.0), "b1": (11.0, 51.0)})
    assert chart.traces[0]["text"] == ["a", "b"]
    assert chart.traces[2]["marker"]["color"] == [0.5, -1.0]
    assert list(map_chart(test, {})) == []


def test_earlier_yields_stop_before_the_year_of_the_sample(runs):
    _, _, table = runs
    position = int(np.flatnonzero(table.year == 2019)[0])
    found = earlier_yields(table, position)
    assert found["year"].tolist() == [2016, 2017, 2018]


@NEEDS
@pytest.mark.parametrize("stage", [1, 2])
def test_a_browser_draws_every_chart_and_changes_the_sample(runs, tmp_path, stage):
    run, table = runs[stage - 1], runs[2]
    page = write_page(run, table)
    assert page.stat().st_size < 6e6
    dom, console = opened(page, tmp_path, MARKS)
    assert console == []
    marks = json.loads(re.search(r"<title>(.*?)</title>", dom)[1].replace("&quot;", '"'))
    assert len(marks) >= (12 if stage == 2 else 10)
    assert [name for name, number in marks.items() if number == 0] == []
    change = 'chosen.selectedIndex = 4; chosen.dispatchEvent(new Event("change"));'
    dom, console = opened(page, tmp_path, change)
    assert console == []
    shown = re.findall(r'<section class="sample"( hidden="")?', dom)
    assert [at for at, hidden in enumerate(shown) if not hidden] == [4]


@NEEDS
def test_the_scores_sort_on_a_click(runs, tmp_path):
    page = write_page(runs[1], runs[2])
    dom, _ = opened(page, tmp_path, 'document.querySelectorAll("#table-scores th")[2].click();')
    body = re.search(r'<table id="table-scores">.*?<tbody>(.*?)</tbody>', dom, re.S)[1]
    rows = re.findall(r"<tr[^>]*>(.*?)</tr>", body, re.S)
    r2 = [float(re.findall(r'data-value="([^"]*)"', row)[1]) for row in rows]
    assert r2 == sorted(r2)
