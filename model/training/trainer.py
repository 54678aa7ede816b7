"""The training loop: optimizer steps, early stopping, best weights, and states to resume from.

Every stage uses it. It reads and writes no file and never gets a test row.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from model.training.distributed import Processes
from model.training.errors import Diverged, Refused
from model.training.freezing import Freeze
from model.training.grad_cache import Share, add_gradients, sum_gradients
from model.training.optim import Schedule, one_cycle, optimizer_of
from model.training.precision import Precision
from model.training.sampling import Sampling, epoch_draws
from model.training.state import (
    NoStateStore,
    StateStore,
    TrainingState,
    optimizer_tensors,
    random_states,
    restore_optimizer,
    restore_random,
)
from model.training.task import Task
from model.training.timer import Clock


@dataclass(frozen=True)
class Epoch:
    """One line of metrics.jsonl. `parts`: seconds of data, forward, backward, optimizer, evaluation and save."""

    epoch: int
    step: int
    seconds: float
    lr: float
    samples_per_second: float
    train: dict[str, float]
    valid: dict[str, float]
    parts: dict[str, float]


@dataclass
class Fit:
    """The result of training. The module holds the weights of `best_epoch` (0: the initial weights were best)."""

    best_epoch: int
    best_score: float
    first_score: float  # before the first epoch
    epochs: list[Epoch] = field(default_factory=list)
    interrupted: bool = False
    forecasts: Tensor | None = None  # [1 + epochs, ...] of the validation rows, if the task keeps them

    @property
    def scores(self) -> list[float]:
        """The validation score before the first epoch and after each."""
        return [self.first_score, *(epoch.valid["score"] for epoch in self.epochs)]


class Listener(Protocol):
    """Receives the progress of training, in the main process only."""

    def on_step(self, phase: str, epoch: int, step: int, steps: int) -> None:
        """After each optimizer step: `step` of `steps` in this epoch."""
        ...

    def on_epoch(self, phase: str, epoch: Epoch) -> None:
        """After each epoch."""
        ...


class Silent:
    """Ignores the progress."""

    def on_step(self, phase: str, epoch: int, step: int, steps: int) -> None:
        """Do nothing."""

    def on_epoch(self, phase: str, epoch: Epoch) -> None:
        """Do nothing."""


@dataclass(frozen=True)
class Trainer:
    """The training settings of every phase of a run."""

    schedule: Schedule
    seed: int = 0
    sampling: Sampling = field(default_factory=Sampling)
    freeze: Freeze = field(default_factory=Freeze)
    processes: Processes = field(default_factory=Processes)
    precision: Precision = field(default_factory=lambda: Precision("fp32", torch.device("cpu")))
    compile: bool = False
    states: StateStore = field(default_factory=NoStateStore)
    listener: Listener = field(default_factory=Silent)

    def fit(self, task: Task, phase: str) -> Fit:
        """Train until the validation score stops improving, then restore the best weights.

        Ctrl-C ends the training of a single process early and keeps the best weights so far. Raises Diverged if a loss
        is not finite, and Refused if there are fewer training rows than processes.
        """
        return _Course(self, task, phase).run(self.schedule.epochs, choose=True)

    def refit(self, task: Task, phase: str, epochs: int) -> None:
        """Train exactly `epochs` epochs of the schedule, without validation. Ctrl-C ends the program."""
        _Course(self, task, phase).run(epochs, choose=False)


class _Course:
    """One phase in progress: module, optimizer, schedule, and the position in them."""

    def __init__(self, trainer: Trainer, task: Task, phase: str) -> None:
        self.trainer, self.task, self.phase = trainer, task, phase
        self.module, self.schedule, self.processes = task.module, trainer.schedule, trainer.processes
        if task.samples < self.processes.size:
            raise Refused(f"{task.samples} training samples are too few for {self.processes.size} processes.")
        if trainer.compile:
            self.module.compile()
        self.names = {id(parameter): name for name, parameter in self.module.named_parameters()}
        self.optimizer = optimizer_of(self.module, self.schedule, task.pretrained)
        self.parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        self.rates = one_cycle(self.optimizer, self.schedule, task.samples)
        self.generator = torch.Generator().manual_seed(trainer.seed)
        self.order = self.generator.get_state()  # at the start of the epoch
        self.clock = Clock(self.processes.device)
        self.terms: list[Tensor] = []  # per step of this epoch: this process's share times the rows of the step
        self.names_of_terms: list[str] = []
        self.done_steps, self.finished = 0, False  # of this epoch; of the phase
        self.rate = 0.0  # at the start of the epoch
        self.fit = Fit(best_epoch=0, best_score=math.inf, first_score=math.inf)
        self.forecasts_so_far: list[Tensor] = []

    def run(self, epochs: int, choose: bool) -> Fit:
        if not self.restore():
            if choose:
                self.fit.first_score = self.fit.best_score = self.score()["score"]
            self.best = copied(self.module)
            if self.processes.rank:  # the first process draws the dropout of a single process, the others their own
                torch.manual_seed(self.trainer.seed + 1_000_003 * self.processes.rank)
        elif self.finished:
            self.module.eval()
            return self.fit
        try:
            for number in range(len(self.fit.epochs) + 1, epochs + 1):
                epoch = self.epoch(number, choose)
                self.fit.epochs.append(epoch)
                if choose and epoch.valid["score"] < self.fit.best_score:
                    self.fit.best_score, self.fit.best_epoch = epoch.valid["score"], number
                    self.best = copied(self.module)
                if self.processes.is_main:
                    self.trainer.listener.on_epoch(self.phase, epoch)
                if choose and number - self.fit.best_epoch >= self.schedule.patience:
                    break
                self.order, self.done_steps, self.terms = self.generator.get_state(), 0, []
                if self.is_due():
                    self.save()
        except KeyboardInterrupt:
            # Each of several processes would stop at a step of its own, and the others would wait for it. A refit with
            # fewer epochs than requested is not valid.
            if self.processes.size > 1 or not choose:
                raise
            self.fit.interrupted = True
        if not choose:
            self.best = copied(self.module)
        self.module.load_state_dict(self.best)
        self.module.eval()
        if not self.fit.interrupted:
            self.save(finished=True)
        self.fit.forecasts = self.forecasts()
        return self.fit

    def forecasts(self) -> Tensor | None:
        """Forecasts of the validation rows, before the first epoch and after each."""
        return torch.stack(self.forecasts_so_far) if self.forecasts_so_far else None

    def epoch(self, number: int, choose: bool) -> Epoch:
        """One pass over the training rows, then the validation score."""
        started, before = time.perf_counter(), self.done_steps
        self.trainer.freeze.apply(self.module, number)
        self.module.train()
        self.trainer.freeze.still(self.module, number)
        steps, rows = self.schedule.steps(self.task.samples), 0
        if not before:
            self.rate = self.optimizer.param_groups[0]["lr"]
        for step, draw in enumerate(self.draws()):
            if step < before:  # done before the run was stopped
                continue
            self.step(draw)
            rows += draw.total
            self.done_steps = step + 1
            if self.processes.is_main:
                self.trainer.listener.on_step(self.phase, number, step + 1, steps)
            if self.done_steps % self.trainer.states.steps == 0 and self.done_steps < steps:
                self.save()
        train = self.train_terms(number)
        seconds = time.perf_counter() - started
        with self.clock("evaluation"):
            valid = self.score() if choose else {}
        taken = (number - 1) * steps + self.done_steps
        return Epoch(
            epoch=number,
            step=taken,
            seconds=seconds,
            lr=self.rate,
            samples_per_second=rows / seconds,
            train=train,
            valid=valid,
            parts=self.clock.take(),
        )

    def draws(self) -> Iterator[Any]:
        return epoch_draws(self.task, self.schedule.batch_size, self.trainer.sampling, self.generator)

    def step(self, draw: Any) -> None:
        """One optimizer step over one batch of all processes."""
        processes = self.processes
        with self.clock("data"):
            start, stop = processes.share(draw.total)
            rows = draw.part(start, stop) if stop > start else draw.part(0, 1)
            share = Share(self.task.batch(rows.to(processes.device)), stop - start, draw.total)
        self.optimizer.zero_grad(set_to_none=True)
        trainer = self.trainer
        terms = add_gradients(
            self.task,
            share,
            self.schedule.accumulate,
            precision=trainer.precision,
            processes=processes,
            clock=self.clock,
        )
        with self.clock("optimizer"):
            sum_gradients(self.parameters, processes)
            if trainer.precision.step(self.optimizer, self.parameters, self.schedule.clip):
                self.rates.step()
        self.names_of_terms = list(terms)
        self.terms.append(torch.stack([term.detach() for term in terms.values()]) * draw.total)

    def train_terms(self, number: int) -> dict[str, float]:
        """Means of the terms over the epoch. Raises Diverged at the first step whose terms are not finite."""
        terms = self.processes.sum(torch.stack(self.terms)).double().cpu()  # [steps, terms]
        finite = terms.isfinite().all(1)
        if not finite.all():
            step = int(finite.int().argmin())
            values = dict(zip(self.names_of_terms, terms[step].tolist(), strict=True))
            raise Diverged(
                f"the loss is not finite at epoch {number}, step {step}: {values}. Try a lower --lr (it is "
                f"{self.schedule.lr:g})."
            )
        means = terms.sum(0) / self.task.samples
        return dict(zip(self.names_of_terms, means.tolist(), strict=True))

    def score(self) -> dict[str, float]:
        """The validation metrics, without gradients and without dropout. Raises Diverged if they are not finite."""
        self.module.eval()
        with torch.inference_mode():
            metrics = self.task.validate(self.processes)
        if self.task.latest_forecasts is not None:
            self.forecasts_so_far.append(self.task.latest_forecasts)
        if not math.isfinite(metrics["score"]):
            raise Diverged(f"the validation score is not finite: {metrics}")
        return metrics

    def is_due(self) -> bool:
        """Whether to save a state now. The main process decides; all processes get the same answer."""
        states, processes = self.trainer.states, self.processes
        wanted = torch.tensor(float(processes.is_main and states.due()), device=processes.device)
        return bool(processes.sum(wanted) > 0)

    def save(self, finished: bool = False) -> None:
        """Pass the state to the state store, from the main process; all processes take part."""
        with self.clock("save"):
            if self.terms and not finished:
                self.train_terms(len(self.fit.epochs) + 1)  # raises if the loss is not finite: such a state is useless
            random = random_states(self.processes)
            terms = self.processes.sum(torch.stack(self.terms)) if self.terms else torch.zeros(0)
            if not self.processes.is_main:
                return
            optimizer = optimizer_tensors(self.optimizer, self.names) | {
                "random": random, "order": self.order, "terms": terms,
            }  # fmt: skip
            numbers = {
                "best_epoch": self.fit.best_epoch,
                "best_score": self.fit.best_score if math.isfinite(self.fit.best_score) else None,
                "first_score": self.fit.first_score if math.isfinite(self.fit.first_score) else None,
                "epochs": [asdict(epoch) for epoch in self.fit.epochs],
                "interrupted": self.fit.interrupted,
                "done_steps": self.done_steps,
                "rate": self.rate,
                "terms": self.names_of_terms,
                "groups": [{"lr": group["lr"], "betas": list(group["betas"])} for group in self.optimizer.param_groups],
                "rates": {k: v for k, v in self.rates.state_dict().items() if isinstance(v, (int, float, list))},
                "scaler": self.trainer.precision.scaler.state_dict(),
                "processes": self.processes.size,
            }
            state = TrainingState(
                weights=self.module.state_dict(),
                best=self.best,
                optimizer=optimizer,
                numbers=numbers,
                finished=finished,
                forecasts=self.forecasts(),
            )
            self.trainer.states.save(self.phase, state)

    def restore(self) -> bool:
        """Load the newest state of this phase; returns False if there is none."""
        saved = self.trainer.states.load(self.phase)
        if saved is None:
            return False
        numbers, self.finished = saved.numbers, saved.finished
        best, first = (
            math.inf if score is None else score for score in (numbers["best_score"], numbers["first_score"])
        )
        epochs = [Epoch(**epoch) for epoch in numbers["epochs"]]
        self.fit = Fit(
            best_epoch=numbers["best_epoch"],
            best_score=best,
            first_score=first,
            epochs=epochs,
            interrupted=numbers["interrupted"],
        )
        self.best = {name: tensor.to(self.processes.device) for name, tensor in saved.best.items()}
        self.forecasts_so_far = [] if saved.forecasts is None else list(saved.forecasts)
        if saved.finished:
            self.fit.forecasts = saved.forecasts
            self.module.load_state_dict(self.best)
            return True
        if numbers["processes"] != self.processes.size:
            raise Refused(
                f"this run was trained by {numbers['processes']} processes and is resumed with {self.processes.size}; "
                f"start it with torchrun --nproc-per-node {numbers['processes']}."
            )
        self.module.load_state_dict(saved.weights)
        restore_optimizer(self.optimizer, self.names, saved.optimizer)
        restore_random(saved.optimizer["random"], self.processes)
        self.order = saved.optimizer["order"]
        self.generator.set_state(self.order)
        self.rates.load_state_dict(numbers["rates"])
        for group, now in zip(self.optimizer.param_groups, numbers["groups"], strict=True):
            group["lr"], group["betas"] = now["lr"], tuple(now["betas"])  # the schedule changes the momentum too
        self.trainer.precision.scaler.load_state_dict(numbers["scaler"])
        self.done_steps, self.names_of_terms = numbers["done_steps"], numbers["terms"]
        self.rate = numbers["rate"]
        own = (
            1.0 if self.processes.is_main else 0.0
        )  # the saved terms are the sum over all processes; one of them continues it
        self.terms = list(saved.optimizer["terms"].to(self.processes.device) * own) if self.done_steps else []
        return True


def copied(module: nn.Module) -> dict[str, Tensor]:
    """A copy of the weights; `state_dict()` alone shares memory with them."""
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}
