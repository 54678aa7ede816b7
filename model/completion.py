"""Stage 1: complete the second half of a season from the first, and align what is seen with what is read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from model.fitting import Fit, OnEpoch, Schedule, Trainer, fit
from model.losses import completion_loss, info_nce
from model.seasons import HalfSeason
from model.timesclip import TimesCLIP, TimesCLIPConfig

ALIGNMENT_WEIGHT = 0.1  # of the paper


@dataclass(frozen=True)
class Season:
    """First and second half of the same samples."""

    first: HalfSeason
    second: HalfSeason

    def rows(self, index: Tensor) -> Season:
        """The samples of `index` [b]."""
        return Season(self.first.rows(index), self.second.rows(index))

    def __len__(self) -> int:
        return len(self.first)


def train_completion(
    config: TimesCLIPConfig, train: Season, valid: Season, schedule: Schedule, seed: int, on_epoch: OnEpoch
) -> tuple[TimesCLIP, Fit]:
    """A model fitted on the training rows; the validation rows choose its epoch. Same seed, same weights on a CPU."""
    torch.manual_seed(seed)
    model = TimesCLIP(config)
    if config.use_vision:
        halves = (train.first, train.second)
        pictures = [half.embeddings for half in halves if half.embeddings is not None]
        model.fit_features(pictures, [half.observed.any(-1) for half in halves])
    trainer = Trainer(model, len(train), schedule, torch.Generator().manual_seed(seed))

    def loss_of(positions: Tensor) -> dict[str, Tensor]:
        return completion_terms(model, train.rows(positions))

    def score_of() -> dict[str, float]:
        metrics = evaluate(model, valid, schedule.batch_size)
        return {"score": metrics["completion"], **metrics}

    return model, fit(trainer, loss_of, score_of, on_epoch)


def completion_terms(model: TimesCLIP, season: Season) -> dict[str, Tensor]:
    """1.0 MSE over the observed steps of the second half + 0.1 alignment, as named terms."""
    out = model(season.first.values, season.first.observed, season.first.embeddings)
    completion = completion_loss(out.completion, season.second.values, season.second.observed)
    if out.vision is None or out.language is None or not model.config.use_alignment:
        return {"loss": completion, "completion": completion}
    present = season.first.observed.any(-1)
    alignment = info_nce(out.vision, out.language, present, model.log_temperature)
    return {"loss": completion + ALIGNMENT_WEIGHT * alignment, "completion": completion, "alignment": alignment}


@torch.inference_mode()
def evaluate(model: TimesCLIP, season: Season, batch_size: int) -> dict[str, float]:
    """MSE over every observed step, whatever the batch size; alignment, which needs a batch, is a mean over batches."""
    sums: dict[str, float] = {}
    weights: dict[str, float] = {}
    for rows in _batches(len(season), batch_size):
        batch = season.rows(rows)
        sizes = {"completion": float(batch.second.observed.sum()), "alignment": float(len(rows))}
        for name, term in completion_terms(model, batch).items():
            if name in sizes:
                sums[name] = sums.get(name, 0.0) + float(term) * sizes[name]
                weights[name] = weights.get(name, 0.0) + sizes[name]
    return {name: total / max(weights[name], 1.0) for name, total in sums.items()}


@torch.inference_mode()
def complete(model: TimesCLIP, first: HalfSeason, batch_size: int) -> tuple[Tensor, Tensor | None]:
    """The completed second half [n,V,W], standardised, and the variate-selection weights [V,V] averaged over samples.

    No weights without the language side.
    """
    model.eval()
    parts, weights = [], []
    for rows in _batches(len(first), batch_size):
        batch = first.rows(rows)
        out = model(batch.values, batch.observed, batch.embeddings)
        parts.append(out.completion)
        if out.selection is not None:
            weights.append(out.selection)
    return torch.cat(parts), torch.cat(weights).mean(0) if weights else None


@torch.inference_mode()
def features(model: TimesCLIP, half: HalfSeason, batch_size: int) -> Tensor:
    """What the frozen model knows of each variate of half a season: [n,V,F]."""
    model.eval()
    parts = []
    for rows in _batches(len(half), batch_size):
        batch = half.rows(rows)
        parts.append(model.features(batch.values, batch.observed, batch.embeddings))
    return torch.cat(parts)


def _batches(samples: int, size: int) -> Iterator[Tensor]:
    return (torch.arange(start, min(start + size, samples)) for start in range(0, samples, size))
