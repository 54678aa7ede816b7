"""Losses against their slow twins, and at the edges where a mean over nothing would be NaN."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.losses import (
    LOWEST_LOG_TEMPERATURE,
    NEAR_EQUAL,
    across_samples,
    alignment_loss,
    completion_loss,
    false_negatives,
    info_nce,
    within_samples,
)
from tests import reference_model

T = torch.tensor(math.log(0.07), dtype=torch.float64)


def draw(seed: int, *shape: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


def mask(seed: int, share: float, *shape: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).random(shape) < share)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 9999),
    shape=st.tuples(*[st.integers(1, 5)] * 3),
    share=st.sampled_from([0.0, 0.3, 0.9, 1.0]),
)
def test_completion_loss_is_the_mean_square_over_observed_steps(seed, shape, share):
    pred, true, observed = draw(seed, *shape), draw(seed + 1, *shape), mask(seed, share, *shape)
    expected = reference_model.completion_loss(pred.numpy(), true.numpy(), observed.numpy())
    assert completion_loss(pred, true, observed).item() == pytest.approx(expected, rel=1e-12, abs=1e-15)


def test_what_stands_under_the_mask_changes_neither_loss_nor_gradient():
    observed = mask(3, 0.5, 4, 3, 6)
    pred, true = draw(1, 4, 3, 6), draw(2, 4, 3, 6)
    losses, gradients = [], []
    for hidden in (0.0, 1e9, math.nan, math.inf):
        leaf = torch.where(observed, pred, hidden).requires_grad_()
        loss = completion_loss(leaf, torch.where(observed, true, hidden), observed)
        loss.backward()
        losses.append(loss.item())
        gradients.append(leaf.grad)
    assert len(set(losses)) == 1
    assert all(torch.equal(g, gradients[0]) for g in gradients)
    assert (gradients[0][~observed] == 0).all()
    assert (gradients[0][observed] != 0).all()


def test_nothing_observed_is_a_zero_loss_with_a_zero_gradient():
    pred = draw(1, 2, 3, 4).requires_grad_()
    loss = completion_loss(pred, draw(2, 2, 3, 4), torch.zeros(2, 3, 4, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0
    assert (pred.grad == 0).all()


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 9999),
    shape=st.tuples(st.integers(1, 5), st.integers(1, 4), st.integers(2, 8)),
    share=st.sampled_from([0.0, 0.4, 1.0]),
    log_temperature=st.floats(-6, 1),
)
def test_info_nce_is_the_sum_of_both_directions_over_present_pairs(seed, shape, share, log_temperature):
    vision, language, present = draw(seed, *shape), draw(seed + 1, *shape), mask(seed, share, *shape[:2])
    expected = reference_model.info_nce(vision.numpy(), language.numpy(), present.numpy(), log_temperature)
    found = info_nce(vision, language, present, torch.tensor(log_temperature, dtype=torch.float64))
    assert found.item() == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_tokens_that_tell_nothing_cost_twice_the_log_of_the_number_of_pairs():
    same = torch.ones(4, 3, 8)
    loss = info_nce(same, same, torch.ones(4, 3, dtype=torch.bool), torch.tensor(math.log(0.07)))
    assert loss.item() == pytest.approx(2 * math.log(12), rel=1e-6)


def test_equal_and_orthogonal_tokens_align_to_nearly_zero():
    tokens = torch.eye(12).reshape(4, 3, 12)
    loss = info_nce(tokens, 5 * tokens, torch.ones(4, 3, dtype=torch.bool), torch.tensor(math.log(0.07)))
    assert 0 <= loss.item() < 2e-4  # the length of a token does not matter


@pytest.mark.parametrize("pairs", [0, 1])
def test_fewer_than_two_pairs_align_at_zero_with_a_finite_gradient(pairs):
    vision, language = draw(1, 2, 2, 4).requires_grad_(), draw(2, 2, 2, 4).requires_grad_()
    temperature = T.clone().requires_grad_()
    present = torch.zeros(2, 2, dtype=torch.bool)
    present.view(-1)[:pairs] = True
    loss = info_nce(vision, language, present, temperature)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-12)
    for leaf in (vision, language, temperature):
        assert leaf.grad.isfinite().all()


def test_an_absent_variate_does_not_take_part_in_the_alignment():
    vision, language, present = draw(1, 4, 3, 8), draw(2, 4, 3, 8), mask(5, 0.6, 4, 3)
    hidden = torch.where(present[..., None], vision, math.nan)
    assert torch.equal(info_nce(hidden, language, present, T), info_nce(vision, language, present, T))


def test_the_logit_scale_never_passes_one_hundred():
    vision, language, present = draw(1, 3, 2, 4), draw(2, 3, 2, 4), torch.ones(3, 2, dtype=torch.bool)
    bound = torch.tensor(LOWEST_LOG_TEMPERATURE, dtype=torch.float64)
    assert math.exp(-LOWEST_LOG_TEMPERATURE) == pytest.approx(100)
    assert torch.equal(info_nce(vision, language, present, bound - 3), info_nce(vision, language, present, bound))


def test_gradients_of_both_losses_agree_with_finite_differences():
    observed, present = mask(1, 0.6, 2, 2, 3), mask(2, 0.7, 3, 2)
    pred = draw(1, 2, 2, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda p: completion_loss(p, draw(2, 2, 2, 3), observed), (pred,))
    inputs = (draw(3, 3, 2, 4).requires_grad_(), draw(4, 3, 2, 4).requires_grad_(), T.clone().requires_grad_())
    assert torch.autograd.gradcheck(lambda v, w, t: info_nce(v, w, present, t), inputs)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 9999),
    shape=st.tuples(st.integers(1, 5), st.integers(1, 4), st.integers(2, 8)),
    share=st.sampled_from([0.0, 0.4, 1.0]),
    log_temperature=st.floats(-4, 1),
)
@pytest.mark.parametrize("name", ["across_samples", "within_samples"])
def test_alignments_of_samples_and_variates_are_their_slow_twins(name, seed, shape, share, log_temperature):
    vision, language, present = draw(seed, *shape), draw(seed + 1, *shape), mask(seed, share, *shape[:2])
    ours = {"across_samples": across_samples, "within_samples": within_samples}[name]
    found = ours(vision, language, present, torch.tensor(log_temperature, dtype=torch.float64))
    expected = getattr(reference_model, name)(vision.numpy(), language.numpy(), present.numpy(), log_temperature)
    assert found.item() == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_the_hierarchical_alignment_is_seven_parts_of_samples_and_three_of_variates():
    sides = draw(1, 4, 3, 8), draw(2, 4, 3, 8), mask(3, 0.8, 4, 3)
    expected = 0.7 * across_samples(*sides, T) + 0.3 * within_samples(*sides, T)
    torch.testing.assert_close(alignment_loss("hierarchical", *sides, T), expected)
    torch.testing.assert_close(alignment_loss("flat", *sides, T), info_nce(*sides, T))
    with pytest.raises(ValueError, match="alignment none has no loss"):
        alignment_loss("none", *sides, T)


@pytest.mark.parametrize("name", ["flat", "sample", "variate", "hierarchical"])
def test_gradients_of_every_alignment_are_right_and_spare_what_is_absent(name):
    present = torch.tensor([[True, False], [True, True], [False, False], [True, True]])
    vision, language = (draw(seed, 4, 2, 3).requires_grad_() for seed in (1, 2))
    temperature = torch.tensor(-1.0, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda one, two, heat: alignment_loss(name, one, two, variate_mask=present, log_temperature=heat),
        (vision, language, temperature),
    )
    alignment_loss(name, vision, language, variate_mask=present, log_temperature=temperature).backward()
    for side in (vision, language):
        assert (side.grad[~present] == 0).all()
        assert side.grad[present].isfinite().all()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 9999), shape=st.tuples(*[st.integers(1, 4)] * 3), spread=st.sampled_from([0.05, 0.2, 1.0]))
def test_near_equal_pairs_are_counted_as_a_slow_loop_counts_them(seed, shape, spread):
    values, observed = spread * draw(seed, *shape), mask(seed, 0.8, *shape)
    near, pairs = false_negatives(values, observed)
    assert (int(near), int(pairs)) == reference_model.false_negatives(values.numpy(), observed.numpy(), NEAR_EQUAL)
