"""Training progress: on a terminal a bar and the table of the current epoch, elsewhere one line per epoch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

PHASES = {  # phases whose epochs are not shown
    "parts": "training heads, scored on the left-out rows",
    "refit": "training heads for the chosen number of epochs",
}


class TrainingDisplay:
    """Shows one fold after the other. `close` restores the terminal."""

    def __init__(self, epochs: int, console: Console | None = None) -> None:
        self.console = console or Console()
        self.epochs, self.phase = epochs, ""
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("steps"))
        self.bar = Progress(*columns, TimeRemainingColumn(), console=self.console)
        self.task = self.bar.add_task("", total=None)
        self.table = Table()
        self.live: Live | None = None

    def step(self, phase: str, epoch: int, step: int, steps: int) -> None:
        """Show that a step of an epoch is done."""
        if not self.console.is_terminal:
            fold, _, part = phase.rpartition("/")
            if phase != self.phase and part in PHASES:
                print(f"fold {fold}: {PHASES[part]}", flush=True)
            self.phase = phase
            return
        if self.live is None:
            self.live = Live(self._shown(), console=self.console, refresh_per_second=8, transient=True)
            self.live.start()
        if phase != self.phase:
            self.phase = phase
            self.bar.reset(self.task, total=self.epochs * steps, description=phase)
        self.bar.update(self.task, completed=(epoch - 1) * steps + step, description=f"fold {phase}  epoch {epoch}")

    def epoch(self, phase: str, row: Mapping[str, Any]) -> None:
        """Show that an epoch is done. `row` is a line of metrics.jsonl."""
        if not self.console.is_terminal:
            print(epoch_line(phase, row), flush=True)
            return
        self.table = epoch_table(phase, row)
        if self.live:
            self.live.update(self._shown())

    def close(self) -> None:
        """End the live display and leave the table of the last epoch on the screen."""
        if self.live:
            self.live.stop()
            self.live = None
            self.console.print(self.table)

    def _shown(self) -> Group:
        return Group(self.bar, self.table)


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
