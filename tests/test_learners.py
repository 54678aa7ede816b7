"""Learners on features of a season: each against a slow twin, and the same after it was saved."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save
from scipy.stats import multivariate_normal
from sklearn.ensemble import ExtraTreesRegressor, HistGradientBoostingRegressor

from model.baselines import boosting
from model.gap_filling import fill_gaps
from model.grouped_ridge import ridge_by_year
from model.learners import gaussian_process
from model.learners.convolutions import Convolutions
from model.learners.features import FeatureMap
from model.learners.gaussian_process import GaussianProcess, GPRows, Kernel, _Likelihood
from model.learners.tabular import (
    BOOSTING,
    EXTRA_TREES,
    GP,
    GP_CONVOLUTIONS,
    GP_NO_YEAR,
    RIDGE,
    Tabular,
    TabularRows,
)
from model.learners.trees import Forest
from model.season_tensors import SeasonTensors, WindowTensors

NAMES = (GP, GP_NO_YEAR, GP_CONVOLUTIONS, EXTRA_TREES, BOOSTING, RIDGE)


def made_rows(n=40, seed=0, blocks=("numbers", "pictures")):
    rng = np.random.default_rng(seed)
    tensors = {name: torch.from_numpy(rng.normal(0, 1 / math.sqrt(6), (n, 6)).astype(np.float32)) for name in blocks}
    year, place = (torch.from_numpy(rng.integers(0, high, n)) for high in (4, 7))
    return GPRows(tensors, year, place)


def slow_covariance(kernel, a, b):
    """The formula of the module, one pair of rows at a time."""
    found = np.zeros((len(a), len(b)))
    for i in range(len(a)):
        for j in range(len(b)):
            for name in a.blocks:
                x, y = a.blocks[name][i].double().numpy(), b.blocks[name][j].double().numpy()
                length = math.exp(kernel.length[name])
                found[i, j] += math.exp(kernel.linear[name]) * (x @ y)
                found[i, j] += math.exp(kernel.smooth[name]) * math.exp(-((x - y) @ (x - y)) / (2 * length**2))
            for name, log in kernel.effects.items():
                found[i, j] += math.exp(log) * (getattr(a, name)[i] == getattr(b, name)[j]).item()
    return found


@pytest.fixture
def kernel():
    return Kernel(
        {"numbers": -1.0, "pictures": -2.0}, {"numbers": -0.5, "pictures": -1.5}, {"numbers": 0.3, "pictures": -0.2},
        {"year": -1.2, "place": -2.2}, -1.1,
    )  # fmt: skip


def test_the_covariance_is_that_of_its_formula(kernel):
    a, b = made_rows(9, 1), made_rows(5, 2)
    np.testing.assert_allclose(kernel.covariance(a, b).numpy(), slow_covariance(kernel, a, b), atol=1e-6)
    np.testing.assert_allclose(kernel.variances(a).numpy(), np.diag(slow_covariance(kernel, a, a)), atol=1e-6)


def test_the_posterior_is_the_conditional_normal(kernel):
    train, new = made_rows(30, 1), made_rows(8, 2)
    anomaly = torch.from_numpy(np.random.default_rng(3).normal(size=30))
    found = GaussianProcess.fit(train, anomaly, ("year", "place"), start=kernel, steps=1)
    kernel = found.kernel
    noise = math.exp(kernel.noise)
    inverse = np.linalg.inv(slow_covariance(kernel, train, train) + (noise + gaussian_process.JITTER) * np.eye(30))
    across = slow_covariance(kernel, new, train)
    mean, spread = found.predict(new)
    np.testing.assert_allclose(mean.numpy(), across @ inverse @ anomaly.numpy(), atol=1e-5)
    variance = np.diag(slow_covariance(kernel, new, new) - across @ inverse @ across.T) + noise
    np.testing.assert_allclose(spread.numpy(), np.sqrt(variance), atol=1e-5)


def test_the_evidence_is_the_density_of_the_training_rows(kernel):
    rows = made_rows(25, 4)
    anomaly = torch.from_numpy(np.random.default_rng(5).normal(size=25))
    found = GaussianProcess.fit(rows, anomaly, ("year", "place"), start=kernel, steps=1)
    kernel = found.kernel
    covariance = slow_covariance(kernel, rows, rows) + (math.exp(kernel.noise) + gaussian_process.JITTER) * np.eye(25)
    assert found.evidence == pytest.approx(multivariate_normal(np.zeros(25), covariance).logpdf(anomaly), abs=1e-3)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000))
def test_the_gradient_of_the_likelihood_is_that_of_differences(seed):
    rows = made_rows(20, seed)
    anomaly = torch.from_numpy(np.random.default_rng(seed).normal(size=20))
    likelihood = _Likelihood(rows, anomaly, Kernel.start(rows.blocks, ("year", "place")))
    at = np.random.default_rng(seed + 1).normal(-1, 0.7, len(likelihood.mean))
    _, gradient = likelihood(at)
    for number in range(len(at)):
        step = np.zeros(len(at))
        step[number] = 1e-5
        slope = (likelihood(at + step)[0] - likelihood(at - step)[0]) / 2e-5
        assert gradient[number] == pytest.approx(slope, abs=1e-4)


def test_with_every_row_inducing_the_projected_process_is_the_exact_one(kernel, monkeypatch):
    train, new = made_rows(30, 1), made_rows(8, 2)
    anomaly = torch.from_numpy(np.random.default_rng(3).normal(size=30))
    exact = GaussianProcess.fit(train, anomaly, ("year", "place"), start=kernel, steps=1)
    monkeypatch.setattr(gaussian_process, "MOST_EXACT", 20)
    projected = GaussianProcess.fit(train, anomaly, ("year", "place"), start=kernel, steps=1)
    assert projected.inner is not None
    for mine, other in zip(projected.predict(new), exact.predict(new), strict=True):
        np.testing.assert_allclose(mine.numpy(), other.numpy(), atol=1e-3)


def test_the_projected_process_takes_noise_that_is_tiny_beside_the_variance():
    """The sum that it used to factorise has a condition number near 1e16 here."""
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.normal(0, 1, (4000, 2)).astype(np.float32))
    rows = GPRows({"numbers": x}, torch.zeros(4000, dtype=torch.int64), torch.zeros(4000, dtype=torch.int64))
    kernel = Kernel({"numbers": 0.0}, {"numbers": 1.0}, {"numbers": 0.0}, {}, math.log(1e-5))
    slope = torch.tensor([1.0, -0.5], dtype=torch.float64)
    anomaly = x.double() @ slope + 0.003 * torch.from_numpy(rng.normal(size=4000))
    weights, inner = gaussian_process._projected(kernel, rows.rows(torch.arange(400)), rows, anomaly)
    fitted = GaussianProcess(
        kernel=kernel, base=rows.rows(torch.arange(400)), weights=weights, inner=inner, evidence=0.0
    )
    again = GaussianProcess.from_state(fitted.record(), load(save(fitted.state())), fitted.base)
    mean, spread = again.predict(rows)
    assert float((mean - x.double() @ slope).abs().median()) < 0.001
    assert float(spread.min()) >= math.sqrt(1e-5)
    assert float(spread.median()) < 0.01


def test_a_shock_that_all_places_of_a_year_share_is_taken_by_the_year_effect():
    rng = np.random.default_rng(0)
    year = np.repeat(np.arange(8), 30)
    x = rng.normal(0, 1, (240, 1)).astype(np.float32)
    anomaly = torch.from_numpy(0.5 * x[:, 0] + rng.normal(0, 1, 8)[year] + rng.normal(0, 0.1, 240))
    rows = GPRows({"numbers": torch.from_numpy(x)}, torch.from_numpy(year), torch.zeros(240, dtype=torch.int64))
    with_year = GaussianProcess.fit(rows, anomaly, ("year",), steps=30)
    assert math.exp(with_year.kernel.effects["year"]) == pytest.approx(1, rel=0.6)
    assert math.exp(0.5 * with_year.kernel.noise) == pytest.approx(0.1, rel=0.2)
    later = GPRows(rows.blocks, torch.full((240,), 99), rows.place)
    mean, spread = with_year.predict(later)
    slope = np.polyfit(x[:, 0], mean.numpy(), 1)[0]
    assert slope == pytest.approx(0.5, abs=0.05)
    assert float(spread.mean()) > 0.5  # a year that was never seen may be as far off as those that were


@pytest.mark.usefixtures("full_forests")
@pytest.mark.parametrize("name", ["extra-trees", "boosting"])
def test_a_forest_forecasts_as_scikit_learn_does(name):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(300, 12))
    y = x[:, 0] * 2 + np.where(x[:, 1] > 0, 1, 0) + rng.normal(0, 0.1, 300)
    new = rng.normal(size=(100, 12))
    forest = Forest.fit(name, x, y, seed=3)
    if name == "boosting":
        theirs = HistGradientBoostingRegressor(
            learning_rate=0.05, max_iter=200, max_leaf_nodes=15, max_features=0.3, random_state=3
        ).fit(x, y)
    else:
        theirs = ExtraTreesRegressor(300, max_features=0.33, min_samples_leaf=3, random_state=3).fit(x, y)
    np.testing.assert_allclose(forest.predict(new), theirs.predict(new), rtol=1e-9, atol=1e-9)
    again = Forest.from_state(load(save(forest.state())))
    np.testing.assert_array_equal(again.predict(new), forest.predict(new))
    older = forest.state() | {"missing_left": torch.zeros(len(forest.feature), dtype=torch.bool)}
    np.testing.assert_array_equal(Forest.from_state(load(save(older))).predict(new), forest.predict(new))


def test_boosting_reads_every_row_of_a_large_table():
    """scikit-learn's default holds out random rows above 10,000 and may stop early."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(10_500, 2))
    y = x[:, 0] + rng.normal(0, 1, len(x))
    forest = Forest.fit("boosting", x, y, seed=0)
    assert forest.base == pytest.approx(y.mean(), abs=1e-9)
    assert boosting(0).fit(x, y)._baseline_prediction.item() == pytest.approx(y.mean(), abs=1e-9)


def made_season(n=30, variates=3, steps=10, dim=6, seed=0, whole=False):
    rng = torch.Generator().manual_seed(seed)
    observed = torch.rand(n, variates, steps, generator=rng) > 0.2
    values = torch.where(observed, torch.randn(n, variates, steps, generator=rng), 0)
    half = steps // 2
    vectors = [torch.randn(n, variates, dim, generator=rng).half() for _ in range(2)]
    drivers = torch.cat([torch.randn(n, 1, steps, generator=rng), torch.ones(n, 1, steps)], -1)
    static = torch.randn(n, 2, generator=rng)
    if whole:
        first = WindowTensors(values, observed & (torch.arange(steps) < half), vectors[0], drivers)
        return SeasonTensors(first, WindowTensors(values, observed, vectors[1], drivers), half, static)
    first = WindowTensors(values[..., :half], observed[..., :half], vectors[0], drivers)
    return SeasonTensors(
        first, WindowTensors(values[..., half:], observed[..., half:], vectors[1], drivers, half), None, static
    )


def slow_convolutions(fitted, values, observed):
    """Every kernel on every sample by loops, as the paper defines them."""
    z = np.where(observed, (values - fitted.mean.numpy()) / fitted.scale.numpy(), 0).clip(-5, 5)
    z = fill_gaps(torch.from_numpy(z), torch.from_numpy(observed)).numpy()
    shares, largest = [], []
    for weight, (length, dilation, padded), threshold in zip(
        fitted.weight.numpy(), fitted.shape.tolist(), fitted.threshold.numpy(), strict=True
    ):
        edge = dilation * (length - 1) // 2 if padded else 0
        wide = np.pad(z, ((0, 0), (0, 0), (edge, edge)))
        count = wide.shape[2] - dilation * (length - 1)
        response = np.zeros((len(z), count))
        for start in range(count):
            taps = wide[:, :, start : start + dilation * (length - 1) + 1 : dilation]
            response[:, start] = (taps * weight[None, :, :length]).sum((1, 2))
        shares.append((response > threshold).mean(1))
        largest.append(response.max(1))
    return np.stack([*shares, *largest], 1)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 100), st.integers(3, 24), st.integers(1, 4))
def test_convolutions_are_those_of_the_slow_twin_whatever_the_length(seed, steps, variates):
    season = made_season(12, variates, steps + steps % 2, seed=seed)
    values = torch.cat([season.first.values, season.second.values], -1).double()
    observed = torch.cat([season.first.observed, season.second.observed], -1)
    fitted = Convolutions.fit((values, observed), torch.arange(8), seed, kernels=20)
    slow = slow_convolutions(fitted, values.numpy(), observed.numpy())
    found = fitted.apply((values, observed)).numpy()
    np.testing.assert_allclose(found[:, 20:], slow[:, 20:], atol=1e-9)
    assert np.mean(np.abs(found[:, :20] - slow[:, :20]) > 1e-9) < 0.01  # a response that is its own threshold may flip


@pytest.mark.parametrize("whole", [False, True])
def test_features_of_training_rows_are_standardised_and_nothing_else_moves_them(whole):
    names = ("numbers", "pictures", "tokens", "convolutions")
    season, tokens, rows = made_season(whole=whole), torch.randn(30, 3, 4), np.arange(20)
    fitted = FeatureMap.fit(season, rows, names, tokens)
    found = fitted.apply(season, tokens)
    for name in names:
        assert found.blocks[name][:20].square().sum(1).mean() == pytest.approx(1, abs=0.25)
    values, observed = (
        torch.cat([getattr(window, part) for window in season.windows], -1).flatten(1).numpy()
        for part in ("values", "observed")
    )
    read = found.columns[:, : values.shape[1]]
    np.testing.assert_array_equal(read[observed], values[observed])
    assert not observed.all()
    assert np.isfinite(read).all()
    other = made_season(seed=5, whole=whole)
    mixed = season.rows(torch.arange(20))
    again = FeatureMap.fit(mixed, rows, names, tokens[:20])
    for name, tensor in fitted.state().items():
        torch.testing.assert_close(again.state()[name], tensor)
    kept = FeatureMap.from_state(fitted.record(), load(save(fitted.state())))
    for name, block in kept.apply(other, tokens).blocks.items():
        torch.testing.assert_close(block, fitted.apply(other, tokens).blocks[name], rtol=0, atol=0)


@pytest.mark.parametrize("whole", [False, True])
def test_a_step_that_no_training_row_observes_is_missing_in_new_seasons_too(whole):
    """Read as a deviation of zero, it would pull the gaps beside it towards the mean."""
    names, season = ("numbers", "convolutions"), made_season(whole=whole)
    for window in season.windows:
        window.observed[:20, 0, -2:] = False  # the last two steps of the first variate
    hidden = season.rows(torch.arange(30))
    for window in hidden.windows:
        window.observed[:, 0, -2:] = False
    fitted = FeatureMap.fit(season, np.arange(20), names)
    kept = FeatureMap.from_state(fitted.record(), load(save(fitted.state())))
    found, blind = kept.apply(season), kept.apply(hidden)
    for name in names:
        torch.testing.assert_close(found.blocks[name], blind.blocks[name], rtol=0, atol=0)
    np.testing.assert_array_equal(found.columns, blind.columns)
    older = {name: tensor for name, tensor in fitted.state().items() if not name.endswith("seen")}
    before = FeatureMap.from_state(fitted.record(), load(save(older))).apply(season)  # a run of an earlier version
    assert not torch.equal(before.blocks["convolutions"], found.blocks["convolutions"])
    for name in names:
        torch.testing.assert_close(before.blocks[name][:20], found.blocks[name][:20], rtol=0, atol=0)


def test_a_block_that_the_season_lacks_is_left_out():
    season = made_season()
    blind = SeasonTensors(season.first.without_pictures(), season.second.without_pictures(), None, None)
    assert FeatureMap.fit(blind, np.arange(20), ("numbers", "pictures", "tokens")).names == ("numbers",)


@pytest.mark.parametrize("quantiles", [False, True])
def test_fitted_learners_forecast_the_same_after_they_were_saved(quantiles):
    season, rng = made_season(60), np.random.default_rng(0)
    place = np.array([f"p{number % 7}" for number in range(60)])
    year = 2015 + np.arange(60) // 12
    features = FeatureMap.fit(season, np.arange(40), ("numbers", "pictures", "convolutions"))
    rows = TabularRows(features.apply(season), place, year, rng.normal(5, 1, 60))
    known, anomaly = rows.rows(np.arange(40)), rng.normal(0, 1, 40)
    fitted = Tabular.fit(features, known, anomaly, NAMES, blocks=("numbers", "pictures"), quantiles=quantiles)
    assert set(fitted.shares[GP]) == {"numbers", "pictures", "year", "noise"}
    assert set(fitted.shares[GP_CONVOLUTIONS]) == {"numbers", "convolutions", "year", "noise"}
    columns, new = known.convolved().astype(np.float64), rows.convolved().astype(np.float64)
    theirs = ridge_by_year(columns, anomaly, known.year, "once").predict(new)
    np.testing.assert_allclose(fitted.forecast(rows)[RIDGE][:, 0], theirs, atol=1e-9)
    again = Tabular.from_state(fitted.record(), load(save(fitted.state())))
    forecasts, kept = fitted.forecast(rows), again.forecast(rows)
    assert list(forecasts) == list(NAMES)
    for name in NAMES:
        np.testing.assert_allclose(forecasts[name], kept[name], rtol=0, atol=1e-12)
    assert forecasts[GP].shape == (60, 3 if quantiles else 1)
    if quantiles:
        assert (forecasts[GP][:, 1] < forecasts[GP][:, 0]).all()
        assert (forecasts[GP][:, 0] < forecasts[GP][:, 2]).all()
    twice = Tabular.fit(features, known, anomaly, NAMES, blocks=("numbers", "pictures"), quantiles=quantiles)
    for name, tensor in fitted.state().items():
        torch.testing.assert_close(twice.state()[name], tensor, rtol=0, atol=0)
    assert sum(fitted.shares[GP].values()) == pytest.approx(1)
