"""Stage 1 with a trainable image tower. Pictures (ink) are read batch by batch and embedded with gradients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from model.completion_task import SeasonRows, SeasonTask, completion_outputs, completion_terms, evaluate, fit_features
from model.config import TimesCLIPConfig
from model.encoders.trainable import Tower
from model.season_tensors import SeasonTensors, moved
from model.timesclip import TimesCLIP
from model.training.distributed import Processes
from model.training.task import Draw, Outputs, Terms
from model.training.trainer import Fit, Trainer

Ink = Callable[[Tensor, Tensor | None], Tensor]
"""rows [b] of the table, views [b] or None -> the pictures of their first windows, uint8 [b,V,H,W]."""


@dataclass(frozen=True, eq=False)
class VisionFinetuning:
    """A trainable tower, and its pictures."""

    tower: Tower
    ink: Ink

    def embed(self, rows: Tensor) -> Tensor:
        """Embeddings [b,V,D] of the first windows of `rows` [b], by the tower's current weights."""
        vectors: Tensor = self.tower(self.ink(rows, None).to(self.tower.rgb.device))
        return vectors

    @torch.inference_mode()
    def embedded(self, season: SeasonTensors, rows: Tensor, batch_size: int) -> SeasonTensors:
        """The samples of `rows` [n], whose first windows are embedded by the tower's current weights."""
        vectors = torch.cat([self.embed(batch) for batch in torch.split(rows, batch_size)])
        season = season.rows(rows)
        return replace(season, first=replace(season.first, embeddings=vectors.to(season.first.values.device)))


class VisionTimesCLIP(nn.Module):
    """TimesCLIP and the tower that embeds its pictures."""

    def __init__(self, encoder: TimesCLIP, tower: Tower) -> None:
        super().__init__()
        self.encoder, self.tower = encoder, tower

    def forward(self, batch: PictureBatch) -> Outputs:
        """The outputs that the loss reads. Mixed seasons get mixed embeddings, as with cached embeddings."""
        vectors = self.tower(batch.ink)
        if batch.partner is not None:
            vectors = torch.lerp(self.tower(batch.partner), vectors, batch.weight)
        return completion_outputs(self.encoder, replace(batch.season.first, embeddings=vectors))


@dataclass(frozen=True, eq=False)
class PictureBatch:
    """Seasons without embeddings, the ink [b,V,H,W] of their first windows, and the ink of their MixUp partners."""

    season: SeasonTensors
    ink: Tensor
    partner: Tensor | None = None
    weight: float = 1.0

    def part(self, start: int, stop: int) -> PictureBatch:
        """The samples from `start` to `stop`, without a copy."""
        partner = None if self.partner is None else self.partner[start:stop]
        return PictureBatch(self.season.part(start, stop), self.ink[start:stop], partner, self.weight)

    def __len__(self) -> int:
        return len(self.ink)


@dataclass(frozen=True, eq=False)
class VisionTask(SeasonTask):
    """`CompletionTask` on pictures: the same loss, with gradients in the tower."""

    module: VisionTimesCLIP
    train: SeasonRows
    valid: Tensor
    batch_size: int
    ink: Ink

    @property
    def pretrained(self) -> tuple[str, ...]:
        """Name prefixes of pretrained parameters."""
        return ("tower.", *(f"encoder.{name}" for name in self.module.encoder.pretrained))

    def batch(self, draw: Draw) -> PictureBatch:
        """The seasons of a draw and their pictures, on the module's device."""
        device = self.module.tower.rgb.device
        season = self.train.batch(draw).to(device)
        ink = moved(self.ink(self.train.rows[draw.rows], draw.views), device)
        if draw.partner is None:
            return PictureBatch(season, ink)
        partner = moved(self.ink(self.train.rows[draw.partner], draw.partner_views), device)
        return PictureBatch(season, ink, partner, draw.weight)

    def forward(self, batch: PictureBatch) -> Outputs:
        """Completion [b,V,H] and, if the model aligns them, vision and text class tokens [b,V,E]."""
        outputs: Outputs = self.module(batch)
        return outputs

    def loss(self, outputs: Outputs, batch: PictureBatch, total: int, processes: Processes) -> Terms:
        """MSE over the observed steps of the second half + `alignment_weight` * alignment."""
        return completion_terms(self.module.encoder, outputs, batch.season, processes)

    def validate(self, processes: Processes) -> dict[str, float]:
        """The completion error is the score that selects the epoch; the tower's current weights embed the pictures."""
        embed = VisionFinetuning(self.module.tower, self.ink).embed
        season = self.train.seasons[0]
        metrics = evaluate(
            self.module.encoder, season, self.valid, batch_size=self.batch_size, processes=processes, embed=embed
        )
        return {"score": metrics["completion"], **metrics}


def train_with_tower(
    config: TimesCLIPConfig, train: SeasonRows, valid: Tensor, *, trainer: Trainer, phase: str, vision: VisionFinetuning
) -> tuple[TimesCLIP, Fit]:
    """`train_completion` with the tower of `vision`. Afterwards the tower has the weights of the best epoch.

    The norm of the embeddings is fitted on the cached ones, those of the tower before training.
    """
    torch.manual_seed(trainer.seed)
    model = TimesCLIP(config)
    fit_features(model, train.seasons[0], train.rows)
    module = VisionTimesCLIP(model, vision.tower).to(trainer.processes.device)
    seasons = [season.to_complete() for season in train.seasons]
    seasons = [replace(season, first=season.first.without_pictures()) for season in seasons]
    rows = SeasonRows(seasons, train.rows, train.weights)
    fit = trainer.fit(VisionTask(module, rows, valid, trainer.schedule.batch_size, vision.ink), phase)
    return model, fit
