"""Positions in the forecast: neighbouring places have similar yields, and unknown positions change nothing else."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load, save

import explain
import predict
import render_cache
import train
from model.learners.features import Features
from model.learners.gaussian_process import NEARNESS, GPRows, Kernel
from model.learners.tabular import GP_NO_YEAR, GP_POSITIONS, Tabular, TabularRows, distance_of_neighbours, on_globe
from pipeline.sources import read
from pipeline.splits import Fold
from stages.inputs.positions import with_reported_positions
from stages.runs.command_line import parse
from stages.runs.run_inputs import prepare_inputs
from tests.conftest import CARD, small_seasons


class NoMap:
    """Stands for the feature map, which these learners only keep."""

    names = ("numbers",)


def placed_rows(places=60, years=4, seed=0):
    """Yields whose level varies smoothly over some 5 degrees, with numbers that know nothing of it."""
    rng = np.random.default_rng(seed)
    at = np.column_stack([rng.uniform(10, 15, places), rng.uniform(40, 45, places)])
    level = np.sin(at[:, 0] * 1.2) + np.cos(at[:, 1] * 1.2)
    place, year = np.repeat(np.arange(places), years), np.tile(np.arange(years), places) + 2000
    numbers = rng.normal(0, 1, (len(place), 3))
    anomaly = level[place] + rng.normal(0, 0.1, len(place))
    features = Features({"numbers": torch.from_numpy(numbers).float()}, numbers)
    return TabularRows(features, place.astype(str), year, np.zeros(len(place)), at[place]), anomaly


@given(
    st.tuples(st.floats(-180, 180), st.floats(-90, 90)),
    st.tuples(st.floats(-180, 180), st.floats(-90, 90)),
)
def test_distances_on_the_globe_are_those_of_the_haversine(one, other):
    """Chords are shorter than arcs, by the formula of a circle. Haversine: Sinnott 1984, Sky and Telescope 68, 159."""
    (lon_a, lat_a), (lon_b, lat_b) = np.radians([one, other])
    half = math.sin((lat_b - lat_a) / 2) ** 2
    half += math.cos(lat_a) * math.cos(lat_b) * math.sin((lon_b - lon_a) / 2) ** 2
    chord = 2 * 6371 * math.sqrt(min(1.0, half))
    a, b = on_globe(np.array([one, other]))
    assert np.linalg.norm(a - b) == pytest.approx(chord, abs=1e-3)


def test_the_unit_is_the_median_distance_to_the_nearest_other_place():
    at = np.array([[0, 0], [0, 0], [1, 0], [3, 0], [np.nan, 0]])
    degree = 2 * 6371 * math.sin(math.radians(0.5))
    assert distance_of_neighbours(at) == pytest.approx(degree, rel=1e-6)  # 1, 1 and 2 degrees
    assert distance_of_neighbours(at[:2]) == 1.0


def test_the_effect_of_position_is_that_of_its_formula_and_zero_where_unknown():
    rng = np.random.default_rng(0)
    position = torch.from_numpy(rng.normal(0, 2, (5, 3)))
    position[2] = math.nan
    rows = GPRows({}, torch.zeros(5, dtype=torch.int64), torch.zeros(5, dtype=torch.int64), position)
    kernel = Kernel({}, {}, {}, {"near": -1.0, "region": 0.5}, 0.0)
    found = kernel.covariance(rows, rows).numpy()
    for i in range(5):
        for j in range(5):
            apart = float((position[i] - position[j]).square().sum())
            wanted = 0.0
            if not math.isnan(apart):
                wanted = math.exp(-1.0) * math.exp(-apart / 2) + math.exp(0.5) * math.exp(-apart / (2 * 81))
            assert found[i, j] == pytest.approx(wanted, abs=1e-9)
    assert set(NEARNESS) == {"near", "nearby", "region"}


def test_an_unseen_place_is_forecast_from_its_neighbours():
    rows, anomaly = placed_rows()
    new = np.isin(rows.place, ["3", "17", "40", "52"])
    known, held = np.flatnonzero(~new), np.flatnonzero(new)
    fitted = Tabular.fit(NoMap, rows.rows(known), anomaly[known], (GP_NO_YEAR, GP_POSITIONS), blocks=("numbers",))
    forecasts = fitted.forecast(rows.rows(held))
    errors = {name: np.sqrt(np.mean((one[:, 0] - anomaly[held]) ** 2)) for name, one in forecasts.items()}
    assert errors[GP_POSITIONS] < 0.5 * errors[GP_NO_YEAR]
    unknown = TabularRows(
        rows.features.rows(held), rows.place[held], rows.year[held], rows.offset[held], np.full((len(held), 2), np.nan)
    )
    blind = fitted.forecast(unknown)
    np.testing.assert_array_equal(blind[GP_NO_YEAR], forecasts[GP_NO_YEAR])
    assert np.isfinite(blind[GP_POSITIONS]).all()
    assert errors[GP_POSITIONS] < np.sqrt(np.mean((blind[GP_POSITIONS][:, 0] - anomaly[held]) ** 2))


def test_a_learner_with_positions_forecasts_the_same_after_it_was_saved(monkeypatch):
    rows, anomaly = placed_rows(20)
    fitted = Tabular.fit(NoMap, rows, anomaly, (GP_NO_YEAR, GP_POSITIONS), blocks=("numbers",))
    monkeypatch.setattr(NoMap, "state", lambda: {}, raising=False)
    monkeypatch.setattr(NoMap, "record", lambda: {"blocks": ["numbers"]}, raising=False)
    again = Tabular.from_state(json.loads(json.dumps(fitted.record())), load(save(fitted.state())))
    for name, forecast in fitted.forecast(rows).items():
        np.testing.assert_array_equal(again.forecast(rows)[name], forecast)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A table with positions whose yields fall from west to east, and a stage-2 run with whole places held out."""
    folder = tmp_path_factory.mktemp("positions")
    more = small_seasons(1)  # positions need 12 training places beside the held-out ones
    number = more["place"].str.extract(r"(\d+)")[0].astype(int)
    frame = pd.concat([small_seasons(), more.assign(place="field" + (number + 12).astype(str))], ignore_index=True)
    number = frame["place"].str.extract(r"(\d+)")[0].astype(int)
    frame["lat"], frame["lon"] = 40.0, -90 + number / 10
    frame["yield_t_ha"] += 4 * (np.sin(number / 2) - frame.groupby("place")["yield_t_ha"].transform("mean") / 4)
    frame["yield_t_ha"] += 9
    frame.to_csv(folder / "seasons.csv", index=False)
    (folder / "card.toml").write_text(
        CARD.replace("step_days = 10\n", 'step_days = 10\nlatitude = "lat"\nlongitude = "lon"\n')
    )
    frame.drop(columns=["lat", "lon"]).to_csv(folder / "seasons2.csv", index=False)
    (folder / "bare.toml").write_text(CARD.replace("seasons.csv", "seasons2.csv"))
    frame.assign(lat=-40.0).to_csv(folder / "seasons3.csv", index=False)
    (folder / "far.toml").write_text((folder / "card.toml").read_text().replace("seasons.csv", "seasons3.csv"))
    flags = ["--data", str(folder / "card.toml"), "--preset", "language-only", "--epochs", "2"]
    for split, folds in (("place", ["--folds", "places-1,places-3"]), ("year", [])):
        both = [*flags, "--split", split, *folds]
        assert train.main(["--stage", "1", *both, "--out", str(folder / f"{split}1")]) == 0
        last = ["--from", str(folder / f"{split}1"), "--learner", "gp", "--out", str(folder / f"{split}2")]
        assert train.main(["--stage", "2", *both, *last]) == 0
    return folder


@pytest.mark.slow
def test_positions_are_read_where_places_are_held_out_and_only_there(run):
    for fold in json.loads((run / "place2" / "fitted.json").read_text()).values():
        assert GP_POSITIONS in fold["forecaster"]["readings"][0]["weights"]
        assert fold["forecaster"]["tabular"][0]["apart"] > 0
    for fold in json.loads((run / "year2" / "fitted.json").read_text()).values():
        assert GP_POSITIONS not in fold["forecaster"]["readings"][0]["weights"]
    left_out = pd.read_parquet(run / "place2" / "left_out.parquet")
    errors = (left_out["y_pred"] - left_out["y_true"]).pow(2).groupby(left_out["learner"]).mean()
    assert errors[GP_POSITIONS] < errors[GP_NO_YEAR]


@pytest.mark.slow
def test_new_seasons_without_positions_get_wider_intervals_and_it_is_said(run, tmp_path, capsys):
    def ask(card, out):
        page = tmp_path / f"{out}.html"
        flags = ["--run", str(run / "place2"), "--data", str(run / card), "--out", str(tmp_path / out)]
        assert predict.main([*flags, "--page", str(page)]) == 0
        said = capsys.readouterr()
        return pd.read_csv(tmp_path / out), said.out + said.err, page.read_text()

    placed, said, page = ask("card.toml", "a.csv")
    assert "no known position" not in said + page
    bare, said, page = ask("bare.toml", "b.csv")
    for text in (said, page):
        assert "168 samples, such as" in text
        assert "have no known position" in text
    far, said, _ = ask("far.toml", "c.csv")
    assert "168 samples" in said
    assert "lie far from every training place" in said
    pd.testing.assert_frame_equal(far, bare)
    width, wider = ((one["y_hi"] - one["y_lo"]).mean() for one in (placed, bare))
    assert wider > 1.2 * width
    fits = [
        one["forecaster"]["readings"][0] for one in json.loads((run / "place2" / "fitted.json").read_text()).values()
    ]
    margin = max(one["unplaced"]["margin"] for one in fits)
    assert wider == pytest.approx(2 * margin, abs=0.02)  # no interval was cut at zero
    assert all(one["unplaced"]["weights"][GP_POSITIONS] == 0 for one in fits)


@pytest.mark.slow
def test_a_run_beats_kriging_only_if_the_season_adds_something(run):
    result = json.loads((run / "place2" / "result.json").read_text())
    baselines = result["baselines"]
    assert baselines["kriging"]["rmse"] < baselines["global mean"]["rmse"]
    assert "kriging" not in json.loads((run / "year2" / "result.json").read_text())["baselines"]


def small_table(folder, change):
    """The small table with positions after `change` of its frame, and its findings on positions."""
    frame = small_seasons()
    number = frame["place"].str.extract(r"(\d+)")[0].astype(int)
    frame["lat"], frame["lon"] = 40.0, -90 + number / 10
    change(frame)
    frame.to_csv(folder / "seasons.csv", index=False)
    top = 'step_days = 10\nlatitude = "lat"\nlongitude = "lon"\n'
    (folder / "card.toml").write_text(CARD.replace("step_days = 10\n", top))
    card = str(folder / "card.toml")
    _, findings = with_reported_positions(read(card), card, None)
    return " ".join(one.sentence for one in findings)


def moved(place, latitude, longitude):
    def change(frame):
        frame.loc[frame["place"] == place, ["lat", "lon"]] = latitude, longitude

    return change


def swapped(frame):
    rows = frame["place"].isin([f"field{number}" for number in range(4)])
    frame.loc[rows, ["lat", "lon"]] = frame.loc[rows, ["lon", "lat"]].to_numpy()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda frame: None, ""),
        (moved("field3", None, None), "1 of 12 places, such as field3, have no position"),
        (moved("field3", None, None), "11 places of 12 have one, and at least 12 must"),
        (
            moved("field3", 40.0, -90.0),
            "2 of 12 places share their position with another, such as field0 and field3: latitude 40",
        ),
        (moved("field3", -90.0, 40.0), "1 place, such as field3, lie far from most others"),
        (swapped, "4 places, such as field0, lie far from most others"),
        (moved("field3", 95.0, -90.0), "The forecast does not use positions: "),
    ],
)
def test_odd_positions_are_reported(tmp_path, change, sentence):
    said = small_table(tmp_path, change)
    assert sentence in said
    assert bool(said) == bool(sentence)


def test_positions_are_not_used_if_a_fold_has_too_few_training_places_with_one(tmp_path):
    """Twelve places have one, but no fold trains on all of them. All folds have the same learners."""
    small_table(tmp_path, lambda frame: None)
    card = str(tmp_path / "card.toml")
    table = read(card)
    every = np.arange(len(table))
    test = np.flatnonzero(np.isin(table.place, ["field0", "field1"]))
    rest = np.setdiff1d(every, test)
    folds = [
        Fold("places-1", every[:80], every[80:], every[:0], by_place=True),
        Fold("places-2", rest[:50], rest[50:], test, by_place=True),
    ]
    placed, findings = with_reported_positions(table, card, None, folds)
    assert placed.position is None
    assert "10 training places of fold places-2 have one, and at least 12 must" in findings[-1].sentence
    placed, findings = with_reported_positions(table, card, None, folds[:1])
    assert placed.position is not None
    assert not findings


def test_positions_that_cannot_be_read_are_reported_before_drawing(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a dry run writes its page there
    for place, latitude, said in (("field3", 40.0, False), ("field3", 95.0, True)):
        small_table(tmp_path, moved(place, latitude, -90.0))
        flags = ["--data", str(tmp_path / "card.toml"), "--cache", str(tmp_path / "cache"), "--encoder", "none"]
        assert render_cache.main([*flags, "--dry-run"]) == 0
        out = capsys.readouterr().out
        assert ("will not use positions" in out and "95 is no position" in out) == said


def test_outlines_of_other_names_are_reported(tmp_path):
    small_seasons().to_csv(tmp_path / "seasons.csv", index=False)
    point = {"type": "Point", "coordinates": [10.0, 50.0]}
    features = [
        {
            "type": "Feature",
            "properties": {"place": f"plot {n}"},
            "geometry": point | {"coordinates": [10.0, 50 + n / 10]},
        }
        for n in range(12)
    ]
    (tmp_path / "fields.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    (tmp_path / "card.toml").write_text(
        CARD.replace("step_days = 10\n", 'step_days = 10\ngeometry = "fields.geojson"\n')
    )
    card = str(tmp_path / "card.toml")
    _, findings = with_reported_positions(read(card), card, None)
    said = " ".join(one.sentence for one in findings)
    assert "12 of 12 places, such as field0, have no position" in said
    assert "12 positions of other names, such as plot 0." in said


@pytest.mark.slow
def test_what_moves_a_forecast_is_explained_with_the_positions_of_the_run(run, tmp_path):
    assert explain.main(["--run", str(run / "place2"), "--out", str(tmp_path)]) == 0
    explained = pd.read_csv(tmp_path / "samples.csv").groupby("sample_id")["y_pred"].first()
    predicted = pd.read_parquet(run / "place2" / "predictions.parquet").query("split == 'test'")
    predicted = predicted.set_index("sample_id")["y_pred"].reindex(explained.index)
    np.testing.assert_allclose(explained, predicted, atol=1e-4)


@pytest.mark.slow
def test_a_run_is_not_resumed_on_other_positions(run, tmp_path):
    def fingerprints(shift, card="card.toml"):
        frame = pd.read_csv(run / "seasons.csv")
        frame["lat"] += shift
        frame.to_csv(tmp_path / "seasons.csv", index=False)
        (tmp_path / "card.toml").write_text((run / card).read_text().replace("seasons2", "seasons"))
        flags = ["--stage", "2", "--data", str(tmp_path / "card.toml"), "--preset", "language-only", "--split", "place"]
        flags += ["--folds", "places-1,places-3", "--from", str(run / "place1")]
        return prepare_inputs(parse(flags, "")).fingerprints()

    here, there, nowhere = fingerprints(0.0), fingerprints(0.5), fingerprints(0.0, "bare.toml")
    assert here["data"] == there["data"] == nowhere["data"]
    assert here["position data"] != there["position data"]
    assert nowhere["position data"] is None
