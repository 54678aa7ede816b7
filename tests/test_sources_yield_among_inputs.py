"""Inputs that hold the yield, yields in two units or below zero, and drafted cards with questions are reported."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.card.questions import open_questions
from pipeline.sources import read
from pipeline.sources.checks.yield_among_inputs import constants_of, correlation, yield_among_inputs
from report.run_page.sentences import too_good, warning_sentences
from tests.conftest import BANDS, CARD, STEPS, small_seasons

Change = Callable[[pd.DataFrame], object]


def warnings(folder: Path, change: Change, more: str = "", card: str = CARD) -> str:
    """The warnings about the small table after `change` of its frame. more: lines for the end of the card."""
    frame = small_seasons()
    change(frame)
    frame.to_csv(folder / "seasons.csv", index=False)
    (folder / "card.toml").write_text(card + more)
    found = read(folder / "card.toml").findings
    return "\n".join(one.sentence for one in found if one.severity == "warning")


def constant_variate(numbers: Callable[[pd.DataFrame], pd.Series]) -> Change:
    def change(frame: pd.DataFrame) -> None:
        for step in range(STEPS):
            frame[f"extra_{step:02d}"] = numbers(frame)

    return change


def test_a_plain_table_and_one_with_soil_in_static_raise_no_alarm(tmp_path: Path) -> None:
    assert warnings(tmp_path, lambda frame: None) == ""


EXTRA = '\n[[variates]]\nname = "extra"\n'


def test_one_value_per_season_is_no_series_and_its_correlation_with_the_yield_is_given(tmp_path: Path) -> None:
    produced = warnings(tmp_path, constant_variate(lambda frame: 3 * frame["yield_t_ha"] + 1), EXTRA)
    assert "extra has one value per season, so it is no series. Its correlation with the yield is 1.00." in produced
    assert "remove it" in produced
    soil = warnings(tmp_path, constant_variate(lambda frame: frame["place"].str.len() + frame.index % 5), EXTRA)
    assert "extra has one value per season, so it is no series. If it is known" in soil
    assert "name its column in `static`" in soil


def test_a_step_that_is_the_yield_is_reported(tmp_path: Path) -> None:
    last = f"{BANDS[0]}_{STEPS - 1:02d}"

    def change(frame: pd.DataFrame) -> None:
        frame[last] = frame["yield_t_ha"] / 10

    said = warnings(tmp_path, change)
    assert f"{BANDS[0]} at step {STEPS - 1} hardly differs from the yield: their correlation is 1.000." in said


def test_a_static_number_that_is_the_yield_is_reported(tmp_path: Path) -> None:
    def change(frame: pd.DataFrame) -> None:
        frame["grain"] = 10 * frame["yield_t_ha"]

    card = CARD.replace("step_days = 10\n", 'step_days = 10\nstatic = ["grain"]\n')
    assert "grain hardly differs from the yield" in warnings(tmp_path, change, card=card)


def test_a_series_that_is_often_zero_is_a_series() -> None:
    rng = np.random.default_rng(0)
    rain = rng.gamma(0.3, 10, (60, 1, 6)).astype(np.float32)
    rain[:56] = 0.0
    assert yield_among_inputs(["rain"], rain, (), np.empty((60, 0), np.float32), rng.uniform(2, 8, 60)) == ()


@given(st.integers(0, 10_000))
def test_constants_and_correlations_are_those_of_a_slow_twin(seed: int) -> None:
    rng = np.random.default_rng(seed)
    series = rng.integers(0, 2, (30, 6)).astype(np.float32)
    series[rng.random((30, 6)) < 0.3] = np.nan
    for row, constant in zip(series, constants_of(series), strict=True):
        seen = row[~np.isnan(row)]
        slow = seen[0] if len(seen) >= 4 and (seen == seen[0]).all() else np.nan
        np.testing.assert_array_equal(constant, np.float32(slow))
    numbers, yields = rng.normal(size=40).astype(np.float32), rng.normal(size=40)
    numbers[:5] = np.nan
    assert correlation(numbers, yields) == pytest.approx(np.corrcoef(numbers[5:], yields[5:])[0, 1], abs=1e-9)
    assert correlation(numbers[:20], yields[:20]) == 0.0


@pytest.mark.parametrize(("share", "factor", "said"), [(4, 10.0, True), (3, 10.0, True), (4, 1.7, False)])
def test_fields_in_another_unit_are_reported(tmp_path: Path, share: int, factor: float, said: bool) -> None:
    def change(frame: pd.DataFrame) -> None:
        number = frame["place"].str.extract(r"(\d+)")[0].astype(int)
        rng = np.random.default_rng(1)
        frame["yield_t_ha"] = rng.uniform(2.6, 8.5, len(frame)).round(2)
        frame.loc[number % share == 0, "yield_t_ha"] *= factor

    assert ("in one unit?" in warnings(tmp_path, change)) == said


def test_failed_harvests_are_no_other_unit(tmp_path: Path) -> None:
    def change(frame: pd.DataFrame) -> None:
        rng = np.random.default_rng(2)
        frame["yield_t_ha"] = rng.uniform(4, 8, len(frame)).round(2)
        frame.loc[::5, "yield_t_ha"] = rng.uniform(0.05, 1.6, len(frame.loc[::5])).round(2)

    assert "in one unit" not in warnings(tmp_path, change)


def test_negative_yields_are_reported_as_anomalies(tmp_path: Path) -> None:
    def change(frame: pd.DataFrame) -> None:
        frame["yield_t_ha"] -= frame["yield_t_ha"].mean()

    assert "negative, down to -" in warnings(tmp_path, change)


def test_a_card_with_questions_says_so_until_they_are_answered(tmp_path: Path) -> None:
    asked = CARD.replace("step_days = 10\n", "step_days = 10 # QUESTION: is it?\n")
    assert "card.toml still has 1 question." in warnings(tmp_path, lambda frame: None, card=asked)
    assert open_questions(tmp_path / "absent.toml") == ()


def test_scores_that_are_too_good_are_questioned() -> None:
    result = {
        "stage": 2,
        "preset": "timesclip",
        "n_test": 40,
        "metrics": {"rmse": 0.5, "r2": 0.9},
        "baselines": {"ridge": {"rmse": 0.01, "r2": 0.999}},
    }
    (sentence,) = too_good(result)
    assert "R2 is 0.999 for ridge on held-out rows" in sentence
    assert warning_sentences(result) == [f"Warning: {sentence}"]
    assert too_good(result | {"n_test": 10}) == []
    result["baselines"]["ridge"]["r2"] = 0.93
    assert too_good(result) == []
