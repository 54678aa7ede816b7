"""Stage 2: from the frozen features of both half seasons to the yield anomaly, with a split-conformal interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from model.timesclip import YieldHead
from model.training.loop import Fit, Trainer
from model.training.processes import Processes
from model.training.task import Draw, Outputs, Terms

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

    def rows(self, index: Tensor) -> YieldRows:
        """The samples of `index` [b]."""
        return YieldRows(self.features[index], self.present[index], self.anomaly[index])

    def part(self, start: int, stop: int) -> YieldRows:
        """The samples from `start` to `stop`, without a copy."""
        return YieldRows(self.features[start:stop], self.present[start:stop], self.anomaly[start:stop])

    def mixed(self, other: YieldRows, weight: float) -> YieldRows:
        """MixUp (Zhang et al. 2018): features and anomalies with one weight; a variate counts where both have it."""
        return YieldRows(
            torch.lerp(other.features, self.features, weight),
            self.present & other.present,
            torch.lerp(other.anomaly, self.anomaly, weight),
        )

    def to(self, device: torch.device) -> YieldRows:
        """The same samples on a device."""
        return YieldRows(self.features.to(device), self.present.to(device), self.anomaly.to(device))

    def __len__(self) -> int:
        return len(self.anomaly)


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


@dataclass(frozen=True, eq=False)
class YieldTask:
    """Yield heads on frozen features. train: one entry a view, the first as measured; valid None: nothing chooses."""

    module: YieldEnsemble
    train: Sequence[YieldRows]
    valid: YieldRows | None
    weights: Tensor | None = None
    pretrained: tuple[str, ...] = ()

    @property
    def samples(self) -> int:
        """Number of training rows."""
        return len(self.train[0])

    @property
    def views(self) -> int:
        """Views beside the seasons as measured."""
        return len(self.train) - 1

    def batch(self, draw: Draw) -> YieldRows:
        """The samples of a draw, mixed where it says so."""
        chosen = self._in_views(draw.rows, draw.views)
        if draw.partner is None:
            return chosen
        return chosen.mixed(self._in_views(draw.partner, draw.partner_views), draw.weight)

    def forward(self, batch: YieldRows) -> Outputs:
        """Standardised anomalies [b,M], one column a member."""
        return {"anomaly": self.module(batch.features, batch.present).T}

    def loss(self, outputs: Outputs, batch: YieldRows, total: int, processes: Processes) -> Terms:
        """Mean squared error over members and samples; the members learn apart."""
        return {"loss": anomaly_loss(outputs["anomaly"], batch.anomaly, total)}

    def validate(self, processes: Processes) -> dict[str, float]:
        """MSE of the mean over the members."""
        if self.valid is None:
            raise ValueError("nothing to validate on")
        mine = self.valid.part(*processes.share(len(self.valid)))
        error = self.module(mine.features, mine.present).mean(0) - mine.anomaly
        return {"score": float(processes.sum(error.double().square().sum())) / len(self.valid)}

    def _in_views(self, rows: Tensor, views: Tensor | None) -> YieldRows:
        if views is None:
            return self.train[0].rows(rows)
        kinds = [torch.stack([getattr(view, name) for view in self.train]) for name in ("features", "present")]
        features, present = (kind[views, rows] for kind in kinds)
        return YieldRows(features, present, self.train[0].anomaly[rows])


def anomaly_loss(predicted: Tensor, anomaly: Tensor, total: int) -> Tensor:
    """This process's share of the mean squared error: predicted [b,M], anomaly [b], `total` rows in all processes."""
    return (predicted - anomaly[:, None]).square().sum() / (predicted.shape[1] * total)


def new_heads(members: int, level: int, rows: YieldRows, trainer: Trainer) -> YieldEnsemble:
    """Heads with the first weights of the trainer's seed and the norm of the training rows."""
    torch.manual_seed(trainer.seed)
    head = YieldEnsemble(members, rows.features.shape[2], rows.features.shape[1], level)
    head.fit_features(rows)
    return head.to(trainer.processes.device)


def train_head(
    members: int,
    level: int,
    train: Sequence[YieldRows],
    valid: YieldRows,
    trainer: Trainer,
    phase: str,
    weights: Tensor | None = None,
) -> tuple[YieldEnsemble, Fit]:
    """Heads fitted on the training rows (one entry a view); the validation rows choose their epoch."""
    head, device = new_heads(members, level, train[0], trainer), trainer.processes.device
    task = YieldTask(head, [rows.to(device) for rows in train], valid.to(device), weights)
    return head, trainer.fit(task, phase)


def refit_head(
    members: int,
    level: int,
    train: Sequence[YieldRows],
    trainer: Trainer,
    phase: str,
    epochs: int,
    weights: Tensor | None = None,
) -> YieldEnsemble:
    """The same heads trained for the chosen number of epochs on training and validation rows together."""
    head, device = new_heads(members, level, train[0], trainer), trainer.processes.device
    trainer.refit(YieldTask(head, [rows.to(device) for rows in train], None, weights), phase, epochs)
    return head


@torch.inference_mode()
def predict(head: YieldEnsemble, features: Tensor, present: Tensor) -> Tensor:
    """Standardised anomalies [n]: the mean over the members."""
    head.eval()
    device = next(head.parameters()).device
    anomalies: Tensor = head(features.to(device), present.to(device)).mean(0).cpu()
    return anomalies


def conformal_radius(residuals: NDArray[np.float64]) -> float:
    """Half width of a split-conformal interval: the ceil((n+1) * 0.9)-th smallest absolute residual, in t/ha.

    Lei et al. 2018, "Distribution-free predictive inference for regression". With fewer than 9 residuals that rank does
    not exist and the largest residual stands in for it, which covers less than promised; the caller reports n.
    """
    ordered = np.sort(np.abs(residuals))
    rank = math.ceil((len(ordered) + 1) * INTERVAL)
    return float(ordered[min(rank, len(ordered)) - 1])
