"""Metrics agree with scikit-learn and with loops, and refuse what is not a number."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from model.metrics import completion_metrics, nrmse_by_year, yield_metrics

yields = arrays(np.float64, 7, elements=st.floats(0.1, 20))


@settings(max_examples=80, deadline=None)
@given(yields, yields)
def test_yield_metrics_are_those_of_scikit_learn(truth, guess):
    assume(np.ptp(truth) > 1e-3)
    found = yield_metrics(truth, guess)
    assert found["r2"] == pytest.approx(r2_score(truth, guess))
    assert found["rmse"] == pytest.approx(root_mean_squared_error(truth, guess))
    assert found["mae"] == pytest.approx(mean_absolute_error(truth, guess))
    assert found["nrmse"] == pytest.approx(found["rmse"] / truth.mean())
    assert found["bias"] == pytest.approx(guess.mean() - truth.mean())


def test_equal_yields_have_the_r2_of_scikit_learn():
    same = np.full(3, 2.0)
    assert yield_metrics(same, same)["r2"] == 1
    assert yield_metrics(same, same + 1)["r2"] == 0


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 99), st.floats(0.1, 5))
def test_completion_metrics_agree_with_loops_over_observed_steps(seed, width):
    rng = np.random.default_rng(seed)
    truth, guess = rng.normal(size=(2, 5, 2, 4))
    observed = rng.random(truth.shape) < 0.6
    observed[0, :, 0] = True
    truth[~observed] = np.nan
    found = completion_metrics(truth, guess, observed, np.array([width, 1.0]), ["a", "b"])
    errors = {0: [], 1: []}
    for n, v, s in zip(*np.nonzero(observed), strict=True):
        errors[v].append(guess[n, v, s] - truth[n, v, s])
    relative = [e / (width, 1.0)[v] for v in errors for e in errors[v]]
    assert found["rmse_over_range"] == pytest.approx(np.sqrt(np.mean(np.square(relative))))
    assert found["mae_a"] == pytest.approx(np.mean(np.abs(errors[0])))
    assert found["mae_b"] == pytest.approx(np.mean(np.abs(errors[1])))


def test_what_is_not_finite_is_refused_by_name():
    with pytest.raises(ValueError, match="y_pred holds 1 values"):
        yield_metrics(np.ones(2), np.array([1.0, np.nan]))
    with pytest.raises(ValueError, match="non-empty"):
        yield_metrics(np.ones(0), np.ones(0))


def test_nrmse_by_year_is_the_median_over_years_of_each_years_own_score():
    truth = np.array([2.0, 2.0, 4.0, 4.0, 10.0])
    pred = np.array([1.0, 3.0, 5.0, 5.0, 10.0])
    year = np.array([2001, 2001, 2002, 2002, 2003])
    assert nrmse_by_year(truth, pred, year) == 25.0  # 50, 25 and 0 percent
    with pytest.raises(ValueError, match="a year for each"):
        nrmse_by_year(truth, pred, year[:3])
