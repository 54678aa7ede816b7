"""Training progress: on a terminal a live bar, elsewhere one line per part. Epochs are shown on request only."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from report.progress import LINE_EVERY

PARTS = {  # the last word of a phase, and what a person reads
    "train": "training",
    "parts": "fitting yield heads without a part of the rows, to see how long to train",
    "refit": "fitting yield heads on all training rows",
    "learners": "fitting the other learners without a part of the rows",
    "last": "fitting the other learners on all training rows",
}
EPOCHS = ("train", "parts", "refit")  # parts that have epochs
OF_FOLD = re.compile(r" (without part \d+|first)$")  # parts of a fold that share a line


class TrainingDisplay:
    """Shows one fold after the other. `close` restores the terminal.

    epochs   the largest number of epochs
    verbose  whether each epoch has a line of losses, speed and seconds (on a terminal, a table of the last one)
    """

    def __init__(self, epochs: int, verbose: bool = False, console: Console | None = None) -> None:
        self.console = console or Console()
        self.epochs, self.verbose = epochs, verbose
        self.phase, self.part = "", ("", "")
        self.began = self.last = time.perf_counter()
        self.row: Mapping[str, Any] | None = None
        self.best = (float("inf"), 0)  # validation score, epoch
        self.first = 0  # epoch; above 1 if the part was resumed
        columns = (TextColumn("{task.description}"), BarColumn(bar_width=20), MofNCompleteColumn(), TextColumn("steps"))
        self.bar = Progress(*columns, TimeRemainingColumn(), console=self.console)
        self.task = self.bar.add_task("", total=None)
        self.live: Live | None = None

    def step(self, phase: str, epoch: int, step: int, steps: int) -> None:
        """Show that a step of an epoch is done. `phase` is <fold>/<part>, with a part of PARTS."""
        self._enter(phase)
        if not self.console.is_terminal:
            return
        if self.live is None:
            self.live = Live(self._shown(), console=self.console, refresh_per_second=8, transient=True)
            self.live.start()
        if phase != self.phase:
            self.bar.reset(self.task, total=steps * (self.epochs if self.part[1] in EPOCHS else 1))
        self.phase = phase
        done = (epoch - 1) * steps + step
        what = f"epoch {epoch}" if self.part[1] in EPOCHS else "learners"
        self.bar.update(self.task, completed=done, description=f"fold {self.part[0]}, {what}")

    def epoch(self, phase: str, row: Mapping[str, Any]) -> None:
        """Show that an epoch is done. `phase` is the fold, `row` a line of metrics.jsonl."""
        self.row, self.first = row, self.first or row["epoch"]
        self.best = min(self.best, (row["valid"]["score"], row["epoch"]))
        if self.live:
            self.live.update(self._shown())
        elif self.verbose:
            print(epoch_line(phase, row), flush=True)
        elif time.perf_counter() - self.last > LINE_EVERY:
            self.last = time.perf_counter()
            print(f"fold {phase}: epoch {row['epoch']} of at most {self.epochs}, validation error "
                  f"{row['valid']['score']:.4f} (lowest so far: {self.best[0]:.4f}, epoch {self.best[1]})",
                  flush=True)  # fmt: skip

    def close(self) -> None:
        """End the live display, and print the line of the last part."""
        if self.live:
            self.live.stop()
            self.live = None
        self._end_part()
        self.part = ("", "")

    def _enter(self, phase: str) -> None:
        """Start a part if the phase belongs to another one, which ends the part before it."""
        fold, _, kind = phase.rpartition("/")
        part = (OF_FOLD.sub("", fold), kind)
        if part == self.part:
            return
        self._end_part()
        self.part, self.row, self.best, self.first = part, None, (float("inf"), 0), 0

    def _end_part(self) -> None:
        fold, kind = self.part
        if not kind:
            return
        seconds = time.perf_counter() - self.began  # since the end of the part before it
        self.began = self.last = time.perf_counter()
        done = f"fold {fold}: {PARTS.get(kind, kind)}, {seconds:.0f} s"
        if self.row is not None and kind == "train":
            epochs = self.row["epoch"]
            done += f", stopped after epoch {epochs}"
            resumed = f" since the run was resumed in epoch {self.first}" if self.first > 1 else ""
            done += f"; lowest validation error{resumed}: {self.best[0]:.4f}, in epoch {self.best[1]}"
        self.console.print(done, highlight=False, soft_wrap=not self.console.is_terminal)

    def _shown(self) -> Group:
        table = [] if self.row is None or not self.verbose else [epoch_table(self.part[0], self.row)]
        return Group(self.bar, *table)


def epoch_line(phase: str, row: Mapping[str, Any]) -> str:
    """One line with loss terms, validation score, learning rate, and seconds by part."""
    terms = "  ".join(f"{name} {value:.4f}" for name, value in row["train"].items())
    parts = " ".join(f"{name} {seconds:.2f}" for name, seconds in row["parts"].items() if seconds >= 0.005)
    return (
        f"fold {phase}  epoch {row['epoch']:3d}  {terms}  valid {row['valid']['score']:.4f}  lr {row['lr']:.1e}  "
        f"{row['seconds']:.2f} s ({parts})  {row['samples_per_second']:.0f} samples/s"
    )


def epoch_table(phase: str, row: Mapping[str, Any]) -> Table:
    """A table of the current epoch: training and validation loss terms, learning rate, speed, and seconds by part."""
    table = Table("fold " + phase, f"epoch {row['epoch']}", "valid", title_justify="left")
    for name, value in row["train"].items():
        shown = row["valid"].get(name, row["valid"]["score"] if name == "loss" else None)
        table.add_row(name, f"{value:.4f}", "" if shown is None else f"{shown:.4f}")
    table.add_section()
    table.add_row("learning rate", f"{row['lr']:.2e}", "")
    table.add_row("samples/s", f"{row['samples_per_second']:.0f}", "")
    for name, seconds in row["parts"].items():
        table.add_row(name, f"{seconds:.3f} s", "")
    return table
