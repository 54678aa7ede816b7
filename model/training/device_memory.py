"""The tables that training reads, on its device: all of them, or an answer before the first is moved."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from model.training.errors import Refused
from model.training.precision import describe

ROOM_TO_WORK = 1 << 30  # bytes left for the model, its activations and CUDA itself


class Movable(Protocol):
    """A dataclass of tensors."""

    def to(self, device: torch.device) -> Any:
        """The same on a device."""
        ...


Table = TypeVar("Table", bound=Movable)


def free_bytes(device: torch.device) -> int | None:
    """What is free on a GPU; None on a CPU, where the tables are already."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None


def move_to_device(
    tables: Sequence[Table], device: torch.device, free: Callable[[torch.device], int | None] = free_bytes
) -> list[Table]:
    """The tables (as measured, then a view each) on the device. Raises Refused where they do not fit into what is free.

    Batches are gathered there, so all of them must; GPUs do not swap.
    """
    needed, there = sum(tensor.nbytes for table in tables for tensor in tensors_of(table)), free(device)
    if there is not None and needed + ROOM_TO_WORK > there:
        raise Refused(
            f"the numbers and vectors of all samples{f' in {len(tables)} views' if len(tables) > 1 else ''} take "
            f"{needed / 1e9:.1f} GB, and {device} ({describe(device)}) has {there / 1e9:.1f} GB free, of which "
            f"{ROOM_TO_WORK / 1e9:.1f} GB are for training itself. Free it, train with --device cpu, "
            "or take fewer --views or an encoder with shorter vectors."
        )
    return [table.to(device) for table in tables]


def tensors_of(thing: Any) -> Iterator[Tensor]:
    """Every tensor in a dataclass and the dataclasses in it."""
    if isinstance(thing, Tensor):
        yield thing
    elif is_dataclass(thing):
        for field in fields(thing):
            yield from tensors_of(getattr(thing, field.name))
