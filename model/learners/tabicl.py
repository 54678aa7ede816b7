"""TabICL: a pretrained transformer that forecasts rows from the training rows in its context, without being fitted.

Qu, Holzmüller, Varoquaux & Le Morvan (2025), arXiv:2502.05564. The package `tabicl` and its weights are optional; the
weights are read from a file or the model hub and are not copied into the run.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.encoders.hub import fetch
from model.encoders.spec import file_digest
from model.training.errors import Refused

REPOSITORY, FILE = "jingang/TabICL", "tabicl-regressor-v2-20260212.ckpt"  # the weights for numbers, not for classes
INSTALL = "pip install tabicl==2.2.0"
QUANTILES = [0.05, 0.95]
CPU = torch.device("cpu")

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Checkpoint:
    """Weights of TabICL: their file, and the xxh3-128 of its bytes."""

    path: str
    digest: str

    @staticmethod
    def find(path: Path | None, digest: str | None = None) -> Checkpoint:
        """The file at `path`, otherwise that of the model hub or its local cache.

        digest: of the weights that a run was made with. Raises Refused if the package or the file is missing, the file
        is of another kind, or its digest differs; NotFetched if the hub does not provide it.
        """
        if importlib.util.find_spec("tabicl") is None:
            raise Refused(f"--learner tabicl needs the package tabicl, which is not installed. Run: {INSTALL}")
        if path is not None and not path.is_file():
            raise Refused(f"{path}, the weights of TabICL, is missing. Put the file there, or in training "
                          "name another one with --tabicl-weights.")  # fmt: skip
        found = fetch("--learner tabicl without --tabicl-weights", REPOSITORY, (FILE,)) if path is None else path
        have = file_digest(found)
        if digest is not None and have != digest:
            raise Refused(f"{found} has the digest {have}, but the run used weights of TabICL with {digest}. Put those "
                          "weights there.")  # fmt: skip
        return Checkpoint(str(found), have)

    def require_regression(self) -> None:
        """Raise Refused unless the file holds weights that forecast numbers."""
        try:
            held = torch.load(self.path, map_location="cpu", weights_only=True)
            classes = held["config"]["max_classes"]
        except Exception as error:
            raise Refused(f"{self.path} holds no weights of TabICL ({type(error).__name__}). {FILE} of {REPOSITORY} "
                          "does.") from error  # fmt: skip
        if classes:
            raise Refused(f"{self.path} holds weights for {classes} classes, but yields are numbers. Use {FILE} of "
                          f"{REPOSITORY}.")  # fmt: skip


@dataclass(frozen=True, eq=False)
class InContext:
    """Training rows [n,C] with their anomalies [n], which TabICL reads whenever it forecasts."""

    columns: Numbers
    anomaly: Numbers
    checkpoint: Checkpoint
    seed: int
    device: torch.device = CPU

    def predict(self, columns: Numbers, quantiles: bool) -> Numbers:
        """[m,C] -> [m,1], or [m,3] with the 5 and 95 % quantiles; in the anomaly's unit."""
        from tabicl import TabICLRegressor

        regressor = TabICLRegressor(
            model_path=self.checkpoint.path, allow_auto_download=False, device=self.device, random_state=self.seed
        ).fit(self.columns, self.anomaly)
        given = regressor.predict(columns, output_type=["mean", "quantiles"], alphas=QUANTILES)
        forecast = np.column_stack([given["mean"], given["quantiles"]]).astype(np.float64)
        return forecast if quantiles else forecast[:, :1]

    def state(self) -> dict[str, Tensor]:
        """For safetensors. A copy: the readings of a season have the same anomalies, and no two tensors may be one."""
        return {"columns": torch.from_numpy(self.columns), "anomaly": torch.from_numpy(self.anomaly.copy())}

    def record(self) -> dict[str, str | int]:
        """For JSON."""
        return {"path": self.checkpoint.path, "digest": self.checkpoint.digest, "seed": self.seed}

    @staticmethod
    def from_state(record: Mapping[str, str | int], state: Mapping[str, Tensor]) -> InContext:
        """Inverse of `state` and `record`. Raises what `Checkpoint.find` raises."""
        checkpoint = Checkpoint.find(Path(str(record["path"])), str(record["digest"]))
        return InContext(state["columns"].numpy(), state["anomaly"].numpy(), checkpoint, int(record["seed"]))
