"""The yield head and its loss, against slow twins, under masks and through a short training."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.yield_head import HeadShape, YieldEnsemble, anomaly_loss
from tests import reference_model
from tests.one_thread import one_torch_thread


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    yield from one_torch_thread()


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 9999), members=st.integers(1, 3), static=st.integers(0, 2))
def test_yield_heads_side_by_side_are_their_slow_twin(seed, members, static):
    torch.manual_seed(seed)
    shape = HeadShape(6, 3, plain=2, static=static, quantiles=(0.5,))
    heads, features, present = YieldEnsemble(members, shape), torch.randn(5, 3, 12), torch.rand(5, 3) < 0.8
    heads.fit_features(features, present)
    for parameter in heads.parameters():
        torch.nn.init.normal_(parameter)
    more = torch.randn(5, static) if static else None
    found = heads.eval()(features, present, more)
    for member in range(members):
        weights = {name: value[member].detach().double().numpy() for name, value in heads.named_parameters()}
        for sample in range(5):
            normed, known = heads.norm(features)[sample].double().numpy(), present[sample].numpy()
            extra = None if more is None else more[sample].double().numpy()
            told = reference_model.yield_head(weights, normed, known, extra, plain=2)
            assert found[member, sample].tolist() == pytest.approx(told, rel=1e-4, abs=1e-4)


def test_an_untrained_yield_head_predicts_exactly_the_offset():
    head, present = YieldEnsemble(2, HeadShape(10, 3)), torch.ones(6, 3, dtype=torch.bool)
    features = torch.randn(6, 3, 20, generator=torch.Generator().manual_seed(0))
    head.fit_features(features, present)
    assert torch.equal(head(features, present), torch.zeros(2, 6, 1))


def test_a_yield_head_ignores_absent_variates_and_keeps_variates_apart():
    torch.manual_seed(0)
    head = YieldEnsemble(1, HeadShape(10, 3)).eval()
    torch.nn.init.normal_(head.out.weight)
    features, present = torch.randn(6, 3, 20), torch.ones(6, 3, dtype=torch.bool)
    head.fit_features(features, present)
    present[:, 1] = False
    spoiled = features.clone()
    spoiled[:, 1] = math.nan
    assert torch.equal(head(spoiled, present), head(features, present))
    assert not torch.allclose(head(features[:, [2, 1, 0]], present), head(features, present), atol=1e-3)


def test_a_yield_head_learns_a_linear_yield_and_beats_its_start():
    torch.manual_seed(0)
    head, features = YieldEnsemble(1, HeadShape(10, 3)), torch.randn(200, 3, 20)
    present = torch.ones(200, 3, dtype=torch.bool)
    head.fit_features(features, present)
    anomaly = features[:, 0, :5].sum(1) / 5**0.5
    optimizer = torch.optim.AdamW(head.parameters(), lr=1e-2)
    for _ in range(150):
        loss = (head(features, present)[0, :, 0] - anomaly).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert (head.eval()(features, present)[0, :, 0] - anomaly).square().mean() < 0.2 * anomaly.square().mean()


def test_static_numbers_reach_the_yield():
    torch.manual_seed(0)
    head, features = YieldEnsemble(1, HeadShape(10, 3, static=2)), torch.zeros(200, 3, 20)
    present, static = torch.ones(200, 3, dtype=torch.bool), torch.randn(200, 2)
    head.fit_features(features, present)
    optimizer = torch.optim.AdamW(head.parameters(), lr=1e-2)
    for _ in range(150):
        loss = (head(features, present, static)[0, :, 0] - static[:, 0]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert (head.eval()(features, present, static)[0, :, 0] - static[:, 0]).square().mean() < 0.2


@pytest.mark.slow
def test_quantiles_are_learnt_where_the_spread_depends_on_the_season():
    """Noise that grows with a feature: the told 90 % range must grow with it and hold about 90 % of the yields."""
    torch.manual_seed(0)
    shape = HeadShape(10, 1, windows=1, quantiles=(0.05, 0.5, 0.95))
    heads, features = YieldEnsemble(1, shape), torch.randn(4000, 1, 10)
    present = torch.ones(4000, 1, dtype=torch.bool)
    heads.fit_features(features, present)
    spread = 0.2 + (features[:, 0, -1] > 0).float()
    anomaly = spread * torch.randn(4000)
    optimizer = torch.optim.AdamW(heads.parameters(), lr=1e-2)
    for _ in range(300):
        loss = anomaly_loss(heads(features, present).transpose(0, 1), anomaly, 4000, shape.quantiles)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    told = heads.eval()(features, present)[0].detach()
    inside = (told[:, 1] <= anomaly) & (anomaly <= told[:, 3])
    assert 0.85 < inside.float().mean() < 0.95
    width = told[:, 3] - told[:, 1]
    assert width[spread > 1].mean() > 2.5 * width[spread < 1].mean()


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 9999), members=st.integers(1, 3), samples=st.integers(1, 6))
def test_the_loss_of_a_yield_is_its_slow_twin(seed, members, samples):
    rng, quantiles = np.random.default_rng(seed), (0.05, 0.5, 0.95)
    told, true = rng.normal(size=(samples, members, 4)), rng.normal(size=samples)
    found = anomaly_loss(torch.from_numpy(told), torch.from_numpy(true), samples, quantiles)
    assert float(found) == pytest.approx(reference_model.yield_loss(told, true, quantiles))
