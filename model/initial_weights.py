"""Initial weights of stage 1: one set for any number of variates, any window up to the longest, and both framings.

What has a size per step or patch is stored at its largest size, and a model takes a slice:

* positions and patch tokens: the first K patches; variate selection: the first W steps
* completion head of half seasons: the last K patches and the first H steps
* completion head of whole seasons: the last K patches and the last H steps, as its window ends with the season

Embeddings of variates and drivers belong to a table and are not stored. A model starts with zeros for its variates.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from model.config import TimesCLIPConfig
from model.timesclip import TimesCLIP
from model.training.errors import Refused

HEADER = "initial_weights"

SEASON = "season."  # prefix of the head and positions of the framing `season`
SAME = ("backbone", "sequence", "pool", "head", "patch", "stride", "padding", "width", "layers", "heads")


@dataclass(frozen=True, eq=False)
class InitialWeights:
    """Weights by name, at their largest sizes.

    largest   config that they were made with
    encoder   weights digest of the image encoder
    record    where they are from: recipe, command, commit, digest
    """

    tensors: Mapping[str, Tensor]
    largest: TimesCLIPConfig
    encoder: str
    record: Mapping[str, Any]

    def misfit(self, config: TimesCLIPConfig, encoder: str | None) -> str | None:
        """Why a model of this config, on vectors of this encoder, cannot start from these weights; None if it can."""
        for name in SAME:
            have, want = getattr(self.largest, name), getattr(config, name)
            if have != want:
                return f"{name} is {want}, and the weights have {have}"
        if config.use_vision and encoder != self.encoder:
            return "another encoder made the picture vectors"
        for name, steps in (("window", config.window), ("horizon", config.horizon)):
            if steps > getattr(self.largest, name):
                return f"the {name} of {steps} steps is longer than {getattr(self.largest, name)}"
        return None

    def config_of(self, config: TimesCLIPConfig) -> TimesCLIPConfig:
        """The config of a model that starts from these weights: with their level token and shared norm."""
        return replace(config, level=self.largest.level, shared_norm=self.largest.shared_norm)

    def load_into(self, model: TimesCLIP) -> tuple[str, ...]:
        """Copy the slices into a model whose config is `config_of`. Returns the names of what was set, sorted."""
        state = sliced(self.tensors, model.config)
        known = {name: tensor for name, tensor in state.items() if name in model.state_dict()}
        model.load_state_dict(known, strict=False)
        if model.language is not None:
            torch.nn.init.zeros_(model.language.variates)
        return tuple(sorted(known))


@dataclass(frozen=True, eq=False)
class Start:
    """The start of a model: initial weights, and the map [V,2] of its variates' levels to the y-range."""

    weights: InitialWeights
    to_range: Tensor

    def build(self, config: TimesCLIPConfig) -> TimesCLIP:
        """A model of `config`, with level token and shared norm, that has these weights."""
        model = TimesCLIP(self.weights.config_of(config))
        self.weights.load_into(model)
        model.show_levels(self.to_range)
        return model


def sliced(tensors: Mapping[str, Tensor], config: TimesCLIPConfig) -> dict[str, Tensor]:
    """The weights of a model with `config`: views of `tensors`, so that gradients reach them."""
    whole = config.first == config.steps  # the window of the completion spans the season
    chosen = {name: tensor for name, tensor in tensors.items() if not name.startswith(SEASON)}
    if whole:
        chosen |= _without_prefix(tensors, SEASON + "head.", "head.")
    if config.positions == "day":
        chosen = {name: t for name, t in chosen.items() if not name.startswith("language.positions.")}
        chosen |= _without_prefix(tensors, SEASON + "positions.", "language.positions.")
    else:
        chosen["language.positions.table"] = chosen["language.positions.table"][: config.patches(config.window)]
    chosen["head.1.weight"] = _head(chosen["head.1.weight"], config, whole)
    bias = chosen["head.1.bias"]
    chosen["head.1.bias"] = bias[-config.horizon :] if whole else bias[: config.horizon]
    if "language.series_token.weight" in chosen:
        numbers, mask = chosen["language.series_token.weight"].chunk(2, 1)
        chosen["language.series_token.weight"] = torch.cat([numbers[:, : config.window], mask[:, : config.window]], 1)
    return chosen


def _without_prefix(tensors: Mapping[str, Tensor], prefix: str, new: str) -> dict[str, Tensor]:
    return {new + name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}


def _head(weight: Tensor, config: TimesCLIPConfig, whole: bool) -> Tensor:
    """[Hmax, (Kmax+1)E] -> [H, (K+1)E], without the columns of a side that the model does not read."""
    rows = weight[-config.horizon :] if whole else weight[: config.horizon]
    patches, picture = rows[:, : -config.width], rows[:, -config.width :]
    parts = []
    if config.use_language:
        parts.append(patches[:, -config.patches(config.first) * config.width :])
    if config.use_vision:
        parts.append(picture)
    return torch.cat(parts, 1)


def save_initial_weights(weights: InitialWeights, path: Path) -> None:
    """Write one safetensors file. Its header holds config, encoder and record, as JSON under one key."""
    header = {"config": asdict(weights.largest), "encoder": weights.encoder, "record": dict(weights.record)}
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in weights.tensors.items()}
    save_file(tensors, path, {HEADER: json.dumps(header, sort_keys=True)})


def read_initial_weights(path: Path) -> InitialWeights:
    """Inverse of `save_initial_weights`. Raises Refused if the file is missing, damaged or of another kind."""
    try:
        with safe_open(path, "pt") as file:
            header = json.loads((file.metadata() or {})[HEADER])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no dict)
    except (OSError, SafetensorError) as error:
        raise Refused(
            f"{path} cannot be read as initial weights ({error}). `python pretrain.py` makes some."
        ) from error
    except (KeyError, ValueError) as error:
        raise Refused(f"{path} holds no initial weights of stage 1. `python pretrain.py` makes some.") from error
    return InitialWeights(tensors, TimesCLIPConfig(**header["config"]), header["encoder"], header["record"])
