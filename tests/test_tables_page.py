"""The rows of docs/yield-forecasts.md and of the README, from results that the test makes up."""

import json

import pytest

from benchmarks import matrices, tables, yield_forecasts
from benchmarks.matrices import Matrix
from benchmarks.page_tables import merged


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
    row = yield_forecasts.short_table([matrix], "").splitlines()[-1]
    assert row == ("| Zambia maize, forward | 40 | 0.310 +- 0.020 (0.500) | **0.300** | 0.310, ridge | 0.400 |")


def test_the_page_has_weights_and_variance_shares_as_means(matrix):
    page = yield_forecasts.page([matrix], "")
    assert "9.00 | 0123456789ab |" in page
    assert "| table, split | neural | gp |" in page
    assert "| Zambia maize, forward | 0.40 | 0.60 |" in page
    assert "| Zambia maize, forward | 0.25 | 0.00 | 0.00 | 0.75 |" in page
    head = "| table, split | place mean | ridge | kriging |\n|---|---|---|---|\n"
    assert head + "| Zambia maize, forward | 0.400 | 0.310 |  |" in page


def test_rows_of_other_matrices_stay_as_they_were(matrix):
    once = yield_forecasts.page([matrix], "")
    older = once.replace("Zambia maize, forward", "Illinois soybean, place").replace("0.310", "0.777")
    page = yield_forecasts.page([matrix], older)
    for row in (line for line in older.splitlines() if line.startswith("| Illinois soybean, place")):
        assert page.splitlines().count(row) == 1
    assert page.index("| Illinois soybean, place") < page.index("| Zambia maize, forward")
    assert yield_forecasts.page([matrix], page) == page


def test_a_row_under_another_head_is_dropped():
    assert merged(("table", "a"), {"x": ["x", "1"]}, "| table | b |\n|---|---|\n| y | 2 |", ("x", "y")) == [
        "| table | a |",
        "|---|---|",
        "| x | 1 |",
    ]


def test_a_matrix_without_a_verdict_is_listed_as_not_made(matrix):
    assert not matrix.done
    assert "Not made: zambia_maize, forward." in tables.page([], [matrix], "# Results\n")


def test_the_section_of_a_matrix_that_is_not_made_again_stays(matrix):
    old = (
        tables.page([], [], "# Results\n") + "\n## zambia_maize, forward\n\n> Once said.\n\n## gone, place\n\n> Old.\n"
    )
    page = tables.page([], [matrix], old)
    assert "> Once said." in page
    assert "Not made" not in page
    assert "gone, place" not in page


def test_every_matrix_has_runs_with_and_without_pictures_and_a_folder_of_its_own():
    assert all({"timesclip", "language-only"} <= set(one.arms) for one in matrices.MATRICES)
    assert len({one.folder for one in matrices.MATRICES}) == len(matrices.MATRICES)
