"""Configuration of TimesCLIP: the parts that a preset chooses, and the sizes that follow from the data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

AlignmentName = Literal["flat", "sample", "variate", "hierarchical", "none"]
SequenceName = Literal["variate", "joint"]
PositionName = Literal["index", "day"]
PoolName = Literal["class", "mean"]
HeadName = Literal["linear", "mlp"]
PaddingName = Literal["end", "none"]


def fitting_patch(patch: int, window: int) -> int:
    """The default patch in steps, at most as long as the window, so that a short season needs no flag."""
    return max(1, min(patch, window))


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Parts of a model. Raises ValueError if they cannot work together."""

    use_vision: bool = True
    """Read the embedding of each variate's picture."""
    use_language: bool = True
    """Read the numbers."""
    alignment: AlignmentName = "flat"
    """Pairs of picture and text that the alignment loss contrasts in training; no effect with one side off."""
    alignment_weight: float = 0.1
    """Weight of the alignment loss, beside a completion loss of weight 1 (the paper's)."""
    temperature: float = 0.07
    """Temperature of the alignment loss; the initial value if it is learnt."""
    learn_temperature: bool = True
    """Learn the temperature."""
    backbone: str = "transformer"
    """Encoder of the patches: transformer (trained from scratch), clip-text:<arch>/<weights>, bert:<folder or id>."""
    sequence: SequenceName = "variate"
    """One sequence per variate, or one sequence with the patches of all variates."""
    positions: PositionName = "index"
    """Position of a patch: its number in the window (a learnt embedding), or the day of season at its centre."""
    pool: PoolName = "class"
    """Summary of a variate: a class token (the completion reads all patches), or the mean of its patches."""
    selection: bool = True
    """Select variates by cross-attention."""
    head: HeadName = "linear"
    """Completion head: a linear layer, or a network with one hidden layer."""
    patch: int = 6
    """P, steps per patch."""
    stride: int = 3
    """Steps from one patch to the next."""
    padding: PaddingName = "end"
    """Repeat the last value for one stride, so that the end of the window is in two patches."""
    width: int = 64
    """E, length of a token."""
    layers: int = 2
    """Transformer layers."""
    heads: int = 4
    """Attention heads."""
    dropout: float = 0.1
    """Share of activations dropped in training."""
    picture_dropout: float = 0.0
    """Share of training samples whose completion is made without pictures. With 1 the completion never reads pictures;
    alignment and yield still do."""
    std_floor: float = 0.05
    """Minimum standard deviation in the instance norm, in units of the training standard deviation."""

    def __post_init__(self) -> None:
        if not (self.use_vision or self.use_language):
            raise ValueError("use_vision and use_language are both off; the model would read nothing")
        if min(self.patch, self.stride, self.width, self.layers, self.heads) < 1:
            raise ValueError(f"patch, stride, width, layers and heads must be at least 1: {self}")
        if self.width % self.heads:
            raise ValueError(f"width {self.width} must be a multiple of heads {self.heads}")
        for name, low, high in (
            ("temperature", 0, math.inf),
            ("alignment_weight", -1e-9, math.inf),
            ("dropout", -1e-9, 1),
            ("picture_dropout", -1e-9, 1 + 1e-9),
        ):
            if not low < getattr(self, name) < high:
                raise ValueError(f"{name} {getattr(self, name)} is out of its range ({max(low, 0)} to {high:g})")
        if self.picture_dropout and not (self.use_vision and self.use_language):
            raise ValueError("picture_dropout needs pictures, and numbers to complete from without them")

    @property
    def aligned(self) -> bool:
        """Whether the model reads both sides and a loss aligns them."""
        return self.use_vision and self.use_language and self.alignment != "none"


@dataclass(frozen=True)
class TimesCLIPConfig(Parts):
    """Parts and sizes of one model. Raises ValueError if they cannot work together."""

    variates: int
    """V."""
    window: int
    """W, steps of the longest window."""
    horizon: int
    """H, steps to complete."""
    start: int = 0
    """Steps of the window that the completion starts from; 0: as many as `window`."""
    vision_dim: int = 0
    """D, length of a cached embedding."""
    drivers: int = 0
    """R, series read as numbers only, without pictures."""
    steps: int = 0
    """T, steps of a driver: the whole season."""
    step_days: float = 10.0
    """Days per step."""
    level: bool = False
    """The text side also reads the level and spread of the window, as one token."""
    filled: bool = False
    """Fill missing steps from the steps beside them. Version 0.1 read the mean of the window there."""
    linear: bool = False
    """Complete by a weighted mean with ridge, outside of training. Its weights are fitted on validation rows."""
    shared_norm: bool = False
    """One feature norm for the embeddings of all variates. It comes with pretrained weights and is not fitted."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.use_vision and self.vision_dim < 1:
            raise ValueError(f"use_vision needs the length of the embeddings; vision_dim is {self.vision_dim}")
        if min(self.variates, self.window, self.horizon) < 1 or self.start > self.window:
            raise ValueError(f"variates, window and horizon must be at least 1, start at most the window: {self}")
        if self.drivers and self.steps < 1:
            raise ValueError(f"{self.drivers} drivers need the steps of the season; steps is {self.steps}")
        if self.level and self.sequence != "variate":
            raise ValueError("level is a token of one variate, so it needs one sequence per variate")
        if self.use_language and self.first < self.patch:
            raise ValueError(
                f"a window of {self.first} steps is shorter than a patch of {self.patch}; choose a patch of at most "
                f"{self.first} steps"
            )

    @property
    def first(self) -> int:
        """Steps of the window that the completion starts from."""
        return self.start or self.window

    def patches(self, steps: int) -> int:
        """K = floor((w - P) / S) + 1 for a window of w steps, plus one if the end is padded by a stride."""
        return (max(steps, self.patch) - self.patch) // self.stride + 1 + (self.padding == "end")

    @property
    def plain_dim(self) -> int:
        """Number of plain-number features, the last ones: the window's values, their mean and log spread."""
        return (self.window + 2) * self.use_language

    @property
    def feature_dim(self) -> int:
        """F, length of `TimesCLIP.features` of one variate in one window."""
        tokens = self.use_vision + self.use_language * (1 + self.selection)
        return tokens * self.width + self.plain_dim
