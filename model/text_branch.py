"""The text branch: patches of numbers through one sequence model, and cross-attention between variates.

Dimensions: B samples, V variates, R drivers, W steps of a window, K patches of P steps, E token.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.backbones import Backbone
from model.config import TimesCLIPConfig
from model.dropout import Dropout

WAVES = 8  # of the day positions: periods from a year down to an eighth of a year
LEVEL_WAVES = 5  # of the level token: periods from four y-ranges down to a quarter of one
YEAR = 365.0  # days


def cut_patches(series: Tensor, patch: int, stride: int, padding: bool = True) -> Tensor:
    """[B,V,W] -> [B,V,K,P].

    With padding the last value is repeated for one stride, so that two patches hold the end.
    """
    padded = functional.pad(series, (0, stride), mode="replicate") if padding else series
    return padded.unfold(-1, patch, stride)


class IndexPositions(nn.Module):
    """A learnt embedding of a patch's number in its window."""

    def __init__(self, patches: int, width: int) -> None:
        super().__init__()
        self.table = nn.Parameter(0.02 * torch.randn(patches, width))

    def forward(self, patches: int, start: int) -> Tensor:
        """[K,E]; `start`, the season's step at which the window begins, has no effect."""
        return self.table[:patches]


class DayPositions(nn.Module):
    """The day of season at a patch's centre, as sines and cosines of a year and its fractions -> token.

    Day 0 is the first day of the season's first step, so a patch has the same position in every window. (Fourier
    features: Tancik et al. 2020.)
    """

    def __init__(self, patch: int, stride: int, step_days: float, width: int) -> None:
        super().__init__()
        self.patch, self.stride, self.step_days = patch, stride, step_days
        self.project = nn.Linear(2 * WAVES, width)
        nn.init.normal_(self.project.weight, std=0.02)

    def days(self, patches: int, start: int) -> Tensor:
        """[K] days from the start of the season to the centre of each patch; the window begins at step `start`."""
        first = torch.arange(patches, device=self.project.weight.device) * self.stride + start
        return (first + self.patch / 2) * self.step_days

    def forward(self, patches: int, start: int) -> Tensor:
        """[K,E], for K patches of a window that begins at step `start`."""
        waves = torch.arange(1, WAVES + 1, device=self.project.weight.device)
        angles = self.days(patches, start)[:, None] * waves * (2 * math.pi / YEAR)
        positions: Tensor = self.project(torch.cat([angles.sin(), angles.cos()], -1).to(self.project.weight.dtype))
        return positions


class LevelToken(nn.Module):
    """Mean and spread of a window in units of the y-range, as one token per variate.

    The pictures show both, while the instance norm removes them from the numbers. `to_range` [V,2] maps a standardised
    value z to the y-range (0 bottom, 1 top): slope * z + offset. A slope of 0 says that the pictures show no level.
    """

    to_range: Tensor

    def __init__(self, variates: int, width: int) -> None:
        super().__init__()
        self.register_buffer("to_range", torch.zeros(variates, 2))
        self.project = nn.Linear(2 * (1 + 2 * LEVEL_WAVES), width)

    def forward(self, mean: Tensor, std: Tensor) -> Tensor:
        """mean, std [B,V], standardised -> [B,V,1,E]."""
        slope, offset = self.to_range[:, 0], self.to_range[:, 1]
        level = mean * slope + offset
        spread = (std * slope + 1e-3).log() / 4  # a y-range is 1, a pixel about 0.005
        numbers = torch.stack([level, spread], -1)[..., None]  # [B,V,2,1]
        angles = numbers * (math.pi / 2) * 2 ** torch.arange(LEVEL_WAVES, device=mean.device)
        known = torch.cat([numbers, angles.sin(), angles.cos()], -1).flatten(-2)
        token: Tensor = self.project(torch.where(slope[:, None] > 0, known, 0))
        return token[..., None, :]


class Language(nn.Module):
    """Normalised numbers -> text class token, patch tokens and variate-selection tokens, by one backbone."""

    def __init__(self, config: TimesCLIPConfig, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone
        self.patch, self.stride, self.padding = config.patch, config.stride, config.padding == "end"
        self.window, self.joint, self.mean = config.window, config.sequence == "joint", config.pool == "mean"
        width = config.width
        self.patch_token = nn.Linear(2 * config.patch, width)
        self.series_token = nn.Linear(2 * config.window, width) if config.selection else None
        self.cls = None if self.joint or self.mean else nn.Parameter(0.02 * torch.randn(width))
        self.positions: IndexPositions | DayPositions = (
            DayPositions(config.patch, config.stride, config.step_days, width)
            if config.positions == "day"
            else IndexPositions(config.patches(config.window), width)
        )
        self.variates = nn.Parameter(0.02 * torch.randn(config.variates, width))
        self.driver_token = nn.Linear(2 * config.steps, width) if config.drivers else None
        self.drivers = nn.Parameter(0.02 * torch.randn(config.drivers, width)) if config.drivers else None
        self.level = LevelToken(config.variates, width) if config.level else None

    def read(
        self, z: Tensor, observed: Tensor, scale: tuple[Tensor, Tensor], start: int, drivers: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """z, observed [B,V,W], drivers [B,R,2T] -> text class token [B,V,E], patch tokens [B,V,K,E].

        scale: mean and std [B,V] that the instance norm removed; only the level token reads them. A patch (or driver)
        without an observed step is masked in attention; class token and level token never are.
        """
        numbers, mask = (cut_patches(x, self.patch, self.stride, self.padding) for x in (z, observed.to(z.dtype)))
        tokens = self.patch_token(torch.cat([numbers, mask], -1))
        tokens = tokens + self.positions(tokens.shape[2], start) + self.variates[:, None]
        empty = mask.amax(-1) == 0
        context, blank = self._driver_tokens(drivers)
        if self.joint:
            patches = self._joined(tokens, empty, context, blank)
        else:
            level = None if self.level is None else self.level(*scale)
            patches = self._apart(tokens, empty, level, context, blank)
        if self.cls is not None:
            return patches[:, :, 0], patches[:, :, 1:]
        known = ~empty[..., None]
        mean = torch.where(known, patches, 0).sum(2) / known.sum(2).clamp(min=1)
        return mean, patches

    def whole_series(self, z: Tensor, observed: Tensor, absent: Tensor) -> Tensor:
        """z, observed [B,V,w], absent [B,V] -> H [B,V,E]: one token per variate, through the same backbone."""
        if self.series_token is None:
            raise ValueError("this model has no variate selection")
        missing = (0, self.window - z.shape[-1])
        series = torch.cat([functional.pad(z, missing), functional.pad(observed, missing).to(z.dtype)], -1)
        encoded: Tensor = self.backbone(self.series_token(series) + self.variates, absent)
        return encoded

    def _apart(
        self, tokens: Tensor, empty: Tensor, level: Tensor | None, context: Tensor | None, blank: Tensor | None
    ) -> Tensor:
        """One sequence per variate: [class token], its K patches, [its level], all R drivers -> [B,V,(1+)K,E]."""
        samples, variates = tokens.shape[:2]
        if self.cls is not None:
            tokens = torch.cat([self.cls.expand(samples, variates, 1, -1), tokens], 2)
            empty = functional.pad(empty, (1, 0), value=False)
        else:
            empty = empty & ~empty.all(2, keepdim=True)  # softmax without keys is NaN; this variate is zeroed later
        own = tokens.shape[2]
        if level is not None:
            tokens, empty = torch.cat([tokens, level], 2), functional.pad(empty, (0, 1), value=False)
        if context is not None and blank is not None:
            tokens = torch.cat([tokens, context[:, None].expand(-1, variates, -1, -1)], 2)
            empty = torch.cat([empty, blank[:, None].expand(-1, variates, -1)], 2)
        out = self.backbone(tokens.flatten(0, 1), empty.flatten(0, 1))
        encoded: Tensor = out.unflatten(0, (samples, variates))[:, :, :own]
        return encoded

    def _joined(self, tokens: Tensor, empty: Tensor, context: Tensor | None, blank: Tensor | None) -> Tensor:
        """The patches of all variates, and the drivers, in one sequence -> [B,V,K,E]."""
        _, variates, patches, _ = tokens.shape
        tokens, empty = tokens.flatten(1, 2), empty.flatten(1, 2)
        empty = empty & ~empty.all(1, keepdim=True)
        if context is not None and blank is not None:
            tokens, empty = torch.cat([tokens, context], 1), torch.cat([empty, blank], 1)
        out = self.backbone(tokens, empty)
        encoded: Tensor = out[:, : variates * patches].unflatten(1, (variates, patches))
        return encoded

    def _driver_tokens(self, drivers: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
        """[B,R,2T], numbers followed by their mask -> tokens [B,R,E], and drivers that were never observed [B,R]."""
        if self.driver_token is None or self.drivers is None:
            return None, None
        if drivers is None:
            raise ValueError(f"this model reads {len(self.drivers)} drivers; got none")
        numbers, mask = drivers.chunk(2, -1)
        known = torch.cat([torch.where(mask > 0, numbers, 0), mask], -1)
        return self.driver_token(known) + self.drivers, mask.amax(-1) == 0


class VariateSelection(nn.Module):
    """Cross-attention: each variate's text class token attends to the series of all variates."""

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
        attended, weights = self.attention(text, series, series, key_padding_mask=absent)
        return self.feed_forward(self.norm(text + attended)), weights
