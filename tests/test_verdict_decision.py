"""keep, drop, cannot tell: every line of the rule."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verdict.decision import AdjustedDifference, decide
from verdict.statistics import Difference, Interval


def difference(value, half, groups=20):
    """RMSE of the arm with pictures minus another's, which has 0.500 t/ha."""
    rmse = Interval(value, value - half, value + half)
    return Difference(rmse, rmse.negated(), 0.01, groups, 3, 20 * groups, half / 2, 0.5)


def judged(value=-0.03, half=0.01, p=0.001, groups=20, name="other"):
    return AdjustedDifference(name, difference(value, half, groups), p)


def verdict(without=None, controls=None, maps=None, absent=()):
    controls = [judged(name="shuffled"), judged(name="noise")] if controls is None else controls
    return decide(
        without or judged(),
        controls,
        [judged(name="RBF")] if maps is None else maps,
        absent=absent,
        seconds=44.6,
        held="year",
    )


def test_keep_needs_a_clear_gain_and_every_control_beaten():
    found = verdict()
    assert found.word == "keep"
    assert found.sentence.startswith("Pictures lower the error by 0.030 t/ha (95 %: 0.020 to 0.040 over years) at 45 ")
    assert found.sentence.endswith("seconds per 1,000 samples: keep.")
    assert "0.020 to 0.040 t/ha" in found.because
    assert "shuffled, noise, RBF" in found.because


@pytest.mark.parametrize("name", ["shuffled", "RBF"])
@pytest.mark.parametrize("other", [judged(0.0, 0.01), judged(-0.03, 0.04), judged(-0.03, 0.01, p=0.06)])
def test_a_control_or_map_that_is_not_clearly_beaten_leaves_it_open(name, other):
    open_ = AdjustedDifference(name, other.difference, other.holm)
    found = verdict(controls=[open_] if name == "shuffled" else None, maps=[open_] if name == "RBF" else None)
    assert found.word == "cannot tell"
    assert f"not the gain over {name}" in found.because


def test_a_control_that_was_not_run_leaves_it_open():
    found = verdict(absent=["noise"])
    assert found.word == "cannot tell"
    assert "not run: noise" in found.because


def test_another_map_of_the_same_numbers_that_is_clearly_better_ends_it():
    found = verdict(maps=[judged(0.03, 0.01, name="RBF")])
    assert (found.word, "RBF on the same numbers" in found.because) == ("drop", True)
    assert verdict(maps=[judged(0.03, 0.04, name="RBF")]).word == "cannot tell"
    assert verdict(maps=[judged(0.03, 0.01, p=0.2, name="RBF")]).word == "cannot tell"


def test_a_gain_that_is_too_small_whatever_the_truth_is_dropped():
    assert verdict(judged(-0.001, 0.003)).word == "drop"  # up to 0.004; 0.005 would matter
    assert verdict(judged(0.02, 0.01)).word == "drop"  # it hurts
    assert verdict(judged(-0.002, 0.0029)).word == "drop"
    assert verdict(judged(-0.003, 0.0029)).word == "keep"  # up to 0.0059, and clearly above zero


def test_an_interval_that_holds_nothing_and_something_cannot_tell_and_says_what_would():
    found = verdict(judged(-0.004, 0.02, p=0.6))
    assert found.word == "cannot tell"
    assert "−0.016 to 0.024 t/ha" in found.because
    assert f"About {difference(-0.004, 0.02).groups_needed():.0f} years like these" in found.because


def test_a_clear_interval_without_a_clear_p_cannot_tell():
    found = verdict(judged(-0.03, 0.01, p=0.07))
    assert found.word == "cannot tell"
    assert "above zero, but p is 0.01, adjusted 0.07" in found.because


@pytest.mark.parametrize("groups", [1, 3, 5])
def test_few_groups_cannot_tell_whatever_the_numbers(groups):
    without = judged(-0.3, math.nan if groups == 1 else 0.01, groups=groups)
    found = verdict(without, maps=[judged(0.3, 0.01, groups=groups)])
    assert found.word == "cannot tell"
    assert f"{groups} year" in found.because
    assert f"smallest p is {2.0 ** (1 - groups):.2g}" in found.because
    assert ("95 %" in found.sentence) == (groups > 1)


def test_one_seed_keeps_nothing():
    once = replace(judged().difference, seeds=1)
    found = verdict(AdjustedDifference("language-only", once, 0.001))
    assert found.word == "cannot tell"
    assert "one seed" in found.because


def test_models_that_learnt_nothing_cannot_tell():
    found = verdict(judged(0.0, 0.0, p=1.0))
    assert found.word == "cannot tell"
    assert "neither model learnt" in found.because


def test_a_price_that_nothing_tells_is_unknown():
    found = decide(judged(), [judged()], [judged()], absent=(), seconds=math.nan, held="year")
    assert "at an unknown cost" in found.sentence


def test_a_loss_is_written_with_its_sign():
    assert verdict(judged(0.02, 0.01)).sentence.startswith(
        "Pictures raise the error by 0.020 t/ha (95 %: 0.010 to 0.030 over years)"
    )


def test_a_difference_that_rounds_to_zero_has_no_direction():
    for value in (0.0004, -0.0004):
        sentence = verdict(judged(value, 0.01)).sentence
        assert sentence.startswith("Pictures change the error by 0.000 t/ha (95 %: −0.010 to 0.010 over years)")


@given(st.floats(-0.2, 0.2), st.floats(0.0001, 0.2), st.floats(0, 1), st.integers(1, 40))
def test_keep_is_never_said_of_a_gain_whose_interval_holds_zero(value, half, p, groups):
    found = verdict(judged(value, half, p, groups))
    assert found.word in ("keep", "drop", "cannot tell")
    assert found.sentence.endswith(f": {found.word}.")
    if found.word == "keep":
        assert value + half < 0
        assert p < 0.05
        assert groups >= 6
    if value + half < 0 and value - half < -0.005:
        assert found.word != "drop"
