"""The weights that stage 1 starts from: packaged ones, a file, or none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import model
from model.config import TimesCLIPConfig
from model.encoders.spec import file_digest
from model.initial_weights import InitialWeights, Start, read_initial_weights
from pipeline.errors import InputError
from pipeline.style import Style
from stages.inputs.fold_data import Scales

PACKAGED = Path(model.__file__).parent / "weights"
NAME = "initial.safetensors"  # in the run folder of pretrain.py


@dataclass(frozen=True, eq=False)
class Initial:
    """Weights that fit a run, with their file's digest, or the reason why none do.

    sentence  one line for the first lines of output; empty if nothing was asked for
    """

    weights: InitialWeights | None
    digest: str | None
    sentence: str

    def start(self, scales: Scales, style: Style) -> Start | None:
        """The start of the model of a fold with these scales."""
        return None if self.weights is None else Start(self.weights, level_map(scales, style))

    def record(self) -> dict[str, Any] | None:
        """For result.json: the digests of weights, corpus recipe and encoder."""
        if self.weights is None:
            return None
        recipe = self.weights.record.get("recipe", {})
        return {"weights": self.digest, "recipe": recipe.get("digest"), "encoder": self.weights.encoder}


def level_map(scales: Scales, style: Style) -> Tensor:
    """[V,2], slope and offset from standardised values to the y-range of the plots; zeros if plots show shapes only."""
    span = scales.ranges[:, 1] - scales.ranges[:, 0]
    slope, offset = scales.scaler.std / span, (scales.scaler.mean - scales.ranges[:, 0]) / span
    return torch.from_numpy(np.stack([slope, offset], 1).astype(np.float32)) * (style.y_range == "fixed")


def find_initial(
    named: str, config: TimesCLIPConfig, encoder: Mapping[str, Any] | None, style: Style, folder: Path = PACKAGED
) -> Initial:
    """The weights that --init names, for a model of `config` on vectors of `encoder` in this style.

    named: auto (packaged weights if they fit), none, or a file or run folder of pretrain.py. encoder: its record in
    the cache. Raises InputError if a named file does not fit.
    """
    if named == "none":
        return Initial(None, None, "")
    drawn = None
    if config.use_vision and replace(style, y_range="fixed") != Style():
        drawn = "the plots are drawn in another style"
    digest = None if encoder is None else str(encoder["weights_digest"])
    if named != "auto":
        path = Path(named) / NAME if Path(named).is_dir() else Path(named)
        weights = read_initial_weights(path)
        if reason := drawn or weights.misfit(config, digest):
            raise InputError(f"--init {named}: {reason}. Leave it out, use --init none, or make weights that fit with "
                             "`python pretrain.py`.")  # fmt: skip
        return Initial(weights, file_digest(path), f"starts from the weights {path}{part_read(config)}")
    reasons = []
    for path in sorted(folder.glob("*.safetensors")):
        weights = read_initial_weights(path)
        reason = drawn or weights.misfit(config, digest)
        if reason is None:
            return Initial(weights, file_digest(path), f"starts from the packaged weights {path.name}"
                           f"{part_read(config)} (--init none: from scratch)")  # fmt: skip
        reasons.append(reason)
    why = reasons[0] if reasons else "no weights are packaged"
    return Initial(None, None, f"starts from scratch: {why}")


def part_read(config: TimesCLIPConfig) -> str:
    """The part of the weights that a model of one modality starts from, after a comma; empty if it reads both."""
    if config.use_vision and config.use_language:
        return ""
    mine, other = ("pictures", "numbers") if config.use_vision else ("numbers", "pictures")
    return f", only their part for {mine}: they were pretrained with {other} too, but this run reads none"
