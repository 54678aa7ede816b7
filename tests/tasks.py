"""Small things that can be trained, for the tests of the loop."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from model.completion_task import CompletionTask, SeasonRows
from model.config import TimesCLIPConfig
from model.joint_finetuning import FinetuningTask, LabelledSeason, SeasonForecaster
from model.season_tensors import SeasonTensors, WindowTensors
from model.timesclip import TimesCLIP
from model.yield_head import HeadShape, YieldEnsemble

X = torch.linspace(-1, 1, 10)[:, None]


@dataclass
class Rows:
    """Some x [b,1]."""

    x: Tensor

    def __len__(self):
        return len(self.x)

    def part(self, start, stop):
        return Rows(self.x[start:stop])


class Line:
    """y = 3 x, fitted by one weight and a bias; `scores` replaces the validation score."""

    weights, views, pretrained, latest_forecasts = None, 0, (), None

    def __init__(self, scores=None, x=X):
        torch.manual_seed(0)
        self.module, self.x, self.samples = nn.Linear(1, 1), x, len(x)
        self.scores, self.drawn = scores, []

    def batch(self, draw):
        self.drawn += draw.rows.tolist()
        return Rows(self.x[draw.rows])

    def forward(self, batch):
        return {"y": self.module(batch.x)}

    def loss(self, outputs, batch, total, processes):
        return {"loss": (outputs["y"] - 3 * batch.x).square().sum() / total}

    def validate(self, processes):
        return {"score": float(next(self.scores)) if self.scores else abs(3 - self.module.weight.item())}


def season(samples=24, variates=3, steps=12, dim=16, seed=0):
    """Random seasons with gaps and vectors, both halves."""
    rng = torch.Generator().manual_seed(seed)
    halves = []
    for _ in range(2):
        observed = torch.rand(samples, variates, steps, generator=rng) > 0.15
        values = torch.where(observed, torch.randn(samples, variates, steps, generator=rng), 0)
        halves.append(WindowTensors(values, observed, torch.randn(samples, variates, dim, generator=rng).half()))
    return SeasonTensors(*halves)


def completion_task(samples=24, dropout=0.0, seed=0, views=0, weights=None):
    """TimesCLIP with alignment on random seasons; the last quarter validates."""
    seasons = [season(samples, seed=seed + 100 * view) for view in range(views + 1)]
    torch.manual_seed(seed)
    model = TimesCLIP(TimesCLIPConfig(3, 12, 12, vision_dim=16, width=16, dropout=dropout))
    model.fit_features([half.embeddings for half in (seasons[0].first, seasons[0].second)])
    learnt = samples * 3 // 4
    rows = SeasonRows(seasons, torch.arange(learnt), weights)
    return CompletionTask(model, rows, torch.arange(learnt, samples), 8)


def joint_task():
    """Encoder and heads on random seasons and anomalies."""
    part = completion_task()
    torch.manual_seed(1)
    heads = YieldEnsemble(2, HeadShape(part.module.config.feature_dim, 3))
    model = SeasonForecaster(part.module, heads)
    season = part.train.seasons[0]
    with torch.no_grad():
        both = torch.cat([model.features(window) for window in season.windows], -1)
    heads.fit_features(both, torch.ones(both.shape[:2], dtype=torch.bool))
    torch.nn.init.normal_(heads.out.weight)
    anomaly = torch.randn(24)
    valid = LabelledSeason(season.rows(part.valid), anomaly[part.valid])
    return FinetuningTask(model, part.train, anomaly[:18], valid, 8)
