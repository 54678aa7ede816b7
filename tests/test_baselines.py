"""The baselines reproduce scores that were made elsewhere, which proves the splits, and read no test label."""

from pathlib import Path

import numpy as np
import pytest

from model.baselines import climatology, filled, persistence, yield_baselines
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


def baselines(table, fold, target=None):
    learnt = np.sort(np.concatenate([fold.train, fold.valid]))
    target = table.target if target is None else target
    known = KnownYields(table.place[learnt], table.year[learnt], target[learnt], np.ones(len(learnt), bool))
    return yield_baselines(
        table.values,
        table.observed,
        target,
        table.place,
        table.year,
        learnt,
        fold.test,
        known,
        Offset("place", None),
        seed=0,
    )


@pytest.mark.parametrize(("card", "steps", "split"), REFERENCE)
def test_baselines_reproduce_the_reference_scores_within_002(card, steps, split):
    if not DATA.is_dir():
        pytest.skip("../shared/data is not here")
    table = read(ROOT / "cards" / f"{card}.toml", season_steps=steps)
    folds = make_folds(table.year, table.place, table.sample_id, split)
    guesses = [baselines(table, fold) for fold in folds]
    truth = np.concatenate([table.target[fold.test] for fold in folds])
    for name, r2 in REFERENCE[card, steps, split].items():
        found = yield_metrics(truth, np.concatenate([guess[name] for guess in guesses]))["r2"]
        assert found == pytest.approx(r2, abs=0.02), name


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
                values, observed, known_target, place, year, learnt, test, known, Offset("place", None), seed=0
            )
        )
    for name in results[0]:
        np.testing.assert_allclose(results[0][name], results[1][name])  # forests add in any order


def test_missing_steps_are_filled_from_learnt_rows_only():
    values = np.array([[[1.0, 2.0]], [[3.0, np.nan]], [[100.0, np.nan]]], np.float32)
    x = filled(values, ~np.isnan(values), np.array([0, 1]))
    np.testing.assert_array_equal(x, [[1, 2], [3, 2], [100, 2]])


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
