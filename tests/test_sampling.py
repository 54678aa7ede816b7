"""An epoch is a shuffle; by flag it is balanced by yield, or its samples are mixed, with one weight in everything."""

import numpy as np
import pytest
import torch

import train
from model.training.sampling import MIXUP_WEIGHTS, MOST_WEIGHT, Sampling, balancing_weights, epoch_draws
from model.yield_head import HeadShape, YieldEnsemble, YieldRows, YieldTask
from tests.tasks import completion_task, season


def draws(task, mixup=False, seed=0, size=8):
    return list(epoch_draws(task, size, Sampling(mixup), torch.Generator().manual_seed(seed)))


def test_every_row_is_drawn_once_an_epoch_and_the_order_is_the_seed_s():
    task = completion_task()
    one, again, other = (torch.cat([draw.rows for draw in draws(task, seed=seed)]) for seed in (0, 0, 1))
    assert sorted(one.tolist()) == list(range(18))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert [draw.total for draw in draws(task)] == [8, 8, 2]


def test_balanced_sampling_evens_out_the_yields():
    target = np.concatenate(
        [np.random.default_rng(0).normal(5, 0.3, 900), np.random.default_rng(1).normal(8, 0.3, 100)]
    )
    weights = balancing_weights(target)
    assert weights.max() <= MOST_WEIGHT * np.median(weights.numpy()) * 1.000001
    task = completion_task(weights=weights)
    task = type(task)(task.module, type(task.train)(task.train.seasons, torch.arange(1000), weights), task.valid, 8)
    drawn = torch.cat([draw.rows for seed in range(10) for draw in draws(task, seed=seed)]).numpy()
    share = (target[drawn] > 6.5).mean()
    assert 0.35 < share < 0.65  # a tenth of the rows, about half of the draws
    assert len(drawn) == 10_000
    np.testing.assert_array_equal(balancing_weights(np.full(5, 3.0)), np.ones(5))


def test_the_density_is_that_of_a_gaussian_kernel_with_scott_s_bandwidth():
    target = np.random.default_rng(3).normal(5, 1, 300)
    width = target.std() * len(target) ** (-1 / 5)
    direct = 1 / np.exp(-0.5 * ((target[:, None] - target) / width) ** 2).sum(1)
    inner = direct < MOST_WEIGHT * np.median(direct)
    found = balancing_weights(target).numpy()
    np.testing.assert_allclose(found[inner] / found[0], direct[inner] / direct[0], rtol=0.02)


def test_mixup_draws_one_weight_a_step_between_0_3_and_0_7_and_partners_of_the_same_step():
    steps = draws(completion_task(samples=400), mixup=True)
    weights = [draw.weight for draw in steps]
    assert min(weights) >= MIXUP_WEIGHTS[0]
    assert max(weights) <= MIXUP_WEIGHTS[1]
    assert np.std(weights) > 0.05
    for draw in steps:
        assert sorted(draw.partner.tolist()) == sorted(draw.rows.tolist())
    assert torch.equal(steps[0].rows, draws(completion_task(samples=400))[0].rows)


def test_mixup_mixes_embeddings_series_and_masks_with_one_weight():
    one, other, weight = season(seed=1), season(seed=2), 0.3
    mixed = one.mixed(other, weight)
    for name in ("first", "second"):
        a, b, m = (getattr(s, name) for s in (one, other, mixed))
        assert torch.equal(m.observed, a.observed & b.observed)
        expected = torch.where(m.observed, weight * a.values + (1 - weight) * b.values, 0)
        assert torch.allclose(m.values, expected, atol=1e-6)
        assert torch.allclose(
            m.embeddings, weight * a.embeddings.float() + (1 - weight) * b.embeddings.float(), atol=1e-6
        )


def test_mixup_mixes_features_and_yields_with_the_same_weight():
    rows = YieldRows(torch.randn(20, 3, 12), torch.rand(20, 3) > 0.2, torch.randn(20))
    task = YieldTask(YieldEnsemble(2, HeadShape(6, 3)), [rows], None)
    for draw in draws(task, mixup=True):
        batch, w = task.batch(draw), draw.weight
        expected = w * rows.anomaly[draw.rows] + (1 - w) * rows.anomaly[draw.partner]
        assert torch.allclose(batch.anomaly, expected, atol=1e-6)
        both = w * rows.features[draw.rows] + (1 - w) * rows.features[draw.partner]
        assert torch.allclose(batch.features, both, atol=1e-6)
        assert torch.equal(batch.present, rows.present[draw.rows] & rows.present[draw.partner])


def test_views_are_drawn_anew_each_epoch_and_partners_bring_theirs():
    task = completion_task(samples=80, views=2)
    generator = torch.Generator().manual_seed(0)
    first, second = (list(epoch_draws(task, 8, Sampling(True), generator)) for _ in range(2))
    views = torch.cat([draw.views for draw in first])
    assert set(views.tolist()) == {0, 1, 2}
    by_row = [
        {int(r): int(v) for d in epoch for r, v in zip(d.rows, d.views, strict=True)} for epoch in (first, second)
    ]
    assert by_row[0] != by_row[1]
    for draw in first:
        of = dict(zip(draw.rows.tolist(), draw.views.tolist(), strict=True))
        assert [of[row] for row in draw.partner.tolist()] == draw.partner_views.tolist()


@pytest.mark.slow
@pytest.mark.parametrize("flag", ["--balance", "--mixup"])
def test_each_flag_changes_what_is_learnt_and_is_off_by_default(small_card, tmp_path, flag):
    flags = ["--data", str(small_card), "--preset", "language-only", "--epochs", "2"]
    for name, more in (("plain", []), ("flag", [flag])):
        one, two = str(tmp_path / name), str(tmp_path / f"{name}2")
        assert train.main(["--stage", "1", *flags, *more, "--out", one]) == 0
        assert train.main(["--stage", "2", *flags, *more, "--from", str(tmp_path / "plain"), "--out", two]) == 0
    for stage in ("", "2"):
        plain, flagged = ((tmp_path / f"{n}{stage}" / "model.safetensors").read_bytes() for n in ("plain", "flag"))
        assert plain != flagged
