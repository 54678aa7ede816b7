"""The state from which a stopped training resumes: tensors and numbers, no objects. A `StateStore` saves it."""

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
    """One state of one phase, such as the training of one fold.

    weights    of the module now
    best       of the module at its best epoch
    optimizer  AdamW's moments by parameter, random number generators, and the loss terms of the epoch so far
    numbers    everything else, as JSON
    finished   whether the phase is over; then only `best`, `forecasts` and `numbers` are saved
    forecasts  of the validation rows, before the first epoch and after each, if the task has any: [1 + epochs, ...]
    """

    weights: Mapping[str, Tensor]
    best: Mapping[str, Tensor]
    optimizer: Mapping[str, Tensor]
    numbers: Mapping[str, Any]
    finished: bool = False
    forecasts: Tensor | None = None


class StateStore(Protocol):
    """Saves and loads states."""

    steps: int
    """Optimizer steps between two states within an epoch."""

    def load(self, phase: str) -> TrainingState | None:
        """The newest state of a phase, or None."""
        ...

    def due(self) -> bool:
        """Whether to save a state at the end of this epoch; called in the main process."""
        ...

    def save(self, phase: str, saved: TrainingState) -> None:
        """Save a state; called in the main process."""
        ...


class NoStateStore:
    """Saves nothing."""

    steps = 2**62

    def load(self, phase: str) -> TrainingState | None:
        """None."""
        return None

    def due(self) -> bool:
        """Never."""
        return False

    def save(self, phase: str, saved: TrainingState) -> None:
        """Do nothing."""


def optimizer_tensors(optimizer: Optimizer, names: Mapping[int, str]) -> dict[str, Tensor]:
    """AdamW's state as `<parameter>/<moment>`. names: parameter names by `id`."""
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
            if state:  # AdamW holds the step count on the CPU
                optimizer.state[parameter] = {
                    key: value.clone() if key == "step" else value.to(parameter) for key, value in state.items()
                }


def random_states(processes: Processes) -> Tensor:
    """The state of dropout's random generator in every process, [size, bytes]; called in all of them."""
    return processes.stack(rng_state(processes.device).to(processes.device)).cpu()


def restore_random(states: Tensor, processes: Processes) -> None:
    """Inverse of `random_states`; the number of processes must be the same."""
    set_rng_state(states[processes.rank].clone(), processes.device)
