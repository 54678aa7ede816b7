"""Progress of training, written to metrics.jsonl, the screen and the trackers."""

from __future__ import annotations

from dataclasses import asdict

from model.training.trainer import Epoch
from report.run import RunFolder
from report.trackers import Trackers
from report.training_display import TrainingDisplay


class EpochLog:
    """Receives every step and epoch in the main process.

    Epochs of a refit, which has no validation, move the progress bar only. Epochs of cross-fitting are not on the
    screen.
    """

    def __init__(self, run: RunFolder, display: TrainingDisplay, trackers: Trackers) -> None:
        self.run, self.display, self.trackers = run, display, trackers

    def on_step(self, phase: str, epoch: int, step: int, steps: int) -> None:
        """Called after each optimizer step; `phase` is <fold>/train, parts, refit, learners or last."""
        self.display.step(phase, epoch, step, steps)

    def on_epoch(self, phase: str, epoch: Epoch) -> None:
        """Called after each epoch."""
        fold, _, part = phase.rpartition("/")
        if part == "refit":
            return
        row = asdict(epoch)
        self.run.append_metrics({"fold": fold, **row})
        if part == "train":
            self.display.epoch(fold, row)
        curves = {f"{kind}/{name}": value for kind in ("train", "valid", "parts") for name, value in row[kind].items()}
        curves |= {"lr": epoch.lr, "samples_per_second": epoch.samples_per_second}
        self.trackers.log({f"{fold}/{name}": value for name, value in curves.items()}, epoch.epoch)

    def close(self) -> None:
        """Close screen and trackers."""
        self.display.close()
        self.trackers.finish()
