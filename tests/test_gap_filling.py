"""Missing steps: filled from the steps beside them, by the formula, and from nothing else."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.gap_filling import FADE, fill_gaps


def filled_by_loops(deviations, observed):
    """One step at a time."""
    filled = np.zeros(len(deviations))
    for at in range(len(deviations)):
        weights = [math.exp(-abs(at - other)) for other in range(len(deviations)) if observed[other]]
        known = [deviations[other] for other in range(len(deviations)) if observed[other]]
        filled[at] = sum(w * k for w, k in zip(weights, known, strict=True)) / (sum(weights) + FADE)
        if observed[at]:
            filled[at] = deviations[at]
    return filled


series = st.lists(st.tuples(st.floats(-5, 5), st.booleans()), min_size=1, max_size=40)


@given(series)
@settings(max_examples=100, deadline=None)
def test_a_series_is_filled_as_by_loops_whatever_stands_under_the_mask(steps):
    deviations, observed = (np.array(column) for column in zip(*steps, strict=True))
    hidden = np.where(observed, deviations, np.nan)
    filled = fill_gaps(torch.from_numpy(hidden)[None, None], torch.from_numpy(observed)[None, None])
    np.testing.assert_allclose(filled[0, 0].numpy(), filled_by_loops(deviations, observed), atol=1e-12)
    known = np.abs(deviations[observed])
    assert filled.abs().max() <= (known.max() if known.size else 0) + 1e-12


def test_each_series_is_filled_by_itself():
    rng = np.random.default_rng(0)
    values, observed = torch.from_numpy(rng.normal(size=(5, 3, 12))), torch.from_numpy(rng.random((5, 3, 12)) < 0.5)
    together = fill_gaps(values, observed)
    for n in range(5):
        for v in range(3):
            torch.testing.assert_close(together[n, v], fill_gaps(values[n, v], observed[n, v]))


def test_the_fill_fades_with_the_distance_to_the_last_observation():
    observed = torch.zeros(1, 1, 30, dtype=torch.bool)
    observed[..., 0] = True
    filled = fill_gaps(torch.ones(1, 1, 30, dtype=torch.float64), observed)[0, 0]
    assert (filled.diff() <= 0).all()
    assert filled[1] > 0.97
    assert 0.3 < filled[5] < 0.5
    assert filled[29] < 1e-9
    assert fill_gaps(torch.ones(4), torch.zeros(4, dtype=torch.bool)).eq(0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_long_gap_stays_finite(dtype):
    observed = torch.zeros(1, 1, 400, dtype=torch.bool)
    observed[..., 0] = True
    assert fill_gaps(torch.full((1, 1, 400), 3.0, dtype=dtype), observed).isfinite().all()
