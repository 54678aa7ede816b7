"""Rows that were left out choose epochs and weights; what the season does not tell is forecast by the offset."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

import train
from model.calibration import conformal_margin
from model.cross_fitting import (
    best_epoch_of_all,
    effective_rows,
    ensemble_weights,
    parts_of,
    weights_without_own_part,
)
from model.learners.tabular import GP_POSITIONS
from report.run import RunFolder
from stages.yields.yield_learners import MEMBERS, prior_weights
from tests.conftest import CARD, small_seasons


def made_forecasts(seed, groups=6, rows=20, noise=(0.5, 0.8, 1.5)):
    """Anomalies that rows of a group share in part, and learners that see them through noise."""
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(groups), rows)
    target = rng.normal(0, 1, groups)[group] + rng.normal(0, 1, len(group))
    shared = [rng.normal(0, one, groups)[group] + rng.normal(0, one, len(group)) for one in noise]
    return target, np.column_stack([0.7 * target + one for one in shared]), group


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.05, 2.0))
def test_weights_are_those_of_a_general_optimiser(seed, spread):
    target, forecasts, group = made_forecasts(seed)
    prior = np.full(3, 1 / 3)
    error = target - forecasts @ prior
    count, level = effective_rows(error, group), np.mean(error**2)

    def loss(w):
        away = np.sum((w - prior) ** 2) / spread**2
        return count * np.mean((target - forecasts @ w) ** 2) / level + away

    rules = [{"type": "ineq", "fun": lambda w: 1 - w.sum()}]
    slow = minimize(loss, prior, bounds=[(0, None)] * 3, constraints=rules, method="SLSQP", options={"ftol": 1e-12})
    weights = ensemble_weights(target, forecasts, group, prior, spread)
    assert loss(weights) <= loss(slow.x) + 1e-5
    assert (weights >= 0).all()
    assert weights.sum() <= 1 + 1e-9


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 6))
def test_a_row_has_weights_that_were_fitted_without_its_part(seed, parts):
    target, forecasts, group = made_forecasts(seed)
    part, prior = parts_of(group, parts), np.full(3, 1 / 3)
    weights = weights_without_own_part(target, forecasts, group, part, prior)
    spoiled = np.where(part == 0, 1000.0, target)
    np.testing.assert_array_equal(
        weights_without_own_part(spoiled, forecasts, group, part, prior)[part == 0], weights[part == 0]
    )
    if parts == 1:
        np.testing.assert_array_equal(weights, np.tile(prior, (len(target), 1)))
        return
    for one in range(parts):
        other = part != one
        expected = ensemble_weights(target[other], forecasts[other], group[other], prior)
        np.testing.assert_array_equal(weights[~other], np.tile(expected, (int((~other).sum()), 1)))


def test_margins_cover_new_rows_although_the_weights_follow_the_left_out_rows():
    """Ten learners of noise and few rows: errors under the weights that these rows chose are too small."""
    inside = {"own part": [], "without": []}
    for seed in range(300):
        rng = np.random.default_rng(seed)
        target, forecasts, group = rng.normal(size=(160)), rng.normal(size=(160, 10)), np.arange(160) % 80
        known, new, prior = slice(0, 40), slice(40, 160), np.full(10, 0.1)
        given = target[known], forecasts[known], group[known]
        weights = ensemble_weights(*given, prior)
        each = weights_without_own_part(*given, parts_of(group[known]), prior)
        errors = np.abs(target[new] - forecasts[new] @ weights)
        for name, used in (("own part", np.tile(weights, (40, 1))), ("without", each)):
            margin = conformal_margin(np.abs(target[known] - (forecasts[known] * used).sum(1)))
            inside[name].append((errors <= margin).mean())
    assert np.mean(inside["own part"]) < 0.88
    assert np.mean(inside["without"]) == pytest.approx(0.90, abs=0.012)


def test_few_groups_stay_near_the_prior_and_many_follow_the_data():
    prior = np.full(3, 1 / 3)
    few, many = (ensemble_weights(*made_forecasts(1, groups), prior, spread=0.25) for groups in (3, 300))  # type: ignore[call-arg]
    assert np.abs(few - prior).max() < np.abs(many - prior).max()
    assert many[0] > 0.5 > many[2]


def test_learners_of_noise_leave_the_forecast_to_the_offset():
    rng = np.random.default_rng(0)
    target, group = rng.normal(size=4000), np.arange(4000) % 200
    weights = ensemble_weights(target, rng.normal(size=(4000, 3)), group, np.full(3, 1 / 3))
    assert weights.sum() < 0.1


def test_a_forecast_of_zero_everywhere_keeps_its_prior_weight():
    target, forecasts, group = made_forecasts(2)
    columns = np.column_stack([forecasts[:, 0], np.zeros(len(target))])
    weights = ensemble_weights(0.5 * target, columns, group, np.full(2, 0.3))
    assert weights[1] == pytest.approx(0.3, abs=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.integers(2, 12), st.integers(2, 30))
def test_rows_count_for_less_the_more_their_group_errs_together(seed, groups, rows):
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(groups), rows)
    apart, together = rng.normal(size=len(group)), 1.0 * group + 1e-3 * rng.normal(size=len(group))
    assert effective_rows(together, group) == pytest.approx(groups, rel=0.01)
    assert groups - 1e-9 <= effective_rows(apart, group) <= len(group)
    assert effective_rows(apart, np.arange(len(group))) == len(group)


@pytest.mark.parametrize("learner", list(MEMBERS))
def test_prior_weights_are_equal_for_each_kind_of_learner(learner):
    prior = prior_weights(MEMBERS[learner])
    assert prior.sum() == pytest.approx(1)
    if learner == "ensemble":
        np.testing.assert_allclose(prior, [1 / 4, *[1 / 16] * 4, 1 / 8, 1 / 8, 1 / 4])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 9), st.lists(st.floats(0, 4, width=32), min_size=1, max_size=6)),
        min_size=1,
        max_size=5,
    )
)
def test_the_epoch_is_the_one_with_the_least_squared_error_over_the_rows_of_all_parts(parts):
    reached = min(len(curve) for _, curve in parts)
    totals = [sum(rows * curve[epoch] for rows, curve in parts) for epoch in range(reached)]
    rows, curves = np.array([rows for rows, _ in parts]), [np.array(curve) for _, curve in parts]
    assert totals[best_epoch_of_all(curves, rows)] == pytest.approx(min(totals))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 8), min_size=2, max_size=60).filter(lambda g: len(set(g)) > 1), st.integers(2, 6))
def test_parts_hold_whole_groups_and_every_row_is_left_out_once(group, parts):
    found = parts_of(np.array(group), parts)
    assert sorted(set(found)) == list(range(min(parts, len(set(group)))))
    for one in set(group):
        assert len(set(found[np.array(group) == one])) == 1


@pytest.mark.slow
@pytest.mark.parametrize("learner", ["ensemble", "neural", "gp"])
def test_yields_that_the_season_does_not_tell_are_forecast_by_their_offset(tmp_path, learner):
    """Learners of noise get little weight; where there is something to learn they beat the offset."""
    errors, members = {}, [name for name in MEMBERS[learner] if name != GP_POSITIONS]  # this table has no positions
    for name, meaning in (("noise", 0.0), ("signal", 3.0)):
        rng = np.random.default_rng(3)
        table = small_seasons()
        peak = table[[column for column in table if column.startswith("ndvi_")]].max(axis=1)
        level = table["place"].map({place: rng.normal(5, 0.8) for place in table["place"].unique()})
        table["yield_t_ha"] = level + meaning * (peak - 0.65) + rng.normal(0, 0.4, len(table))
        (tmp_path / name).mkdir()
        (tmp_path / name / "card.toml").write_text(CARD)
        table.to_csv(tmp_path / name / "seasons.csv", index=False)
        flags = ["--data", str(tmp_path / name / "card.toml"), "--preset", "language-only", "--split", "leave-year-out"]
        flags += ["--folds", "2018,2020,2022"]
        one, out = str(tmp_path / name / "one"), tmp_path / name / "two"
        assert train.main(["--stage", "1", "--epochs", "2", *flags, "--out", one]) == 0
        second = ["--stage", "2", *flags, "--from", one, "--learner", learner, "--members", "2", "--epochs", "40"]
        assert train.main([*second, "--out", str(out)]) == 0
        run = RunFolder.open(out)
        result = run.read_json("result.json")
        assert list(result["learners"]) == [*members, "offset"]
        assert sum(result["learners"].values()) == pytest.approx(1)
        errors[name] = result["metrics"]["rmse"] / result["baselines"]["offset alone"]["rmse"]
        kept = pd.read_parquet(out / "left_out.parquet")
        assert set(kept["learner"]) == {*members, "offset"}
        assert (kept.groupby(["fold", "learner"])["sample_id"].nunique() > 0).all()
    assert errors["noise"] == pytest.approx(1, abs=0.06)
    assert errors["signal"] < 0.95
