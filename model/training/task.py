"""What the loop asks of a thing that can be trained, and what it hands to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from model.training.distributed import Processes

Outputs = Mapping[str, Tensor]  # what the loss reads of a forward pass, each [b, ...]
Terms = dict[str, Tensor]  # "loss" is what is minimised


@dataclass(frozen=True, eq=False)
class Draw:
    """The training positions of one optimizer step.

    rows    [b] among the training rows
    total   rows of the whole step, over all processes
    views   [b] which view of each row (0: the series as it was measured), or None
    partner [b] the row that each is mixed with, its view, and the share `weight` of the row itself, or None
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
        return Draw(change(self.rows), self.total, views, partner, partner_views, self.weight)


class Batch(Protocol):
    """Some samples, gathered."""

    def __len__(self) -> int: ...

    def part(self, start: int, stop: int) -> Any:
        """The samples from `start` to `stop`."""
        ...


class Task(Protocol):
    """A module, the rows it learns from and the rows that choose its epoch."""

    @property
    def module(self) -> nn.Module:
        """What is trained, already on the device of the processes."""
        ...

    @property
    def samples(self) -> int:
        """Number of training rows."""
        ...

    @property
    def weights(self) -> Tensor | None:
        """[samples] how often each row is drawn, in proportion; None: each once an epoch."""
        ...

    @property
    def views(self) -> int:
        """How many views there are beside the series as measured."""
        ...

    @property
    def pretrained(self) -> tuple[str, ...]:
        """Beginnings of the names of parameters that were trained before and learn at a rate of their own."""
        ...

    @property
    def judged(self) -> Tensor | None:
        """What `validate` forecast last of its rows, on the CPU, where that is to be kept of every epoch."""
        ...

    def batch(self, draw: Draw) -> Batch:
        """Gather the samples of a draw."""
        ...

    def forward(self, batch: Any) -> Outputs:
        """Everything of the module that the loss reads: row i depends on sample i alone."""
        ...

    def loss(self, outputs: Outputs, batch: Any, total: int, processes: Processes) -> Terms:
        """This process's share of the terms over all `total` rows of the step: the shares of all processes add up."""
        ...

    def validate(self, processes: Processes) -> dict[str, float]:
        """Metrics over the validation rows, the same in every process; "score" is compared, lower is better."""
        ...
