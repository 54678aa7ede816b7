"""Runs side by side: differences on the rows that both tested, what differs in their flags, and the list of runs."""

import json
import re

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import InputError
from report.compare.__main__ import main, paired
from report.compare.page import headline
from report.compare.pairs import differing_flags, errors_of, open_runs, shared_rows, short_names
from report.run import RunFolder
from report.run_list import refresh_list, write_list
from tests.browser import NEEDS, opened
from tests.reference_statistics import rmse

TRUTH = np.random.default_rng(0).normal(5, 1, 60)


def made(path, noise, seed=0, rows=slice(None), stage=2, learner="gp", shift=0.0):
    """A complete run whose test forecasts are the truth plus noise (SD, t/ha): 6 places in 10 years."""
    path.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    table = pd.DataFrame({"sample_id": [f"s{n:02d}" for n in range(60)], "place": [f"p{n % 6}" for n in range(60)],
                          "year": [2010 + n // 6 for n in range(60)], "split": "test", "fold": "2019",
                          "y_true": TRUTH + shift, "y_pred": TRUTH + rng.normal(0, noise, 60)})  # fmt: skip
    table = table.assign(y_lo=table["y_pred"] - 1, y_hi=table["y_pred"] + 1)[rows]
    if stage == 1:
        table = table.drop(columns=["place", "year", "y_lo", "y_hi"]).assign(variate="ndvi", step=7)
    run = RunFolder(path)
    run.write_table("predictions.parquet", table)
    run.write_json("config.json", {"learner": learner, "seed": seed, "style": {"size": 224}})
    scores = {"rmse": noise, "r2": 0.5, "rmse_over_range": noise}
    run.write_json("result.json", {
        "stage": stage, "data": "made", "split": "forward", "preset": "timesclip", "seed": seed, "n_train": 9,
        "n_test": len(table), "metrics": scores, "baselines": {"place mean": scores | {"rmse": 0.9}},
        "command": f"python train.py --stage {stage}", "data_fingerprint": "f", "commit": "c", "version": "v",
        "hardware": "h", "encoder": None, "cache_spec": None, "control": None})  # fmt: skip
    (path / "report.html").write_text("page")
    return path


def test_the_difference_is_that_of_the_rows_both_tested(tmp_path):
    a, b = made(tmp_path / "a", 0.2), made(tmp_path / "b", 0.8, seed=1, rows=slice(12, None))
    runs = open_runs([a, b])
    shared = shared_rows(runs)
    (pair,) = paired(runs, shared)
    assert (pair.first, pair.second, pair.n, pair.over) == ("b", "a", 48, "8 years")
    both = [one.test.set_index("sample_id").loc[shared["sample_id"]] for one in runs]
    scores = [rmse(one["y_true"].to_numpy(), one["y_pred"].to_numpy()[None]) for one in both]
    assert pair.difference == pytest.approx(scores[1] - scores[0])
    assert pair.interval is not None
    assert 0 < pair.interval[0] < pair.difference < pair.interval[1]
    assert pair.clear


def test_two_runs_of_one_quality_do_not_differ_clearly(tmp_path):
    runs = open_runs([made(tmp_path / "a", 0.5), made(tmp_path / "b", 0.5, seed=1)])
    (pair,) = paired(runs, shared_rows(runs))
    assert not pair.clear


@pytest.mark.parametrize(("noises", "word"), [((0.2, 0.8), "higher"), ((0.8, 0.2), "lower")])
def test_the_interval_of_the_headline_has_the_sign_of_its_words(tmp_path, noises, word):
    runs = open_runs([made(tmp_path / str(seed), noise, seed) for seed, noise in enumerate(noises)])
    shared = shared_rows(runs)
    pairs = paired(runs, shared)
    size, low, high = map(float, re.search(rf"RMSE {word} by (\S+) t/ha .*95 %: (\S+) to (\S+)\)",
                                           headline(runs, shared, pairs)).groups())  # fmt: skip
    assert 0 < low < size < high
    assert sorted(map(abs, pairs[0].interval)) == pytest.approx([low, high], abs=1e-3)


@pytest.mark.parametrize(
    ("facts", "says"),
    [({}, ""), ({"data_fingerprint": "g"}, "different tables, so"), ({"split": "year"}, "different splits, so"),
     ({"data_fingerprint": "g", "split": "year"}, "different tables and splits, so")],
)  # fmt: skip
def test_runs_of_other_tables_or_splits_are_called_that(tmp_path, facts, says):
    a, b = made(tmp_path / "a", 0.2), made(tmp_path / "b", 0.5, seed=1)
    record = json.loads((b / "result.json").read_text())
    (b / "result.json").write_text(json.dumps(record | facts))
    runs = open_runs([a, b])
    shared = shared_rows(runs)
    found = headline(runs, shared, paired(runs, shared))
    assert says in found
    assert ("cannot be compared" in found) == bool(facts)


def test_what_differs_in_the_flags_is_listed_and_nothing_else(tmp_path):
    runs = open_runs([made(tmp_path / "a", 0.2), made(tmp_path / "b", 0.8, seed=3, learner="ensemble")])
    assert dict(differing_flags(runs)) == {"--learner": ["gp", "ensemble"], "--seed": ["0", "3"]}


def test_completions_are_measured_in_the_range_of_the_variate(tmp_path):
    runs = open_runs([made(tmp_path / "a", 0.2, stage=1), made(tmp_path / "b", 0.4, seed=1, stage=1)])
    shared = shared_rows(runs)
    error = runs[0].test.sort_values("sample_id")["y_pred"].to_numpy() - TRUTH
    assert errors_of(shared, 2)[0] == pytest.approx(error / np.ptp(TRUTH))
    (pair,) = paired(runs, shared)
    assert pair.over == "60 samples"


@pytest.mark.parametrize(
    ("second", "says"),
    [
        ({"rows": slice(0, 0)}, "no test sample"),
        ({"shift": 1.0}, "disagree about s00"),
        ({"stage": 1}, "share no error"),
    ],
)
def test_runs_that_cannot_be_compared_are_refused(tmp_path, second, says, capsys):
    a, b = made(tmp_path / "a", 0.2), made(tmp_path / "b", 0.2, **second)
    assert main([str(a), str(b), "--out", str(tmp_path / "c.html")]) == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "c.html").exists()


def test_one_run_alone_is_refused(tmp_path):
    a = made(tmp_path / "a", 0.2)
    with pytest.raises(InputError, match="two or more"):
        open_runs([a, a])


def test_names_are_as_short_as_they_can_be(tmp_path):
    assert short_names([tmp_path / "x/seed0", tmp_path / "y/seed0"]) == ["x/seed0", "y/seed0"]
    dated = "20261130-002548-stage2-demo-timesclip-year-seed0-"
    assert short_names([tmp_path / f"{dated}cd72", tmp_path / "gp"]) == ["demo-timesclip-year-seed0-cd72", "gp"]


def test_the_list_has_every_complete_run_and_is_refreshed_in_folders_named_runs_only(tmp_path):
    runs = tmp_path / "runs"
    made(runs / "a", 0.2)
    made(runs / "both" / "seed0", 0.4)
    (runs / "stopped").mkdir()
    assert refresh_list(runs / "both" / "seed0") == (runs / "index.html").resolve()
    text = (runs / "index.html").read_text()
    assert set(re.findall(r'href="([^"]*)/report.html"', text)) == {"a", "both/seed0"}
    assert len(text) < 50_000  # without Plotly, which it does not need
    assert refresh_list(made(tmp_path / "elsewhere" / "a", 0.2)) is None
    assert not (tmp_path / "elsewhere" / "index.html").exists()


def test_a_damaged_run_is_named_and_left_out(tmp_path, capsys):
    made(tmp_path / "a", 0.2)
    (made(tmp_path / "b", 0.2) / "result.json").write_text("{")
    write_list(tmp_path)
    assert "left out" in capsys.readouterr().err
    assert re.findall(r'href="([^"]*)/report.html"', (tmp_path / "index.html").read_text()) == ["a"]


@NEEDS
@pytest.mark.slow
def test_a_browser_draws_the_comparison_and_changes_the_run(tmp_path):
    folders = [str(made(tmp_path / name, 0.2 + 0.1 * at, seed=at)) for at, name in enumerate("abc")]
    assert main([*folders, "--out", str(tmp_path / "c.html")]) == 0
    script = """
    const list = document.querySelector("select[data-chart=rows]");
    list.selectedIndex = 1; list.dispatchEvent(new Event("change"));
    document.querySelectorAll("#table-shared th")[1].click();
    document.title = JSON.stringify(Object.fromEntries([...document.querySelectorAll(".chart")].map(
      chart => [chart.id, chart.querySelectorAll(".point").length])));"""
    dom, console = opened(tmp_path / "c.html", tmp_path, script)
    assert console == []
    marks = json.loads(re.search(r"<title>(.*?)</title>", dom)[1].replace("&quot;", '"'))
    assert marks == {"chart-differences": 2, "chart-error-year": 30, "chart-error-place": 18, "chart-rows": 60}
    body = re.search(r'<table id="table-shared">.*?<tbody>(.*?)</tbody>', dom, re.S)[1]
    assert re.findall(r'href="([^"]*)"', body) == ["a/report.html", "b/report.html", "c/report.html"]
