"""Both half seasons of every sample as tensors in memory: what the models are trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True, eq=False)
class HalfSeason:
    """One half of n seasons.

    values     [n,V,W] float32, standardised by the training rows; 0 where not observed
    observed   [n,V,W] bool
    embeddings [n,V,D] float16 of the pictures of this half, or None when no picture is used
    """

    values: Tensor
    observed: Tensor
    embeddings: Tensor | None

    def rows(self, index: Tensor) -> HalfSeason:
        """The samples of `index` [b]."""
        pictures = (
            None if self.embeddings is None else self.embeddings.index_select(0, index)
        )  # [index]: 6 times slower
        return HalfSeason(self.values[index], self.observed[index], pictures)

    def part(self, start: int, stop: int) -> HalfSeason:
        """The samples from `start` to `stop`, without a copy."""
        pictures = None if self.embeddings is None else self.embeddings[start:stop]
        return HalfSeason(self.values[start:stop], self.observed[start:stop], pictures)

    def mixed(self, other: HalfSeason, weight: float) -> HalfSeason:
        """MixUp (Zhang et al. 2018): weight x self + (1 - weight) x other, sample by sample.

        A step is observed where both observe it: a number mixed with nothing would be neither. So is a variate whose
        picture counts; the vectors of blank plots are mixed, too, and masked with their variates.
        """
        observed = self.observed & other.observed
        values = torch.where(observed, torch.lerp(other.values, self.values, weight), 0)
        if self.embeddings is None or other.embeddings is None:
            return HalfSeason(values, observed, None)
        return HalfSeason(values, observed, torch.lerp(other.embeddings.float(), self.embeddings.float(), weight))

    def to(self, device: torch.device) -> HalfSeason:
        """The same samples on a device; to a GPU by one pinned, non-blocking copy a tensor."""
        return HalfSeason(
            moved(self.values, device),
            moved(self.observed, device),
            None if self.embeddings is None else moved(self.embeddings, device),
        )

    def __len__(self) -> int:
        return len(self.values)


@dataclass(frozen=True)
class Season:
    """First and second half of the same samples."""

    first: HalfSeason
    second: HalfSeason

    def rows(self, index: Tensor) -> Season:
        """The samples of `index` [b]."""
        return Season(self.first.rows(index), self.second.rows(index))

    def part(self, start: int, stop: int) -> Season:
        """The samples from `start` to `stop`, without a copy."""
        return Season(self.first.part(start, stop), self.second.part(start, stop))

    def mixed(self, other: Season, weight: float) -> Season:
        """Both halves mixed with one weight."""
        return Season(self.first.mixed(other.first, weight), self.second.mixed(other.second, weight))

    def to(self, device: torch.device) -> Season:
        """The same samples on a device."""
        return Season(self.first.to(device), self.second.to(device))

    def __len__(self) -> int:
        return len(self.first)


def moved(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on `device`; from host memory to a GPU through pinned memory, without waiting for the copy."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def in_views(seasons: Sequence[Season], rows: Tensor, views: Tensor | None) -> Season:
    """The samples of `rows` [b], each in its view of `views` [b] among `seasons` (0: as measured; None: all so)."""
    if views is None:
        return seasons[0].rows(rows)
    if len(seasons) == 1:
        raise ValueError("views are drawn and there are none")
    order = torch.argsort(views, stable=True)
    parts = [seasons[view].rows(rows[views == view]) for view in torch.unique(views).tolist()]
    back = torch.argsort(order)
    return joined(parts).rows(back)


def joined(seasons: Sequence[Season]) -> Season:
    """The samples of several, one after the other."""
    halves = []
    for name in ("first", "second"):
        parts = [getattr(season, name) for season in seasons]
        pictures = None if parts[0].embeddings is None else torch.cat([part.embeddings for part in parts])
        values, observed = (torch.cat([getattr(part, key) for part in parts]) for key in ("values", "observed"))
        halves.append(HalfSeason(values, observed, pictures))
    return Season(halves[0], halves[1])


def half_seasons(
    values: NDArray[np.float64],
    observed: NDArray[np.bool_],
    embeddings: NDArray[np.float16] | None,
    cut: int | None = None,
) -> tuple[HalfSeason, HalfSeason]:
    """Cut standardised seasons [N,V,T] at step `cut` (T//2) into first and second half, both W steps long.

    W is the length of the longer one; the other gets unobserved steps at its end, so that one set of weights reads
    both. embeddings [N,V,2,D], index 0 the first half.
    """
    cut = cut or values.shape[2] // 2
    length = max(cut, values.shape[2] - cut)
    filled = np.where(observed, values, 0).astype(np.float32)
    halves = []
    for number, part in enumerate((slice(0, cut), slice(cut, None))):
        pad = ((0, 0), (0, 0), (0, length - filled[:, :, part].shape[2]))
        pictures = None if embeddings is None else torch.from_numpy(embeddings[:, :, number])
        halves.append(
            HalfSeason(
                torch.from_numpy(np.pad(filled[:, :, part], pad)),
                torch.from_numpy(np.pad(observed[:, :, part], pad)),
                pictures,
            )
        )
    return halves[0], halves[1]
