"""Move the tables of training rows to the training device, or fail before the first one is moved."""

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
        """The same data on a device."""
        ...


Table = TypeVar("Table", bound=Movable)


def free_bytes(device: torch.device) -> int | None:
    """Free bytes on a GPU; None on a CPU, where the tables already are."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None


def move_to_device(
    tables: Sequence[Table], device: torch.device, free: Callable[[torch.device], int | None] = free_bytes
) -> list[Table]:
    """Move the tables (as measured, then one per view) to the device. Raises Refused if they do not fit.

    Batches are gathered on the device, so all tables must fit. GPUs do not swap.
    """
    needed, available = sum(tensor.nbytes for table in tables for tensor in tensors_of(table)), free(device)
    if available is not None and needed + ROOM_TO_WORK > available:
        raise Refused(
            f"the numbers and vectors of all samples{f' in {len(tables)} views' if len(tables) > 1 else ''} take "
            f"{needed / 1e9:.1f} GB, and {device} ({describe(device)}) has {available / 1e9:.1f} GB free, of which "
            f"training needs {ROOM_TO_WORK / 1e9:.1f} GB. Free memory on it, train with --device cpu, "
            "or take fewer --views or an encoder with shorter embeddings."
        )
    return [table.to(device) for table in tables]


def tensors_of(thing: Any) -> Iterator[Tensor]:
    """Every tensor in a dataclass and the dataclasses in it."""
    if isinstance(thing, Tensor):
        yield thing
    elif is_dataclass(thing):
        for field in fields(thing):
            yield from tensors_of(getattr(thing, field.name))
