"""The baselines reproduce scores that were made elsewhere, which proves the splits, and read no test label."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from model.baselines import (
    ROUNDS,
    TREES,
    _ridge,
    _season,
    climatology,
    filled,
    numbers_read,
    persistence,
    static_filled,
    yield_baselines,
)
from model.gap_filling import FADE
from model.grouped_ridge import ALPHAS, grouped_ridge
from model.learners.features import FeatureMap
from model.metrics import yield_metrics
from model.offset import KnownYields, Offset
from pipeline.sources import read
from pipeline.splits import make_folds

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data"
# R2 of shared/data/README.md: (card, steps, split) -> {baseline: R2}. Trees have lots of their own: one forest there.
REFERENCE = {
    ("illinois_soybean", 26, "leave-year-out"): {
        "global mean": -0.080, "place mean": 0.540, "ridge": 0.434, "random forest": 0.497,
        "gradient boosting": 0.493, "ridge on residual": 0.589, "gradient boosting on residual": 0.580,
    },
    ("illinois_soybean", 26, "forward"): {
        "global mean": -0.143, "place mean": 0.479, "ridge": 0.346, "random forest": 0.371,
        "gradient boosting": 0.391, "ridge on residual": 0.443, "gradient boosting on residual": 0.525,
    },
    ("zambia_maize", 12, "forward"): {
        "global mean": -0.011, "place mean": 0.637, "ridge": 0.524, "random forest": 0.668, "ridge on residual": 0.637,
    },
    ("zambia_maize", 12, "leave-year-out"): {
        "global mean": -0.014, "place mean": 0.665, "ridge": 0.389, "random forest": 0.559, "ridge on residual": 0.665,
    },
}  # fmt: skip


def without_own_year(known):
    return Offset("place", None).predict(replace(known, unit=known.year), known.place, known.year, unit=known.year)


def baselines(table, fold, target=None):
    learnt = np.sort(np.concatenate([fold.train, fold.valid]))
    target = table.target if target is None else target
    known = KnownYields(table.place[learnt], table.year[learnt], target[learnt], np.ones(len(learnt), bool))
    anomaly = target[learnt] - without_own_year(known)
    return yield_baselines(
        table.values,
        table.observed,
        target,
        place=table.place,
        year=table.year,
        train=learnt,
        test=fold.test,
        known=known,
        offset=Offset("place", None),
        anomaly=anomaly,
        seed=0,
    )


@pytest.mark.slow
@pytest.mark.parametrize(("card", "steps", "split"), REFERENCE)
def test_baselines_reproduce_the_reference_scores_within_002(card, steps, split, monkeypatch):
    if not DATA.is_dir():
        pytest.skip("../shared/data is not here")
    # Forests as users have them, but only those whose scores are known.
    monkeypatch.setattr("model.baselines.TREES", TREES)
    if "gradient boosting" in REFERENCE[card, steps, split]:
        monkeypatch.setattr("model.baselines.ROUNDS", ROUNDS)
    table = read(ROOT / "cards" / f"{card}.toml", season_steps=steps)
    folds = make_folds(table.year, table.place, table.sample_id, split=split)
    guesses = [baselines(table, fold) for fold in folds]
    truth = np.concatenate([table.target[fold.test] for fold in folds])
    for name, r2 in REFERENCE[card, steps, split].items():
        found = yield_metrics(truth, np.concatenate([guess[name] for guess in guesses]))["r2"]
        assert found == pytest.approx(r2, abs=0.02), name


@pytest.mark.slow
def test_baselines_read_no_test_label():
    rng = np.random.default_rng(0)
    n = 40
    place, year = np.tile(["a", "b", "c", "d"], 10), np.repeat(np.arange(2010, 2015), 8)
    values = rng.normal(size=(n, 1, 4)).astype(np.float32)
    observed = rng.random(values.shape) < 0.8
    target = rng.uniform(1, 5, n)
    learnt, test = np.flatnonzero(year < 2014), np.flatnonzero(year == 2014)
    results = []
    for known_target in (target, np.where(year == 2014, np.nan, target)):
        known = KnownYields(place[learnt], year[learnt], known_target[learnt], np.ones(len(learnt), bool))
        results.append(
            yield_baselines(
                values,
                observed,
                known_target,
                place=place,
                year=year,
                train=learnt,
                test=test,
                known=known,
                offset=Offset("place", None),
                anomaly=known_target[learnt] - without_own_year(known),
                seed=0,
            )
        )
    for name in results[0]:
        np.testing.assert_allclose(results[0][name], results[1][name])  # forests add in any order


def ridge_by_refitting(x, y, groups, new):
    """The slow twin: each penalty is fitted again without each group, on columns standardised without that group."""
    model, folds = make_pipeline(StandardScaler(), Ridge()), GroupKFold(len(np.unique(groups)))
    search = GridSearchCV(model, {"ridge__alpha": ALPHAS}, cv=folds, scoring="neg_mean_squared_error")
    search.fit(x, y, groups=groups)
    return -search.cv_results_["mean_test_score"], search.best_params_["ridge__alpha"], search.predict(new)


def columns(rows, number, groups, seed):
    """Correlated columns of unlike spread, one of them constant, a target and new rows."""
    rng = np.random.default_rng(seed)
    group = rng.permutation(np.arange(rows) % groups)
    mixed = rng.normal(size=(rows + 9, 4)) @ rng.normal(size=(4, number))
    x = (mixed + rng.normal(size=mixed.shape)) * 10.0 ** rng.uniform(-2, 2, number) + rng.normal(size=number)
    x[:, 0] = 3.0
    x[:rows, 1] += group
    y = 5 + mixed[:rows] @ rng.normal(size=number) * 0.1 + rng.normal(size=rows) + rng.normal(size=groups)[group]
    return x[:rows], y, group, x[rows:]


# Groups with fewer and with more rows than there are columns, more columns than rows, groups of one row, two groups.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("rows", "number", "groups"), [(120, 30, 8), (120, 10, 3), (50, 90, 6), (24, 10, 24), (40, 8, 2)]
)
@pytest.mark.parametrize("seed", range(4))
def test_the_ridge_chooses_and_forecasts_as_one_that_refits_every_penalty_and_year(rows, number, groups, seed):
    x, y, group, new = columns(rows, number, groups, seed)
    x[group != 1, 2] = 0.5  # varies in one group alone
    errors, alpha, forecast = ridge_by_refitting(x, y, group, new)
    fit = grouped_ridge(x, y, group, ALPHAS)
    np.testing.assert_allclose(fit.errors, errors, rtol=1e-9)
    assert fit.alpha == alpha
    np.testing.assert_allclose(fit.predict(new), forecast, rtol=1e-9)


@pytest.mark.parametrize(("rows", "number", "groups"), [(120, 30, 8), (120, 10, 3), (50, 90, 6), (24, 10, 24)])
def test_the_errors_of_left_out_groups_are_exact_on_columns_that_are_standardised_once(rows, number, groups):
    x, y, group, _ = columns(rows, number, groups, seed=0)
    x = (x - x.mean(0)) / np.where(np.arange(number) == 0, 1, x.std(0))
    errors = []
    for alpha in ALPHAS:
        left_out = [
            np.mean(
                (y[group == one] - Ridge(alpha).fit(x[group != one], y[group != one]).predict(x[group == one])) ** 2
            )
            for one in np.unique(group)
        ]
        errors.append(np.mean(left_out))
    np.testing.assert_allclose(grouped_ridge(x, y, group, ALPHAS, "once").errors, errors, rtol=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize(("card", "steps"), [("illinois_soybean", 26), ("zambia_maize", 12)])
def test_the_ridge_forecasts_as_its_slow_twin_on_real_tables(card, steps):
    if not DATA.is_dir():
        pytest.skip("../shared/data is not here")
    table = read(ROOT / "cards" / f"{card}.toml", season_steps=steps)
    for fold in make_folds(table.year, table.place, table.sample_id, split="forward"):
        learnt = np.sort(np.concatenate([fold.train, fold.valid]))
        x = filled(table.values, table.observed, learnt)
        y, year = table.target[learnt], table.year[learnt]
        if len(np.unique(year)) > 1:
            forecast = ridge_by_refitting(x[learnt], y, year, x[fold.test])[2]
            np.testing.assert_allclose(_ridge(x[learnt], y, year, x[fold.test]), forecast, rtol=1e-9)


def test_one_year_is_cut_into_five_parts_to_choose_the_penalty():
    x, y, _, new = columns(30, 6, 2, seed=0)
    assert np.isfinite(_ridge(x, y, np.full(30, 2020), new)).all()


def test_missing_steps_are_filled_with_the_training_mean_and_the_deviation_beside_them():
    values = np.array([[[1.0, 2.0]], [[3.0, np.nan]], [[100.0, np.nan]]], np.float32)
    x = filled(values, ~np.isnan(values), np.array([0, 1]))
    shown = np.exp(-1) / (np.exp(-1) + FADE)  # weight of the step beside the gap
    np.testing.assert_allclose(x, [[1, 2], [3, 2 + shown * 1], [100, 2 + shown * 98]])


def test_a_step_that_no_training_row_observes_is_missing_in_all_rows():
    values = np.array([[[1.0, 2.0, 300.0]], [[3.0, 4.0, 310.0]], [[2.0, 3.0, 305.0]]], np.float32)
    observed = np.ones(values.shape, bool)
    observed[:2, :, 2] = False
    hidden = observed.copy()
    hidden[2, :, 2] = False
    train = np.array([0, 1])
    np.testing.assert_array_equal(filled(values, observed, train), filled(values, hidden, train))
    assert np.abs(filled(values, observed, train)).max() < 5


def made_weather(yields_follow):
    """Samples of 8 places and 8 years with noise as series, rain, and soil. The yield follows `rain` or `soil`."""
    rng = np.random.default_rng(1)
    n = 64
    place, year = np.tile([f"p{number}" for number in range(8)], 8), np.repeat(np.arange(2010, 2018), 8)
    values = rng.normal(size=(n, 1, 4)).astype(np.float32)
    rain = rng.normal(size=(n, 1, 4)).astype(np.float32)
    seen = rng.random(rain.shape) < 0.9
    soil = rng.normal(size=(n, 2)).astype(np.float32)
    target = 5 + (rain[:, 0].mean(1) * 2 if yields_follow == "rain" else soil[:, 0]) + rng.normal(0, 0.1, n)
    soil[:5, 0] = soil[:, 1] = np.nan
    return values, (np.where(seen, rain, np.nan), seen), soil, target, place, year


@pytest.mark.parametrize("yields_follow", ["rain", "soil"])
def test_baselines_read_drivers_and_static_columns_as_the_learners_do(yields_follow):
    """Else the lead over the best baseline would be that of the weather."""
    values, rain, soil, target, place, year = made_weather(yields_follow)
    train, test = np.flatnonzero(year < 2016), np.flatnonzero(year >= 2016)
    known = KnownYields(place[train], year[train], target[train], np.ones(len(train), bool))

    def forecast(**more):
        return yield_baselines(
            values, np.ones(values.shape, bool), target, place=place, year=year, train=train, test=test, known=known,
            offset=Offset("place", None), anomaly=target[train] - without_own_year(known), seed=0, **more,
        )  # fmt: skip

    blind, seeing = forecast(), forecast(drivers=rain, static=soil)
    for name in ("ridge", "random forest", "extra trees", "gradient boosting", "ridge on residual",
                 "random forest on residual", "gradient boosting on residual", "ridge on the anomaly",
                 "GP on convolutions"):  # fmt: skip
        before, after = (np.mean((one[name] - target[test]) ** 2) for one in (blind, seeing))
        assert after < 0.9 * before, name
    for name in ("global mean", "place mean", "place mean + trend", "offset alone", "ridge on convolutions"):
        np.testing.assert_array_equal(blind[name], seeing[name])
    empty = forecast(drivers=(rain[0][:, :0], rain[1][:, :0]), static=soil[:, :0])  # a table without either
    for name, one in blind.items():
        np.testing.assert_array_equal(one, empty[name])


def test_numbers_are_those_of_the_feature_map():
    values, rain, soil, *_ = made_weather("rain")
    observed = np.random.default_rng(0).random(values.shape) < 0.8
    train = np.arange(40)
    season = _season((values, observed), rain, static_filled(soil, train))
    block = FeatureMap.fit(season, train, ("numbers",)).apply(season)
    x = numbers_read((values, observed), train, rain, soil)
    assert x.shape == block.columns.shape == (64, 10)
    gaps = np.concatenate([~observed.reshape(64, -1), ~rain[1].reshape(64, -1)], 1)
    np.testing.assert_allclose(x[:, :8][~gaps], block.columns[:, :8][~gaps], rtol=1e-6)
    np.testing.assert_allclose(x[:, 8:], block.columns[:, 8:])
    assert np.isfinite(x).all()
    assert (x[:, 9] == 0).all()


def test_persistence_and_climatology_agree_with_loops():
    rng = np.random.default_rng(3)
    values, observed = rng.normal(size=(6, 2, 7)), rng.random((6, 2, 7)) < 0.6
    observed[0, 0] = False
    observed[:, 1, 5] = False
    held, typical = persistence(values, observed, 3), climatology(values, observed, 3)
    for v in range(2):
        for n in range(6):
            seen = [values[n, v, s] for s in range(3) if observed[n, v, s]]
            assert (held[n, v] == (seen[-1] if seen else 0)).all()
        for s in range(3, 7):
            seen = [values[n, v, s] for n in range(6) if observed[n, v, s]]
            assert typical[v, s - 3] == pytest.approx(np.mean(seen) if seen else 0)
