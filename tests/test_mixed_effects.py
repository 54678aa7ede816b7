"""The mixed-effects model of yields: its blocks against the whole covariance, and what its effects mean."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal

from model import mixed_effects
from model.mixed_effects import DRIFT, SMOOTH, Variances, fit_variances, forecast

V = Variances(trend=0.2, smooth=0.1, shock=0.15, place=0.5, slope=0.1, drift=0.08, error=0.2)

entry = st.tuples(st.sampled_from("abcd"), st.integers(2000, 2012), st.floats(0.5, 9))
entries = st.lists(entry, min_size=2, max_size=20).filter(lambda rows: np.std([t for *_, t in rows]) > 0.1)


def slow_covariance(place, year, other_place, other_year, v=V):
    """Every pair of yields by the formula of the module; years in decades from the centre."""
    found = np.zeros((len(year), len(other_year)))
    for i, (p, a) in enumerate(zip(place, year, strict=True)):
        for j, (q, b) in enumerate(zip(other_place, other_year, strict=True)):
            found[i, j] = 1 + v.trend * a * b + v.smooth * math.exp(-0.5 * ((a - b) / SMOOTH) ** 2)
            found[i, j] += v.shock * (abs(a - b) < 1e-9)
            if p == q:
                found[i, j] += v.place + v.slope * a * b + v.drift * math.exp(-0.5 * ((a - b) / DRIFT) ** 2)
    return found


def columns(rows):
    place, year, target = (np.array(column) for column in zip(*rows, strict=True))
    return place, year, target.astype(float)


@settings(max_examples=60, deadline=None)
@given(entries, st.lists(st.tuples(st.sampled_from("abcde"), st.integers(1999, 2015)), min_size=1, max_size=6))
def test_a_forecast_is_the_conditional_mean_of_the_whole_covariance(rows, queries):
    place, year, target = columns(rows)
    asked_place, asked_year = (np.array(column) for column in zip(*queries, strict=True))
    mean, spread, centre = target.mean(), target.std(), year.mean() / 10
    at, asked = year / 10 - centre, asked_year / 10 - centre
    inner = slow_covariance(place, at, place, at) + V.error * np.eye(len(year))
    across = slow_covariance(asked_place, asked, place, at)
    expected = mean + spread * (across @ np.linalg.solve(inner, (target - mean) / spread))
    found = forecast(V, (place, year, target), asked_place, asked_year)
    np.testing.assert_allclose(found, expected, atol=1e-4 * spread)


@settings(max_examples=40, deadline=None)
@given(entries.filter(lambda rows: len({row[:2] for row in rows}) == len(rows)))
def test_the_likelihood_is_the_density_of_all_yields(rows):
    place, year, target = columns(rows)
    blocks, centre, mean, spread = mixed_effects._standardised(place, year, target)
    at = year / 10 - centre
    inner = slow_covariance(place, at, place, at) + V.error * np.eye(len(year))
    found = mixed_effects.solve(blocks, torch.tensor([*V.to_dict().values()], dtype=torch.float64))
    expected = multivariate_normal(np.zeros(len(year)), inner).logpdf((target - mean) / spread)
    assert float(found.likelihood) == pytest.approx(expected, abs=1e-3)


def test_yields_of_one_place_and_year_count_as_their_mean_with_less_error():
    once = forecast(V, columns([("a", 2001, 4.0), ("b", 2002, 6.0)]), np.array(["a"]), np.array([2003]))
    often = [("a", 2001, 3.5), ("a", 2001, 4.5), ("a", 2001, 4.0), ("b", 2002, 6.0)]
    found = forecast(V, columns(often), np.array(["a"]), np.array([2003]))
    assert found[0] < once[0]


def test_a_place_with_few_years_is_pulled_towards_the_mean_and_one_without_gets_it():
    rng = np.random.default_rng(0)
    rows = [(f"p{p}", year, 5 + (p - 10) * 0.1 + rng.normal(0, 0.3)) for p in range(21) for year in range(2000, 2012)]
    rows += [("poor", 2011, 2.0)]
    place, year, target = columns(rows)
    v = fit_variances(place, year, target)
    known, poor, none = forecast(v, (place, year, target), np.array(["p20", "poor", "new"]), np.full(3, 2012))
    assert known == pytest.approx(6, abs=0.25)
    assert 2.2 < poor < 5
    assert none == pytest.approx(5, abs=0.3)


def test_variances_find_the_effects_that_are_there():
    rng = np.random.default_rng(1)
    shock = rng.normal(0, 0.8, 20)
    level = rng.normal(0, 1.0, 60)
    rows = [(f"p{p}", 2000 + t, 8 + level[p] + shock[t] + rng.normal(0, 0.4)) for p in range(60) for t in range(20)]
    place, year, target = columns(rows)
    v, total = fit_variances(place, year, target), target.var()
    assert v.place * total == pytest.approx(1, rel=0.4)
    assert (v.shock + v.smooth) * total > 0.15
    assert v.drift * total < 0.1
    assert v.error * total == pytest.approx(0.16, rel=0.2)
    assert Variances.from_dict(v.to_dict()) == v


def test_a_trend_is_followed_into_the_next_year():
    rows = [(place, year, 4 + 0.1 * (year - 2000) + shift) for place, shift in (("a", 0), ("b", 1)) for year in
            range(2000, 2015)]  # fmt: skip
    place, year, target = columns(rows)
    found = forecast(fit_variances(place, year, target), (place, year, target), np.array(["a", "b"]), np.full(2, 2015))
    np.testing.assert_allclose(found, [5.5, 6.5], atol=0.15)


def test_yields_that_are_all_equal_are_forecast_as_they_are():
    place, year = np.repeat(["a", "b"], 3), np.tile([2001, 2002, 2003], 2)
    v = fit_variances(place, year, np.full(6, 3.0))
    assert forecast(v, (place, year, np.full(6, 3.0)), np.array(["a"]), np.array([2004])) == pytest.approx([3.0])
