"""The training rows of each step of an epoch: shuffled, or weighted by yield, in views, mixed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import repeat

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.training.task import Draw, Task

MIXUP_WEIGHTS = (0.3, 0.7)
MOST_WEIGHT = 10.0  # times the median: so that a single extreme yield is not drawn in every batch


@dataclass(frozen=True)
class Sampling:
    """Sampling options of an epoch beyond shuffling."""

    mixup: bool = False


def epoch_draws(task: Task, batch_size: int, sampling: Sampling, generator: torch.Generator) -> Iterator[Draw]:
    """The steps of one epoch over all processes. With weights, as many rows as there are, drawn with replacement.

    All random numbers of the epoch come from `generator` before the first step, and are the same in every process.
    """
    if task.weights is None:
        order = torch.randperm(task.samples, generator=generator)
    else:
        order = torch.multinomial(task.weights, task.samples, replacement=True, generator=generator)
    views = torch.randint(task.views + 1, (task.samples,), generator=generator) if task.views else None
    of_views = repeat(None) if views is None else torch.split(views, batch_size)
    steps = list(zip(torch.split(order, batch_size), of_views, strict=False))
    if not sampling.mixup:
        yield from (Draw(rows, len(rows), view) for rows, view in steps)
        return
    low, high = MIXUP_WEIGHTS
    weights = low + (high - low) * torch.rand(len(steps), generator=generator, dtype=torch.float64)
    partners = [torch.randperm(len(rows), generator=generator) for rows, _ in steps]
    for (rows, view), weight, other in zip(steps, weights.tolist(), partners, strict=True):
        yield Draw(
            rows=rows,
            total=len(rows),
            views=view,
            partner=rows[other],
            partner_views=None if view is None else view[other],
            weight=weight,
        )


def balancing_weights(target: NDArray[np.float64]) -> Tensor:
    """[n] sampling weights of training rows: the inverse of the density of their targets [n] in t/ha.

    The density is a Gaussian kernel estimate with Scott's bandwidth (Scott 1992), interpolated from a grid of 256
    points so that the cost is linear in n. Weights are capped at ten times their median. Equal targets have equal
    weights.
    """
    spread = float(target.std())
    if spread == 0:
        return torch.ones(len(target), dtype=torch.float64)
    width = spread * len(target) ** (-1 / 5)
    edges = np.linspace(target.min() - 3 * width, target.max() + 3 * width, 257)
    counts, _ = np.histogram(target, edges)
    centres = (edges[:-1] + edges[1:]) / 2
    kernel = np.exp(-0.5 * ((centres[:, None] - centres) / width) ** 2)
    weights = 1 / np.interp(target, centres, kernel @ counts)
    return torch.from_numpy(np.minimum(weights, MOST_WEIGHT * np.median(weights)))
