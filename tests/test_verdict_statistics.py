"""The statistics of the verdict against slow twins, known cases and simulated tables whose difference is known."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.calibration import LEAST_GROUPS
from tests import reference_statistics as slow
from verdict.statistics import compare, holm


def table(seed, groups, rows, seeds, better=0.95, apart=0.3):
    """Truth, group and two arms: errors that a group shares, that an arm has in a group, of a seed, and of a row.

    Returns also the RMSE difference in the limit of many groups.
    """
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(groups), rows)
    truth = rng.normal(5, 1, len(group))
    shared = rng.normal(0, 0.5, groups)[group]
    arms, limits = [], []
    for spread in (better, 1.0):
        own = rng.normal(0, apart, groups)[group] + rng.normal(0, spread, len(group))
        of_seed = rng.normal(0, 0.1, (seeds, groups))[:, group] + rng.normal(0, 0.1, (seeds, len(group)))
        arms.append(truth + shared + own + of_seed)
        limits.append(math.sqrt(0.25 + apart**2 + spread**2 + 0.01 + 0.01))
    return truth, group.astype(str), *arms, limits[0] - limits[1]


sizes = {
    "seed": st.integers(0, 10**6),
    "groups": st.integers(2, 7),
    "rows": st.integers(1, 5),
    "seeds": st.integers(1, 3),
}


@given(**sizes)
@settings(max_examples=25, deadline=None)
def test_values_and_p_are_those_of_the_slow_twin(seed, groups, rows, seeds):
    truth, group, mine, other, _ = table(seed, groups, rows, seeds)
    found = compare(truth, group, mine, other, draws=50)
    assert found.rmse.value == pytest.approx(slow.rmse(truth, mine) - slow.rmse(truth, other), abs=1e-12)
    assert found.r2.value == pytest.approx(slow.r2(truth, mine) - slow.r2(truth, other), abs=1e-9)
    assert found.p == pytest.approx(slow.swap_p(truth, group, mine, other))
    assert (found.groups, found.seeds, found.rows) == (groups, seeds, groups * rows)


@given(**sizes)
@settings(max_examples=25, deadline=None)
def test_the_other_way_round_everything_has_the_other_sign_and_p_stays(seed, groups, rows, seeds):
    truth, group, mine, other, _ = table(seed, groups, rows, seeds)
    one, two = compare(truth, group, mine, other, draws=200), compare(truth, group, other, mine, draws=200)
    assert one.p == two.p
    for a, b in ((one.rmse, two.rmse), (one.r2, two.r2)):
        assert (a.value, a.low, a.high) == pytest.approx((-b.value, -b.high, -b.low))
    assert one.negated().rmse == one.rmse.negated()


@given(st.integers(0, 10**6), st.permutations(range(12)))
@settings(max_examples=20, deadline=None)
def test_order_of_rows_and_names_of_groups_do_not_matter(seed, order):
    truth, group, mine, other, _ = table(seed, 4, 3, 2)
    one = compare(truth, group, mine, other, draws=100)
    two = compare(truth[order], np.char.add("year ", group[order]), mine[:, order], other[:, order], draws=100)
    assert one.rmse.value == pytest.approx(two.rmse.value, abs=1e-12)
    assert (one.rmse.low, one.rmse.high) == pytest.approx((two.rmse.low, two.rmse.high), abs=1e-9)
    assert one.p == two.p


def test_the_bootstrap_draws_what_the_slow_twin_draws():
    truth, group, mine, other, _ = table(3, 8, 4, 3)
    found = compare(truth, group, mine, other, draws=20_000)
    drawn = slow.drawn_differences(truth, group, mine, other, 1500, 1)
    assert found.error == pytest.approx(drawn.std() * math.sqrt(8 / 7), rel=0.06)


@pytest.mark.slow
@pytest.mark.parametrize(("groups", "seeds"), [(15, 1), (15, 3), (30, 3)])
def test_the_interval_holds_the_true_difference_in_about_95_of_100_tables(groups, seeds):
    holds = []
    for seed in range(400):
        *data, true = table(1000 * groups + seed, groups, 6, seeds)
        found = compare(*data, draws=1000)
        holds.append(found.rmse.low <= true <= found.rmse.high)
    assert 0.92 <= np.mean(holds) <= 0.98  # 0.95 +- three standard errors of 400


@pytest.mark.slow
def test_rows_in_place_of_groups_would_be_too_sure():
    """What the bootstrap over rows, which is not used, would claim of the same tables."""
    holds = []
    for seed in range(60):
        truth, _, mine, other, true = table(seed, 15, 12, 1, apart=0.8)
        found = compare(truth, np.arange(len(truth)).astype(str), mine, other, draws=1000)
        holds.append(found.rmse.low <= true <= found.rmse.high)
    assert np.mean(holds) < 0.8


@pytest.mark.slow
def test_p_of_arms_that_do_not_differ_is_below_5_percent_in_about_5_of_100_tables():
    below = [compare(*table(seed, 10, 5, 2, better=1.0)[:4], draws=1000).p < 0.05 for seed in range(400)]
    assert 0.02 <= np.mean(below) <= 0.09


@pytest.mark.parametrize("groups", [1, 2, 3, 5, 6])
def test_fewer_than_six_groups_reach_no_5_percent_and_say_so(groups):
    truth, group, mine, _, _ = table(0, groups, 10, 2)
    found = compare(truth, group, truth + np.zeros((2, len(truth))), mine, draws=1000)  # one arm is perfect
    assert found.p == pytest.approx(2.0 ** (1 - groups))
    assert found.trusted == (groups >= LEAST_GROUPS) == (found.p < 0.05)
    assert math.isnan(found.rmse.low) == (groups == 1)
    assert (found.groups_needed() == math.inf) == (groups == 1)


def test_equal_arms_differ_by_nothing():
    truth, group, mine, _, _ = table(0, 7, 5, 2)
    found = compare(truth, group, mine, mine.copy(), draws=1000)
    assert (found.rmse.value, found.rmse.low, found.rmse.high, found.p) == (0, 0, 0, 1)


@pytest.mark.slow
def test_with_so_many_groups_a_difference_of_one_percent_is_seen_in_about_80_of_100_tables():
    """The known case: sums of independent groups, a difference of 10 % instead of 1, so that the tables stay small."""
    pilot = compare(*table(7, 60, 8, 1, better=0.871, apart=0.0)[:4], draws=2000)
    needed = int(pilot.groups_needed(0.1))
    assert 20 < needed < 200
    seen = 0
    for seed in range(150):
        *data, true = table(seed, needed, 8, 1, better=0.871, apart=0.0)
        found = compare(*data, draws=500)
        seen += found.p < 0.05
    assert true / math.sqrt(1.27) == pytest.approx(-0.1, abs=0.002)
    assert 0.65 <= seen / 150 <= 0.93


@given(st.dictionaries(st.sampled_from("abcdefgh"), st.floats(0, 1)))
@settings(deadline=None)
def test_holm_is_the_loop(p):
    adjusted = holm(p)
    assert list(adjusted) == list(p)
    assert adjusted == pytest.approx(slow.holm(p))
    assert all(p[name] <= adjusted[name] <= 1 for name in p)


def test_holm_by_hand():
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03}) == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06})


def test_arms_of_other_rows_are_refused():
    truth, group, mine, other, _ = table(0, 3, 2, 2)
    with pytest.raises(ValueError, match="shapes differ"):
        compare(truth, group, mine, other[:, :-1])
