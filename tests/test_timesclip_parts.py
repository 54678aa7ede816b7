"""Parts of the model against slow twins: instance norm, patches, variate selection, feature norm and positions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.config import TimesCLIPConfig
from model.norms import FeatureNorm, instance_norm
from model.text_branch import DayPositions, cut_patches
from model.timesclip import TimesCLIP
from tests import reference_model
from tests.one_thread import one_torch_thread
from tests.small_timesclip import LANGUAGE, SMALL, built, season, tensors


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    yield from one_torch_thread()


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 9999),
    shape=st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 12)),
    share=st.sampled_from([0.0, 0.3, 0.8, 1.0]),
)
def test_instance_norm_uses_observed_steps_alone(seed, shape, share):
    rng = np.random.default_rng(seed)
    values, observed = rng.normal(size=shape) * rng.choice([1e-3, 1, 50]), rng.random(shape) < share
    found = instance_norm(torch.from_numpy(values), torch.from_numpy(observed), 0.05)
    for ours, theirs in zip(found, reference_model.instance_norm(values, observed, 0.05), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-10)
    z, mean, std = found
    restored = (z * std[..., None] + mean[..., None]).numpy()
    np.testing.assert_allclose(restored[observed], values[observed], rtol=1e-9, atol=1e-9)


@settings(max_examples=40, deadline=None)
@given(patch=st.integers(1, 8), stride=st.integers(1, 5), extra=st.integers(0, 30))
def test_patches_repeat_the_end_for_one_stride(patch, stride, extra):
    window = patch + extra
    series = np.random.default_rng(extra).normal(size=(1, 1, window))
    found = cut_patches(torch.from_numpy(series), patch, stride)[0, 0].tolist()
    assert found == reference_model.patches(series[0, 0].tolist(), patch, stride)
    config = TimesCLIPConfig(1, window, 1, use_vision=False, patch=patch, stride=stride)
    assert config.patches(window) == len(found) == (window - patch) // stride + 2
    plain = cut_patches(torch.from_numpy(series), patch, stride, padding=False)[0, 0].tolist()
    assert plain == found[: len(plain)]
    assert replace(config, padding="none").patches(window) == len(plain) == len(found) - 1


@pytest.mark.parametrize(("window", "count"), [(18, 6), (36, 12), (6, 2)])
def test_patch_counts_of_the_method(window, count):
    assert TimesCLIPConfig(7, window, window, use_vision=False).patches(window) == count


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 9999), absent=st.lists(st.booleans(), min_size=3, max_size=3).filter(lambda m: not all(m)))
def test_variate_selection_is_attention_over_present_variates(seed, absent):
    model = built(LANGUAGE, seed).double()
    text, series = (torch.from_numpy(x) for x in np.random.default_rng(seed).normal(size=(2, 1, 3, 16)))
    hidden = torch.tensor([absent])
    state = {name: value.numpy() for name, value in model.select.attention.state_dict().items()}
    found, weights = reference_model.attend(text[0].numpy(), series[0].numpy(), hidden[0].numpy(), state, heads=2)
    ours, our_weights = model.select(text, series, hidden)
    np.testing.assert_allclose(our_weights[0].detach(), weights, atol=1e-12)
    expected = model.select.feed_forward(model.select.norm(text[0] + torch.from_numpy(found)))
    np.testing.assert_allclose(ours[0].detach(), expected.detach(), atol=1e-12)


def test_the_feature_norm_standardises_what_moves_and_floors_what_does_not():
    rng = np.random.default_rng(0)
    rows = torch.tensor(rng.normal(3, 2, size=(400, 2, 8)))
    rows[:, :, 0] = 1 + 1e-5 * rows[:, :, 0]  # a channel that is almost constant
    norm = FeatureNorm(2, 8)
    norm.fit([rows[:150], rows[150:]])
    out = norm(rows)
    np.testing.assert_allclose(out[..., 1:].mean(0), 0, atol=0.05)
    np.testing.assert_allclose(out[..., 1:].std(0), 1, atol=0.05)
    assert out[..., 0].abs().max() < 1e-3
    assert norm(rows + 1e6).abs().max() == 5
    assert norm(rows.half()).dtype == torch.float32


def test_the_feature_norm_leaves_absent_pictures_out():
    rows = torch.tensor(np.random.default_rng(0).normal(size=(50, 2, 4)))
    present = torch.ones(50, 2, dtype=torch.bool)
    present[30:, 0] = False
    spoiled = torch.where(present[..., None], rows, 1e4)
    masked, whole = FeatureNorm(2, 4), FeatureNorm(2, 4)
    masked.fit([spoiled], [present])
    whole.fit([rows])
    assert torch.equal(masked.mean[1], whole.mean[1])
    np.testing.assert_allclose(masked.mean[0], rows[:30, 0].mean(0), rtol=1e-5)


def test_float16_vectors_give_the_norm_of_their_float64_twins_whatever_the_rows():
    rng = np.random.default_rng(0)
    vectors = torch.tensor(rng.normal(3, rng.uniform(0.5, 2, 24), size=(900, 2, 24))).half()
    rows = torch.from_numpy(rng.permutation(900)[:700])
    half, double = FeatureNorm(2, 24), FeatureNorm(2, 24)
    half.fit([vectors], rows=rows)
    double.fit([vectors[rows].double()])
    np.testing.assert_allclose(half.mean, vectors[rows].double().mean(0), rtol=2e-6)
    np.testing.assert_allclose(half.scale, vectors[rows].double().std(0, correction=0), rtol=2e-6)
    torch.testing.assert_close(half.mean, double.mean, rtol=2e-6, atol=0)
    torch.testing.assert_close(half.scale, double.scale, rtol=2e-6, atol=0)


def test_the_feature_norm_leaves_its_input_as_it_was_and_passes_gradients_on():
    norm = FeatureNorm(2, 4)
    norm.fit([torch.randn(50, 2, 4)])
    vectors = torch.randn(3, 2, 4, requires_grad=True)
    before = vectors.detach().clone()
    norm(vectors).sum().backward()
    assert torch.equal(vectors.detach(), before)
    inside = ((before - norm.mean) / norm.scale).abs() < 5
    torch.testing.assert_close(vectors.grad, inside / norm.scale)


def test_pictures_before_the_fit_of_their_norm_are_an_error():
    model = TimesCLIP(SMALL)
    with pytest.raises(RuntimeError, match="fit_features"):
        model(*season(SMALL))


def test_the_fit_of_the_feature_norm_is_saved_with_the_weights():
    model, other = built(SMALL), TimesCLIP(SMALL)
    other.load_state_dict(model.state_dict())
    for ours, theirs in zip(tensors(model(*season(SMALL))), tensors(other.eval()(*season(SMALL))), strict=True):
        assert torch.equal(ours, theirs)


def test_a_patch_has_one_day_whatever_window_it_is_cut_from():
    positions = DayPositions(patch=6, stride=3, step_days=10.0, width=8)
    assert positions.days(3, 0).tolist() == [30, 60, 90]
    torch.testing.assert_close(positions(4, 6)[:2], positions(4, 0)[2:])
    assert (positions(4, 0)[0] - positions(4, 0)[1]).abs().max() > 1e-4
