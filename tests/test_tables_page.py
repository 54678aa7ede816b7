"""The rows of docs/yield-forecasts.md and of the README, from results that the test makes up."""

import json

import pytest

from benchmarks import matrices, tables, yield_forecasts
from benchmarks.matrices import Matrix


def result(rmse, weight):
    """result.json of a stage-2 run, as far as the pages read it."""
    scores = {"rmse": rmse, "r2": 0.5, "mae": 0.2, "coverage_90": 0.9, "nrmse_by_year": 8.0}
    return {
        "metrics": scores,
        "n_test": 40,
        "folds": ["2019", "2020"],
        "commit": "0123456789abcdef",
        "learners": {"neural": weight, "gp": 1 - weight},
        "learnt": {"2019": {"variance_shares": {"gp": {"numbers": 0.25, "noise": 0.75}}}},
        "baselines": {
            name: {"rmse": value, "nrmse_by_year": 9.0} for name, value in (("place mean", 0.4), ("ridge", 0.31))
        },
        "best_baseline": {"name": "ridge", "lead": 0.02, "low": -0.01, "high": 0.05, "over": "2 years"},
    }


@pytest.fixture
def matrix(tmp_path, monkeypatch):
    monkeypatch.setattr(matrices, "ROOT", tmp_path)
    made = Matrix("zambia_maize", "forward", seeds=2)
    for arm, errors in (("timesclip", (0.29, 0.33)), ("language-only", (0.30, 0.30))):
        for seed, error in enumerate(errors):
            folder = tmp_path / made.folder / arm / f"seed{seed}" / "stage2"
            folder.mkdir(parents=True)
            (folder / "result.json").write_text(json.dumps(result(error, 0.2 + 0.4 * seed)))
    return made


def test_the_row_has_mean_and_spread_over_seeds_and_the_lowest_error_is_bold(matrix):
    row = yield_forecasts.short_table([matrix]).splitlines()[-1]
    assert row == ("| Zambia maize, forward | 40 | 0.310 +- 0.020 (0.500) | **0.300** (0.500) | 0.310, ridge | 0.400 |")


def test_the_page_has_weights_and_variance_shares_as_means(matrix):
    page = yield_forecasts.page([matrix])
    assert "Seeds: 2. Commit 0123456789ab." in page
    assert "| table, split | neural | gp |" in page
    assert "| Zambia maize, forward | 0.40 | 0.60 |" in page
    assert "| Zambia maize, forward | 0.25 | 0.00 | 0.00 | 0.75 |" in page
    assert "| ridge | 0.310 |" in page


def test_a_matrix_without_a_verdict_is_listed_as_not_made(matrix):
    assert not matrix.done
    assert "Not made: zambia_maize, forward." in tables.page([], [matrix])


def test_every_matrix_has_runs_with_and_without_pictures_and_a_folder_of_its_own():
    assert all({"timesclip", "language-only"} <= set(one.arms) for one in matrices.MATRICES)
    assert len({one.folder for one in matrices.MATRICES}) == len(matrices.MATRICES)
