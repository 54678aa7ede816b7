"""The training loop keeps the best weights, stops when it should, and says where a loss went wrong."""

import math

import pytest
import torch
from torch import nn

from model.fitting import Diverged, Schedule, Trainer, fit, refit
from model.yields import INTERVAL, AnomalyScale, conformal_radius

SCHEDULE = Schedule(epochs=30, batch_size=4, lr=0.05, weight_decay=0.0, patience=5)
X = torch.linspace(-1, 1, 10)[:, None]


def trainer(schedule=SCHEDULE):
    torch.manual_seed(0)
    return Trainer(nn.Linear(1, 1), len(X), schedule, torch.Generator().manual_seed(0))


def squared_error(module):
    return lambda rows: {"loss": (module(X[rows]) - 3 * X[rows]).square().mean()}


def test_the_weights_of_the_best_epoch_are_kept_and_patience_ends_training():
    t = trainer()
    scores = iter([9.0, 5.0, 3.0, 4.0, 4.0, 4.0, 4.0, 4.0, 1.0])
    seen = []

    def score():
        seen.append(t.module.weight.item())
        return {"score": next(scores)}

    result = fit(t, squared_error(t.module), score)
    assert (result.best_epoch, result.best_score, len(result.epochs)) == (2, 3.0, 7)
    assert t.module.weight.item() == seen[2] != seen[-1]


def test_epoch_zero_wins_when_training_never_helps():
    t = trainer()
    before = t.module.weight.item()
    count = iter(range(99))
    assert fit(t, squared_error(t.module), lambda: {"score": float(next(count))}).best_epoch == 0
    assert t.module.weight.item() == before


def test_ctrl_c_keeps_the_best_weights_so_far():
    t = trainer()
    best = []

    def interrupt(epoch):
        if epoch.epoch == 3:
            raise KeyboardInterrupt
        best.append(t.module.weight.item())

    result = fit(t, squared_error(t.module), lambda: {"score": abs(3 - t.module.weight.item())}, interrupt)
    assert result.interrupted
    assert t.module.weight.item() in best


def test_a_loss_that_is_not_finite_stops_the_run_naming_epoch_and_step():
    t = trainer()
    calls = []

    def loss(rows):
        calls.append(rows)
        loss = squared_error(t.module)(rows)["loss"]
        return {"loss": loss * (math.nan if len(calls) == 5 else 1)}

    with pytest.raises(Diverged, match="epoch 2, step 1"):
        fit(t, loss, lambda: {"score": 1.0})


def test_every_position_is_drawn_once_an_epoch_and_a_refit_runs_the_same_schedule():
    t = trainer()
    drawn = []

    def loss(rows):
        drawn.extend(rows.tolist())
        return squared_error(t.module)(rows)

    refit(t, loss, 2)
    assert sorted(drawn[:10]) == sorted(drawn[10:]) == list(range(10))
    again = trainer()
    fit(again, squared_error(again.module), iter_scores(2))
    assert again.module.weight.item() == t.module.weight.item()


def iter_scores(best):
    """Scores that are best at one epoch."""
    count = iter(range(99))
    return lambda: {"score": float(abs(next(count) - best))}


def test_the_conformal_radius_is_the_rank_that_covers():
    residuals = torch.arange(1.0, 100.0).numpy()  # 1..99: rank ceil(100 * 0.9) = 90
    assert conformal_radius(-residuals) == math.ceil(100 * INTERVAL)
    assert conformal_radius(residuals[:3]) == 3.0


def test_anomalies_come_back_from_their_scale():
    anomaly = torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64).numpy()
    scale = AnomalyScale.fit(anomaly)
    assert scale.inverse(scale.apply(anomaly)) == pytest.approx(anomaly, rel=1e-6)
    assert AnomalyScale.fit(anomaly[:1]).spread == 1.0
