"""What is learnt about the size of numbers comes from training rows alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.scaling import Scaler, snapped, to_unit, y_ranges

values = arrays(np.float32, (6, 2, 4), elements=st.floats(-1e4, 1e4, width=32))
masks = arrays(bool, (6, 2, 4))
TRAIN = np.array([0, 2, 3])


@settings(max_examples=60, deadline=None)
@given(values, masks, values, masks)
def test_changing_rows_that_are_not_trained_on_moves_nothing(x, seen, other, other_seen):
    changed, changed_seen = other.copy(), other_seen.copy()
    changed[TRAIN], changed_seen[TRAIN] = x[TRAIN], seen[TRAIN]
    one, two = Scaler.fit(x, seen, TRAIN), Scaler.fit(changed, changed_seen, TRAIN)
    np.testing.assert_array_equal(one.mean, two.mean)
    np.testing.assert_array_equal(one.std, two.std)
    none = [None, None]
    np.testing.assert_array_equal(
        y_ranges(x, seen, TRAIN, none, none), y_ranges(changed, changed_seen, TRAIN, none, none)
    )


@settings(max_examples=60, deadline=None)
@given(values, masks)
def test_the_inverse_is_exact_and_survives_json(x, seen):
    scaler = Scaler.fit(x, seen, TRAIN)
    again = Scaler.from_dict(scaler.to_dict())
    back = again.inverse(scaler.apply(x))
    assert np.abs(back - x).max() <= 1e-6 * max(1.0, float(np.abs(x).max()))


def test_the_card_overrules_the_data_and_half_a_range_does_not():
    x = np.random.default_rng(0).uniform(0.1, 0.9, (9, 2, 5)).astype(np.float32)
    ranges = y_ranges(x, np.ones(x.shape, bool), np.arange(9), [-0.2, None], [1.0, 3.0])
    assert ranges[0].tolist() == [-0.2, 1.0]
    assert 0 <= ranges[1][0] < 0.2
    assert ranges[1][1] < 1.2


@settings(max_examples=200, deadline=None)
@given(st.floats(-1e2, 1e2), st.floats(1e-3, 1e3))
def test_a_snapped_range_holds_the_raw_one_and_is_less_than_half_wider(low, width):
    a, b = snapped(low, low + width)
    assert a <= low + 1e-9 * max(1, abs(low))
    assert b >= low + width - 1e-9 * max(1, abs(low))
    assert b - a <= 1.5 * width * (1 + 1e-9) + 1e-9


def test_a_constant_variate_gets_a_range_and_a_scale():
    x = np.full((4, 1, 3), 7, np.float32)
    seen = np.ones(x.shape, bool)
    assert y_ranges(x, seen, np.arange(4), [None], [None]).tolist() == [[6.5, 7.5]]
    assert Scaler.fit(x, seen, np.arange(4)).std.tolist() == [1.0]


@pytest.mark.parametrize("unit", [1e-13, 3e-8, 1.0, 1e4])
def test_a_variate_is_scaled_alike_in_every_unit(unit):
    """Gross primary production in kg m-2 s-1 reaches 3e-8; an absolute floor took it for a constant."""
    x = np.random.default_rng(0).uniform(0, 1, (20, 1, 6)).astype(np.float64)
    seen, rows = np.ones(x.shape, bool), np.arange(20)
    plain, scaled = (Scaler.fit(values.astype(np.float32), seen, rows) for values in (x, x * unit))
    assert scaled.known.all()
    np.testing.assert_allclose(scaled.std, plain.std * unit, rtol=1e-5)
    (low, high), values = y_ranges((x * unit).astype(np.float32), seen, rows, [None], [None])[0], x * unit
    assert low <= np.percentile(values, 1)
    assert np.percentile(values, 99) <= high
    assert high - low < 1.5 * unit


@pytest.mark.parametrize("level", [0.0, 3e-8, 1e-3, 290.15, -7e5])
def test_a_constant_is_known_as_one_in_every_unit(level):
    x = np.full((50, 1, 7), level, np.float32)
    seen = np.ones(x.shape, bool)
    fitted = Scaler.fit(x, seen, np.arange(50))
    assert not fitted.known.any()
    assert fitted.std.tolist() == [1.0]
    low, high = y_ranges(x, seen, np.arange(50), [None], [None])[0]
    assert high - low == pytest.approx(1)


def test_unit_values_keep_what_is_outside_and_what_is_missing():
    x = np.array([[[-1.0, 0.0, 2.0, np.nan]]], np.float32)
    np.testing.assert_array_equal(to_unit(x, np.array([[0.0, 1.0]])), x)
