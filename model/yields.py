"""Stage 2: from the frozen features of both half seasons to the yield anomaly, with a split-conformal interval."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from model.fitting import Fit, OnEpoch, Schedule, Trainer, fit, refit
from model.timesclip import YieldHead

INTERVAL = 0.90  # nominal coverage of [y_lo, y_hi]


class YieldEnsemble(nn.Module):
    """`members` yield heads that differ in their first weights; the prediction is their mean."""

    def __init__(self, members: int, features: int, variates: int, level: int) -> None:
        super().__init__()
        self.heads = nn.ModuleList(YieldHead(features, variates, level) for _ in range(members))

    def fit_features(self, rows: YieldRows) -> None:
        """Fits the norm of every head on the rows it is trained on."""
        for head in self.heads:
            cast(YieldHead, head).fit_features(rows.features, rows.present)

    def forward(self, features: Tensor, present: Tensor) -> Tensor:
        """features [B,V,2F], present [B,V] bool -> anomalies in units of their spread [M,B], one row a member."""
        return torch.stack([head(features, present) for head in self.heads])


@dataclass(frozen=True, eq=False)
class YieldRows:
    """n samples for the head: features [n,V,2F], present [n,V] bool, anomaly [n] in units of `AnomalyScale`."""

    features: Tensor
    present: Tensor
    anomaly: Tensor


@dataclass(frozen=True)
class AnomalyScale:
    """Mean and spread of the training anomalies, in t/ha."""

    mean: float
    spread: float

    @staticmethod
    def fit(anomaly: NDArray[np.float64]) -> AnomalyScale:
        """From the anomalies [n] of training rows; a spread of zero becomes one."""
        spread = float(anomaly.std())
        return AnomalyScale(float(anomaly.mean()), spread if spread > 1e-9 else 1.0)

    def apply(self, anomaly: NDArray[np.float64]) -> Tensor:
        """t/ha [n] -> standardised [n]."""
        return torch.from_numpy(((anomaly - self.mean) / self.spread).astype(np.float32))

    def inverse(self, anomaly: Tensor) -> NDArray[np.float64]:
        """Standardised [n] -> t/ha [n]."""
        return anomaly.numpy().astype(np.float64) * self.spread + self.mean


def train_head(
    members: int, level: int, train: YieldRows, valid: YieldRows, schedule: Schedule, seed: int, on_epoch: OnEpoch
) -> tuple[YieldEnsemble, Fit]:
    """Heads fitted on the training rows; the validation rows choose their epoch."""
    head = _seeded(members, level, train, seed)

    def loss_of(positions: Tensor) -> dict[str, Tensor]:
        return _loss(head, train, positions)

    def score_of() -> dict[str, float]:
        error = head(valid.features, valid.present).mean(0) - valid.anomaly
        return {"score": float(error.square().mean())}

    trainer = Trainer(head, len(train.anomaly), schedule, torch.Generator().manual_seed(seed))
    return head, fit(trainer, loss_of, score_of, on_epoch)


def refit_head(members: int, level: int, rows: YieldRows, schedule: Schedule, seed: int, epochs: int) -> YieldEnsemble:
    """The same heads trained for the chosen number of epochs on training and validation rows together."""
    head = _seeded(members, level, rows, seed)
    trainer = Trainer(head, len(rows.anomaly), schedule, torch.Generator().manual_seed(seed))
    refit(trainer, lambda positions: _loss(head, rows, positions), epochs)
    return head


@torch.inference_mode()
def predict(head: YieldEnsemble, features: Tensor, present: Tensor) -> Tensor:
    """Standardised anomalies [n]: the mean over the members."""
    head.eval()
    return head(features, present).mean(0)  # type: ignore[no-any-return]


def conformal_radius(residuals: NDArray[np.float64]) -> float:
    """Half width of a split-conformal interval: the ceil((n+1) * 0.9)-th smallest absolute residual, in t/ha.

    Lei et al. 2018, "Distribution-free predictive inference for regression". With fewer than 9 residuals that rank does
    not exist and the largest residual stands in for it, which covers less than promised; the caller reports n.
    """
    ordered = np.sort(np.abs(residuals))
    rank = math.ceil((len(ordered) + 1) * INTERVAL)
    return float(ordered[min(rank, len(ordered)) - 1])


def _seeded(members: int, level: int, rows: YieldRows, seed: int) -> YieldEnsemble:
    torch.manual_seed(seed)
    head = YieldEnsemble(members, rows.features.shape[2], rows.features.shape[1], level)
    head.fit_features(rows)
    return head


def _loss(head: YieldEnsemble, rows: YieldRows, positions: Tensor) -> dict[str, Tensor]:
    predicted = head(rows.features[positions], rows.present[positions])
    return {"loss": (predicted - rows.anomaly[positions]).square().mean()}
