"""Stage 1: complete the second half of a season from the first, and align what is seen with what is read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from model.losses import completion_loss, info_nce
from model.seasons import HalfSeason, Season, in_views
from model.timesclip import TimesCLIP, TimesCLIPConfig
from model.training.loop import Fit, Trainer
from model.training.processes import ALONE, Processes
from model.training.task import Draw, Outputs, Terms

ALIGNMENT_WEIGHT = 0.1  # of the paper


@dataclass(frozen=True, eq=False)
class SeasonRows:
    """Which seasons are learnt from: `rows` [n] of `seasons`, each in its views (the first: as measured)."""

    seasons: Sequence[Season]
    rows: Tensor
    weights: Tensor | None = None  # [n] how often each is drawn, in proportion

    def batch(self, draw: Draw) -> Season:
        """The samples of a draw, mixed where it says so."""
        chosen = in_views(self.seasons, self.rows[draw.rows], draw.views)
        if draw.partner is None:
            return chosen
        return chosen.mixed(in_views(self.seasons, self.rows[draw.partner], draw.partner_views), draw.weight)


class OnSeasons:
    """What a task that learns from the rows `train` of seasons tells the trainer of them."""

    train: SeasonRows

    @property
    def samples(self) -> int:
        """Number of training rows."""
        return len(self.train.rows)

    @property
    def weights(self) -> Tensor | None:
        """[samples] how often each is drawn, in proportion."""
        return self.train.weights

    @property
    def views(self) -> int:
        """Views beside the seasons as measured."""
        return len(self.train.seasons) - 1


@dataclass(frozen=True, eq=False)
class CompletionTask(OnSeasons):
    """TimesCLIP, the rows it learns to complete, and the validation rows `valid` of the seasons as measured."""

    module: TimesCLIP
    train: SeasonRows
    valid: Tensor
    batch_size: int
    pretrained: tuple[str, ...] = ()

    def batch(self, draw: Draw) -> Season:
        """The seasons of a draw, on the device of the module."""
        return self.train.batch(draw).to(self.module.log_temperature.device)

    def forward(self, batch: Season) -> Outputs:
        """Completion [b,V,H] and, where they are aligned, vision and text class tokens [b,V,E]."""
        return completion_outputs(self.module, batch.first)

    def loss(self, outputs: Outputs, batch: Season, total: int, processes: Processes) -> Terms:
        """1.0 MSE over the observed steps of the second half + 0.1 alignment."""
        return completion_terms(self.module, outputs, batch, processes)

    def validate(self, processes: Processes) -> dict[str, float]:
        """The completion error chooses the epoch."""
        metrics = evaluate(self.module, self.train.seasons[0], self.valid, self.batch_size, processes)
        return {"score": metrics["completion"], **metrics}


def train_completion(
    config: TimesCLIPConfig, train: SeasonRows, valid: Tensor, trainer: Trainer, phase: str
) -> tuple[TimesCLIP, Fit]:
    """A model fitted on the training rows; the validation rows choose its epoch. Same seed, same weights on a CPU."""
    torch.manual_seed(trainer.seed)
    model = TimesCLIP(config)
    if config.use_vision:
        halves = (train.seasons[0].first, train.seasons[0].second)
        pictures = [half.embeddings for half in halves if half.embeddings is not None]
        model.fit_features(pictures, [half.observed.any(-1) for half in halves], train.rows)
    model = model.to(trainer.processes.device)
    task = CompletionTask(model, train, valid, trainer.schedule.batch_size)
    return model, trainer.fit(task, phase)


def completion_outputs(model: TimesCLIP, first: HalfSeason) -> Outputs:
    """What the loss reads of the first halves."""
    out = model(first.values, first.observed, first.embeddings)
    outputs = {"completion": out.completion}
    if out.vision is not None and out.language is not None and model.config.use_alignment:
        outputs |= {"vision": out.vision, "language": out.language}
    return outputs


def completion_terms(model: TimesCLIP, outputs: Outputs, season: Season, processes: Processes) -> Terms:
    """1.0 MSE over the observed steps of the second half + 0.1 alignment, as named terms."""
    second = season.second
    completion = completion_loss(outputs["completion"], second.values, second.observed, processes)
    if "vision" not in outputs:
        return {"loss": completion, "completion": completion}
    present = season.first.observed.any(-1)
    alignment = info_nce(outputs["vision"], outputs["language"], present, model.log_temperature, processes)
    return {"loss": completion + ALIGNMENT_WEIGHT * alignment, "completion": completion, "alignment": alignment}


@torch.inference_mode()
def evaluate(
    model: TimesCLIP, season: Season, rows: Tensor, batch_size: int, processes: Processes = ALONE
) -> dict[str, float]:
    """Of some rows [n]: MSE over every observed step, whatever the batch size; alignment, a mean over batches.

    Whole batches are dealt to the processes in turn, so that every number is the same for any number of them.
    """
    device = model.log_temperature.device
    sums = torch.zeros(2, 2, dtype=torch.float64, device=device)  # completion, alignment; sum, weight
    names = ("completion", "alignment")
    for number, positions in enumerate(torch.split(rows, batch_size)):
        if number % processes.size != processes.rank:
            continue
        batch = season.rows(positions).to(device)
        terms = completion_terms(model, completion_outputs(model, batch.first), batch, ALONE)
        sizes = {"completion": float(batch.second.observed.sum()), "alignment": float(len(positions))}
        for at, name in enumerate(names):
            if name in terms:
                sums[at] += torch.stack([terms[name].double() * sizes[name], torch.tensor(sizes[name], device=device)])
    totals = processes.sum(sums).tolist()
    return {name: total / max(weight, 1.0) for name, (total, weight) in zip(names, totals, strict=True) if weight > 0}


@torch.inference_mode()
def complete(model: TimesCLIP, first: HalfSeason, batch_size: int) -> tuple[Tensor, Tensor | None]:
    """The completed second half [n,V,W], standardised, and the variate-selection weights [V,V] averaged over samples.

    No weights without the language side.
    """
    model.eval()
    parts, weights = [], []
    for batch in _batches(model, first, batch_size):
        out = model(batch.values, batch.observed, batch.embeddings)
        parts.append(out.completion.cpu())
        if out.selection is not None:
            weights.append(out.selection.cpu())
    return torch.cat(parts), torch.cat(weights).mean(0) if weights else None


@torch.inference_mode()
def features(model: TimesCLIP, half: HalfSeason, batch_size: int) -> Tensor:
    """What the frozen model knows of each variate of half a season: [n,V,F], on the CPU."""
    model.eval()
    batches = _batches(model, half, batch_size)
    return torch.cat([model.features(batch.values, batch.observed, batch.embeddings).cpu() for batch in batches])


def _batches(model: TimesCLIP, half: HalfSeason, size: int) -> Iterator[HalfSeason]:
    device = model.log_temperature.device
    return (half.part(start, start + size).to(device) for start in range(0, len(half), size))
