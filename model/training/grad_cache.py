"""The gradient of one step over one batch, independent of the number of micro-batches and processes.

A contrastive loss compares every sample of the batch with every other, so the sum of the losses of micro-batches is a
different loss. Instead, the gradient is cached at the outputs (GradCache: Gao et al. 2021, arXiv 2101.06983). First
all micro-batches go forward without a graph. The loss on all outputs then gives the gradient of each output. Last, each
micro-batch goes forward again, with the same dropout, and passes its part of that gradient back to the weights. Memory:
the outputs and the graph of one micro-batch. Time: one more forward pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from model.training.distributed import Processes
from model.training.precision import Precision
from model.training.task import Outputs, Task, Terms
from model.training.timer import Clock


@dataclass(frozen=True)
class Share:
    """This process's samples of a step: the first `rows` of `batch` count, out of `total` over all processes."""

    batch: Any
    rows: int
    total: int


def add_gradients(
    task: Task, share: Share, micro_batches: int, *, precision: Precision, processes: Processes, clock: Clock
) -> Terms:
    """Add this process's share of the step's gradient to the parameters. Returns its share of the loss terms."""
    batch, total = share.batch, share.total
    bounds = _bounds(share.rows, micro_batches)
    if len(bounds) == 1:
        with clock("forward"):
            # A process without rows still takes part in collective operations, with zeros.
            own = {name: out[: share.rows] for name, out in _forward(task, batch, precision).items()}
            terms = task.loss(own, batch.part(0, share.rows), total, processes)
        with clock("backward"):
            precision.backward(terms["loss"])
        return terms
    states: list[Tensor] = []
    parts: list[Outputs] = []
    with clock("forward"):
        with torch.no_grad():
            for start, stop in bounds:
                states.append(rng_state(processes.device))
                parts.append(_forward(task, batch.part(start, stop), precision))
        cached = {name: torch.cat([part[name] for part in parts]).requires_grad_() for name in parts[0]}
        terms = task.loss(cached, batch, total, processes)
    with clock("backward"):
        precision.backward(terms["loss"])
        for (start, stop), state in zip(bounds, states, strict=True):
            with replayed(state, processes.device):
                outputs = _forward(task, batch.part(start, stop), precision)
            reached = {name: whole.grad for name, whole in cached.items() if whole.grad is not None}
            gradients = [gradient[start:stop] for gradient in reached.values()]
            torch.autograd.backward([outputs[name] for name in reached], gradients)
    return terms


def sum_gradients(parameters: list[nn.Parameter], processes: Processes) -> None:
    """Add up the gradients of all processes in one all-reduce of one flat buffer."""
    if processes.size == 1:
        return
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    total = processes.sum(torch.cat([gradient.flatten() for gradient in gradients]))
    for gradient, part in zip(gradients, torch.split(total, [g.numel() for g in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))


def rng_state(device: torch.device) -> Tensor:
    """The state of the random generator of a device, which dropout draws from, as bytes."""
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()


def set_rng_state(state: Tensor, device: torch.device) -> None:
    """Inverse of `rng_state`."""
    if device.type == "cuda":
        torch.cuda.set_rng_state(state, device)
    else:
        torch.set_rng_state(state)


@contextmanager
def replayed(state: Tensor, device: torch.device) -> Iterator[None]:
    """Inside, random numbers start from `state`. Afterwards the generator is as if nothing had been drawn."""
    after = rng_state(device)
    set_rng_state(state, device)
    yield
    set_rng_state(after, device)


def _forward(task: Task, batch: Any, precision: Precision) -> Outputs:
    with precision.autocast():
        outputs = task.forward(batch)
    low = (torch.bfloat16, torch.float16)  # the loss is computed in fp32 or higher
    return {name: output.float() if output.dtype in low else output for name, output in outputs.items()}


def _bounds(rows: int, parts: int) -> list[tuple[int, int]]:
    """`rows` in at most `parts` slices of nearly equal size, none empty; with no rows, one empty slice."""
    parts = max(1, min(parts, rows))
    ends = [rows * part // parts for part in range(parts + 1)]
    return list(pairwise(ends))
