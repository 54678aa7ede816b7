"""Pretraining of stage 1 on many unlabelled tables at once: alignment and completion, in every window.

One set of weights at the largest sizes is trained. Each step takes one table, slices the weights to its sizes
(model/initial_weights.py), and runs the model that a run on this table would have.

Dimensions: B samples, V variates, D embedding, E token.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace

import torch
from torch import Tensor, nn
from torch.func import functional_call

from model.alignment_scores import alignment_scores
from model.completion_task import alignment_of_windows, completion_outputs
from model.config import Parts, TimesCLIPConfig
from model.initial_weights import sliced
from model.losses import completion_loss
from model.norms import FeatureNorm
from model.season_tensors import SeasonTensors, WindowTensors
from model.text_branch import DayPositions
from model.timesclip import TimesCLIP
from model.training.distributed import Processes
from model.training.task import Draw, Outputs, Terms


@dataclass(frozen=True, eq=False)
class PretrainingTable:
    """A table: both windows of its seasons with pictures, its sizes, and the map [V,2] of levels to the y-range."""

    season: SeasonTensors
    config: TimesCLIPConfig
    to_range: Tensor


class BothWindows(nn.Module):
    """The completion from the first window, and the tokens of both."""

    def __init__(self, model: TimesCLIP) -> None:
        super().__init__()
        self.model = model

    def forward(self, first: WindowTensors, second: WindowTensors) -> Outputs:
        """Completion [B,V,H], and vision and text class tokens [B,V,E] of the two windows."""
        return completion_outputs(self.model, first, second)


class Pretrained(nn.Module):
    """Weights at the largest sizes. Its state dict holds the tensors of `InitialWeights`, below `weights.`."""

    def __init__(self, largest: TimesCLIPConfig) -> None:
        super().__init__()
        self.largest = largest
        self.weights = TimesCLIP(replace(largest, positions="index"))
        assert self.weights.language is not None
        self.weights.language.variates.requires_grad_(False)
        self.weights.add_module("season", nn.ModuleDict({
            "head": TimesCLIP(replace(largest, use_vision=True)).head,
            "positions": DayPositions(largest.patch, largest.stride, largest.step_days, largest.width),
        }))  # fmt: skip

    def tensors(self) -> dict[str, Tensor]:
        """Every stored tensor by name, with its gradient. What belongs to a table is left out."""
        named = dict(self.weights.named_parameters()) | dict(self.weights.named_buffers())
        return {name: t for name, t in named.items() if name not in ("language.variates", "language.level.to_range")}

    def forward(self, table: PretrainingTable, season: SeasonTensors) -> Outputs:
        """The outputs of the model of a table, with weights that are slices of these."""
        model = BothWindows(template(table)).train(self.training)
        weights = {f"model.{name}": t for name, t in sliced(self.tensors(), table.config).items()}
        outputs: Outputs = functional_call(model, weights, (season.first, season.second))
        return outputs

    def fit_norm(self, tables: Sequence[PretrainingTable]) -> None:
        """Fit the shared feature norm on the pictures of all tables."""
        assert self.weights.vision is not None
        windows = [window for table in tables for window in (table.season.first, table.season.second)]
        vectors = [window.embeddings.flatten(0, 1)[:, None] for window in windows if window.embeddings is not None]
        norm = FeatureNorm(1, self.largest.vision_dim)
        norm.fit(vectors, [window.present.flatten()[:, None] for window in windows])
        self.weights.vision.norm.load_state_dict(norm.state_dict())


def template(table: PretrainingTable) -> TimesCLIP:
    """A model of the table's sizes. Its variates are alike (zero), and its levels are those of the y-range."""
    model = TimesCLIP(table.config)
    assert model.language is not None
    nn.init.zeros_(model.language.variates)
    model.show_levels(table.to_range)
    return model.requires_grad_(False)


@dataclass(frozen=True)
class Weighting:
    """Weights of the loss terms, and samples per step."""

    completion: float = 1.0
    alignment: float = 1.0
    samples: int = 64


@dataclass(frozen=True, eq=False)
class PretrainingTask:
    """The weights, the tables to learn from, and others that choose the epoch. A training position is one step.

    rounds: steps per table and epoch. The samples of a step are drawn by torch's generator, which checkpoints hold.
    """

    module: Pretrained
    tables: Sequence[PretrainingTable]
    valid: Sequence[PretrainingTable]
    weighting: Weighting = Weighting()
    rounds: int = 2

    weights = None
    views = 0
    pretrained: tuple[str, ...] = ()
    latest_forecasts = None

    @property
    def samples(self) -> int:
        """Steps per epoch."""
        return len(self.tables) * self.rounds

    def batch(self, draw: Draw) -> Step:
        """Random samples of the table of this step."""
        table = self.tables[int(draw.rows[0]) % len(self.tables)]
        rows = torch.randperm(len(table.season))[: self.weighting.samples]
        return Step(table, table.season.rows(rows))

    def forward(self, batch: Step) -> Outputs:
        """Completion and tokens of the samples, each [1,B,...]: a step is one row to the trainer."""
        return {name: output[None] for name, output in self.module(batch.table, batch.season).items()}

    def loss(self, outputs: Outputs, batch: Step, total: int, processes: Processes) -> Terms:
        """Completion, and alignment in both windows, by their weights."""
        own = {name: output[0] for name, output in outputs.items()}
        return pretraining_terms(self.module, own, batch.season, self.weighting)

    def validate(self, processes: Processes) -> dict[str, float]:
        """Means over the validation tables; the score is the weighted sum of completion and alignment."""
        sums: dict[str, float] = {}
        for table in self.valid:
            outputs = self.module(table, table.season)
            terms = pretraining_terms(self.module, outputs, table.season, self.weighting)
            scores = alignment_scores(outputs["vision"], outputs["language"], table.season.first.present,
                                      self.module.weights.log_temperature)  # fmt: skip
            for name, value in {**{name: float(term) for name, term in terms.items()}, **scores}.items():
                sums[name] = sums.get(name, 0.0) + value / len(self.valid)
        return {"score": sums.pop("loss"), **sums}


@dataclass(frozen=True, eq=False)
class Step:
    """Samples of one table. One training position, whatever the number of samples."""

    table: PretrainingTable
    season: SeasonTensors

    def part(self, start: int, stop: int) -> Step:
        """The whole step; a step is not divided."""
        return self

    def __len__(self) -> int:
        return 1


def pretraining_terms(module: Pretrained, outputs: Outputs, season: SeasonTensors, weighting: Weighting) -> Terms:
    """Weighted sum of the completion error, relative to each window's spread, and the alignment in both windows."""
    completion = completion_loss(outputs["completion"], *season.rest)
    alignment = alignment_of_windows("flat", outputs, season, module.weights.log_temperature)
    loss = weighting.completion * completion + weighting.alignment * alignment
    return {"loss": loss, "completion": completion, "alignment": alignment}


def largest_config(parts: Parts, vision_dim: int, steps: int) -> TimesCLIPConfig:
    """The config of the stored weights: windows and horizons of up to `steps` steps."""
    named = {field.name: getattr(parts, field.name) for field in fields(Parts)}
    return TimesCLIPConfig(
        variates=1,
        window=steps,
        horizon=steps,
        vision_dim=vision_dim,
        level=True,
        shared_norm=True,
        filled=True,
        **named,
    )


def table_config(largest: TimesCLIPConfig, season: SeasonTensors, step_days: float) -> TimesCLIPConfig:
    """The config of a table's model. Whole seasons have positions by day, half seasons by number, as in the presets."""
    first, second = season.first.values.shape[2], season.second.values.shape[2]
    horizon = season.rest[0].shape[2]
    return TimesCLIPConfig(
        **asdict(largest)
        | {
            "variates": season.first.values.shape[1],
            "window": max(first, second),
            "horizon": horizon,
            "start": first,
            "steps": first if season.cut is not None else first + second,
            "step_days": step_days,
            "positions": "index" if season.cut is None else "day",
        }
    )
