"""A variate, driver or static column that does not vary in training rows is read as missing; a warning names it."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

import train
from model.presets import PRESETS
from model.timesclip import TimesCLIP
from pipeline.errors import InputError
from pipeline.splits import Fold
from report.run import RunFolder
from stages.completion.completion_stage import model_config
from stages.completion.zero_shot import completed_by, scales_before_cut
from stages.inputs.fold_data import Scales, assemble, prepare
from stages.inputs.unknown_variates import unknown_findings
from stages.yields.yield_stage import require_different_yields
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
    season = prepare(table, FOLD, "halves", pictures=None).seasons[0]
    windows = [tensor for window in season.windows for tensor in (window.values, window.observed, window.drivers)]
    return [*windows, season.static]


def test_values_of_test_rows_alone_are_read_as_missing():
    for one, two in zip(tensors(late(5000.0)), tensors(late(None)), strict=True):
        assert torch.equal(one, two)


def test_one_warning_names_them_and_their_folds():
    prepared = [prepare(late(5000.0), replace(FOLD, name=name), "halves", pictures=None) for name in ("2020", "2021")]
    (finding,) = unknown_findings(late(5000.0), prepared)
    assert finding.sentence == (
        "b, rain, soil: the training rows of 2 folds (2020, 2021) have no two different values of each, or values in "
        "fewer than 5 rows. They are read as missing there."
    )
    assert unknown_findings(late(None), [prepare(made(steps=8, samples=12), FOLD, "halves", pictures=None)]) == ()


def test_a_variate_that_does_not_vary_in_training_rows_is_read_as_missing():
    """A sensor that is stuck until the test year: its range is zero there, and an error would be divided by it."""
    table = late(5000.0)
    values, observed = table.values.copy(), table.observed.copy()
    values[TRAIN, 1], observed[TRAIN, 1] = 0.5, True
    stuck = replace(table, values=values, observed=observed)
    assert Scales.fit(stuck, FOLD).unknown(stuck) == ["b", "rain", "soil"]
    values, observed = values.copy(), observed.copy()
    values[0, 1, :4] = 0.1, 0.2, 0.3, 0.4
    observed[TRAIN[1:], 1] = False
    rare = replace(table, values=np.where(observed, values, np.nan).astype(np.float32), observed=observed)
    assert Scales.fit(rare, FOLD).unknown(rare) == ["b", "rain", "soil"]
    for one, two in zip(tensors(stuck), tensors(late(None)), strict=True):
        assert torch.equal(one, two)


def test_a_table_without_any_variate_that_varies_is_refused():
    table = made(steps=8, samples=12)
    flat = replace(table, values=np.where(table.observed, np.float32(0.5), np.float32(np.nan)))
    with pytest.raises(InputError, match="no variate \\(a, b\\) has two different values"):
        unknown_findings(flat, [prepare(flat, FOLD, "halves", pictures=None)])


def test_the_mask_survives_json_and_records_of_an_earlier_version_know_all():
    scales = Scales.fit(late(1.0), FOLD)
    record = json.loads(json.dumps(scales.to_dict()))
    assert Scales.from_dict(record).unknown(late(1.0)) == ["b", "rain", "soil"]
    for name in ("scaler", "drivers", "static"):
        del record[name]["known"]
    assert Scales.from_dict(record).unknown(late(1.0)) == []


def test_a_series_without_a_value_before_the_cut_is_not_completed():
    table = late(None)
    scales = scales_before_cut(table)
    data = assemble(
        table, Fold("all", np.arange(12), TRAIN[:0], TRAIN[:0], False), scales, framing="halves", pictures=None
    )
    model = TimesCLIP(replace(model_config(data, replace(PRESETS["language-only"], patch=4)), drivers=0))
    completed = completed_by(model, data)
    assert np.isnan(completed[:, 1]).all()
    assert np.isfinite(completed[:, 0][data.seasons[0].first.present[:, 0].numpy()]).all()


def test_equal_yields_are_refused():
    with pytest.raises(InputError, match="all 8 yields in the training rows of fold 2021 are 1 t/ha"):
        require_different_yields(made(steps=8, samples=12), FOLD)


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
        run = RunFolder(tmp_path / f"{name}-2")
        scores.append(run.read_json("result.json")["metrics"]["rmse"])
        assert "EVI: the training rows of 1 fold" in (run.path / "report.html").read_text()
    assert (
        "warning: EVI: the training rows of 1 fold (2021) have no two different values of it" in capsys.readouterr().out
    )
    assert scores[0] == pytest.approx(scores[1], rel=1e-6)
