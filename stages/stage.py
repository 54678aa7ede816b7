"""The interface between train.py and a stage.

`CompletionStage`, `ForecastStage` and `FinetuningStage` implement it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import pandas as pd
from torch import Tensor

from model.training.trainer import Trainer
from stages.inputs.fold_data import FoldData


class Outcome(Protocol):
    """What a stage has made of one fold: models, and forecasts of its test rows."""

    @property
    def prepared(self) -> FoldData:
        """The fold and its inputs."""
        ...

    @property
    def interrupted(self) -> bool:
        """Whether training was stopped before its end."""
        ...


@dataclass(frozen=True, eq=False, kw_only=True)
class StageResults:
    """Scores and tables of a stage over the test rows of all folds.

    metrics      of the run
    baselines    metrics of each baseline on the same rows, by name
    predictions  the table predictions.parquet
    tables       further tables by file name
    fields       further fields of result.json
    """

    metrics: Mapping[str, Any]
    baselines: Mapping[str, Mapping[str, Any]]
    predictions: pd.DataFrame
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    fields: Mapping[str, Any] = field(default_factory=dict)


class Stage(Protocol):
    """One stage of training. It trains one fold after another, keeps their outcomes, and describes them together."""

    @property
    def outcomes(self) -> Sequence[Outcome]:
        """The outcomes of the folds so far."""
        ...

    def train_fold(self, prepared: FoldData, trainer: Trainer) -> Outcome:
        """Train on the training rows of one fold, choose on its validation rows, and read its test rows once."""
        ...

    def results(self, seed: int) -> StageResults:
        """Scores of all outcomes. seed: of baselines that are random."""
        ...

    def weights(self) -> dict[str, Tensor]:
        """All tensors for model.safetensors. Names start with the fold."""
        ...

    def fitted(self) -> dict[str, dict[str, Any]]:
        """fitted.json: by fold, what a later stage or a prediction needs in addition to the weights."""
        ...
