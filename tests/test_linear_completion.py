"""Ridge as a completion: its fit, its weight in a model's completion, and what it may read."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge

from model.completion_task import complete, mix_in_ridge
from model.config import TimesCLIPConfig
from model.gap_filling import fill_gaps
from model.linear_completion import PENALTIES, PRIOR_SEASONS, LinearCompletion, best_weight
from model.season_tensors import SeasonTensors, WindowTensors
from model.timesclip import TimesCLIP

V, W, H = 3, 7, 5


def season(samples, seed=0, missing=0.2):
    """Seasons whose second half is linear in the first, with noise and gaps."""
    rng = np.random.default_rng(seed)
    first = rng.normal(size=(samples, V, W))
    mixing = np.random.default_rng(99).normal(size=(V * W, V * H)) / 4
    later = (first.reshape(samples, -1) @ mixing).reshape(samples, V, H) + 0.3 * rng.normal(size=(samples, V, H))
    windows = []
    for values in (first, later):
        observed = torch.from_numpy(rng.random(values.shape) >= missing)
        windows.append(WindowTensors(torch.where(observed, torch.from_numpy(values).float(), 0), observed))
    return SeasonTensors(*windows)


TRAIN, VALID, TEST = torch.arange(0, 80), torch.arange(80, 110), torch.arange(110, 140)


def test_the_map_is_ridge_of_scikit_learn_at_the_penalty_with_the_lowest_validation_error():
    rows = season(140)
    fitted = LinearCompletion.fit(rows, TRAIN, VALID)
    x = fill_gaps(rows.first.values - fitted.before, rows.first.observed).flatten(1).double().numpy()
    later, seen = rows.rest
    y = fill_gaps(later - fitted.after, seen).flatten(1).double().numpy()
    errors, maps = [], []
    for penalty in PENALTIES:
        ridge = Ridge(penalty, fit_intercept=False).fit(x[:80], y[:80])
        guess = torch.from_numpy(ridge.predict(x[80:110])).reshape(30, V, H) + fitted.after
        errors.append(float(((guess - later[VALID])[seen[VALID]] ** 2).mean()))
        maps.append(ridge.coef_.T)
    np.testing.assert_allclose(fitted.coefficients.numpy(), maps[int(np.argmin(errors))], atol=1e-5)


def test_test_rows_change_nothing():
    rows = season(140)
    other = season(140)
    other.first.values[TEST] += 7
    other.second.values[TEST] -= 7
    one, two = (LinearCompletion.fit(each, TRAIN, VALID).state_dict() for each in (rows, other))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_linear_season_is_completed_better_than_by_its_mean():
    rows = season(140, missing=0)
    fitted = LinearCompletion.fit(rows, TRAIN, VALID)
    truth = rows.rest[0][TEST]
    guess = fitted(rows.first.values[TEST], rows.first.observed[TEST])
    assert (guess - truth).square().mean() < 0.5 * (fitted.after - truth).square().mean()


@given(st.integers(0, 10_000), st.integers(1, 200))
@settings(max_examples=30, deadline=None)
def test_the_weight_is_that_of_a_search_averaged_with_one_half(seed, n):
    rng = torch.Generator().manual_seed(seed)
    own, linear, truth = torch.randn(3, n, V, H, generator=rng)
    seen = torch.rand(n, V, H, generator=rng) < 0.7
    seen[0, 0, 0] = True
    grid = torch.linspace(0, 1, 501)
    errors = [((torch.lerp(own, linear, float(w)) - truth)[seen] ** 2).mean() for w in grid]
    best = float(grid[int(torch.stack(errors).argmin())])
    wanted = (n * best + PRIOR_SEASONS / 2) / (n + PRIOR_SEASONS)
    assert best_weight(own, linear, truth, seen) == pytest.approx(wanted, abs=0.002)


def test_completions_that_agree_or_have_no_truth_get_one_half():
    own = torch.randn(12, V, H)
    seen = torch.ones(12, V, H, dtype=torch.bool)
    assert best_weight(own, own, own + 1, seen) == 0.5
    assert best_weight(own, own + 1, own, ~seen) == 0.5


def mixed_model(rows):
    config = TimesCLIPConfig(
        use_vision=False, alignment="none", variates=V, window=W, horizon=H, patch=3, width=16, dropout=0.0,
        linear=True, filled=True,
    )  # fmt: skip
    torch.manual_seed(0)
    model = TimesCLIP(config).eval()
    before = complete(model, rows.first, 64)[0]
    mix_in_ridge(model, LinearCompletion.fit(rows, TRAIN, VALID), rows.rows(VALID), 64)
    return model, before


def test_on_validation_rows_the_mix_is_no_worse_than_the_mean_of_model_and_ridge():
    rows = season(140)
    model, before = mixed_model(rows)
    truth, seen = (part[VALID] for part in rows.rest)
    seen = seen & rows.first.present[VALID][..., None]
    after = complete(model, rows.first, 64)[0]
    ridge = model.linear(rows.first.values, rows.first.observed)
    mean, mix = (
        float((guess[VALID] - truth)[seen].square().mean()) for guess in (torch.lerp(before, ridge, 0.5), after)
    )
    assert mix <= mean + 1e-6
    torch.testing.assert_close(
        after, torch.lerp(before, ridge, model.linear.mixing_weight[:, None]) * rows.first.present[..., None]
    )


def test_ridge_is_mixed_in_for_evaluation_only():
    rows = season(140)
    model, before = mixed_model(rows)
    inputs = rows.first.part(0, 8).inputs()
    torch.testing.assert_close(model.train()(*inputs).completion, before[:8], atol=1e-5, rtol=1e-4)
    assert not torch.allclose(model.eval()(*inputs).completion, before[:8], atol=1e-2)


def test_the_ridge_is_saved_with_the_model():
    rows = season(140)
    model, _ = mixed_model(rows)
    again = TimesCLIP.described(model.describe())
    again.load_state_dict(model.state_dict())
    assert torch.equal(complete(again, rows.first, 64)[0], complete(model, rows.first, 64)[0])
