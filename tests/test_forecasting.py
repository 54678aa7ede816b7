"""The forecasting benchmark: its windows, its naive forecasts, its files. The peers are not imported."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.forecasting import cells, naive, ours, peers, table
from benchmarks.forecasting.cells import Cell
from benchmarks.forecasting.data import BENCHMARKS, PARTS, SHARED, Benchmark, errors, shares
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
        told = forecasting_windows(numbers, shares(rows), look_back, horizon)[part]
        assert len(past) == len(told) == len(series.starts(part, horizon))
        for window, (before, after) in enumerate(told):
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
    assert errors(truth, naive.repeat_last(series, 96)) == pytest.approx({"mse": 1.295, "mae": 0.713}, abs=1.5e-3)


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
    assert errors(truth, made) == {"mse": 11 / 4, "mae": 5 / 4}
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
    told = [
        {"sample_id": test["window"][n], "variate": f"v{v:02d}", "step": 5 + h, "y_pred": test[f"v{v:02d}_{5 + h}"][n]}
        for n in range(len(test))
        for v in range(2)
        for h in range(3)
    ]
    path = tmp_path / "predictions.parquet"
    pd.DataFrame(told).sample(frac=1, random_state=0).to_parquet(path)
    np.testing.assert_allclose(ours.read_predictions(path, series, 3), truth)
    pd.DataFrame(told[1:]).to_parquet(path)
    with pytest.raises(ValueError, match="are needed"):
        ours.read_predictions(path, series, 3)


def test_the_peers_are_told_every_value_in_the_order_of_variates_and_time(tmp_path):
    series, _ = small(tmp_path, variates=12)
    frame = peers.long_frame(series).sort_values(["unique_id", "ds"])
    np.testing.assert_array_equal(frame["y"].to_numpy().reshape(12, -1).T, series.values)


def test_every_benchmark_has_a_recipe_for_every_peer_and_strides_for_this_model():
    assert set(peers.RECIPES) == set(ours.DRAWN) == set(ours.READ) == set(ours.FLAGS) == set(BENCHMARKS)
    assert all(set(recipes) == set(peers.PEERS) for recipes in peers.RECIPES.values())
    assert all(strides.of("test") == 1 for strides in (*ours.DRAWN.values(), *ours.READ.values()))


def test_results_are_kept_and_the_last_of_a_cell_counts(tmp_path):
    cell = Cell("ili", 24, "DLinear", 0)
    cells.append(cell, {"mse": 2.0}, tmp_path)
    cells.append(cell, {"mse": 1.0}, tmp_path)
    assert cells.read("ili", tmp_path) == {cell: cell._asdict() | {"mse": 1.0}}
    assert cells.read("etth1", tmp_path) == {}


def test_the_page_has_means_over_seeds_and_over_whole_sets_of_horizons_only():
    common = {"seconds": 1.0, "steps": 5, "stride": 1, "commit": "a" * 40, "hardware": "x", "n_test_windows": 9}
    rows = [
        {"horizon": h, "model": "m", "seed": s, "mse": h + s, "mae": 1.0} | common
        for h in (24, 36, 48, 60)
        for s in (0, 2)
        if (h, s) != (60, 2)
    ]
    page = table.section(BENCHMARKS["ili"], rows, cells.of_paper())
    line = next(line for line in page.splitlines() if line.startswith("| m "))
    assert "25.000±1.000 / 1.000±0.000" in line  # 24 and 26
    assert "| 42.000 / 1.000 |" in line  # the mean of the four, of seed 0, which alone has all of them
    assert "| TimesCLIP, paper | 2.007 / 0.869 | — | — | — | 1.986 / 0.878 |" in page
