"""The forecasting benchmark: its windows, its naive forecasts, its files. The peers are not imported."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.forecasting import cells, naive, ours, peers, table
from benchmarks.forecasting.cells import Cell
from benchmarks.forecasting.data import BENCHMARKS, PARTS, SHARED, Benchmark, shares
from benchmarks.forecasting.scores import errors
from model.initial_weights import read_initial_weights
from pipeline.errors import InputError
from tests.reference import forecasting_windows

SMALL = Benchmark("ili", "small.csv", look_back=5, horizons=(3,), period=4)


def small(tmp_path, rows=60, variates=2, **changed):
    benchmark = Benchmark(**(vars(SMALL) | changed))
    numbers = np.random.default_rng(rows).normal(7, 3, (rows, variates))
    frame = pd.DataFrame(numbers, columns=[f"a {v}%" for v in range(variates)])
    frame.insert(0, "date", pd.date_range("2000-01-01", periods=rows).astype(str))
    frame.to_csv(tmp_path / "small.csv", index=False)
    return benchmark.load(tmp_path), numbers


@settings(max_examples=25, deadline=None)
@given(st.integers(40, 90), st.integers(1, 3), st.integers(1, 8), st.integers(1, 4))
def test_windows_are_those_of_a_slow_loop(tmp_path_factory, rows, variates, look_back, horizon):
    series, numbers = small(tmp_path_factory.mktemp("w"), rows, variates, look_back=look_back)
    for part in PARTS:
        past, future = series.windows(part, horizon)
        expected = forecasting_windows(numbers, shares(rows), look_back, horizon)[part]
        assert len(past) == len(expected) == len(series.starts(part, horizon))
        for window, (before, after) in enumerate(expected):
            np.testing.assert_allclose(past[window], before, rtol=1e-9, atol=1e-9)
            np.testing.assert_allclose(future[window], after, rtol=1e-9, atol=1e-9)


def test_scaling_comes_from_training_rows_alone(tmp_path):
    series, numbers = small(tmp_path)
    train = series.rows[0]
    np.testing.assert_allclose(series.values[:train].mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(series.values[:train].std(0), 1, atol=1e-12)
    np.testing.assert_allclose(series.values * numbers[:train].std(0) + numbers[:train].mean(0), numbers)


@pytest.mark.skipif(not (SHARED / "illness").is_dir(), reason="../shared/data/illness is not there")
def test_the_field_counts_as_many_windows_on_ili():
    series = BENCHMARKS["ili"].load()
    assert series.values.shape == (966, 7)
    assert series.rows == (676, 97, 193)
    counts = {h: [len(series.starts(part, h)) for part in PARTS] for h in (24, 60)}
    assert counts == {24: [617, 74, 170], 60: [581, 38, 134]}


@pytest.mark.skipif(not (SHARED / "ett").is_dir(), reason="../shared/data/ett is not there")
def test_the_field_counts_as_many_windows_on_etth1_and_repeats_as_well():
    series = BENCHMARKS["etth1"].load()
    assert [len(series.starts(part, 96)) for part in PARTS] == [8449, 2785, 2785]
    # Zeng et al. 2023, table 2: "Closest Repeat" has 1.295 / 0.713 on ETTh1, horizon 96.
    _, truth = series.windows("test", 96)
    made = errors(truth, naive.repeat_last(series, 96))
    assert (made["mse"], made["mae"]) == pytest.approx((1.295, 0.713), abs=1.5e-3)


def test_naive_forecasts_read_no_step_that_they_forecast(tmp_path):
    series, _ = small(tmp_path)
    _, future = series.windows("test", 6)
    for made in (naive.repeat_last(series, 6), naive.seasonal(series, 6)):
        assert made.shape == future.shape
    start, look_back = int(series.starts("test", 6)[2]), series.benchmark.look_back
    first = start + look_back
    np.testing.assert_array_equal(naive.repeat_last(series, 6)[2], np.repeat(series.values[[first - 1]].T, 6, 1))
    rows = [first - 4, first - 3, first - 2, first - 1, first - 4, first - 3]  # period 4: the newest known season
    np.testing.assert_array_equal(naive.seasonal(series, 6)[2], series.values[rows].T)


def test_errors_are_means_over_everything_and_refuse_what_is_not_finite():
    truth = np.zeros((2, 1, 2))
    made = np.array([[[1.0, -1.0]], [[3.0, 0.0]]])
    whole = errors(truth, made)
    assert (whole["mse"], whole["mae"]) == (11 / 4, 5 / 4)
    assert whole["drop_last"]["16"] == {"windows": 0}
    with pytest.raises(ValueError, match="finite"):
        errors(truth, made * np.nan)
    with pytest.raises(ValueError, match="equal in shape"):
        errors(truth, made[:1])


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"small\.csv does not exist"):
        SMALL.load(tmp_path)


def test_the_windows_go_to_a_table_and_the_forecasts_come_back_in_order(tmp_path):
    series, _ = small(tmp_path)
    ours.write_card(series, 3, ours.Strides(train=4), tmp_path)
    rows = pd.read_parquet(tmp_path / "windows.parquet")
    assert rows.groupby("side").size().to_dict() == {
        "train": -(-len(series.starts("train", 3)) // 4),
        "valid": len(series.starts("valid", 3)),
        "test": len(series.starts("test", 3)),
    }
    _, truth = series.windows("test", 3)
    test = rows[rows["side"] == "test"].reset_index(drop=True)
    expected = [
        {"sample_id": test["window"][n], "variate": f"v{v:02d}", "step": 5 + h, "y_pred": test[f"v{v:02d}_{5 + h}"][n]}
        for n in range(len(test))
        for v in range(2)
        for h in range(3)
    ]
    path = tmp_path / "predictions.parquet"
    pd.DataFrame(expected).sample(frac=1, random_state=0).to_parquet(path)
    np.testing.assert_allclose(ours.read_predictions(path, series, 3), truth)
    pd.DataFrame(expected[1:]).to_parquet(path)
    with pytest.raises(ValueError, match="are needed"):
        ours.read_predictions(path, series, 3)


def test_the_peers_receive_every_value_in_the_order_of_variates_and_time(tmp_path):
    series, _ = small(tmp_path, variates=12)
    frame = peers.long_frame(series).sort_values(["unique_id", "ds"])
    np.testing.assert_array_equal(frame["y"].to_numpy().reshape(12, -1).T, series.values)


def test_every_benchmark_has_a_recipe_for_every_peer():
    assert set(peers.RECIPES) == set(BENCHMARKS)
    assert all(set(recipes) == set(peers.PEERS) for recipes in peers.RECIPES.values())


def test_training_may_skip_windows_but_never_those_that_are_scored(tmp_path):
    series, _ = small(tmp_path, rows=4000)
    assert ours.strides(series, 3, pictures=True) == ours.Strides()  # all of ILI
    longer, _ = small(tmp_path, rows=4000, name="other")
    drawn = ours.strides(longer, 3, pictures=True)
    assert drawn.train > 1
    assert drawn.of("test") == 1
    assert -(-len(longer.starts("train", 3)) // drawn.train) <= ours.MOST_DRAWN["train"]


def test_packaged_weights_are_named_only_where_they_serve():
    pretrained, plain = ours.SETUPS["language-only, pretrained"], ours.SETUPS["language-only"]
    ili = BENCHMARKS["ili"]
    assert pretrained.start(ili, 48) == ("--init", ours.WEIGHTS)
    assert pretrained.start(ili, 60) == plain.start(ili, 24) == ("--init", "none")
    assert ours.fits("language-only, pretrained", ili)
    assert ours.fits("DLinear", replace(ili, look_back=104))
    assert not ours.fits("language-only, pretrained", replace(ili, look_back=104))
    largest = read_initial_weights(ours.ROOT / ours.WEIGHTS).largest
    assert (largest.window, largest.horizon) == (ours.LONGEST, ours.LONGEST)


def test_an_equal_run_is_made_once_and_resumed_after_a_stop(tmp_path, monkeypatch):
    commands = []
    monkeypatch.setattr(ours, "ROOT", tmp_path)
    monkeypatch.setattr(ours, "_run", lambda *command: commands.append(command))
    flags = ("--stage", "1")
    run = ours._trained("ili-36-24", flags, 0)
    assert commands.pop() == ("train.py", *flags, "--seed", "0", "--out", str(run))
    (tmp_path / run).mkdir(parents=True)
    (tmp_path / run / "config.json").write_text("{}")
    assert ours._trained("ili-36-24", flags, 0) == run
    assert commands.pop() == ("train.py", "--resume", str(run))
    (tmp_path / run / "result.json").write_text("{}")
    assert ours._trained("ili-36-24", flags, 0) == run
    assert not commands
    others = {ours._trained(*one) for one in (("ili-36-24", flags, 1), ("ili-104-24", flags, 0), ("ili-36-24", (), 0))}
    assert len(others | {run}) == 4


def test_results_are_kept_and_the_last_of_a_cell_counts(tmp_path):
    cell = Cell("ili", 36, 24, "DLinear", 0)
    cells.append(cell, {"mse": 2.0}, tmp_path)
    cells.append(cell, {"mse": 1.0}, tmp_path)
    assert cells.read("ili", tmp_path) == {cell: cell._asdict() | {"mse": 1.0}}
    assert cells.read("etth1", tmp_path) == {}


def result(horizon, seed, **changed):
    """A row of the results."""
    common = {"data": "ili", "look_back": 36, "model": "m", "mae": 1.0, "steps": 5, "stride": 1, "n_test_windows": 9}
    made_by = {"commit": "a" * 40, "hardware": "x"}
    return common | made_by | {"horizon": horizon, "seed": seed, "mse": horizon + seed} | changed


def test_the_page_has_means_over_seeds_and_over_whole_sets_of_horizons_only():
    rows = [result(h, s) for h in (24, 36, 48, 60) for s in (0, 2) if (h, s) != (60, 2)]
    page = table.section(rows, cells.of_paper())
    line = next(line for line in page.splitlines() if line.startswith("| m "))
    assert "25.000±1.000 / 1.000±0.000" in line  # 24 and 26
    assert "| 42.000 / 1.000 |" in line  # the mean of the four, of seed 0, which alone has all of them
    paper = "2.007 / 0.869 | 2.160 / 0.910 | 1.849 / 0.845 | 1.927 / 0.889 | 1.986 / 0.878"
    assert f"| TimesCLIP, paper | {paper} |" in page


def test_rows_without_errors_of_batches_have_a_dash_there():
    kept = {"drop_last": {"16": {"windows": 0}, "32": {"windows": 32, "mse": 8.0, "mae": 2.0}}}
    rows = [result(24, 0), result(24, 0, model=table.SEASONAL, **kept)]
    lines = table.scores_by_batch(rows, [24])
    assert lines[-1] == "| m | 24.000 / 1.000 (skill 1.000) | — | — | — |"
    assert "| — | 8.000 / 2.000 (skill 1.000) | — |" in lines[-2]
    rows += [result(24, 1, model=table.SEASONAL)]
    assert "| — | 8.000 / 2.000 (skill 1.000, 1 of 2 seeds) | — |" in table.scores_by_batch(rows, [24])[-2]


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 200), st.integers(1, 3), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_errors_of_whole_batches_are_those_of_a_slow_loop(windows, variates, horizon, seed):
    rng = np.random.default_rng(seed)
    truth, made = rng.normal(size=(2, windows, variates, horizon))
    given_back = errors(truth, made)
    for batch in (16, 32, 64):
        count, square, absolute = 0, 0.0, 0.0
        for first in range(0, windows, batch):
            if first + batch > windows:
                break  # drop_last
            for window in range(first, first + batch):
                count += 1
                for a, b in zip(truth[window].ravel(), made[window].ravel(), strict=True):
                    square += (a - b) ** 2
                    absolute += abs(a - b)
        expected: dict[str, object] = {"windows": count}
        if count:
            numbers = count * variates * horizon
            expected |= {"mse": pytest.approx(square / numbers), "mae": pytest.approx(absolute / numbers)}
        assert given_back["drop_last"][str(batch)] == expected


@settings(max_examples=10, deadline=None)
@given(st.integers(150, 400), st.integers(1, 3), st.floats(0.1, 3))
def test_the_skill_of_the_seasonal_naive_forecast_is_1_on_any_windows(tmp_path_factory, rows, variates, scale):
    series, _ = small(tmp_path_factory.mktemp("s"), rows, variates, name="other")
    measured = []
    for name, change in ((table.SEASONAL, 0.0), ("worse", scale)):
        _, truth = series.windows("test", 3)
        made = naive.seasonal(series, 3)
        scored = errors(truth, made + change * (made - truth))
        measured.append(result(3, 0, model=name, **scored))
    for batch in (table.ALL, *(str(b) for b in (16, 32, 64) if len(truth) >= b)):
        assert table.skill_of(measured, table.SEASONAL, [3], batch) == 1
        assert table.skill_of(measured, "worse", [3], batch) == pytest.approx((1 + scale) ** 2)


@pytest.mark.skipif(not (SHARED / "illness").is_dir(), reason="../shared/data/illness is not there")
def test_seasonal_naive_errors_of_ili_on_all_windows_and_on_those_of_batches_of_64():
    series = BENCHMARKS["ili"].load()
    scored = [errors(series.windows("test", h)[1], naive.seasonal(series, h)) for h in series.benchmark.horizons]
    for rows, expected in ((scored, (2.222, 0.960)), ([one["drop_last"]["64"] for one in scored], (1.655, 0.870))):
        means = np.mean([[row["mse"], row["mae"]] for row in rows], 0)
        np.testing.assert_allclose(means, expected, atol=5e-4)
