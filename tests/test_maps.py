"""Forecasts as tables and maps: what is written is what was forecast, and positions that cannot be are refused."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import predict
import train
from pipeline.errors import InputError
from pipeline.sources import read
from pipeline.sources.geometry import shapes_of
from report.forecast_files import by_place, geojson
from report.map import main as map_main
from tests.conftest import CARD, small_seasons

pytestmark = pytest.mark.slow

TOP = 'latitude = "lat"\nlongitude = "lon"\n'


def card_with_positions(folder, change=lambda frame: None, top=TOP, name="card.toml"):
    """The small table with a position a place, and its card."""
    frame = small_seasons()
    number = frame["place"].str.extract(r"(\d+)")[0].astype(int)
    frame["lat"], frame["lon"] = 40 + number / 10, -90 + number / 10
    change(frame)
    frame.to_csv(folder / "seasons.csv", index=False)
    (folder / name).write_text(CARD.replace("step_days = 10\n", f"step_days = 10\n{top}"))
    return folder / name


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A card with positions and a stage-2 run on it."""
    folder = tmp_path_factory.mktemp("maps")
    flags = ["--data", str(card_with_positions(folder)), "--preset", "language-only", "--epochs", "2"]
    assert train.main(["--stage", "1", *flags, "--out", str(folder / "one")]) == 0
    assert train.main(["--stage", "2", *flags, "--from", str(folder / "one"), "--out", str(folder / "two")]) == 0
    return folder


def ask(folder, out, *more, data="card.toml"):
    return predict.main(["--run", str(folder / "two"), "--data", str(folder / data), "--out", str(out), *more])


def test_csv_parquet_and_geojson_say_the_same(run, tmp_path):
    for ending in ("csv", "parquet", "geojson"):
        assert ask(run, tmp_path / f"x.{ending}") == 0
    table, exact = pd.read_csv(tmp_path / "x.csv"), pd.read_parquet(tmp_path / "x.parquet")
    record = json.loads((tmp_path / "x.geojson").read_text())
    told = pd.DataFrame([feature["properties"] for feature in record["features"]])
    pd.testing.assert_frame_equal(told, table)
    pd.testing.assert_frame_equal(table, exact, atol=6e-5, check_dtype=False)
    points = [feature["geometry"]["coordinates"] for feature in record["features"]]
    number = table["place"].str.extract(r"(\d+)")[0].astype(int)
    np.testing.assert_allclose(points, np.stack([-90 + number / 10, 40 + number / 10], axis=1))
    assert record["type"] == "FeatureCollection"


def test_a_summary_by_place_counts_and_averages(run, tmp_path):
    assert ask(run, tmp_path / "x.parquet", "--by-place", str(tmp_path / "places.csv")) == 0
    rows, places = pd.read_parquet(tmp_path / "x.parquet"), pd.read_csv(tmp_path / "places.csv").set_index("place")
    assert (places["n"] == 7).all()
    for place, part in rows.groupby("place"):
        told = places.loc[place]
        assert told["y_pred"] == pytest.approx(part["y_pred"].mean(), abs=1e-4)
        assert (told["first_year"], told["last_year"]) == (2016, 2022)
        assert told["y_pred_least"] <= told["y_pred"] <= told["y_pred_most"]
        assert told["interval_width"] == pytest.approx((part["y_hi"] - part["y_lo"]).mean(), abs=1e-4)
    assert list(by_place(rows)["place"]) == sorted(rows["place"].unique())


def test_a_run_s_own_test_forecasts_become_a_map_with_their_error(run, tmp_path):
    out = tmp_path / "map.geojson"
    assert map_main(["--run", str(run / "two"), "--out", str(out)]) == 0
    features = json.loads(out.read_text())["features"]
    kept = pd.read_parquet(run / "two" / "predictions.parquet").query("split == 'test'").set_index("sample_id")
    assert len(features) == 12
    for feature in features:
        about = feature["properties"]
        error = kept.loc[about["sample_id"], "y_pred"] - kept.loc[about["sample_id"], "y_true"]
        assert about["error"] == pytest.approx(error, abs=1e-4)
        assert feature["geometry"]["type"] == "Point"


def test_positions_change_no_table(tmp_path):
    with_positions = read(card_with_positions(tmp_path)).fingerprint()
    assert read(card_with_positions(tmp_path, top="")).fingerprint() == with_positions


def square(place, side=0.1, **more):
    ring = [[10, 50], [10 + side, 50], [10 + side, 50 + side], [10, 50]]
    geometry = {"type": "Polygon", "coordinates": [ring]} | more
    return {"type": "Feature", "properties": {"place": place, "crop": "maize"}, "geometry": geometry}


def shaped(folder, features):
    record = features if isinstance(features, str) else json.dumps({"type": "FeatureCollection", "features": features})
    (folder / "fields.geojson").write_text(record)
    return card_with_positions(folder, top='geometry = "fields.geojson"\n')


def test_a_geometry_file_is_joined_by_place_and_a_place_without_one_is_told(run, tmp_path, capsys):
    card = shaped(tmp_path, [square("field3"), square("field4", 0.2)])
    assert ask(run, tmp_path / "x.geojson", data=card) == 0
    assert "70 samples without a position" in capsys.readouterr().out
    features = json.loads((tmp_path / "x.geojson").read_text())["features"]
    shapes = {feature["properties"]["place"]: feature["geometry"] for feature in features}
    assert shapes["field4"] == square("field4", 0.2)["geometry"]
    assert shapes["field5"] is None
    assert len(features) == 84


@pytest.mark.parametrize(
    ("features", "said"),
    [
        ("{", "cannot be read as GeoJSON"),
        ("[]", "no GeoJSON FeatureCollection"),
        ([square("a"), square("a")], "feature 2: place a has a geometry already"),
        ([square("")], "no property 'place'"),
        ([square("a", type="Circle")], "none of Point"),
        ([square("a", coordinates=[[[500000, 4649776], [500010, 4649776]]])], "convert the file to EPSG:4326"),
        ([square("a", coordinates="here")], "no position in degrees"),
        ([square("a", coordinates=[[10]])], "no position in degrees"),
        ([{"type": "Feature", "geometry": None, "properties": None}], "its properties are none"),
    ],
)
def test_a_geometry_that_cannot_be_is_refused(tmp_path, features, said):
    with pytest.raises(InputError, match=f"(?i){re.escape(said)}"):
        shapes_of(shaped(tmp_path, features))


def wrong_latitude(frame):
    frame.loc[3, "lat"] = 91.0


def two_positions(frame):
    frame.loc[3, "lat"] = 44.4


@pytest.mark.parametrize(
    ("change", "top", "said"),
    [
        (wrong_latitude, TOP, "column lat: 91 is no position"),
        (two_positions, TOP, "has one position"),
        (lambda frame: None, 'latitude = "lat"\n', "belong together"),
        (lambda frame: None, TOP + 'geometry = "fields.geojson"\n', "one of them"),
        (lambda frame: None, TOP.replace('"lat"', '"north"'), "north"),
        (lambda frame: None, 'geometry = "nowhere.geojson"\n', "nowhere.geojson"),
        (lambda frame: None, "", "has no positions of its samples"),
    ],
)
def test_positions_that_cannot_be_are_refused_before_the_work(run, tmp_path, capsys, change, top, said):
    assert ask(run, tmp_path / "x.geojson", data=card_with_positions(tmp_path, change, top)) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "x.geojson").exists()


def test_a_sample_s_own_position_is_taken_where_the_card_names_samples_and_may_be_unknown(tmp_path):
    def change(frame):
        frame["id"] = [f"s{i}" for i in range(len(frame))]
        frame["lat"] += np.arange(len(frame)) / 1000
        frame.loc[5, "lat"] = np.nan

    card = card_with_positions(tmp_path, change, TOP + 'sample_id = "id"\n')
    table, shapes = read(card), shapes_of(card)
    lying = dict(zip(table.sample_id.tolist(), shapes.of(table), strict=True))
    assert lying["s5"] is None
    assert lying["s1"]["coordinates"] == pytest.approx([-90, 40.001])


def test_what_is_not_finite_is_null_in_a_map():
    rows = pd.DataFrame({"place": ["a"], "y_pred": [np.nan], "n": np.array([3])})
    (feature,) = json.loads(geojson(rows, [None]))["features"]
    assert feature["properties"] == {"place": "a", "y_pred": None, "n": 3}
    assert feature["geometry"] is None


def test_an_output_that_exists_or_cannot_be_is_refused_before_the_work(run, tmp_path, capsys):
    (tmp_path / "places.csv").write_text("mine")
    assert ask(run, tmp_path / "x.csv", "--by-place", str(tmp_path / "places.csv")) == 2
    assert f"--by-place {tmp_path / 'places.csv'} exists" in capsys.readouterr().err
    assert ask(run, tmp_path / "x.csv", "--by-place", str(tmp_path / "places.txt")) == 2
    assert [path.name for path in Path(tmp_path).iterdir()] == ["places.csv"]
