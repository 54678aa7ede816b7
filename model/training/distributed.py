"""One process or several, on CPUs or GPUs: device, shards, sums and gathers, through accelerate.

Work is split by slicing, so no row counts twice and none is padded. Sums are exact for any number of processes. Start
several with `torchrun --nproc-per-node 2 train.py ...` or `accelerate launch`.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import torch
from accelerate import Accelerator, InitProcessGroupKwargs
from torch import Tensor

from model.training.errors import ProcessLost, Refused

CPU = torch.device("cpu")
PATIENCE = timedelta(minutes=30)  # time-out of a process that waits for another; the first one may be scoring
DeviceName = Literal["auto", "cpu", "cuda"]


@dataclass(frozen=True, eq=False)
class Processes:
    """This process among `size`; the default is a single one on the CPU."""

    rank: int = 0
    size: int = 1
    device: torch.device = CPU
    accelerator: Accelerator | None = None

    @staticmethod
    def start(device: DeviceName) -> Processes:
        """Join the processes that torchrun started, if it did. Raises Refused if the requested GPU is missing."""
        if device == "cuda" and not torch.cuda.is_available():
            raise Refused(
                "--device cuda: torch finds no CUDA GPU here. Leave --device out to train on the CPU, or install a "
                "torch build and a driver that see it (`python -c 'import torch; print(torch.cuda.is_available())'`)."
            )
        # Without cpu=True accelerate does not join torchrun's processes on a machine without a GPU.
        on_cpu = device == "cpu" or not torch.cuda.is_available()
        accelerator = Accelerator(cpu=on_cpu, kwargs_handlers=[InitProcessGroupKwargs(timeout=PATIENCE)])
        return Processes(
            rank=accelerator.process_index,
            size=accelerator.num_processes,
            device=accelerator.device,
            accelerator=accelerator,
        )

    @property
    def is_main(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0

    def share(self, rows: int) -> tuple[int, int]:
        """Start and stop of this process's slice of `rows` rows. Sizes differ by at most one."""
        size, more = divmod(rows, self.size)
        start = self.rank * size + min(self.rank, more)
        return start, start + size + (self.rank < more)

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum over all processes, returned in each of them."""
        if self.accelerator is None or self.size == 1:
            return tensor
        with self._together():
            total: Tensor = self.accelerator.reduce(tensor.contiguous(), "sum")
        return total

    def stack(self, tensor: Tensor) -> Tensor:
        """[...] of every process -> [size, ...], returned in each of them."""
        if self.accelerator is None or self.size == 1:
            return tensor[None]
        with self._together():
            gathered: Tensor = self.accelerator.gather(tensor[None].contiguous())
        return gathered

    def gather_rows(self, rows: Tensor) -> tuple[Tensor, int]:
        """[m, ...] of each process, where m may differ -> all rows [M, ...] in order of rank, and the start of its own.

        Gradients flow back to the process that each row came from.
        """
        if self.size == 1:
            return rows, 0
        counts = self.stack(torch.tensor(len(rows), device=rows.device)).tolist()
        gathered: Tensor = _GatherRows.apply(rows, self, counts)
        return gathered, sum(counts[: self.rank])

    def end(self) -> None:
        """Leave the process group; the last call."""
        if self.accelerator is not None and self.size > 1:
            self.accelerator.end_training()

    def wait(self) -> None:
        """Block until every process is here."""
        if self.accelerator is not None:
            with self._together():
                self.accelerator.wait_for_everyone()

    @contextmanager
    def _together(self) -> Iterator[None]:
        """Context of a collective operation. Raises ProcessLost if a connection ends or times out after PATIENCE."""
        try:
            yield
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:  # from gloo, or its subclass from NCCL
            raise ProcessLost(
                f"process {self.rank} of {self.size} lost the others ({str(error).splitlines()[0]}). One of them "
                f"stopped and printed the reason, or did not answer for {PATIENCE.seconds // 60} minutes. When that is "
                "fixed, --resume continues from the last checkpoint."
            ) from error


ALONE = Processes()


def tell_launcher(message: str) -> None:
    """Write the message to the file in which torchrun reads why a process failed; without torchrun do nothing."""
    file = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if file:
        record = {"message": message, "extraInfo": {"timestamp": str(int(time.time()))}}
        Path(file).write_text(json.dumps({"message": record}))


class _GatherRows(torch.autograd.Function):
    """All-gather with gradients: the gradient of a row is the sum of its gradients in every process."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, processes: Processes, counts: list[int]) -> Tensor:
        ctx.processes, ctx.counts = processes, counts
        padded = rows.new_zeros(max(counts), *rows.shape[1:])
        padded[: len(rows)] = rows
        return torch.cat([part[:count] for part, count in zip(processes.stack(padded), counts, strict=True)])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        total = ctx.processes.sum(gradients[0])
        start = sum(ctx.counts[: ctx.processes.rank])
        return total[start : start + ctx.counts[ctx.processes.rank]], None, None
