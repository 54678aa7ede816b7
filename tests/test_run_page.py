"""report.html of both stages: its sentences follow from result.json, and a real browser draws, sorts and browses it."""

import html
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import train
from pipeline.sources import read
from pipeline.style import Style
from report.map_chart import MOST_CORNERS, Quantity, map_chart, thinned
from report.metric_titles import METRICS
from report.run import RunFolder
from report.run_page import __main__ as page_again
from report.run_page import samples
from report.run_page.charts import MOST_POINTS, error_charts, forecast_charts, learner_charts, yield_map
from report.run_page.completion import completion_charts, completion_errors, variate_table
from report.run_page.page import write_page
from report.run_page.samples import Browser, TestRow, earlier_yields
from report.run_page.sentences import headline, held_out, standing
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
    one, two = str(folder / "runs" / "one"), str(folder / "runs" / "two")
    assert train.main(["--stage", "1", *flags, "--out", one]) == 0
    assert train.main(["--stage", "2", *flags, "--from", one, "--out", two]) == 0
    return RunFolder.open(Path(one)), RunFolder.open(Path(two)), read(folder / "card.toml")


def test_every_run_refreshes_the_list_of_runs(runs):
    listed = (runs[0].path.parent / "index.html").read_text()
    assert set(re.findall(r'href="([^"]*)/report.html"', listed)) == {"one", "two"}


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


@pytest.mark.parametrize(
    ("lead", "says"),
    [
        ((-0.02, -0.06, 0.01), "(0.980 t/ha), has an RMSE lower by 0.020 t/ha (95 %: -0.010 to 0.060 over years): no"),
        ((0.5, 0.3, 0.6), "(1.500 t/ha), has an RMSE higher by 0.500 t/ha (95 %: 0.300 to 0.600 over years): a"),
    ],
)
def test_the_best_baseline_is_named_with_the_difference_and_whether_it_is_clear(lead, says):
    found = dict(zip(("lead", "low", "high"), lead, strict=True)) | {"over": "years"}
    baselines = {"ridge": {"rmse": 1.0 + lead[0]}, "mean": {"rmse": 2.0}}
    result = {"stage": 2, "metrics": {"rmse": 1.0}, "baselines": baselines, "best_baseline": found}
    assert standing(result).endswith(f"The best, ridge {says} clear difference.")


@pytest.mark.parametrize(("weight", "drawn"), [(0.0, False), (0.04, False), (0.13, True)])
def test_variance_shares_are_drawn_only_of_a_process_with_weight(weight, drawn):
    shares = {"gp": {"numbers": 0.3, "year": 0.5}}
    result = {
        "learners": {"gp": weight, "neural": 1 - weight, "offset": 0.0},
        "learnt": {"a": {"variance_shares": shares}},
    }
    charts = {chart.id: chart for chart in learner_charts(result)}
    assert ("blocks" in charts) == drawn
    if drawn:
        assert "Gaussian process" in charts["blocks"].title
        assert "weight of this learner in the forecast is 0.13" in charts["blocks"].note


def test_the_number_of_folds_has_its_noun():
    assert held_out({"split": "place", "folds": ["places-1"]}) == "unseen places, 1 fold"
    assert held_out({"split": "place", "folds": ["places-1", "places-2"]}) == "unseen places, 2 folds"


def test_errors_that_are_printed_the_same_are_all_bold(runs):
    one, _, table = runs
    name = table.variate_names[0]
    scores = {"mae": (0.04212, 0.04214, 0.05, 0.06), "rmse": (0.1001, 0.1003, 0.2, 0.3)}
    result = one.read_json("result.json")
    names = list(result["baselines"])
    scored = [{**row, f"mae_{name}": scores["mae"][at], "rmse_over_range": scores["rmse"][at]}
              for at, row in enumerate([result["metrics"], *result["baselines"].values()])]  # fmt: skip
    result |= {"metrics": scored[0], "baselines": dict(zip(names, scored[1:], strict=True))}
    variates = variate_table(result, table, one.read_predictions().query("split == 'test'"))
    assert [cell.text for cell in variates.rows[0] if cell.best] == ["0.042", "0.042"]
    found = score_table(result)
    column = found.head.index(METRICS["rmse_over_range"])
    assert [row[column].best for row in found.rows] == [True, True, *[False] * (len(found.rows) - 2)]


def test_the_terms_of_alignment_are_explained_below_the_scores_of_stage_1(runs):
    result = runs[0].read_json("result.json")
    assert "alignment loss" not in score_table(result).note
    result["metrics"] |= {"alignment": 1.2, "false_negatives": 0.01}
    assert "The alignment loss says" in score_table(result).note


def test_one_place_gives_no_interval_and_no_verdict():
    found = {"name": "ridge", "lead": -0.036, "low": None, "high": None, "over": "1 place"}
    result = {"stage": 2, "metrics": {"rmse": 1.0}, "baselines": {"ridge": {"rmse": 0.964}}, "best_baseline": found}
    assert standing(result) == (
        "1 of 1 baselines has a lower RMSE. The best, ridge (0.964 t/ha), has an RMSE lower by 0.036 t/ha. "
        "Only 1 place was tested, too few for an interval."
    )


def test_scores_are_ordered_and_errors_are_those_of_the_rows(runs):
    _, two, _ = runs
    result = two.read_json("result.json")
    table = score_table(result)
    rmse = [row[1].value for row in table.rows]
    assert rmse == sorted(rmse)  # type: ignore[type-var]
    assert len(table.rows) == 1 + len(result["baselines"])
    test = two.read_predictions().query("split == 'test'")
    for row in errors_by(test, "year"):
        mine = test[test["year"] == row["year"]]
        assert row["rmse"] == pytest.approx(np.sqrt(((mine["y_pred"] - mine["y_true"]) ** 2).mean()))
        assert row["held"] == pytest.approx(mine["y_true"].between(mine["y_lo"], mine["y_hi"]).mean())


def test_of_one_test_year_the_error_per_mean_yield_is_shown_once(runs):
    result = runs[1].read_json("result.json")
    titles = {"RMSE / mean yield", "NRMSE by year, %"}
    assert titles <= set(score_table(result).head)
    scores = [result["metrics"], *result["baselines"].values()]
    one_year = [{**row, "nrmse_by_year": 100 * row["nrmse"]} for row in scores]
    baselines = dict(zip(result["baselines"], one_year[1:], strict=True))
    table = score_table({**result, "metrics": one_year[0], "baselines": baselines})
    assert titles & set(table.head) == {"RMSE / mean yield"}


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
    points = {"a": {"type": "Point", "coordinates": [10.0, 50.0]}, "b": {"type": "Point", "coordinates": [11.0, 51.0]}}
    (chart,) = yield_map(test, points)
    assert "1 places have no position" in chart.note
    shown = {trace["name"]: trace for trace in chart.traces}
    assert list(shown) == ["observed yield", "forecast", "error: forecast minus observed", "mean |error|"]
    assert shown["forecast"]["text"] == ["a", "b"]
    assert shown["observed yield"]["marker"]["color"] == [5.0, 5.0]
    assert shown["error: forecast minus observed"]["marker"]["color"] == [0.5, -1.0]
    assert [trace["visible"] for trace in chart.traces] == [True, False, False, False]
    assert list(yield_map(test, {})) == []


def test_a_map_fills_outlines_in_the_colour_of_their_number():
    square = {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]]]}
    two = {
        "type": "MultiPolygon",
        "coordinates": [[[[2, 0], [3, 0], [3, 1], [2, 0]]], [[[4, 0], [5, 0], [5, 1], [4, 0]]]],
    }
    chart = map_chart(["a", "b"], [square, two], [Quantity("forecast", np.array([1.0, 9.0]))], "")
    low, high, points = chart.traces
    assert (low["x"], low["y"]) == ([0, 1, 1, 0, 0, None], [0, 0, 1, 1, 0, None])
    assert high["x"].count(None) == 2
    assert low["fillcolor"] != high["fillcolor"]
    assert points["marker"]["opacity"] == [0.0, 0.0]  # they carry the hover text
    assert points["x"] == [0.5, 3.5]


def test_fine_outlines_are_thinned_and_stay_closed():
    angle = np.linspace(0, 2 * np.pi, 2 * MOST_CORNERS)
    ring = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    ((coarse,),) = thinned([[ring]])
    assert len(coarse) <= MOST_CORNERS + 1
    assert coarse[0] == pytest.approx(coarse[-1], abs=1e-3)


def test_completion_errors_are_those_of_the_rows(runs):
    one, _, table = runs
    rows = one.read_predictions()
    result = one.read_json("result.json")
    first = rows[rows["variate"] == "ndvi"]
    by_variate = variate_table(result, table, rows)
    assert [row[0].text for row in by_variate.rows] == ["ndvi", "NIR"]
    assert by_variate.rows[0][2].value == pytest.approx(np.sqrt(((first["y_pred"] - first["y_true"]) ** 2).mean()))
    assert by_variate.rows[0][3].value == pytest.approx(result["metrics"]["mae_ndvi"])
    _, lead = completion_charts(result, table, rows)
    days, rmse = lead.traces[1]["x"], lead.traces[1]["y"]
    last = first[first["step"] == 11]
    assert days[-1] == 60.0  # step 11 ends 60 days after the cut, which is at step 6
    assert rmse[-1] == pytest.approx(np.sqrt(((last["y_pred"] - last["y_true"]) ** 2).mean()), abs=1e-4)
    sample = completion_errors(rows, table).iloc[0]
    mine = rows[(rows["sample_id"] == sample["sample_id"]) & (rows["fold"] == sample["fold"])]
    ranges = [np.ptp(table.values[:, v][table.observed[:, v]]) for v in range(2)]
    scaled = (mine["y_pred"] - mine["y_true"]) / mine["variate"].map(dict(zip(["ndvi", "NIR"], ranges, strict=True)))
    assert sample["error"] == pytest.approx(np.sqrt((scaled**2).mean()))


def browser(table, errors, **more):
    rows = [TestRow(position=at, fold="f", error=float(error)) for at, error in enumerate(errors)]
    given = {"completed": None, "changes": None, "ranges": {"f": np.array([[-0.2, 1.0], [0.0, 1.0]])},
             "style": Style(), "framing": "halves"}  # fmt: skip
    return Browser(table=table, rows=rows, **(given | more))


def test_the_browser_has_the_best_the_median_and_the_worst_samples(runs):
    table = runs[2]
    found = browser(table, np.arange(30.0)).payload()
    keys = [f"{table.sample_id[at]} f" for at in range(30)]
    assert found["notable"] == {"best": keys[:3], "median": keys[13:16], "worst": [keys[29], keys[28], keys[27]]}
    assert {one["key"] for one in found["samples"]} == set(keys)
    one = next(one for one in found["samples"] if one["key"] == keys[0])
    seen = table.observed[0, 0]
    assert [value is not None for value in one["series"][0]] == seen.tolist()
    assert one["series"][0][int(np.flatnonzero(seen)[0])] == pytest.approx(table.values[0, 0][seen][0], rel=1e-3)
    assert [caption for _, caption in one["plots"]] == [
        "ndvi, first-half", "ndvi, second-half", "NIR, first-half", "NIR, second-half"
    ]  # fmt: skip


def test_a_browser_that_would_be_too_large_keeps_the_notable_samples(runs, monkeypatch):
    monkeypatch.setattr(samples, "SERIES_BYTES", 6_000)
    monkeypatch.setattr(samples, "PICTURE_BYTES", 1)
    found = browser(runs[2], np.arange(60.0)).payload()
    kept = {one["key"] for one in found["samples"]}
    assert len(kept) < found["of"] == 60
    assert {key for keys in found["notable"].values() for key in keys} <= kept
    assert sum(one["plots"] is not None for one in found["samples"]) == 1


def test_the_parts_that_move_a_forecast_most_are_those_of_explain(runs):
    table = runs[2]
    changes = pd.DataFrame({"sample_id": table.sample_id[0], "hidden": [f"part {n}" for n in range(20)],
                            "y_pred": 5.0, "y_without": 5.0 + np.arange(20.0) * (-1.0) ** np.arange(20)})  # fmt: skip
    found = browser(table, np.arange(9.0), changes=changes).payload()
    by_key = {one["key"]: one["causes"] for one in found["samples"]}
    names, values = by_key[f"{table.sample_id[0]} f"]
    assert names == [f"part {n}" for n in range(10, 20)]
    assert values[-1] == -19.0
    assert by_key[f"{table.sample_id[1]} f"] is None


def test_coverage_by_year_stands_below_the_error(runs):
    _, two, _ = runs
    test = two.read_predictions().query("split == 'test'")
    chart = next(error_charts(test))
    held = chart.traces[2]
    assert (held["yaxis"], held["x"]) == ("y2", ["2020", "2021", "2022"])
    assert held["y"] == [round(row["held"], 4) for row in errors_by(test, "year")]


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
    assert len(marks) >= (6 if stage == 2 else 4)
    assert [name for name, number in marks.items() if number == 0] == []
    change = """
    place.value = "field7"; place.dispatchEvent(new Event("change"));
    year.selectedIndex = 1; year.dispatchEvent(new Event("change"));
    const shown = drawn["sample-series"].data[0].y.filter(one => one !== null).length;
    document.title = JSON.stringify([document.getElementById("sample-text").textContent, shown,
      document.querySelectorAll("#sample-plots img").length]);"""
    dom, console = opened(page, tmp_path, change)
    assert console == []
    text, shown, plots = json.loads(html.unescape(re.search(r"<title>(.*?)</title>", dom)[1]))
    assert text.startswith("field7, 2021")
    position = int(np.flatnonzero((table.place == "field7") & (table.year == 2021))[0])
    assert shown == table.observed[position, 0].sum()
    assert plots == 4


@NEEDS
def test_a_map_of_outlines_is_drawn_offline_and_its_menu_changes_the_quantity(runs, tmp_path):
    _, two, table = runs
    square = [[0, 0], [1, 0], [1, 1], [0, 0]]
    features = [
        {"type": "Feature", "properties": {"place": f"field{n}"},
         "geometry": {"type": "Polygon", "coordinates": [[[x + 2 * n, y + 40] for x, y in square]]}} for n in range(12)
    ]  # fmt: skip
    folder = tmp_path / "with_outlines"
    folder.mkdir()
    (folder / "fields.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    small_seasons().to_csv(folder / "seasons.csv", index=False)
    (folder / "card.toml").write_text(CARD.replace("step_days", 'geometry = "fields.geojson"\nstep_days', 1))
    page = write_page(two, table, data=str(folder / "card.toml"))
    change = """
    const menu = document.querySelector("select[data-chart=map]");
    menu.value = "mean |error|"; menu.dispatchEvent(new Event("change"));
    const map = document.getElementById("chart-map");
    document.title = JSON.stringify([".js-fill", ".point"].map(one => map.querySelectorAll(one).length));"""
    dom, console = opened(page, tmp_path, change)
    assert console == []
    fills, points = json.loads(re.search(r"<title>(.*?)</title>", dom)[1])
    assert fills >= 2  # an area per colour
    assert points == 12
    (folder / "fields.geojson").write_text("{")
    assert "There is no map: " in write_page(two, table, data=str(folder / "card.toml")).read_text()


@NEEDS
def test_a_page_of_100_000_rows_opens_in_less_than_3_seconds(tmp_path):
    run = RunFolder(tmp_path / "large")
    run.path.mkdir()
    rng = np.random.default_rng(0)
    truth = rng.normal(5, 1, 100_000)
    pred = truth + rng.normal(0, 0.5, len(truth))
    names = np.array([f"place {n}" for n in range(20_000)])
    rows = pd.DataFrame({"sample_id": [f"s{n}" for n in range(len(truth))], "place": names[np.arange(len(truth)) // 5],
                         "year": 2018 + np.arange(len(truth)) % 5, "split": "test", "fold": "f", "y_true": truth,
                         "y_pred": pred, "y_lo": pred - 1, "y_hi": pred + 1})  # fmt: skip
    run.write_table("predictions.parquet", rows)
    scores = {"rmse": 0.5, "r2": 0.7}
    run.write_json("result.json", {
        "stage": 2, "data": "large", "preset": "timesclip", "split": "place", "folds": ["f"], "seed": 0, "n_train": 9,
        "n_valid": 9, "n_test": len(rows), "metrics": scores, "baselines": {"place mean": scores}, "encoder": None,
        "parts": {"use_language": False}, "counts": "", "seconds": {"train": 1.0}, "command": "train", "control": None,
        "interrupted": False})  # fmt: skip
    run.write_json("fitted.json", {"f": {}})
    run.write_json("config.json", {"data": "large.csv"})
    run.write_text("metrics.jsonl", "")
    page = write_page(run)
    assert page.stat().st_size < 6e6
    seconds = []
    for _ in range(3):  # the fastest, as other programs may use the processor
        dom, console = opened(page, tmp_path, "document.title = String(performance.now());", virtual_time=False)
        assert console == []
        seconds.append(float(re.search(r"<title>(.*?)</title>", dom)[1]) / 1000)
    assert min(seconds) < 3
    assert f"{MOST_POINTS:,} of 100,000 test rows" in dom


@NEEDS
def test_the_scores_sort_on_a_click(runs, tmp_path):
    page = write_page(runs[1], runs[2])
    dom, _ = opened(page, tmp_path, 'document.querySelectorAll("#table-scores th")[2].click();')
    body = re.search(r'<table id="table-scores">.*?<tbody>(.*?)</tbody>', dom, re.S)[1]
    rows = re.findall(r"<tr[^>]*>(.*?)</tr>", body, re.S)
    r2 = [float(re.findall(r'data-value="([^"]*)"', row)[1]) for row in rows]
    assert r2 == sorted(r2)
    assert len(re.findall(r'<tr class="run">', body)) == 1
    assert "<td>language-only (this run)</td>" in re.search(r'<tr class="run">(.*?)</tr>', body, re.S)[1]


def test_a_run_that_was_stopped_before_its_page_gets_it_by_a_command(runs, capsys):
    folder = runs[1].path
    before = (folder / "report.html").read_bytes()
    (folder / "report.html").unlink()
    assert train.main(["--resume", str(folder)]) == 2
    assert f"python -m report.run_page {folder}" in capsys.readouterr().err
    assert page_again.main([str(folder)]) == 0
    assert (folder / "report.html").read_bytes() == before
    assert train.main(["--resume", str(folder)]) == 2
    assert "its results are in" in capsys.readouterr().err
