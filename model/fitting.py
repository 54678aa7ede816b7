"""The training loop: index gathers over tensors in memory, OneCycleLR, early stopping, the best weights kept.

Both stages use it. It touches no file, draws nothing and never sees a test row: the caller gives it a loss over
training positions and a score over validation rows.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

Loss = Callable[[Tensor], dict[str, Tensor]]  # positions [b] -> terms; "loss" is what is minimised
Score = Callable[[], dict[str, float]]  # -> metrics on validation rows; "score" is what is compared, lower is better


OnEpoch = Callable[["Epoch"], None]


class Diverged(Exception):
    """A loss that is not finite; the message names epoch and step."""


@dataclass(frozen=True)
class Schedule:
    """How to train."""

    epochs: int = 60
    """Most epochs of training."""
    batch_size: int = 64
    """Samples a step."""
    lr: float = 1e-3
    """Highest learning rate of the one-cycle schedule."""
    weight_decay: float = 0.05
    """AdamW's decoupled weight decay."""
    warmup: float = 0.1
    """Share of the steps in which the learning rate rises."""
    patience: int = 12
    """Epochs without a better validation score before training stops."""
    clip: float = 1.0
    """Largest norm of the gradient."""


@dataclass(frozen=True)
class Epoch:
    """One line of metrics.jsonl."""

    epoch: int
    seconds: float
    lr: float
    samples_per_second: float
    train: dict[str, float]
    valid: dict[str, float]


@dataclass
class Fit:
    """What training came to. The module holds the weights of `best_epoch` (0: the initial ones were best)."""

    best_epoch: int
    best_score: float
    epochs: list[Epoch] = field(default_factory=list)
    interrupted: bool = False


class Trainer:
    """One module with its optimizer and one-cycle schedule over `samples` training positions."""

    def __init__(self, module: nn.Module, samples: int, schedule: Schedule, generator: torch.Generator) -> None:
        self.module, self.samples, self.schedule, self.generator = module, samples, schedule, generator
        self.parameters = [p for p in module.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(self.parameters, lr=schedule.lr, weight_decay=schedule.weight_decay)
        steps = math.ceil(samples / schedule.batch_size)
        self.rates = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, schedule.lr, total_steps=max(2, schedule.epochs * steps), pct_start=schedule.warmup
        )

    def epoch(self, number: int, loss_of: Loss, score_of: Score | None) -> Epoch:
        """One pass over the training positions in random order, then the validation score."""
        started, lr = time.perf_counter(), self.optimizer.param_groups[0]["lr"]
        self.module.train()
        sums: dict[str, float] = {}
        order = torch.randperm(self.samples, generator=self.generator)
        for step, positions in enumerate(torch.split(order, self.schedule.batch_size)):
            for name, term in self._step(number, step, loss_of(positions)).items():
                sums[name] = sums.get(name, 0.0) + term * len(positions)
        seconds = time.perf_counter() - started
        train = {name: total / self.samples for name, total in sums.items()}
        valid = score(self.module, score_of) if score_of else {}
        return Epoch(number, seconds, lr, self.samples / seconds, train, valid)

    def _step(self, epoch: int, step: int, terms: dict[str, Tensor]) -> dict[str, float]:
        values = {name: float(term.detach()) for name, term in terms.items()}
        if not all(math.isfinite(value) for value in values.values()):
            raise Diverged(
                f"the loss is not finite at epoch {epoch}, step {step}: {values}. Try a lower --schedule.lr "
                f"(it is {self.schedule.lr:g})."
            )
        self.optimizer.zero_grad(set_to_none=True)
        terms["loss"].backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.parameters, self.schedule.clip)
        self.optimizer.step()
        self.rates.step()
        return values


def fit(trainer: Trainer, loss_of: Loss, score_of: Score, on_epoch: OnEpoch = lambda epoch: None) -> Fit:
    """Train until the validation score stops improving and leave the module with its best weights.

    Ctrl-C ends training early and keeps the best weights so far. Raises Diverged when a loss is not finite.
    """
    module = trainer.module
    result = Fit(best_epoch=0, best_score=score(module, score_of)["score"])
    best = copy.deepcopy(module.state_dict())  # a real copy: state_dict() shares memory with the weights
    try:
        for number in range(1, trainer.schedule.epochs + 1):
            epoch = trainer.epoch(number, loss_of, score_of)
            result.epochs.append(epoch)
            on_epoch(epoch)
            if epoch.valid["score"] < result.best_score:
                result.best_score, result.best_epoch = epoch.valid["score"], number
                best = copy.deepcopy(module.state_dict())
            elif number - result.best_epoch >= trainer.schedule.patience:
                break
    except KeyboardInterrupt:
        result.interrupted = True
    module.load_state_dict(best)
    module.eval()
    return result


def refit(trainer: Trainer, loss_of: Loss, epochs: int) -> None:
    """Train exactly `epochs` epochs of the schedule: the second pass, on training and validation rows together."""
    for number in range(1, epochs + 1):
        trainer.epoch(number, loss_of, None)
    trainer.module.eval()


def score(module: nn.Module, score_of: Score) -> dict[str, float]:
    """The validation metrics, without gradients and without dropout. Raises Diverged when the score is not finite."""
    module.eval()
    with torch.inference_mode():
        metrics = score_of()
    if not math.isfinite(metrics["score"]):
        raise Diverged(f"the validation score is not finite: {metrics}")
    return metrics
