"""Intervals hold what they promise, in a new year too; and what is said of them is known with its uncertainty."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

import train
from model.calibration import (
    conformal_margin,
    margin_over_years,
    paired_difference,
    score_intervals,
    share_over_groups,
    wilson,
)
from report.run import RunFolder
from report.run_page.sentences import coverage_sentence
from stages.yields.coverage import coverage
from tests.conftest import CARD, small_seasons


def coverage_in_new_years(margin, years, rows, spread, repeats=600):
    """The share of a new year's residuals within the margin of `years` exchangeable years, on average.

    Each year has an effect of its own (`spread` times the noise of a row), as weather that no model has seen.
    """
    rng = np.random.default_rng(0)
    residual = np.abs(spread * rng.normal(size=(repeats, years + 1, 1)) + rng.normal(size=(repeats, years + 1, rows)))
    year = np.repeat(np.arange(years), rows)
    held = [(one[-1] <= margin(one[:-1].ravel(), year)).mean() for one in residual]
    return float(np.mean(held))


def pooled(shortfall, year):
    return conformal_margin(shortfall)


@pytest.mark.parametrize("years", [9, 15])
@pytest.mark.parametrize("spread", [0.0, 1.0, 2.0])
def test_margins_over_years_cover_new_years_near_the_promise(years, spread):
    """Hierarchical conformal: at least 90 % where years are exchangeable, at most what one more year could add."""
    share = coverage_in_new_years(margin_over_years, years, 25, spread)
    assert 0.90 - 0.01 <= share <= 0.90 + 1 / (years + 1) + 0.01


@pytest.mark.parametrize("years", [3, 5, 8])
def test_with_few_years_the_worst_of_them_counts_and_one_pooled_margin_holds_less(years):
    by_year = coverage_in_new_years(margin_over_years, years, 25, 1.5)
    together = coverage_in_new_years(pooled, years, 25, 1.5)
    assert together < by_year
    assert by_year >= 0.87
    assert coverage_in_new_years(margin_over_years, years, 25, 0.0) >= 0.9


def test_one_validation_year_promises_too_much_for_another():
    assert coverage_in_new_years(pooled, 1, 100, 1.5) < 0.85


def test_every_year_counts_alike_whatever_its_rows():
    """A bad year of 5 rows among 9 good ones of 500 decides, although it is 0.1 % of the rows."""
    rng = np.random.default_rng(0)
    good, bad = rng.uniform(0, 1, 4500), rng.uniform(5, 6, 5)
    year = np.concatenate([np.repeat(np.arange(9), 500), np.full(5, 9)])
    assert conformal_margin(np.concatenate([good, bad])) < 1
    assert margin_over_years(np.concatenate([good, bad]), year) > 5
    with pytest.raises(ValueError, match="2 years"):
        margin_over_years(np.ones(4), np.array([1, 1, 2, 2]))


@pytest.mark.slow
@given(st.lists(st.tuples(st.floats(-5, 5), st.integers(0, 12)), min_size=40, max_size=80), st.randoms())
def test_the_order_of_rows_does_not_matter_and_a_shift_shifts(rows, random):
    if len({year for _, year in rows}) < 3:
        rows += [(0.0, 20), (0.0, 21), (0.0, 22)]
    shuffled = rows.copy()
    random.shuffle(shuffled)
    margins = []
    for these in (rows, shuffled):
        shortfall, year = np.array([r[0] for r in these]), np.array([r[1] for r in these])
        margins += [margin_over_years(shortfall, year), margin_over_years(shortfall + 1, year) - 1]
    assert margins == pytest.approx([margins[0]] * 4)


@given(st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_is_that_of_scipy(counts):
    held, n = counts
    reference = binomtest(held, n).proportion_ci(0.95, "wilson")
    assert wilson(held, n) == pytest.approx((reference.low, reference.high), abs=1e-6)


def test_rows_that_fail_by_years_are_known_less_well_than_independent_ones():
    year = np.repeat(np.arange(8), 50)
    by_year, mixed = year >= 2, np.arange(400) % 4 > 0
    widths = [np.ptp(share_over_groups(held, year)) for held in (by_year, mixed)]
    assert widths[0] > 5 * widths[1]
    assert share_over_groups(by_year[:100], year[:100]) is None


def test_coverage_counts_test_rows_by_year_and_place():
    rows = [(f"p{i % 3}", 2000 + i // 6, "test" if i < 18 else "valid", float(i % 2)) for i in range(24)]
    table = pd.DataFrame(rows, columns=["place", "year", "split", "y_true"]).assign(y_lo=-0.5, y_hi=0.5)
    shares = coverage(table)
    assert (shares["n"], shares["share"], [row["n"] for row in shares["by_year"]]) == (18, 0.5, [6, 6, 6])
    assert [row["place"] for row in shares["by_place"]] == ["p0", "p1", "p2"]
    assert shares["over_years"] is None
    assert "3 years cannot show whether the intervals hold 90%" in coverage_sentence(shares)
    assert json.loads(json.dumps(shares)) == shares


def test_intervals_are_judged_from_six_years_on_by_the_wider_end_on_each_side():
    rows = [(f"p{i % 3}", 2000 + i // 6, "test", float(i % 2)) for i in range(36)]
    shares = coverage(pd.DataFrame(rows, columns=["place", "year", "split", "y_true"]).assign(y_lo=-0.5, y_hi=0.5))
    assert shares["over_years"] == [0.5, 0.5]
    low, high = (f"{shares[name]:.0%}" for name in ("low", "high"))
    said = f"This is below 90%: the 95 % confidence interval of that share is {low} to {high} (whole years resampled)."
    assert said in coverage_sentence(shares)


@pytest.mark.parametrize(("groups", "given"), [(1, False), (5, False), (6, True)])
def test_fewer_than_six_groups_give_no_interval(groups, given):
    rng = np.random.default_rng(0)
    target, group = rng.normal(size=60), np.arange(60) % groups
    one, two = target + rng.normal(0, 0.5, 60), target + rng.normal(0, 1.0, 60)
    assert (paired_difference(target, one, two, group)[1] is not None) == given
    assert (score_intervals(target, one, group) is not None) == given


@pytest.mark.slow
def test_a_run_calibrates_on_every_year_it_learns_from_and_refuses_too_few(tmp_path, capsys):
    small_seasons().to_csv(tmp_path / "seasons.csv", index=False)
    (tmp_path / "card.toml").write_text(CARD)
    flags = ["--data", str(tmp_path / "card.toml"), "--preset", "language-only", "--epochs", "3", "--steps", "6"]
    assert train.main(["--stage", "1", *flags, "--out", str(tmp_path / "one")]) == 0
    results, margins, kept = [], [], []
    for interval in ("pooled", "year"):
        out = tmp_path / interval
        two = ["--stage", "2", *flags, "--from", str(tmp_path / "one"), "--out", str(out), "--interval", interval]
        assert train.main(two) == 0
        results.append(RunFolder(out).read_json("result.json"))
        record = RunFolder(out).read_json("fitted.json")["2022"]["forecaster"]
        margins.append([one["margin"] for one in record["readings"]])
        kept.append(pd.read_parquet(out / "predictions.parquet")["y_pred"])
        assert results[-1]["coverage"] == json.loads(json.dumps(coverage(pd.read_parquet(out / "predictions.parquet"))))
        assert coverage_sentence(results[-1]["coverage"]) in (out / "report.html").read_text()
    assert len(margins[0]) == 2
    assert all(0 < by_year != pooled for pooled, by_year in zip(*margins, strict=True))
    left_out = pd.read_parquet(tmp_path / "year" / "left_out.parquet")
    assert left_out.groupby(["step", "learner"])["sample_id"].nunique().eq(72).all()
    small_seasons().query("year >= 2020").to_csv(tmp_path / "seasons.csv", index=False)
    assert train.main(["--stage", "1", *flags, "--out", str(tmp_path / "short")]) == 0
    refused = ["--stage", "2", *flags, "--from", str(tmp_path / "short"), "--out", str(tmp_path / "no")]
    assert train.main([*refused, "--interval", "year"]) == 2
    assert "fold 2022 has 2 training years; at least 3" in capsys.readouterr().err
    assert not (tmp_path / "no").exists()


def test_a_paired_difference_is_that_of_the_errors_and_its_interval_holds_zero_for_equal_forecasts():
    rng = np.random.default_rng(0)
    target, group = rng.normal(size=600), np.repeat(np.arange(30), 20)
    good, bad = target + rng.normal(0, 0.5, 600), target + rng.normal(0, 1.0, 600)
    value, interval = paired_difference(target, bad, good, group)
    assert interval is not None
    low, high = interval
    assert value == pytest.approx(np.sqrt(np.mean((bad - target) ** 2)) - np.sqrt(np.mean((good - target) ** 2)))
    assert 0 < low < value < high
    other = target + rng.normal(0, 0.5, 600)
    _, interval = paired_difference(target, good, other, group)
    assert interval is not None
    assert interval[0] < 0 < interval[1]
    assert paired_difference(target, good, good, group) == (0.0, (0.0, 0.0))


def test_the_interval_of_a_score_widens_where_whole_groups_err_together():
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(20), 30)
    target = rng.normal(5, 1, 600)
    own, shared = rng.normal(0, 0.5, 600), np.repeat(rng.normal(0, 0.5, 20), 30)
    widths = []
    for error in (own, shared):
        intervals = score_intervals(target, target + error, group)
        assert intervals is not None
        (low, high), (least, most) = intervals
        assert low <= np.sqrt(np.mean(error**2)) <= high
        assert least <= 1 - np.sum(error**2) / np.sum((target - target.mean()) ** 2) <= most
        widths.append(high - low)
    assert widths[1] > 2 * widths[0]
