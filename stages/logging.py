"""What is told of training while it goes on: a line an epoch in metrics.jsonl and on the screen."""

from __future__ import annotations

from dataclasses import asdict

from model.training.loop import Epoch
from report.run import RunFolder


class EpochLog:
    """A line in metrics.jsonl and one on the screen for every epoch that the validation rows judge."""

    def __init__(self, run: RunFolder) -> None:
        self.run = run

    def on_step(self, phase: str, epoch: int, step: int, steps: int) -> None:
        """Nothing."""

    def on_epoch(self, phase: str, epoch: Epoch) -> None:
        """Told after each epoch; `phase` is <fold>/train or <fold>/refit."""
        fold, _, part = phase.rpartition("/")
        if part == "refit":
            return
        self.run.append_metrics({"fold": fold, **asdict(epoch)})
        terms = "  ".join(f"{name} {value:.4f}" for name, value in epoch.train.items())
        print(f"fold {fold}  epoch {epoch.epoch:3d}  {terms}  valid {epoch.valid['score']:.4f}  "
              f"{epoch.seconds:.2f} s  {epoch.samples_per_second:.0f} samples/s", flush=True)  # fmt: skip
