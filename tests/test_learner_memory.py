"""Thousands of convolution columns: few copies in memory, and the same numbers as in one piece."""

import tracemalloc

import numpy as np
import pytest
import torch

from model.learners import features, gaussian_process, linear
from model.learners.features import FeatureMap
from model.learners.linear import LinearMap
from model.season_tensors import SeasonTensors, WindowTensors


def season_of(values):
    window = WindowTensors(values, torch.rand(values.shape, generator=torch.Generator().manual_seed(1)) < 0.9)
    return SeasonTensors(window, window, 1)


def test_features_are_the_same_in_chunks(monkeypatch):
    season = season_of(torch.randn(50, 2, 8, generator=torch.Generator().manual_seed(0)))
    names, rows = ("numbers", "convolutions"), np.arange(5, 40)
    whole = FeatureMap.fit(season, rows, names)
    monkeypatch.setattr(features, "CHUNK_ROWS", 7)
    chunked = FeatureMap.fit(season, rows, names)
    for name, block in whole.apply(season).blocks.items():
        torch.testing.assert_close(chunked.apply(season).blocks[name], block, rtol=1e-6, atol=1e-9)
    monkeypatch.setattr(gaussian_process, "BLOCK_ROWS", 7)
    block = whole.apply(season).blocks["convolutions"]
    torch.testing.assert_close(gaussian_process._squared_lengths(block), block.double().square().sum(1))


@pytest.mark.parametrize("unit", [1e-12, 1e4])
def test_features_do_not_depend_on_the_unit(unit):
    values = torch.randn(50, 2, 8, generator=torch.Generator().manual_seed(0))
    plain, scaled = season_of(values), season_of(values * unit)
    names, rows = ("numbers", "convolutions"), np.arange(40)
    blocks = [FeatureMap.fit(one, rows, names).apply(one).blocks for one in (plain, scaled)]
    torch.testing.assert_close(blocks[0]["numbers"], blocks[1]["numbers"], rtol=1e-4, atol=1e-6)
    assert blocks[0]["convolutions"].shape == blocks[1]["convolutions"].shape


def test_ridge_holds_two_copies_of_its_columns_and_a_left_out_year(monkeypatch):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4000, 100)).astype(np.float32)
    anomaly, year, before = x[:, 0] + rng.normal(size=4000), np.arange(4000) % 20, x.copy()
    tracemalloc.start()
    fitted = LinearMap.fit(x, anomaly, year)
    peak = tracemalloc.get_traced_memory()[1] / (x.size * 8)
    tracemalloc.stop()
    assert peak < 2.8
    np.testing.assert_array_equal(x, before)
    forecast = fitted.predict(x)
    monkeypatch.setattr(linear, "BLOCK_ROWS", 300)
    np.testing.assert_allclose(fitted.predict(x), forecast, rtol=1e-9)
