"""A variate, driver or static column that no training row has is read as missing, and a warning names it."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

import train
from pipeline.splits import Fold
from report.run import RunFolder
from stages.fold_data import Scales, prepare
from stages.run_inputs import unknown_sentences
from tests.made_seasons import made

TRAIN, TEST = np.arange(8), np.arange(8, 12)
CARD = """
name = "late sensor"
format = "wide"
files = ["{name}.csv"]
variates = [{{ name = "NDVI" }}, {{ name = "EVI" }}]
step_days = 10
place = "place"
year = "year"
[target]
column = "yield"
unit = "t/ha"
"""
FOLD = Fold("2021", TRAIN, TRAIN[:2], TEST, False)


def late(size):
    """A table whose variate b, driver rain and static column soil have values of the given size in test rows only."""
    table = made(steps=8, samples=12)
    values, observed = table.values.copy(), table.observed.copy()
    values[TRAIN, 1], observed[TRAIN, 1] = np.nan, False
    values[TEST, 1], observed[TEST, 1] = (np.nan, False) if size is None else (size, True)
    shown = np.zeros((12, 1, 8), bool)
    shown[TEST] = size is not None
    return replace(
        table,
        values=values,
        observed=observed,
        drivers=np.where(shown, size or 0, np.nan).astype(np.float32),
        drivers_observed=shown,
        driver_names=("rain",),
        driver_units=("mm",),
        drivers_known=np.array([False]),
        static=np.where(shown[:, :, 0], size or 0, np.nan).astype(np.float32),
        static_names=("soil",),
    )


def tensors(table):
    season = prepare(table, FOLD, "halves", None).seasons[0]
    windows = [tensor for window in season.windows for tensor in (window.values, window.observed, window.drivers)]
    return [*windows, season.static]


def test_values_of_test_rows_alone_are_read_as_missing():
    for one, two in zip(tensors(late(5000.0)), tensors(late(None)), strict=True):
        assert torch.equal(one, two)


def test_one_warning_names_them_and_their_folds():
    prepared = [prepare(late(5000.0), replace(FOLD, name=name), "halves", None) for name in ("2020", "2021")]
    assert unknown_sentences(late(5000.0), prepared) == [
        "warning: b, rain, soil have no value in the training rows of 2 folds (2020, 2021). Values in the other rows "
        "are read as missing there."
    ]
    assert unknown_sentences(late(None), [prepare(made(steps=8, samples=12), FOLD, "halves", None)]) == []


def test_the_mask_survives_json_and_records_of_an_earlier_version_know_all():
    scales = Scales.fit(late(1.0), FOLD)
    record = json.loads(json.dumps(scales.to_dict()))
    assert Scales.from_dict(record).unknown(late(1.0)) == ["b", "rain", "soil"]
    for name in ("scaler", "drivers", "static"):
        del record[name]["known"]
    assert Scales.from_dict(record).unknown(late(1.0)) == []


@pytest.mark.slow
def test_a_sensor_that_starts_in_the_test_year_does_not_harm_the_forecast(tmp_path, monkeypatch, capsys):
    """Its values are a thousand times those of the other variate; the scores equal those without it."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    rows = [(place, year) for place in "abcdefgh" for year in range(2015, 2022)]
    table = pd.DataFrame(rows, columns=["place", "year"])
    for step in range(1, 9):
        table[f"NDVI_{step}"] = rng.random(len(table))
    for step in range(1, 9):
        table[f"EVI_{step}"] = np.where(table.year == 2021, 1000 * rng.random(len(table)), np.nan)
    table["yield"] = 3 + table["NDVI_4"] + 0.1 * rng.random(len(table))
    scores = []
    for name, data in (("with", table), ("without", table.assign(**{f"EVI_{s}": np.nan for s in range(1, 9)}))):
        data.to_csv(f"{name}.csv", index=False)
        (tmp_path / f"{name}.toml").write_text(CARD.format(name=name))
        base = ["--data", f"{name}.toml", "--split", "year", "--preset", "language-only"]
        assert train.main(["--stage", "1", *base, "--init", "none", "--epochs", "1", "--out", f"{name}-1"]) == 0
        assert (
            train.main(
                [
                    "--stage",
                    "2",
                    *base,
                    "--from",
                    f"{name}-1",
                    "--learner",
                    "neural",
                    "--epochs",
                    "2",
                    "--out",
                    f"{name}-2",
                ]
            )
            == 0
        )
        scores.append(RunFolder(tmp_path / f"{name}-2").read_json("result.json")["metrics"]["rmse"])
    assert "warning: EVI has no value in the training rows of 1 fold (2021)." in capsys.readouterr().out
    assert scores[0] == pytest.approx(scores[1], rel=1e-6)
