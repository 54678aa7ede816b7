"""TimesCLIP for seasons: a cached picture and the numbers of each variate, aligned, to what comes next.

After Dong et al., "Teaching Time Series to See and Speak", arXiv 2506.24124v2. Two things differ. The text encoder is a
small transformer of our own, since yield tables hold 10^2-10^4 samples; and the inverse of the instance norm, which the
paper leaves out, ends the completion head, since without it the level of a season is lost.

Inputs are standardised by training rows (spread about 1): the floor of the instance norm counts on it. A window may be
shorter than the configured one; it is filled with unobserved steps at its end, so that one set of weights reads both
halves of a season with an odd number of steps. Whatever stands under a mask is replaced before anything else.

Dimensions: B samples, V variates, W steps of a window, H steps to complete, K patches of P steps, D embedding, E token.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.dropout import Dropout
from model.losses import START_LOG_TEMPERATURE

NORM_BLOCK = 256  # samples of the feature norm's blocks: small enough for the processor's cache


@dataclass(frozen=True)
class TimesCLIPConfig:
    """Sizes and parts. Raises ValueError where they cannot work together."""

    variates: int
    """V."""
    window: int
    """W, steps of the longest window that is read."""
    horizon: int
    """H, steps to complete."""
    vision_dim: int = 0
    """D, length of a cached embedding."""
    use_vision: bool = True
    """Reads the embedding of each variate's picture."""
    use_language: bool = True
    """Reads the numbers."""
    use_alignment: bool = True
    """Whether training adds the alignment loss; means nothing where one side is off."""
    patch: int = 6
    """P, steps of a patch."""
    stride: int = 3
    """Steps from one patch to the next."""
    width: int = 64
    """E, length of a token."""
    layers: int = 2
    """Transformer layers."""
    heads: int = 4
    """Attention heads."""
    dropout: float = 0.1
    """Share of activations dropped in training."""
    std_floor: float = 0.05
    """Least spread that the instance norm divides by, in units of the training spread."""

    def __post_init__(self) -> None:
        if not (self.use_vision or self.use_language):
            raise ValueError("use_vision and use_language are both off; the model would read nothing")
        if self.use_vision and self.vision_dim < 1:
            raise ValueError(f"use_vision needs the length of the embeddings; vision_dim is {self.vision_dim}")
        if min(self.variates, self.window, self.horizon, self.patch, self.stride) < 1:
            raise ValueError(f"variates, window, horizon, patch and stride must be at least 1: {self}")
        if self.use_language and self.window < self.patch:
            raise ValueError(
                f"a window of {self.window} steps is shorter than a patch of {self.patch}; choose a patch of at most "
                f"{self.window} steps"
            )
        if self.width % self.heads:
            raise ValueError(f"width {self.width} must be a multiple of heads {self.heads}")

    @property
    def patches(self) -> int:
        """K = floor((W - P) / S) + 2: the last one comes from padding the end by one stride."""
        return (self.window - self.patch) // self.stride + 2

    @property
    def level_dim(self) -> int:
        """How many features, the last ones, tell the level: mean and log spread of the window, if numbers are read."""
        return 2 * self.use_language

    @property
    def feature_dim(self) -> int:
        """F, what `TimesCLIP.features` tells of one variate in one half season."""
        return (2 * self.width + 2) * self.use_language + self.width * self.use_vision


class TimesCLIPOutput(NamedTuple):
    """One forward pass. Everything of an absent variate (no step observed) is zero."""

    completion: Tensor
    """[B,V,H], in the units of the input."""
    vision: Tensor | None
    """[B,V,E] vision class tokens."""
    language: Tensor | None
    """[B,V,E] text class tokens."""
    selection: Tensor | None
    """[B,V,V]: how much variate i drew on variate j, the mean over heads; rows sum to 1."""


class _Encoded(NamedTuple):
    present: Tensor  # [B,V] bool
    mean: Tensor  # [B,V]
    std: Tensor  # [B,V]
    text: Tensor | None  # [B,V,E]
    patches: Tensor | None  # [B,V,K,E]
    selected: Tensor | None  # [B,V,E]
    weights: Tensor | None  # [B,V,V]
    vision: Tensor | None  # [B,V,E]


def instance_norm(values: Tensor, observed: Tensor, floor: float) -> tuple[Tensor, Tensor, Tensor]:
    """values, observed [B,V,W] -> z [B,V,W] (zero where not observed), mean [B,V], std [B,V] (at least `floor`).

    Over observed steps only; inverse: z * std + mean. Nothing observed: mean 0, std `floor`. (RevIN: Kim et al. 2022.)
    """
    count = observed.sum(-1).clamp(min=1)
    mean = torch.where(observed, values, 0).sum(-1) / count
    centred = torch.where(observed, values - mean[..., None], 0)
    std = (centred.square().sum(-1) / count).sqrt().clamp(min=floor)
    return centred / std[..., None], mean, std


def cut_patches(series: Tensor, patch: int, stride: int) -> Tensor:
    """[B,V,W] -> [B,V,K,P]; the last value is repeated for one stride, so that the end of the window is read twice."""
    return functional.pad(series, (0, stride), mode="replicate").unfold(-1, patch, stride)


class FeatureNorm(nn.Module):
    """Frozen embeddings [B,V,D], standardised per variate and channel by training rows, then clipped to +-5.

    Some channels hardly move on line plots; dividing by their spread made a linear probe explode (R2 -1.08). So the
    spread has a floor: a tenth of the variate's median channel spread.
    """

    mean: Tensor
    scale: Tensor
    fitted: Tensor

    def __init__(self, variates: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(variates, dim))
        self.register_buffer("scale", torch.ones(variates, dim))
        self.register_buffer("fitted", torch.tensor(False))

    @torch.no_grad()
    def fit(
        self, halves: Sequence[Tensor], present: Sequence[Tensor] | None = None, rows: Tensor | None = None
    ) -> None:
        """Takes mean and spread from training rows: one [n,V,D] a half season, with present [n,V] bool where known.

        `rows` [k]: only these samples. In blocks, whose sums (of float16 vectors in float32) are added up in float64.
        """
        count, shift = torch.zeros(len(self.mean), 1), None
        total, squares = torch.zeros(2, *self.mean.shape, dtype=torch.float64)
        for block, mask in _blocks(halves, present, rows):
            if shift is None:  # near the mean, so that the difference of squares below loses no digits
                shift = block.masked_fill(~mask, 0).sum(0) / mask.sum(0).clamp(min=1)
            away = block.sub_(shift).masked_fill_(~mask, 0)
            count += mask.sum(0)
            total += away.sum(0)
            squares += away.square_().sum(0)
        shifted = total / count.clamp(min=1)
        mean = shifted if shift is None else shift + shifted
        spread = (squares / count.clamp(min=1) - shifted.square()).clamp(min=0).sqrt()
        known = count[:, 0] > 0
        floor = 0.1 * spread.quantile(0.5, dim=1, keepdim=True, interpolation="lower")  # as Tensor.median has it
        self.mean[known] = mean[known].to(self.mean)
        self.scale[known] = torch.maximum(spread, floor).clamp(min=1e-4)[known].to(self.scale)
        self.fitted.fill_(True)

    def forward(self, embeddings: Tensor) -> Tensor:
        """[B,V,D], any float type -> [B,V,D] float32 within +-5."""
        if not self.fitted:
            raise RuntimeError("the feature norm has seen no training rows; call fit_features or load a state dict")
        own = embeddings.to(torch.float32, copy=True)  # and then in place: new memory costs more than the arithmetic
        return own.sub_(self.mean).div_(self.scale).clamp_(-5, 5)


def _blocks(
    halves: Sequence[Tensor], present: Sequence[Tensor] | None, rows: Tensor | None
) -> Iterator[tuple[Tensor, Tensor]]:
    """New blocks of samples [b,V,D] with their masks [b,V,1], one half season after the other."""
    for number, half in enumerate(halves):
        chosen = torch.arange(len(half), device=half.device) if rows is None else rows
        for at in torch.split(chosen, NORM_BLOCK):
            block = half.index_select(0, at).to(torch.float32 if half.dtype == torch.float16 else torch.float64).cpu()
            mask = torch.ones(block.shape[:2], dtype=torch.bool) if present is None else present[number][at].cpu()
            yield block, mask[..., None]


class Vision(nn.Module):
    """Cached embeddings [B,V,D] -> one vision class token a variate [B,V,E]."""

    def __init__(self, config: TimesCLIPConfig) -> None:
        super().__init__()
        self.norm = FeatureNorm(config.variates, config.vision_dim)
        self.project = nn.Sequential(
            Dropout(config.dropout, inplace=True),
            nn.Linear(config.vision_dim, config.width),
            nn.LayerNorm(config.width),
        )

    def forward(self, embeddings: Tensor, present: Tensor) -> Tensor:
        """embeddings [B,V,D], present [B,V] -> [B,V,E], zero for absent variates."""
        normed = self.norm(embeddings).masked_fill_(~present[..., None], 0)
        return torch.where(present[..., None], self.project(normed), 0)


class Language(nn.Module):
    """Normalised numbers -> text class token, patch tokens and the token of variate selection, by one transformer."""

    def __init__(self, config: TimesCLIPConfig) -> None:
        super().__init__()
        self.patch, self.stride, width = config.patch, config.stride, config.width
        layer = nn.TransformerEncoderLayer(
            width, config.heads, 2 * width, config.dropout, "gelu", batch_first=True, norm_first=True
        )
        layer.dropout, layer.dropout1, layer.dropout2 = (Dropout(config.dropout) for _ in range(3))
        # Pre-norm layers cannot use nested tensors; torch warns unless it is told.
        self.transformer = nn.TransformerEncoder(
            layer, config.layers, norm=nn.LayerNorm(width), enable_nested_tensor=False
        )
        self.patch_token = nn.Linear(2 * config.patch, width)
        self.series_token = nn.Linear(2 * config.window, width)
        self.cls = nn.Parameter(0.02 * torch.randn(width))
        self.positions = nn.Parameter(0.02 * torch.randn(config.patches + 1, width))
        self.variates = nn.Parameter(0.02 * torch.randn(config.variates, width))

    def read(self, z: Tensor, observed: Tensor) -> tuple[Tensor, Tensor]:
        """z, observed [B,V,W] -> text class token [B,V,E], patch tokens [B,V,K,E].

        A patch without an observed step is masked in attention; the class token never is.
        """
        numbers, seen = (cut_patches(x, self.patch, self.stride) for x in (z, observed.to(z.dtype)))
        tokens = self.patch_token(torch.cat([numbers, seen], -1))
        cls = self.cls.expand(*tokens.shape[:2], 1, -1)
        tokens = torch.cat([cls, tokens], 2) + self.positions + self.variates[:, None]
        empty = functional.pad(seen.amax(-1) == 0, (1, 0), value=False)
        out = self.transformer(tokens.flatten(0, 1), src_key_padding_mask=empty.flatten(0, 1))
        out = out.unflatten(0, tokens.shape[:2])
        return out[:, :, 0], out[:, :, 1:]

    def whole_series(self, z: Tensor, observed: Tensor, absent: Tensor) -> Tensor:
        """z, observed [B,V,W], absent [B,V] -> H [B,V,E]: one token a variate, through the same transformer."""
        tokens = self.series_token(torch.cat([z, observed.to(z.dtype)], -1)) + self.variates
        encoded: Tensor = self.transformer(tokens, src_key_padding_mask=absent)
        return encoded


class VariateSelection(nn.Module):
    """Cross-attention: each variate's text class token asks all variates' series what matters to it."""

    def __init__(self, config: TimesCLIPConfig) -> None:
        super().__init__()
        width = config.width
        self.attention = nn.MultiheadAttention(width, config.heads, batch_first=True)
        self.norm = nn.LayerNorm(width)
        self.feed_forward = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), Dropout(config.dropout), nn.Linear(2 * width, width)
        )

    def forward(self, text: Tensor, series: Tensor, absent: Tensor) -> tuple[Tensor, Tensor]:
        """text, series [B,V,E], absent [B,V] -> selected [B,V,E], attention weights [B,V,V] (mean over heads)."""
        found, weights = self.attention(text, series, series, key_padding_mask=absent)
        return self.feed_forward(self.norm(text + found)), weights


class TimesCLIP(nn.Module):
    """Completes a season and describes it. `fit_features` comes before training wherever pictures are used."""

    def __init__(self, config: TimesCLIPConfig) -> None:
        super().__init__()
        self.config = config
        self.vision = Vision(config) if config.use_vision else None
        self.language = Language(config) if config.use_language else None
        self.select = VariateSelection(config) if config.use_language else None
        tokens = config.patches * config.use_language + config.use_vision
        self.head = nn.Sequential(Dropout(config.dropout), nn.Linear(tokens * config.width, config.horizon))
        self.log_temperature = nn.Parameter(torch.tensor(START_LOG_TEMPERATURE))

    def fit_features(
        self, halves: Sequence[Tensor], present: Sequence[Tensor] | None = None, rows: Tensor | None = None
    ) -> None:
        """Fits the feature norm on training rows: embeddings [n,V,D] of each half season, or of `rows` [k] of them.

        Without vision: nothing.
        """
        if self.vision is not None:
            self.vision.norm.fit(halves, present, rows)

    def forward(self, values: Tensor, observed: Tensor, embeddings: Tensor | None = None) -> TimesCLIPOutput:
        """values [B,V,W] float, observed [B,V,W] bool, embeddings [B,V,D] or None -> completion [B,V,H] and tokens.

        With language, the completion goes through the inverse of the instance norm: a season shifted and scaled by
        constants is completed shifted and scaled alike (on numbers alone, and above the floor of the norm). Vision
        only reads no number: the picture, whose y-range is fixed, holds the level, and the head answers directly.
        """
        e = self._encode(values, observed, embeddings)
        tokens = [] if e.vision is None else [e.vision]
        if e.patches is not None and e.selected is not None:
            tokens = [e.patches[:, :, :-1].flatten(2), e.selected, *tokens]
        completion = self.head(torch.cat(tokens, -1))
        if self.language is not None:
            completion = completion * e.std[..., None] + e.mean[..., None]
        completion = torch.where(e.present[..., None], completion, 0)
        return TimesCLIPOutput(completion, e.vision, e.text, e.weights)

    def features(self, values: Tensor, observed: Tensor, embeddings: Tensor | None = None) -> Tensor:
        """What stage 2 reads, inputs as in `forward` -> [B,V,F]: text, selected and vision token (those in use).

        With language also mean and log spread of the window, because the level carries yield. Absent variates: zero.
        """
        e = self._encode(values, observed, embeddings)
        parts = [part for part in (e.text, e.selected, e.vision) if part is not None]
        if self.language is not None:
            parts += [e.mean[..., None], e.std.log()[..., None]]
        return torch.where(e.present[..., None], torch.cat(parts, -1), 0)

    def _encode(self, values: Tensor, observed: Tensor, embeddings: Tensor | None) -> _Encoded:
        values, observed = self._whole_window(values, observed)
        present = observed.any(-1)
        z, mean, std = instance_norm(values, observed, self.config.std_floor)
        vision = None
        if self.vision is not None:
            if embeddings is None or embeddings.shape != (*present.shape, self.config.vision_dim):
                found = None if embeddings is None else tuple(embeddings.shape)
                raise ValueError(
                    f"embeddings must be {(*present.shape, self.config.vision_dim)} as vision is used; got {found}"
                )
            vision = self.vision(embeddings, present)
        if self.language is None or self.select is None:
            return _Encoded(present, mean, std, None, None, None, None, vision)
        text, patches = self.language.read(z, observed)
        # A sample without any variate keeps its keys, or softmax over nothing gives NaN; its output is zeroed.
        absent = ~present & present.any(1, keepdim=True)
        selected, weights = self.select(text, self.language.whole_series(z, observed, absent), absent)
        text, selected, weights = (torch.where(present[..., None], x, 0) for x in (text, selected, weights))
        return _Encoded(present, mean, std, text, patches, selected, weights, vision)

    def _whole_window(self, values: Tensor, observed: Tensor) -> tuple[Tensor, Tensor]:
        """[B,V,w] with w <= W -> [B,V,W], zero where not observed."""
        missing = self.config.window - values.shape[-1]
        if values.shape != observed.shape or values.shape[1] != self.config.variates or missing < 0:
            raise ValueError(
                f"values and observed must be [B,{self.config.variates},<={self.config.window}]; got "
                f"{tuple(values.shape)} and {tuple(observed.shape)}"
            )
        values = torch.where(observed, values, 0)
        return functional.pad(values, (0, missing)), functional.pad(observed, (0, missing), value=False)


class YieldHead(nn.Module):
    """Frozen features of both half seasons -> yield anomaly. Small, for 10^2-10^4 samples; starts at exactly zero.

    features  2F, the width of both halves' features side by side
    variates  V
    level     how many of the last features of each half are its level (mean and log spread): they have a way of their
              own to the output, since they alone beat all tokens together where samples are few (docs/log.md)
    """

    ends: Tensor

    def __init__(
        self, features: int, variates: int, level: int = 2, bottleneck: int = 8, hidden: int = 32, dropout: float = 0.3
    ) -> None:
        super().__init__()
        half = features // 2
        ends = [*range(half - level, half), *range(features - level, features)]
        self.register_buffer("ends", torch.tensor(ends, dtype=torch.long), persistent=False)
        self.norm = FeatureNorm(variates, features)
        self.squeeze = nn.Linear(features, bottleneck)
        self.variates = nn.Parameter(0.02 * torch.randn(variates, bottleneck))
        self.dropout = Dropout(dropout)
        self.mix = nn.Linear(variates * (bottleneck + 2 * level), hidden)
        self.out = nn.Linear(hidden, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)
        self.straight = nn.Parameter(torch.zeros(variates * 2 * level))

    def fit_features(self, features: Tensor, present: Tensor) -> None:
        """Fits the feature norm on training rows: features [n,V,2F], present [n,V] bool."""
        self.norm.fit([features], [present])

    def forward(self, features: Tensor, present: Tensor) -> Tensor:
        """features [B,V,2F], present [B,V] bool -> anomaly [B], in units of the training anomalies' spread."""
        known = present[..., None]
        normed = torch.where(known, self.norm(torch.where(known, features, 0)), 0)
        squeezed = torch.where(known, functional.gelu(self.squeeze(self.dropout(normed)) + self.variates), 0)
        level = normed[..., self.ends].flatten(1)
        mixed = functional.gelu(self.mix(self.dropout(torch.cat([squeezed.flatten(1), level], -1))))
        anomaly: Tensor = self.out(self.dropout(mixed))[:, 0] + level @ self.straight
        return anomaly
