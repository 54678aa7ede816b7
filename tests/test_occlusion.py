"""Explanations on simulated seasons whose true driver is known; and what hiding means, step by step."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import explain
import render_cache
import train
from pipeline.sources import read
from report.run import RunFolder
from stages.yields.occlusion import DRAWS, donors, occlusions, summary
from tests.conftest import CARD, small_seasons
from tests.made_seasons import made

pytestmark = pytest.mark.slow

STEPS = 12
FLAGS = ["--preset", "language-only", "--split", "random"]


def known_driver(seed=0):
    """240 seasons of two variates: ndvi, whose height at steps 6 to 8 is the yield, and NIR, which is noise."""
    rng, rows = np.random.default_rng(seed), []
    for place in range(40):
        for year in range(2015, 2021):
            height = rng.uniform(0, 1)
            signal = 0.3 + rng.normal(0, 0.02, STEPS)
            signal[6:9] += height
            row = {"place": f"p{place}", "year": year, "yield_t_ha": 4 + 3 * height + rng.normal(0, 0.1)}
            row |= {f"ndvi_{step:02d}": value for step, value in enumerate(signal)}
            rows.append(row | {f"NIR_{step:02d}": value for step, value in enumerate(rng.uniform(0, 1, STEPS))})
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def explained(tmp_path_factory):
    """A stage-2 run on `known_driver`, explained."""
    folder = tmp_path_factory.mktemp("explain")
    known_driver().to_csv(folder / "seasons.csv", index=False)
    (folder / "card.toml").write_text(CARD.replace("high = 1.0", "high = 1.5"))
    flags = ["--data", str(folder / "card.toml"), *FLAGS]
    assert train.main(["--stage", "1", *flags, "--epochs", "5", "--out", str(folder / "one")]) == 0
    two = ["--stage", "2", *flags, "--epochs", "40", "--from", str(folder / "one"), "--out", str(folder / "two")]
    assert train.main(two) == 0
    some = pd.read_parquet(folder / "two" / "predictions.parquet").query("split == 'test'")["sample_id"].iloc[0]
    assert explain.main(["--run", str(folder / "two"), "--samples", some]) == 0
    return folder, some


def test_the_variate_and_the_steps_that_drive_the_yield_move_the_forecast_and_noise_nearly_does_not(explained):
    told = pd.read_csv(explained[0] / "two" / "explain" / "occlusion.csv").set_index("hidden")["mean_abs_change"]
    r2 = RunFolder(explained[0] / "two").read_json("result.json")["metrics"]["r2"]
    assert r2 > 0.7  # else there is nothing to explain
    assert told["ndvi"] > 0.4
    assert told["NIR"] < 0.2 * told["ndvi"]
    steps = told[told.index.str.startswith("steps")]
    assert steps.idxmax() == "steps 6 to 8"
    assert steps.drop("steps 6 to 8").max() < 0.25 * steps.max()


def test_steps_may_be_hidden_as_unobserved(explained, tmp_path):
    given = ["--run", str(explained[0] / "two"), "--hide", "unobserved", "--out", str(tmp_path / "x")]
    assert explain.main(given) == 0
    told = pd.read_csv(tmp_path / "x" / "occlusion.csv").set_index("hidden")["mean_abs_change"]
    assert told.filter(like="steps").idxmax() == "steps 6 to 8"
    assert told["NIR"] < 0.4 * told["ndvi"]


def test_every_test_sample_is_told_and_the_means_are_theirs(explained):
    folder, some = explained
    run = folder / "two"
    changes = pd.read_csv(run / "explain" / "samples.csv")
    kept = pd.read_parquet(run / "predictions.parquet").query("split == 'test'").set_index("sample_id")["y_pred"]
    assert set(changes["sample_id"]) == set(kept.index)
    told = changes.groupby("sample_id")["y_pred"].first()
    np.testing.assert_allclose(told[kept.index], kept, atol=1e-4)
    again = summary(changes)
    stored = pd.read_csv(run / "explain" / "occlusion.csv")
    np.testing.assert_allclose(again["mean_abs_change"], stored["mean_abs_change"], atol=1e-4)
    assert list(again["kind"]) == ["steps"] * 4 + ["variate"] * 2
    assert set(again["n"]) == {DRAWS * len(kept)}
    weights = pd.read_csv(run / "explain" / "selection.csv", index_col="variate")
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-4)
    page = (run / "explain" / "explain.html").read_text()
    assert f"Steps hidden: {some}" in page
    assert "http" not in re.sub(r"<script>.*?</script>", "", page, flags=re.S)


def test_hiding_takes_exactly_what_it_names():
    table, donor = made(11, seed=2), made(11, seed=3)
    told = list(occlusions(table, 4))
    assert [one.name for one in told] == ["steps 0 to 3", "steps 4 to 7", "steps 8 to 10", "a", "b"]
    for one in told:
        taken = np.broadcast_to(one.variates, table.values.shape)
        for instead in (None, donor):
            without = one.hide(table, instead)
            for name in ("values", "observed"):
                mine, theirs = getattr(without, name), getattr(table, name)
                np.testing.assert_array_equal(mine[~taken], theirs[~taken])
                if instead is not None:
                    seen = taken & table.observed
                    np.testing.assert_array_equal(mine[seen], getattr(instead, name)[seen])
            if instead is None:
                assert not without.observed[taken].any()


def test_steps_that_a_sample_does_not_observe_stay_unobserved():
    table, donor = made(11, seed=2), made(11, seed=3)
    assert (donor.observed & ~table.observed).any()
    for one in occlusions(table, 4):
        assert not (one.hide(table, donor).observed & ~table.observed).any()


def test_a_variate_or_driver_that_no_sample_observes_has_nothing_to_hide():
    donor, unseen = (with_rain(made(11, seed=seed)) for seed in (3, 2))
    observed = unseen.observed & [[True], [False]]
    unseen = replace(
        unseen,
        observed=observed,
        values=np.where(observed, unseen.values, np.float32(np.nan)),
        drivers=np.full_like(unseen.drivers, np.nan),
        drivers_observed=np.zeros_like(unseen.drivers_observed),
    )
    changed = {
        one.name: one.hide(unseen, donor).fingerprint() != unseen.fingerprint() for one in occlusions(unseen, 11)
    }
    assert changed == {"steps 0 to 10": True, "a": True, "b": False, "rain": False}


def with_rain(table):
    """The table with one driver, observed at every step."""
    drivers = np.random.default_rng(0).random((len(table), 1, table.steps)).astype(np.float32)
    return replace(
        table,
        driver_names=("rain",),
        drivers=drivers,
        drivers_observed=np.ones(drivers.shape, bool),
        drivers_known=np.ones(1, bool),
    )


@given(st.integers(2, 9), st.integers(1, 9))
def test_no_sample_stands_in_for_itself(samples, tested):
    table, index = made(4, samples=samples), np.arange(min(samples, tested))
    for donor in donors(table, index, "exchanged"):
        assert (donor.sample_id != table.sample_id[index]).all()
    assert donors(table, index, "unobserved") == [None]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--width", "13"], "--width is 13; it must be 1 to the season's 12"),
        (["--samples", "nobody"], "not a test sample of this run"),
        (["--pictures"], "reads no pictures"),
        (["--data", "other.csv"], "not the data of"),
    ],
)
def test_what_cannot_be_explained_is_refused(explained, tmp_path, capsys, monkeypatch, more, said):
    monkeypatch.chdir(tmp_path)
    one_year = small_seasons().query("year == 2020").rename(columns={"yield_t_ha": "y2020"})
    one_year.drop(columns="year").to_csv("other.csv", index=False)
    assert explain.main(["--run", str(explained[0] / "two"), "--out", str(tmp_path / "x"), *more]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_a_stage_1_run_has_nothing_to_explain(explained, capsys):
    assert explain.main(["--run", str(explained[0] / "one")]) == 2
    assert "stage-1 run" in capsys.readouterr().err
    assert read(explained[0] / "card.toml").steps == STEPS


def test_steps_vanish_from_the_pictures_where_asked_for(tmp_path, capsys):
    """Vision only, so that nothing but the pictures can move a forecast."""
    small_seasons().to_csv(tmp_path / "seasons.csv", index=False)
    (tmp_path / "card.toml").write_text(CARD)
    data = ["--data", str(tmp_path / "card.toml"), "--cache", str(tmp_path / "cache")]
    flags = [*data, "--preset", "vision-only", "--split", "random"]
    assert render_cache.main([*data, "--split", "random", "--encoder", "efficientnet-lite0"]) == 0
    assert train.main(["--stage", "1", *flags, "--epochs", "5", "--out", str(tmp_path / "one")]) == 0
    two = ["--stage", "2", *flags, "--epochs", "30", "--from", str(tmp_path / "one"), "--out", str(tmp_path / "two")]
    assert train.main(two) == 0
    assert RunFolder(tmp_path / "two").read_json("fitted.json")["random"]["best_epoch"] > 0  # else heads tell nothing
    given = ["--run", str(tmp_path / "two"), "--width", "6", "--hide", "unobserved"]
    assert explain.main(given) == 2
    assert "Add --pictures" in capsys.readouterr().err
    assert explain.main([*given, "--pictures"]) == 0
    told = pd.read_csv(tmp_path / "two" / "explain" / "occlusion.csv").set_index("hidden")["mean_abs_change"]
    assert (told > 1e-6).all()
    assert not (tmp_path / "two" / "explain" / "selection.csv").exists()
    capsys.readouterr()
    assert explain.main([*given, "--pictures"]) == 0  # everything is in the cache now
    again = pd.read_csv(tmp_path / "two" / "explain" / "occlusion.csv").set_index("hidden")["mean_abs_change"]
    pd.testing.assert_series_equal(told, again)
