"""The forecasting benchmark on any CSV: its parts by the file's name, its results, and its refusals."""

import sys

import numpy as np
import pandas as pd
import pytest

from benchmarks.forecasting import __main__ as program
from benchmarks.forecasting import cells, table
from benchmarks.forecasting.cells import Cell
from benchmarks.forecasting.data import of_file, season
from pipeline.errors import InputError


def frame(rows=300, step="h"):
    """A series with a season of 24 steps, and noise."""
    steps = np.arange(rows)
    rng = np.random.default_rng(0)
    dates = pd.date_range("2016-07-01", periods=rows, freq=step).astype(str)
    wave = np.sin(steps * 2 * np.pi / 24)
    return pd.DataFrame({"date": dates, "load %": 5 + wave, "OT": -wave + rng.normal(0, 0.1, rows)})


@pytest.fixture
def results(tmp_path, monkeypatch):
    """Results and page go to a folder of the test."""
    monkeypatch.setattr(cells, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(table, "PAGE", tmp_path / "page.md")
    return tmp_path


def run(monkeypatch, *flags):
    """Exit code of the program with the naive models."""
    monkeypatch.setattr(
        sys, "argv", ["benchmarks.forecasting", "--models", "repeat-last", "seasonal-naive", *map(str, flags)]
    )
    return program.main()


def test_a_csv_gets_results_and_a_section_on_the_page(results, monkeypatch):
    path = results / "Small.csv"
    frame().to_csv(path, index=False)
    flags = ("--csv", path, "--lookback", "30", "--horizons", "12", "24")
    assert run(monkeypatch, *flags) == 0
    rows = cells.read("small")
    assert set(rows) == {Cell("small", 30, h, m, 0) for h in (12, 24) for m in ("repeat-last", "seasonal-naive")}
    row = rows[Cell("small", 30, 12, "seasonal-naive", 0)]
    assert (row["n_train_windows"], row["n_valid_windows"], row["n_test_windows"]) == (210 - 41, 30 - 11, 60 - 11)
    assert row["drop_last"]["32"]["windows"] == 32
    assert row["drop_last"]["64"] == {"windows": 0}
    assert row["mse"] < 0.1 < rows[Cell("small", 30, 12, "repeat-last", 0)]["mse"]
    page = (results / "page.md").read_text()
    assert "## small; look-back of 30 steps" in page
    assert "| 1.000 | 1 |" in page
    before = path.with_name("results").joinpath("small.jsonl").read_text()
    assert run(monkeypatch, *flags) == 0
    assert path.with_name("results").joinpath("small.jsonl").read_text() == before  # nothing is made twice


def test_results_of_another_file_with_the_same_name_are_not_taken_for_its_own(results, monkeypatch, capsys):
    path = results / "small.csv"
    flags = ("--csv", path, "--lookback", "30", "--horizons", "12")
    frame().to_csv(path, index=False)
    assert run(monkeypatch, *flags) == 0
    frame(320).to_csv(path, index=False)
    assert run(monkeypatch, *flags) == 2
    assert "another file named small" in capsys.readouterr().err


def without_dates(data):
    return data.drop(columns="date")


def with_gap(data):
    return data.assign(OT=data["OT"].where(data.index != 7))


def with_word(data):
    return data.assign(OT=data["OT"].astype(object).where(data.index != 7, "sunny"))


def with_bad_date(data):
    return data.assign(date=data["date"].where(data.index != 3, "yesterday"))


def unsorted(data):
    return data.iloc[::-1]


def constant(data):
    return data.assign(OT=1.5)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (without_dates, "the first column is 'load %', not `date`"),
        (with_gap, "column 'OT', line 9: '' is not a finite number (1 such values"),
        (with_word, "column 'OT', line 9: 'sunny' is not a finite number"),
        (with_bad_date, "line 5: the date 'yesterday' is not a date"),
        (unsorted, "line 3: the date"),
        (constant, "column 'OT': all 210 training rows are 1.5"),
        (lambda data: data[["date"]], "has 0 variates"),
        (lambda data: data.head(100), "the train part has 70 rows of 100, but a window of 96 and 24 steps needs 120"),
        (lambda data: data.head(0), "and 0 rows"),
    ],
)
def test_a_bad_csv_is_refused_in_one_paragraph(results, monkeypatch, capsys, spoil, message):
    path = results / "bad.csv"
    spoil(frame()).to_csv(path, index=False)
    assert run(monkeypatch, "--csv", path, "--horizons", "24") == 2
    out, printed = capsys.readouterr()
    assert printed.count("\n") == 1
    assert str(path) in printed
    assert message in printed
    assert not out
    assert not (results / "results").exists()
    assert not (results / "page.md").exists()


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00\xd8", b'date,a\n"2000-01-01,1\n'])
def test_a_file_that_is_no_csv_is_refused(results, monkeypatch, capsys, content):
    path = results / "bad.csv"
    path.write_bytes(content)
    assert run(monkeypatch, "--csv", path) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--csv", "nowhere.csv"), "nowhere.csv does not exist"),
        (("--lookback", "0"), "--lookback is 0"),
        (("--horizons", "0"), "--horizons is 0"),
        (("--benchmarks", "ilii"), "--benchmarks ilii is not known"),
    ],
)
def test_bad_flags_are_refused(results, monkeypatch, capsys, flags, message):
    assert run(monkeypatch, *flags) == 2
    assert message in capsys.readouterr().err


def test_ett_files_have_their_own_months_and_known_files_their_settings(tmp_path):
    paths = [tmp_path / name for name in ("ETTh2.csv", "ETTm1.csv", "exchange_rate.csv", "national_illness.csv")]
    for path, step in zip(paths, ("h", "15min", "D", "W"), strict=True):
        frame(step=step).to_csv(path, index=False)
    hourly, quarterly, daily, ili = (of_file(path)[0] for path in paths)
    assert (hourly.name, hourly.rows, hourly.period) == ("etth2", (8640, 2880, 2880), 24)
    assert (quarterly.rows, quarterly.period) == ((34560, 11520, 11520), 96)
    assert (daily.rows, daily.period, daily.horizons) == (None, 7, (96, 192, 336, 720))
    assert (ili.name, ili.look_back) == ("ili", 36)
    with pytest.raises(InputError, match="has 300 rows, but 14400 are needed"):
        hourly.of(of_file(paths[0])[1], paths[0])


def test_seasons_by_the_step_of_the_dates():
    assert [season(s) for s in (600, 900, 3600, 86400, 7 * 86400, 30 * 86400, 91 * 86400, 365 * 86400)] == [
        144, 96, 24, 7, 52, 12, 4, 1,
    ]  # fmt: skip
