"""Train encoder and yield heads together: stage 3 from a stage-2 run, and stage 2 from scratch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from model.completion_task import SeasonRows, SeasonTask, completion_outputs, completion_terms
from model.season_tensors import SeasonTensors, WindowTensors
from model.timesclip import TimesCLIP
from model.training.distributed import Processes
from model.training.task import Draw, Outputs, Terms
from model.yield_head import YieldEnsemble, anomaly_loss

COMPLETION_WEIGHT = 0.3  # beside a yield loss of weight 1; predicting the mean gives about 1 for both


class SeasonForecaster(nn.Module):
    """TimesCLIP and the yield heads on its features: the two steps of stage 2, with gradients through both."""

    def __init__(self, encoder: TimesCLIP, yields: YieldEnsemble) -> None:
        super().__init__()
        self.encoder, self.yields = encoder, yields

    def forward(self, season: SeasonTensors) -> Tensor:
        """b seasons -> standardised anomalies [M,b,O], one row per member; O as in `HeadShape`."""
        features = torch.cat([self.features(window) for window in season.windows], -1)
        anomalies: Tensor = self.yields(features, season.present, season.static)
        return anomalies

    def features(self, window: WindowTensors) -> Tensor:
        """[b,V,F] of one window."""
        return self.encoder.features(*window.inputs())


@dataclass(frozen=True, eq=False)
class LabelledSeason:
    """Seasons and their standardised anomalies [b]."""

    season: SeasonTensors
    anomaly: Tensor

    def part(self, start: int, stop: int) -> LabelledSeason:
        """The samples from `start` to `stop`, without a copy."""
        return LabelledSeason(self.season.part(start, stop), self.anomaly[start:stop])

    def __len__(self) -> int:
        return len(self.anomaly)


@dataclass(frozen=True, eq=False)
class FinetuningTask(SeasonTask):
    """A forecaster, its training rows with their anomalies [n], and validation rows (None: none selects the epoch).

    completion  weight of the completion loss beside a yield loss of weight 1; 0 trains on the yield alone
    """

    module: SeasonForecaster
    train: SeasonRows
    anomaly: Tensor
    valid: LabelledSeason | None
    batch_size: int
    completion: float = COMPLETION_WEIGHT
    pretrained: tuple[str, ...] = ("encoder.",)

    def batch(self, draw: Draw) -> LabelledSeason:
        """The seasons of a draw and their anomalies, mixed with the same weight."""
        anomaly = self.anomaly[draw.rows]
        if draw.partner is not None:
            anomaly = torch.lerp(self.anomaly[draw.partner], anomaly, draw.weight)
        return LabelledSeason(self.train.batch(draw).to(self.anomaly.device), anomaly)

    def forward(self, batch: LabelledSeason) -> Outputs:
        """Anomalies [b,M,O], and the outputs of the completion loss."""
        outputs = completion_outputs(self.module.encoder, batch.season.first) if self.completion else {}
        return {"anomaly": self.module(batch.season).transpose(0, 1), **outputs}

    def loss(self, outputs: Outputs, batch: LabelledSeason, total: int, processes: Processes) -> Terms:
        """Yield loss + `completion` * (completion loss + `alignment_weight` * alignment)."""
        anomaly = anomaly_loss(outputs["anomaly"], batch.anomaly, total, self.module.yields.shape.quantiles)
        if not self.completion:
            return {"loss": anomaly}
        terms = completion_terms(self.module.encoder, outputs, batch.season, processes)
        return {**terms, "yield": anomaly, "loss": anomaly + self.completion * terms["loss"]}

    def validate(self, processes: Processes) -> dict[str, float]:
        """MSE of the members' mean forecast, the score that selects the epoch."""
        if self.valid is None:
            raise ValueError("nothing to validate on")
        start, stop = processes.share(len(self.valid))
        squared = self.anomaly.new_zeros((), dtype=torch.float64)
        for first in range(start, stop, self.batch_size):
            part = self.valid.part(first, min(first + self.batch_size, stop))
            squared += (self.module(part.season).mean(0)[:, 0] - part.anomaly).double().square().sum()
        return {"score": float(processes.sum(squared)) / len(self.valid)}
