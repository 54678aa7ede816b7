"""Dropout is that of torch, cheaper."""

import pytest
import torch

from model.dropout import Dropout


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_the_share_is_dropped_and_the_rest_scaled_so_that_the_mean_stays(p):
    torch.manual_seed(0)
    values = torch.ones(400, 1001)
    out = Dropout(p)(values)
    assert values.eq(1).all()
    assert (out == 0).float().mean().item() == pytest.approx(p, abs=0.003)
    assert out[out > 0].unique().item() == pytest.approx(1 / (1 - p), rel=1e-3)
    assert out.mean().item() == pytest.approx(1, abs=0.01)


def test_rows_columns_and_calls_are_dropped_independently():
    torch.manual_seed(0)
    dropped = (Dropout(0.5)(torch.ones(3000, 16)) == 0).double()
    again = (Dropout(0.5)(torch.ones(3000, 16)) == 0).double()
    off = torch.corrcoef(torch.cat([dropped, again, dropped.roll(1, 0)], 1).T) - torch.eye(48)
    assert off.abs().max() < 0.09  # 3,000 pairs: a standard error of 0.018


def test_one_seed_is_one_mask_and_the_gradient_goes_where_the_values_went():
    values = torch.randn(7, 5, requires_grad=True)
    layer = Dropout(0.4)
    torch.manual_seed(3)
    out = layer(values)
    torch.manual_seed(3)
    again = layer(values)
    assert torch.equal(out, again)
    out.sum().backward()
    torch.testing.assert_close(values.grad * values, out)


def test_in_place_is_the_same_in_the_memory_of_the_input():
    values = torch.randn(9, 4)
    torch.manual_seed(1)
    expected = Dropout(0.3)(values)
    torch.manual_seed(1)
    out = Dropout(0.3, inplace=True)(values)
    assert out is values
    assert torch.equal(values, expected)


@pytest.mark.parametrize(("p", "training", "factor"), [(0.0, True, 1), (0.7, False, 1), (1.0, True, 0)])
def test_nothing_or_everything(p, training, factor):
    values = torch.randn(5, 3)
    assert torch.equal(Dropout(p).train(training)(values), values * factor)
