"""Alignment by one yardstick: batches of 56 pairs."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.alignment_scores import PAIRS, alignment_floor, alignment_scores, batches_of_pairs

COLD = torch.tensor(math.log(0.01))


def tokens(samples, variates, seed=0):
    return torch.randn(samples, variates, 32, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=40, deadline=None)
@given(samples=st.integers(1, 200), variates=st.integers(1, 80))
def test_batches_hold_whole_samples_once_and_at_most_56_pairs(samples, variates):
    batches = batches_of_pairs(samples, variates)
    used = torch.cat(batches)
    assert len(used.unique()) == len(used)
    assert all(len(batch) == max(1, PAIRS // variates) for batch in batches[:-1])
    assert all(len(batch) * variates <= max(PAIRS, variates) for batch in batches)
    assert len(used) > samples - max(1, PAIRS // variates)


def test_equal_tokens_are_all_found_and_unrelated_ones_by_chance_only():
    present = torch.ones(80, 7, dtype=torch.bool)
    same = tokens(80, 7)
    perfect = alignment_scores(same, same, present, COLD)
    assert perfect["alignment_56"] < 1e-6
    assert perfect["retrieval_56"] == 1
    warm = alignment_scores(same, tokens(80, 7, 1), present, torch.tensor(math.log(1e6)))
    assert warm["alignment_56"] == pytest.approx(2 * math.log(56), abs=1e-3)
    assert alignment_scores(same, tokens(80, 7, 1), present, COLD)["retrieval_56"] < 0.06


def test_absent_variates_are_no_pairs():
    present = torch.ones(8, 7, dtype=torch.bool)
    present[:, 3:] = False
    same = tokens(8, 7)
    warm = alignment_scores(same, same, present, torch.tensor(math.log(1e6)))
    assert warm["alignment_56"] == pytest.approx(2 * math.log(24), abs=1e-3)
    assert alignment_scores(same, same, present & False, COLD) == {}


def test_the_floor_counts_series_that_cannot_be_told_apart():
    values = 3 * torch.randn(8, 7, 12, generator=torch.Generator().manual_seed(0))
    seen = torch.ones(8, 7, 12, dtype=torch.bool)
    assert alignment_floor(values, seen) == {"alignment_56": 0.0, "retrieval_56": 1.0}
    values[4:] = values[:4] + 0.05  # each series twice, up to less than 0.1 spreads
    floor = alignment_floor(values, seen)
    assert floor["alignment_56"] == pytest.approx(2 * math.log(2))
    assert floor["retrieval_56"] == pytest.approx(0.5)
    values[4:] += 0.1
    assert alignment_floor(values, seen)["alignment_56"] == 0
