"""What a stopped run needs to go on: tensors and numbers, no objects. Who keeps them is up to the `StateStore`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor
from torch.optim import Optimizer

from model.training.distributed import Processes
from model.training.grad_cache import rng_state, set_rng_state


@dataclass(frozen=True, eq=False)
class TrainingState:
    """One state of one phase (such as the training of one fold).

    weights    of the module now
    best       of the module at its best epoch
    optimizer  AdamW's moments by parameter, random number generators, and the terms of the epoch so far
    numbers    everything else, fit for JSON
    finished   whether the phase is over; then only `best`, `forecasts` and `numbers` are kept
    forecasts  of the rows that judge, before the first epoch and after each, where the task has any: [1 + epochs, ...]
    """

    weights: Mapping[str, Tensor]
    best: Mapping[str, Tensor]
    optimizer: Mapping[str, Tensor]
    numbers: Mapping[str, Any]
    finished: bool = False
    forecasts: Tensor | None = None


class StateStore(Protocol):
    """Where states are kept."""

    steps: int
    """Optimizer steps after which a state is kept in mid-epoch."""

    def load(self, phase: str) -> TrainingState | None:
        """The newest state of a phase."""
        ...

    def due(self) -> bool:
        """Whether it is time to keep a state at the end of an epoch; asked in the main process."""
        ...

    def save(self, phase: str, saved: TrainingState) -> None:
        """Keep a state; called in the main process."""
        ...


class NoStateStore:
    """Keeps nothing."""

    steps = 2**62

    def load(self, phase: str) -> TrainingState | None:
        """Nothing."""
        return None

    def due(self) -> bool:
        """Never."""
        return False

    def save(self, phase: str, saved: TrainingState) -> None:
        """Nothing."""


def optimizer_tensors(optimizer: Optimizer, names: Mapping[int, str]) -> dict[str, Tensor]:
    """AdamW's state as `<parameter>/<moment>`; names: of the parameters, by their `id`."""
    return {
        f"{names[id(parameter)]}/{key}": value
        for parameter, state in optimizer.state.items()
        for key, value in state.items()
    }


def restore_optimizer(optimizer: Optimizer, names: Mapping[int, str], tensors: Mapping[str, Tensor]) -> None:
    """Inverse of `optimizer_tensors`."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            start = f"{names[id(parameter)]}/"
            state = {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}
            if state:  # the count of steps stays on the CPU, where AdamW keeps it
                optimizer.state[parameter] = {
                    key: value.clone() if key == "step" else value.to(parameter) for key, value in state.items()
                }


def random_states(processes: Processes) -> Tensor:
    """What dropout draws from in every process, [size, bytes]; called in all of them."""
    return processes.stack(rng_state(processes.device).to(processes.device)).cpu()


def restore_random(states: Tensor, processes: Processes) -> None:
    """Inverse of `random_states`; the number of processes must be the same."""
    set_rng_state(states[processes.rank].clone(), processes.device)
