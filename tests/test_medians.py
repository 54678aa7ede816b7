"""Medians with missing values, and Arrow numbers as arrays, against the slower library functions."""

from __future__ import annotations

import warnings

import hypothesis.extra.numpy as arrays
import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from pipeline.sources.checks.medians import column_medians, row_medians
from pipeline.sources.files.arrow_numbers import numbers_of

VALUES = st.one_of(st.just(float("nan")), st.floats(-1e6, 1e6))
TABLES = arrays.arrays(np.float64, st.tuples(st.integers(1, 6), st.integers(1, 7)), elements=VALUES)


@given(TABLES)
def test_medians_equal_those_of_numpy(values):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # rows without a value
        rows, columns = np.nanmedian(values, axis=1), np.nanmedian(values, axis=0)
    np.testing.assert_allclose(row_medians(values), rows)
    np.testing.assert_allclose(column_medians(values), columns)


@given(st.lists(st.one_of(st.none(), st.floats(allow_nan=False)), max_size=40), st.integers(0, 9), st.integers(0, 9))
def test_arrow_numbers_with_nulls_and_slices(numbers, start, length):
    array = pa.array(numbers, pa.float64()).slice(min(start, len(numbers)), length)
    expected = [np.nan if one is None else one for one in array.to_pylist()]
    np.testing.assert_array_equal(numbers_of(array, np.nan), np.array(expected, np.float64))
