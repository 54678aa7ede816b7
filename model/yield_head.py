"""Yield heads: an encoder's features of a season -> yield anomaly and quantiles."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from model.dropout import Dropout
from model.norms import FeatureNorm
from model.training.distributed import Processes
from model.training.task import Draw, Outputs, Terms
from model.training.trainer import Fit, Trainer


@dataclass(frozen=True)
class HeadShape:
    """Input and output sizes of a yield head.

    features   F of one window (`TimesCLIPConfig.feature_dim`); the head reads `windows` of them side by side
    variates   V
    plain      how many of the last features of each window are plain numbers (its values, their mean and log spread);
               they have two extra paths: a linear map to the output, and one past the bottleneck (docs/log.md)
    static     S, numbers of a sample that do not change within a season: soil, elevation
    quantiles  levels of the quantiles that are forecast beside the point forecast
    """

    features: int
    variates: int
    windows: int = 2
    plain: int = 2
    static: int = 0
    quantiles: tuple[float, ...] = ()

    @property
    def width(self) -> int:
        """Features of all windows side by side."""
        return self.features * self.windows

    @property
    def outputs(self) -> int:
        """O: the point forecast, then the quantiles."""
        return 1 + len(self.quantiles)

    @staticmethod
    def from_dict(record: Mapping[str, Any]) -> HeadShape:
        """Inverse of `asdict`."""
        return HeadShape(**{**record, "quantiles": tuple(record["quantiles"])})


class Linears(nn.Module):
    """One linear layer per member: weight [M,O,I], bias [M,O], initialised as nn.Linear.

    Members are multiplied one by one. A batched product takes more than twice the time on a CPU, as O is small
    (docs/log.md).
    """

    def __init__(self, members: int, inputs: int, outputs: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(inputs)
        weight = torch.empty(members, inputs, outputs).uniform_(-bound, bound)
        self.weight = nn.Parameter(weight.transpose(1, 2).contiguous())
        self.bias = nn.Parameter(torch.empty(members, outputs).uniform_(-bound, bound))

    def forward(self, values: Tensor) -> Tensor:
        """[M,n,I] -> [M,n,O]."""
        each = zip(values, self.weight, self.bias, strict=True)
        return torch.stack([functional.linear(one, weight, bias) for one, weight, bias in each])


class YieldEnsemble(nn.Module):
    """Frozen features of a season -> yield anomalies by M small heads, whose mean is the forecast.

    For 10^2-10^4 samples. The initial forecast is exactly zero. Heads differ in their initial weights and dropout
    masks. They are one module; the first dimension of every parameter is the head.
    """

    ends: Tensor

    def __init__(
        self, members: int, shape: HeadShape, bottleneck: int = 8, hidden: int = 32, dropout: float = 0.3
    ) -> None:
        super().__init__()
        self.members, self.shape = members, shape
        last = [shape.features * (window + 1) for window in range(shape.windows)]
        ends = [at for end in last for at in range(end - shape.plain, end)]
        self.register_buffer("ends", torch.tensor(ends, dtype=torch.long), persistent=False)
        self.norm = FeatureNorm(shape.variates, shape.width)
        self.squeeze = Linears(members, shape.width, bottleneck)
        self.variates = nn.Parameter(0.02 * torch.randn(members, 1, shape.variates, bottleneck))
        self.dropout = Dropout(dropout)
        straight = shape.variates * len(ends) + shape.static
        self.mix = Linears(members, shape.variates * bottleneck + straight, hidden)
        self.out = Linears(members, hidden, shape.outputs)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)
        self.straight = nn.Parameter(torch.zeros(members, straight, shape.outputs))

    def fit_features(self, features: Tensor, present: Tensor) -> None:
        """Fit the feature norm on training rows: features [n,V,windows * F], present [n,V] bool."""
        self.norm.fit([features], [present])

    def forward(self, features: Tensor, present: Tensor, static: Tensor | None = None) -> Tensor:
        """features [B,V,windows * F], present [B,V] bool, static [B,S] -> anomalies [M,B,O].

        Anomalies are in training standard deviations. The first of O is the point forecast, the others are quantiles.
        """
        known = present[..., None]
        normed = torch.where(known, self.norm(torch.where(known, features, 0)), 0)
        hidden = self.dropout(normed.flatten(0, 1).expand(self.members, -1, -1))
        squeezed = functional.gelu(self.squeeze(hidden).unflatten(1, present.shape) + self.variates)
        plain = normed[..., self.ends].flatten(1)
        if static is not None:
            plain = torch.cat([plain, static], -1)
        plain = plain.expand(self.members, -1, -1)
        mixed_in = torch.cat([torch.where(known, squeezed, 0).flatten(2), plain], -1)
        mixed = functional.gelu(self.mix(self.dropout(mixed_in)))
        anomalies: Tensor = self.out(self.dropout(mixed)) + plain @ self.straight
        return anomalies


@dataclass(frozen=True, eq=False)
class YieldRows:
    """n samples for the head: features [n,V,windows * F], present [n,V] bool, anomaly [n] in units of `AnomalyScale`.

    static [n,S], standardised, or None.
    """

    features: Tensor
    present: Tensor
    anomaly: Tensor
    static: Tensor | None = None

    def rows(self, index: Tensor) -> YieldRows:
        """The samples of `index` [b]."""
        return self._each(lambda tensor: tensor[index])

    def part(self, start: int, stop: int) -> YieldRows:
        """The samples from `start` to `stop`, without a copy."""
        return self._each(lambda tensor: tensor[start:stop])

    @staticmethod
    def joined(parts: Sequence[YieldRows]) -> YieldRows:
        """The samples of several sets, one after another."""
        static = [part.static for part in parts if part.static is not None]
        features, present, anomaly = (
            torch.cat([getattr(part, name) for part in parts]) for name in ("features", "present", "anomaly")
        )
        return YieldRows(features, present, anomaly, torch.cat(static) if static else None)

    def mixed(self, other: YieldRows, weight: float) -> YieldRows:
        """MixUp (Zhang et al. 2018) with one weight for everything; a variate is present if both samples have it."""
        static = None if self.static is None or other.static is None else other.static.lerp(self.static, weight)
        return YieldRows(
            features=torch.lerp(other.features, self.features, weight),
            present=self.present & other.present,
            anomaly=torch.lerp(other.anomaly, self.anomaly, weight),
            static=static,
        )

    def to(self, device: torch.device) -> YieldRows:
        """The same samples on a device."""
        return self._each(lambda tensor: tensor.to(device))

    def _each(self, change: Callable[[Tensor], Tensor]) -> YieldRows:
        static = None if self.static is None else change(self.static)
        return YieldRows(change(self.features), change(self.present), change(self.anomaly), static)

    def __len__(self) -> int:
        return len(self.anomaly)


@dataclass(frozen=True)
class AnomalyScale:
    """Mean and standard deviation (`spread`) of the training anomalies, in t/ha."""

    mean: float
    spread: float

    @staticmethod
    def fit(anomaly: NDArray[np.float64]) -> AnomalyScale:
        """From the anomalies [n] of training rows; a spread of zero is replaced by one."""
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
    """Yield heads on frozen features.

    train     one entry per view, the first as measured
    valid     rows that select the epoch; None: no selection
    latest    the last forecasts [m,O] that `validate` made of the valid rows
    """

    module: YieldEnsemble
    train: Sequence[YieldRows]
    valid: YieldRows | None
    weights: Tensor | None = None
    pretrained: tuple[str, ...] = ()
    latest: list[Tensor] = field(default_factory=list)

    @property
    def latest_forecasts(self) -> Tensor | None:
        """The last forecasts of the validation rows, see `Task`."""
        return self.latest[-1] if self.latest else None

    @property
    def samples(self) -> int:
        """Number of training rows."""
        return len(self.train[0])

    @property
    def views(self) -> int:
        """Number of views in addition to the seasons as measured."""
        return len(self.train) - 1

    def batch(self, draw: Draw) -> YieldRows:
        """The samples of a draw, mixed with their partners if the draw has any."""
        chosen = self._in_views(draw.rows, draw.views)
        if draw.partner is None:
            return chosen
        return chosen.mixed(self._in_views(draw.partner, draw.partner_views), draw.weight)

    def forward(self, batch: YieldRows) -> Outputs:
        """Standardised anomalies [b,M,O], one column per member."""
        return {"anomaly": self.module(batch.features, batch.present, batch.static).transpose(0, 1)}

    def loss(self, outputs: Outputs, batch: YieldRows, total: int, processes: Processes) -> Terms:
        """Squared and pinball error over members and samples; the members train independently."""
        return {"loss": anomaly_loss(outputs["anomaly"], batch.anomaly, total, self.module.shape.quantiles)}

    def validate(self, processes: Processes) -> dict[str, float]:
        """MSE of the members' mean forecast, the score that selects the epoch."""
        if self.valid is None:
            raise ValueError("nothing to validate on")
        start, stop = processes.share(len(self.valid))
        own = self.valid.part(start, stop)
        forecast = own.anomaly.new_zeros(len(self.valid), self.module.shape.outputs)
        forecast[start:stop] = self.module(own.features, own.present, own.static).mean(0)
        forecast = processes.sum(forecast)
        self.latest[:] = [forecast.cpu()]
        return {"score": float((forecast[:, 0] - self.valid.anomaly).double().square().mean())}

    def _in_views(self, rows: Tensor, views: Tensor | None) -> YieldRows:
        if views is None:
            return self.train[0].rows(rows)
        first = self.train[0]
        kinds = [torch.stack([getattr(view, name) for view in self.train]) for name in ("features", "present")]
        features, present = (kind[views, rows] for kind in kinds)
        return YieldRows(features, present, first.anomaly[rows], None if first.static is None else first.static[rows])


def anomaly_loss(predicted: Tensor, anomaly: Tensor, total: int, quantiles: Sequence[float] = ()) -> Tensor:
    """This process's share of the squared error of the point forecast and the pinball loss of the quantiles.

    predicted [b,M,O], anomaly [b], `total` rows in all processes. The pinball loss of quantile q is max(q e, (q - 1) e)
    with the error e = true - predicted; its mean over quantiles counts (Koenker & Bassett 1978).
    """
    share = predicted.shape[1] * total
    loss = (predicted[..., 0] - anomaly[:, None]).square().sum() / share
    if not quantiles:
        return loss
    error = anomaly[:, None, None] - predicted[..., 1:]
    levels = predicted.new_tensor(quantiles)
    return loss + torch.maximum(levels * error, (levels - 1) * error).sum() / (share * len(quantiles))


def new_heads(members: int, shape: HeadShape, rows: YieldRows, trainer: Trainer) -> YieldEnsemble:
    """Heads with the initial weights of the trainer's seed and the norm of the training rows."""
    torch.manual_seed(trainer.seed)
    head = YieldEnsemble(members, shape)
    head.fit_features(rows.features, rows.present)
    return head.to(trainer.processes.device)


def train_head(
    members: int,
    shape: HeadShape,
    train: Sequence[YieldRows],
    *,
    valid: YieldRows,
    trainer: Trainer,
    phase: str,
    weights: Tensor | None = None,
) -> tuple[YieldEnsemble, Fit]:
    """Fit heads on the training rows (one entry per view); the validation rows select their epoch."""
    head, device = new_heads(members, shape, train[0], trainer), trainer.processes.device
    task = YieldTask(head, [rows.to(device) for rows in train], valid.to(device), weights)
    return head, trainer.fit(task, phase)


def refit_head(
    members: int,
    shape: HeadShape,
    train: Sequence[YieldRows],
    *,
    trainer: Trainer,
    phase: str,
    epochs: int,
    weights: Tensor | None = None,
) -> YieldEnsemble:
    """The same heads, trained for the chosen number of epochs on training and validation rows together."""
    head, device = new_heads(members, shape, train[0], trainer), trainer.processes.device
    trainer.refit(YieldTask(head, [rows.to(device) for rows in train], None, weights), phase, epochs)
    return head


@torch.inference_mode()
def predict(head: YieldEnsemble, rows: YieldRows) -> Tensor:
    """Standardised anomalies [n,O]: the mean over the members."""
    head.eval()
    rows = rows.to(next(head.parameters()).device)
    anomalies: Tensor = head(rows.features, rows.present, rows.static).mean(0).cpu()
    return anomalies
