"""How long and how fast: batches, learning rates, and the optimizer with its one-cycle schedule."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import OneCycleLR


@dataclass(frozen=True)
class Schedule:
    """How to train."""

    epochs: int = 60
    """Most epochs of training."""
    batch_size: int = 64
    """Samples of one optimizer step, over all processes."""
    accumulate: int = 1
    """Micro-batches that a step is computed in; the result is that of the whole batch."""
    lr: float = 1e-3
    """Highest learning rate of the one-cycle schedule."""
    lr_pretrained: float = 1e-4
    """The same for parts that were trained before."""
    weight_decay: float = 0.05
    """AdamW's decoupled weight decay."""
    warmup: float = 0.1
    """Share of the steps in which the learning rate rises."""
    patience: int = 12
    """Epochs without a better validation score before training stops."""
    clip: float = 1.0
    """Largest norm of the gradient."""

    def steps(self, samples: int) -> int:
        """Optimizer steps of an epoch; the last batch may be short."""
        return math.ceil(samples / self.batch_size)


def optimizer_of(module: nn.Module, schedule: Schedule, pretrained: Sequence[str]) -> torch.optim.AdamW:
    """AdamW with a group of new and one of pretrained parameters; those never trained are left out."""
    groups: dict[float, list[nn.Parameter]] = {schedule.lr: [], schedule.lr_pretrained: []}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            groups[schedule.lr_pretrained if name.startswith(tuple(pretrained)) else schedule.lr].append(parameter)
    return torch.optim.AdamW(
        [{"params": parameters, "lr": rate} for rate, parameters in groups.items() if parameters],
        lr=schedule.lr,
        weight_decay=schedule.weight_decay,
    )


def one_cycle(optimizer: Optimizer, schedule: Schedule, samples: int) -> OneCycleLR:
    """Cosine up over the warm-up and down over the rest (Smith & Topin 2018), stepped once an optimizer step."""
    steps = max(3, schedule.epochs * schedule.steps(samples))
    warmup = max(schedule.warmup, 2 / steps)  # torch divides by the length of rise and fall: one step each at least
    rates = [group["lr"] for group in optimizer.param_groups]
    return OneCycleLR(optimizer, rates, total_steps=steps, pct_start=warmup)
