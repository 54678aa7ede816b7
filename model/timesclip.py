"""TimesCLIP for seasons: completes a season from the numbers and the cached picture of each variate.

After Dong et al., "Teaching Time Series to See and Speak", arXiv 2506.24124v2, with two differences. The default text
encoder is a small transformer trained from scratch, because yield tables hold 10^2-10^4 samples. The completion head
ends with the inverse of the instance norm, which the paper leaves out; without it the level of a season is lost.

Inputs are standardised by training rows (standard deviation about 1); the floor of the instance norm assumes it. A
window may be shorter than the longest one. Values under a mask are replaced first, so they have no effect.

Dimensions: B samples, V variates, W steps of a window, H steps to complete, R drivers, T steps of a season, K patches
of P steps, D embedding, E token.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.backbones import Backbone, build, rebuild
from model.config import TimesCLIPConfig
from model.dropout import Dropout
from model.gap_filling import fill_gaps
from model.linear_completion import LinearCompletion
from model.norms import FeatureNorm, instance_norm
from model.text_branch import Language, VariateSelection


class TimesCLIPOutput(NamedTuple):
    """One forward pass. All outputs of an absent variate (no step observed) are zero, except a completion by ridge."""

    completion: Tensor
    """[B,V,H], in the units of the input."""
    vision: Tensor | None
    """[B,V,E] vision class tokens."""
    language: Tensor | None
    """[B,V,E] text class tokens."""
    selection: Tensor | None
    """[B,V,V]: attention of variate i to variate j, the mean over heads; rows sum to 1."""


class _Encoded(NamedTuple):
    present: Tensor  # [B,V] bool
    mean: Tensor  # [B,V]
    std: Tensor  # [B,V]
    text: Tensor | None = None  # [B,V,E]
    patches: Tensor | None = None  # [B,V,K,E]
    selected: Tensor | None = None  # [B,V,E]
    weights: Tensor | None = None  # [B,V,V]
    vision: Tensor | None = None  # [B,V,E]


class Vision(nn.Module):
    """Cached embeddings [B,V,D] -> one vision class token per variate [B,V,E]."""

    def __init__(self, config: TimesCLIPConfig) -> None:
        super().__init__()
        self.norm = FeatureNorm(1 if config.shared_norm else config.variates, config.vision_dim)
        self.project = nn.Sequential(
            Dropout(config.dropout, inplace=True),
            nn.Linear(config.vision_dim, config.width),
            nn.LayerNorm(config.width),
        )

    def forward(self, embeddings: Tensor, present: Tensor) -> Tensor:
        """embeddings [B,V,D], present [B,V] -> [B,V,E], zero for absent variates."""
        normed = self.norm(embeddings).masked_fill_(~present[..., None], 0)
        return torch.where(present[..., None], self.project(normed), 0)


class TimesCLIP(nn.Module):
    """Completes a season and computes its features. With pictures, call `fit_features` before training.

    backbone: the sequence model of the patches. None builds the one that the config names, with its pretrained weights.
    """

    def __init__(self, config: TimesCLIPConfig, backbone: Backbone | None = None) -> None:
        super().__init__()
        self.config = config
        self.vision = Vision(config) if config.use_vision else None
        self.language = Language(config, backbone or _backbone(config)) if config.use_language else None
        self.select = VariateSelection(config) if config.use_language and config.selection else None
        read = 1 if config.pool == "mean" else config.patches(config.first)
        self.head = _head((read * config.use_language + config.use_vision) * config.width, config)
        self.log_temperature = nn.Parameter(torch.tensor(math.log(config.temperature)), config.learn_temperature)
        sizes = (config.variates, config.first, config.horizon)
        self.linear = LinearCompletion(*sizes) if config.linear else None

    @property
    def pretrained(self) -> tuple[str, ...]:
        """Name prefixes of pretrained parameters."""
        known = self.language is not None and self.language.backbone.pretrained
        return ("language.backbone.tower.",) if known else ()

    def describe(self) -> dict[str, Any]:
        """Everything except the weights, for JSON: parts, sizes, and the architecture of the backbone."""
        architecture = None if self.language is None else dict(self.language.backbone.architecture)
        return asdict(self.config) | {"architecture": architecture}

    @staticmethod
    def described(record: Mapping[str, Any]) -> TimesCLIP:
        """Inverse of `describe`, with random weights. Reads no pretrained file."""
        config = TimesCLIPConfig(**{name: value for name, value in record.items() if name != "architecture"})
        architecture = record["architecture"]
        return TimesCLIP(config, None if architecture is None else rebuild(architecture))

    def fit_features(
        self, windows: Sequence[Tensor], present: Sequence[Tensor] | None = None, rows: Tensor | None = None
    ) -> None:
        """Fit the feature norm on training rows: embeddings [n,V,D] of each window, or only their rows `rows` [k].

        Does nothing without vision, or with the shared norm of pretrained weights.
        """
        if self.vision is not None and not self.config.shared_norm:
            self.vision.norm.fit(windows, present, rows)

    def show_levels(self, to_range: Tensor) -> None:
        """Set the map [V,2] (slope, offset) from standardised values to the y-range; no effect without level token."""
        if self.language is not None and self.language.level is not None:
            self.language.level.to_range.copy_(to_range)

    def forward(
        self,
        values: Tensor,
        observed: Tensor,
        embeddings: Tensor | None = None,
        drivers: Tensor | None = None,
        start: int = 0,
    ) -> TimesCLIPOutput:
        """values [B,V,W] float, observed [B,V,W] bool, embeddings [B,V,D], drivers [B,R,2T] -> completion and tokens.

        start: the season's step at which the window begins. drivers: numbers followed by their mask.

        With language, the completion ends with the inverse of the instance norm. A season that is shifted and scaled by
        constants then has a completion shifted and scaled alike (from numbers alone, above the norm's floor). With
        vision only, the model reads no numbers. The picture, with its fixed y-range, shows the level, and the head's
        output is final.

        With a linear completion, evaluation moves the model's own completion towards it; training does not.
        """
        if values.shape[-1] != self.config.first:
            raise ValueError(f"the completion starts from {self.config.first} steps; got {values.shape[-1]}")
        e = self._encode(values, observed, embeddings, drivers, start)
        completion = self.head(torch.cat(self._read(e), -1))
        if self.language is not None:
            completion = completion * e.std[..., None] + e.mean[..., None]
        completion = torch.where(e.present[..., None], completion, 0)
        if self.linear is not None and not self.training:
            completion = self.linear.mixed_into(completion, values, observed)
        return TimesCLIPOutput(completion, e.vision, e.text, e.weights)

    def features(
        self,
        values: Tensor,
        observed: Tensor,
        embeddings: Tensor | None = None,
        drivers: Tensor | None = None,
        start: int = 0,
    ) -> Tensor:
        """The input of stage 2, arguments as in `forward` -> [B,V,F]: text, selected and vision token (those in use).

        With language also the numbers (gaps filled; zero beyond the window), their mean and log spread, because tokens
        lose what a linear map of the numbers can find. Absent variates are zero.
        """
        e = self._encode(values, observed, embeddings, drivers, start)
        parts = [part for part in (e.text, e.selected, e.vision) if part is not None]
        if self.language is not None:
            mean = e.mean[..., None]
            missing = mean + fill_gaps(values - mean, observed) if self.config.filled else 0
            numbers = torch.where(observed, values, missing)
            parts += [functional.pad(numbers, (0, self.config.window - values.shape[-1])), mean, e.std.log()[..., None]]
        return torch.where(e.present[..., None], torch.cat(parts, -1), 0)

    def tokens(
        self,
        values: Tensor,
        observed: Tensor,
        embeddings: Tensor | None = None,
        drivers: Tensor | None = None,
        start: int = 0,
    ) -> tuple[Tensor | None, Tensor | None]:
        """Vision and text class tokens [B,V,E] of a window of any length up to `window`, arguments as in `forward`."""
        e = self._encode(values, observed, embeddings, drivers, start)
        return e.vision, e.text

    def _read(self, e: _Encoded) -> list[Tensor]:
        """The head's inputs for a variate: patches, the selected token in place of the last patch, the picture."""
        tokens = [] if e.vision is None else [self._shown(e.vision)]
        if e.text is None or e.patches is None:
            return tokens
        if self.config.pool == "mean":
            return [e.text if e.selected is None else e.selected, *tokens]
        if e.selected is None:
            return [e.patches.flatten(2), *tokens]
        return [e.patches[:, :, :-1].flatten(2), e.selected, *tokens]

    def _shown(self, vision: Tensor) -> Tensor:
        """Vision tokens [B,V,E] for the completion. In training those of some samples are hidden, or those of all."""
        hidden = self.config.picture_dropout
        if hidden == 1:
            return torch.zeros_like(vision)
        if hidden == 0 or not self.training:
            return vision
        return vision * (torch.rand(len(vision), 1, 1, device=vision.device) >= hidden) / (1 - hidden)

    def _encode(
        self, values: Tensor, observed: Tensor, embeddings: Tensor | None, drivers: Tensor | None, start: int
    ) -> _Encoded:
        steps = values.shape[-1]
        values, observed = self._checked(values, observed)
        present = observed.any(-1)
        z, mean, std = instance_norm(values, observed, self.config.std_floor)
        if self.config.filled:  # but not the steps that pad a short window
            z = torch.cat([fill_gaps(z[..., :steps], observed[..., :steps]), z[..., steps:]], -1)
        vision = None
        if self.vision is not None:
            if embeddings is None or embeddings.shape != (*present.shape, self.config.vision_dim):
                shape = None if embeddings is None else tuple(embeddings.shape)
                raise ValueError(
                    f"embeddings must be {(*present.shape, self.config.vision_dim)} as vision is used; got {shape}"
                )
            vision = self.vision(embeddings, present)
        if self.language is None:
            return _Encoded(present, mean, std, vision=vision)
        text, patches = self.language.read(z, observed, (mean, std), start, drivers)
        text = torch.where(present[..., None], text, 0)
        if self.select is None:
            return _Encoded(present, mean, std, text, patches, vision=vision)
        # A sample without any variate keeps its keys, because softmax without keys is NaN. Its output is zeroed.
        absent = ~present & present.any(1, keepdim=True)
        selected, weights = self.select(text, self.language.whole_series(z, observed, absent), absent)
        selected, weights = (torch.where(present[..., None], x, 0) for x in (selected, weights))
        return _Encoded(present, mean, std, text, patches, selected, weights, vision)

    def _checked(self, values: Tensor, observed: Tensor) -> tuple[Tensor, Tensor]:
        """[B,V,w] with w <= W, zero if not observed; a window shorter than a patch is padded with unobserved steps."""
        config = self.config
        if values.shape != observed.shape or values.shape[1] != config.variates or values.shape[-1] > config.window:
            raise ValueError(
                f"values and observed must be [B,{config.variates},<={config.window}]; got "
                f"{tuple(values.shape)} and {tuple(observed.shape)}"
            )
        missing = max(0, config.patch - values.shape[-1])
        values = functional.pad(torch.where(observed, values, 0), (0, missing))
        return values, functional.pad(observed, (0, missing), value=False)


def _backbone(config: TimesCLIPConfig) -> Backbone:
    return build(config.backbone, config.width, config.heads, config.layers, config.dropout)


def _head(width: int, config: TimesCLIPConfig) -> nn.Sequential:
    """The completion head: tokens of one variate [B,V,width] -> its H steps [B,V,H]."""
    if config.head == "linear":
        return nn.Sequential(Dropout(config.dropout), nn.Linear(width, config.horizon))
    hidden = 2 * config.width
    return nn.Sequential(
        Dropout(config.dropout),
        nn.Linear(width, hidden),
        nn.GELU(),
        Dropout(config.dropout),
        nn.Linear(hidden, config.horizon),
    )
