"""The interface between the trainer and a task: module, training rows, loss and validation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from model.training.distributed import Processes

Outputs = Mapping[str, Tensor]  # outputs of a forward pass that the loss reads, each [b, ...]
Terms = dict[str, Tensor]  # "loss" is minimised, the others are logged


@dataclass(frozen=True, eq=False)
class Draw:
    """The training positions of one optimizer step.

    rows    [b] positions among the training rows
    total   rows of the whole step, over all processes
    views   [b] the view of each row (0: the series as measured), or None
    partner [b] the row that each row is mixed with, or None; `partner_views` its view, `weight` the row's own share
    """

    rows: Tensor
    total: int
    views: Tensor | None = None
    partner: Tensor | None = None
    partner_views: Tensor | None = None
    weight: float = 1.0

    def part(self, start: int, stop: int) -> Draw:
        """The rows from `start` to `stop` of this draw; `total` stays."""
        return self._each(lambda rows: rows[start:stop])

    def to(self, device: torch.device) -> Draw:
        """The same positions on a device."""
        return self._each(lambda rows: rows.to(device))

    def _each(self, change: Callable[[Tensor], Tensor]) -> Draw:
        views, partner, partner_views = (
            None if rows is None else change(rows) for rows in (self.views, self.partner, self.partner_views)
        )
        return Draw(
            rows=change(self.rows),
            total=self.total,
            views=views,
            partner=partner,
            partner_views=partner_views,
            weight=self.weight,
        )


class Batch(Protocol):
    """Gathered samples."""

    def __len__(self) -> int: ...

    def part(self, start: int, stop: int) -> Any:
        """The samples from `start` to `stop`."""
        ...


class Task(Protocol):
    """A module, its training rows, and the validation rows that select its epoch."""

    @property
    def module(self) -> nn.Module:
        """The module to train, already on the device of the processes."""
        ...

    @property
    def samples(self) -> int:
        """Number of training rows."""
        ...

    @property
    def weights(self) -> Tensor | None:
        """[samples] sampling weights, in proportion; None: each row once per epoch."""
        ...

    @property
    def views(self) -> int:
        """Number of views in addition to the series as measured."""
        ...

    @property
    def pretrained(self) -> tuple[str, ...]:
        """Name prefixes of pretrained parameters, which have their own learning rate."""
        ...

    @property
    def latest_forecasts(self) -> Tensor | None:
        """The last forecasts of the validation rows by `validate`, on the CPU, if they are kept for every epoch."""
        ...

    def batch(self, draw: Draw) -> Batch:
        """Gather the samples of a draw."""
        ...

    def forward(self, batch: Any) -> Outputs:
        """All outputs of the module that the loss reads. Row i depends on sample i alone."""
        ...

    def loss(self, outputs: Outputs, batch: Any, total: int, processes: Processes) -> Terms:
        """This process's share of the terms over all `total` rows of the step. The shares of all processes add up."""
        ...

    def validate(self, processes: Processes) -> dict[str, float]:
        """Metrics of the validation rows, the same in every process. "score" selects the epoch; lower is better."""
        ...
