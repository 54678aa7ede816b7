"""Batch size, number of epochs, learning rates, and the optimizer with its one-cycle schedule."""

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
    """Length and speed of training."""

    epochs: int = 60
    """Maximum number of epochs."""
    batch_size: int = 64
    """Samples per optimizer step, over all processes."""
    accumulate: int = 1
    """Micro-batches per optimizer step, to save memory; the gradient is that of the whole batch."""
    lr: float = 1e-3
    """Maximum learning rate of the one-cycle schedule."""
    lr_pretrained: float = 1e-4
    """Maximum learning rate of pretrained parts."""
    weight_decay: float = 0.05
    """AdamW's decoupled weight decay."""
    warmup: float = 0.1
    """Share of the optimizer steps in which the learning rate rises."""
    patience: int = 12
    """Stop after this many epochs without a better validation score."""
    clip: float = 1.0
    """Maximum norm of the gradient."""

    def steps(self, samples: int) -> int:
        """Optimizer steps per epoch; the last batch may be smaller."""
        return math.ceil(samples / self.batch_size)


def optimizer_of(module: nn.Module, schedule: Schedule, pretrained: Sequence[str]) -> torch.optim.AdamW:
    """AdamW with one group of new and one of pretrained parameters; parameters without gradient are left out."""
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
    """Cosine up over the warm-up and down over the rest (Smith & Topin 2018), advanced once per optimizer step."""
    steps = max(3, schedule.epochs * schedule.steps(samples))
    warmup = max(
        schedule.warmup, 2 / steps
    )  # torch divides by the lengths of rise and fall, so each has at least one step
    rates = [group["lr"] for group in optimizer.param_groups]
    return OneCycleLR(optimizer, rates, total_steps=steps, pct_start=warmup)
