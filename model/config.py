"""What a TimesCLIP is made of: the parts that a preset chooses, and the sizes that the data ask for."""

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
    """The default patch, or as many steps as the window has if those are fewer: a short season needs no flag."""
    return max(1, min(patch, window))


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What a model is made of. Raises ValueError where parts cannot work together."""

    use_vision: bool = True
    """Reads the embedding of each variate's picture."""
    use_language: bool = True
    """Reads the numbers."""
    alignment: AlignmentName = "flat"
    """Which pairs of picture and text are told apart in training; means nothing where one side is off."""
    alignment_weight: float = 0.1
    """Of the alignment loss, beside a completion loss of weight 1 (the paper's)."""
    temperature: float = 0.07
    """Of the alignment loss; where learning starts, if it is learnt."""
    learn_temperature: bool = True
    """Whether the temperature is a parameter."""
    backbone: str = "transformer"
    """What the patches go through: transformer (own), clip-text:<arch>/<weights>, bert:<folder or id>."""
    sequence: SequenceName = "variate"
    """Patches of one variate make a sequence, or those of all variates together."""
    positions: PositionName = "index"
    """What tells a patch where it is: its number in the window (learnt), or the day of the season it is centred on."""
    pool: PoolName = "class"
    """What tells of a variate: a class token (the completion reads all patches), or the mean of its patches."""
    selection: bool = True
    """Whether variates are selected by cross-attention."""
    head: HeadName = "linear"
    """What completes the season: a linear layer, or one with a hidden layer."""
    patch: int = 6
    """P, steps of a patch."""
    stride: int = 3
    """Steps from one patch to the next."""
    padding: PaddingName = "end"
    """Whether the last value is repeated for one stride, so that the end of the window is read twice."""
    width: int = 64
    """E, length of a token."""
    layers: int = 2
    """Transformer layers."""
    heads: int = 4
    """Attention heads."""
    dropout: float = 0.1
    """Share of activations dropped in training."""
    picture_dropout: float = 0.0
    """Share of samples whose completion does without the picture in training; 1: it never reads pictures (alignment and
    yield do)."""
    std_floor: float = 0.05
    """Least spread that the instance norm divides by, in units of the training spread."""

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
        """Whether there are two sides, and a loss that aligns them."""
        return self.use_vision and self.use_language and self.alignment != "none"


@dataclass(frozen=True)
class TimesCLIPConfig(Parts):
    """Parts and sizes of one model. Raises ValueError where they cannot work together."""

    variates: int
    """V."""
    window: int
    """W, steps of the longest window that is read."""
    horizon: int
    """H, steps to complete."""
    start: int = 0
    """Steps of the window that is completed from; as many as `window` if 0."""
    vision_dim: int = 0
    """D, length of a cached embedding."""
    drivers: int = 0
    """R, series that are read as numbers and never drawn."""
    steps: int = 0
    """T, steps of a driver: the whole season."""
    step_days: float = 10.0
    """Days from one step to the next."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.use_vision and self.vision_dim < 1:
            raise ValueError(f"use_vision needs the length of the embeddings; vision_dim is {self.vision_dim}")
        if min(self.variates, self.window, self.horizon) < 1 or self.start > self.window:
            raise ValueError(f"variates, window and horizon must be at least 1, start at most the window: {self}")
        if self.drivers and self.steps < 1:
            raise ValueError(f"{self.drivers} drivers need the steps of the season; steps is {self.steps}")
        if self.use_language and self.first < self.patch:
            raise ValueError(
                f"a window of {self.first} steps is shorter than a patch of {self.patch}; choose a patch of at most "
                f"{self.first} steps"
            )

    @property
    def first(self) -> int:
        """Steps of the window that is completed from."""
        return self.start or self.window

    def patches(self, steps: int) -> int:
        """K = floor((w - P) / S) + 1 of a window of w steps, and one more where the end is padded by a stride."""
        return (max(steps, self.patch) - self.patch) // self.stride + 1 + (self.padding == "end")

    @property
    def plain_dim(self) -> int:
        """How many features, the last ones, are plain numbers: those of the window, their mean and log spread."""
        return (self.window + 2) * self.use_language

    @property
    def feature_dim(self) -> int:
        """F, what `TimesCLIP.features` tells of one variate in one window."""
        tokens = self.use_vision + self.use_language * (1 + self.selection)
        return tokens * self.width + self.plain_dim
