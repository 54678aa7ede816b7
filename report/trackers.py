"""Experiment trackers, through accelerate: TensorBoard if it is installed, Weights & Biases and MLflow by flag."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from accelerate import PartialState
from accelerate.tracking import MLflowTracker, TensorBoardTracker, WandBTracker

from pipeline.errors import InputError

PACKAGES = {"tensorboard": "tensorboard", "wandb": "wandb", "mlflow": "mlflow"}
PROJECT = "timesclip"


def wanted_trackers(tensorboard: bool | None, wandb: bool, mlflow: bool) -> list[str]:
    """Names of the trackers to use. `tensorboard` None uses it if it is installed.

    Raises InputError for a tracker that was asked for and is not installed.
    """
    asked = {"tensorboard": tensorboard, "wandb": wandb, "mlflow": mlflow}
    for name, wanted in asked.items():
        if wanted and find_spec(PACKAGES[name]) is None:
            raise InputError(
                f"--{name} needs the package {PACKAGES[name]}: pip install {PACKAGES[name]}, or leave it out."
            )
    if tensorboard is None:
        asked["tensorboard"] = find_spec("tensorboard") is not None
    return [name for name, wanted in asked.items() if wanted]


@dataclass
class Trackers:
    """The started trackers of one run."""

    started: list[Any] = field(default_factory=list)

    @staticmethod
    def start(names: Sequence[str], run: Path, config: Mapping[str, Any]) -> Trackers:
        """Start trackers that write into the run folder. MLFLOW_TRACKING_URI, if set, redirects MLflow."""
        PartialState()
        made: list[Any] = []
        for name in names:
            if name == "tensorboard":
                made.append(TensorBoardTracker("tensorboard", str(run)))
            elif name == "wandb":
                made.append(WandBTracker(PROJECT, name=run.name, dir=str(run)))
            else:
                _keep_mlflow_in(run)
                made.append(MLflowTracker(PROJECT, logging_dir=str(run / "mlflow"), run_name=run.name))
        for tracker in made:
            tracker.start()
            if tracker.name != "tensorboard":  # its table of flags needs metrics that do not exist yet
                tracker.store_init_configuration(dict(config))
        return Trackers(made)

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Log numbers by name, as in `2022/train/loss`, at an epoch."""
        for tracker in self.started:
            if tracker.name == "wandb":  # it drops values of an earlier step, such as the second fold's first epoch
                tracker.log({**values, "epoch": step})
            else:
                tracker.log(dict(values), step=step)

    def finish(self) -> None:
        """Flush and close."""
        for tracker in self.started:
            tracker.finish()
        self.started = []


def _keep_mlflow_in(run: Path) -> None:
    """Store MLflow's database in the run folder. By default it would be in the current folder."""
    import mlflow

    if "MLFLOW_TRACKING_URI" not in os.environ:
        mlflow.set_tracking_uri(f"sqlite:///{(run / 'mlflow.db').resolve()}")
