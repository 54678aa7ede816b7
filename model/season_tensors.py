"""Seasons of all samples as tensors in memory, cut into windows: the training input of the models."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True, eq=False)
class WindowTensors:
    """One window of n seasons.

    values     [n,V,W] float32, standardised by the training rows; 0 where not observed
    observed   [n,V,W] bool
    embeddings [n,V,D] float16 of the pictures of this window, or None when no picture is used
    drivers    [n,R,2T] float32, standardised numbers followed by their mask (1: observed), of the whole season; or None
    start      the season's step at which the window begins
    """

    values: Tensor
    observed: Tensor
    embeddings: Tensor | None = None
    drivers: Tensor | None = None
    start: int = 0

    @property
    def present(self) -> Tensor:
        """[n,V] bool: variates observed at any step of the window."""
        return self.observed.any(-1)

    def inputs(self) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None, int]:
        """The arguments of `TimesCLIP.forward`."""
        return self.values, self.observed, self.embeddings, self.drivers, self.start

    def without_pictures(self) -> WindowTensors:
        """The same window without pictures."""
        return replace(self, embeddings=None)

    def rows(self, index: Tensor) -> WindowTensors:
        """The samples of `index` [b]."""
        return self._each(lambda tensor: gathered(tensor, index))

    def part(self, start: int, stop: int) -> WindowTensors:
        """The samples from `start` to `stop`, without a copy."""
        return self._each(lambda tensor: tensor[start:stop])

    def mixed(self, other: WindowTensors, weight: float) -> WindowTensors:
        """MixUp (Zhang et al. 2018): weight x self + (1 - weight) x other, sample by sample.

        A step is observed if both samples observe it, and a variate's picture counts if both samples observe the
        variate. Embeddings of blank plots are mixed too; they are masked with their variates.
        """
        observed = self.observed & other.observed
        values = torch.where(observed, torch.lerp(other.values, self.values, weight), 0)
        pictures = drivers = None
        if self.embeddings is not None and other.embeddings is not None:
            pictures = torch.lerp(other.embeddings.float(), self.embeddings.float(), weight)
        if self.drivers is not None and other.drivers is not None:
            drivers = _mixed_drivers(self.drivers, other.drivers, weight)
        return WindowTensors(values, observed, pictures, drivers, self.start)

    def to(self, device: torch.device) -> WindowTensors:
        """The same samples on a device; to a GPU by one pinned, non-blocking copy per tensor."""
        return self._each(lambda tensor: moved(tensor, device))

    def _each(self, change: Callable[[Tensor], Tensor]) -> WindowTensors:
        return WindowTensors(
            values=change(self.values),
            observed=change(self.observed),
            embeddings=None if self.embeddings is None else change(self.embeddings),
            drivers=None if self.drivers is None else change(self.drivers),
            start=self.start,
        )

    def __len__(self) -> int:
        return len(self.values)


def gathered(tensor: Tensor, index: Tensor) -> Tensor:
    """tensor[index] for tensor [n,...] and index [b].

    Selecting from the flattened tensor is 6 times faster. Reading float16 as words of eight bytes is a fifth faster
    again (docs/log.md).
    """
    flat = tensor.flatten(1)
    words = flat.dtype == torch.float16 and flat.numel() > 0 and flat.shape[1] % 4 == 0 and flat.is_contiguous()
    if words:
        flat = flat.view(torch.int64)
    chosen = flat.index_select(0, index)
    return (chosen.view(torch.float16) if words else chosen).view(len(index), *tensor.shape[1:])


@dataclass(frozen=True, eq=False)
class SeasonTensors:
    """Samples as windows: the input of stage 1 (`first`), and the rest, which stage 2 reads too (`second`).

    cut    None: first and second are the two halves of the season. A step: both windows span the whole season, and
           `first` observes nothing from the cut on.
    static [n,S] float32, standardised numbers that do not change within a season, or None
    """

    first: WindowTensors
    second: WindowTensors
    cut: int | None = None
    static: Tensor | None = None

    @property
    def rest(self) -> tuple[Tensor, Tensor]:
        """The steps that stage 1 completes: values [n,V,H] and observed [n,V,H]."""
        return self.second.values[:, :, self.cut or 0 :], self.second.observed[:, :, self.cut or 0 :]

    @property
    def windows(self) -> tuple[WindowTensors, ...]:
        """The windows that the yield head reads: both halves, or the whole season."""
        return (self.first, self.second) if self.cut is None else (self.second,)

    @property
    def present(self) -> Tensor:
        """[n,V] bool: variates observed at any step of the season."""
        return self.first.present | self.second.present

    def to_complete(self) -> SeasonTensors:
        """The input of stage 1: the second window without pictures and drivers."""
        return replace(self, second=replace(self.second, embeddings=None, drivers=None))

    def rows(self, index: Tensor) -> SeasonTensors:
        """The samples of `index` [b]."""
        static = None if self.static is None else self.static[index]
        return SeasonTensors(self.first.rows(index), self.second.rows(index), self.cut, static)

    def part(self, start: int, stop: int) -> SeasonTensors:
        """The samples from `start` to `stop`, without a copy."""
        static = None if self.static is None else self.static[start:stop]
        return SeasonTensors(self.first.part(start, stop), self.second.part(start, stop), self.cut, static)

    def mixed(self, other: SeasonTensors, weight: float) -> SeasonTensors:
        """Two sets of samples mixed with one weight for every tensor (MixUp)."""
        static = None if self.static is None or other.static is None else other.static.lerp(self.static, weight)
        first, second = self.first.mixed(other.first, weight), self.second.mixed(other.second, weight)
        return SeasonTensors(first, second, self.cut, static)

    def to(self, device: torch.device) -> SeasonTensors:
        """The same samples on a device."""
        static = None if self.static is None else moved(self.static, device)
        return SeasonTensors(self.first.to(device), self.second.to(device), self.cut, static)

    def __len__(self) -> int:
        return len(self.first)


def _mixed_drivers(own: Tensor, other: Tensor, weight: float) -> Tensor:
    """[n,R,2T]: drivers mixed at steps that both observe."""
    steps = own.shape[-1] // 2
    observed = own[..., steps:] * other[..., steps:]
    return torch.cat([torch.lerp(other[..., :steps], own[..., :steps], weight) * observed, observed], -1)


def moved(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on `device`. From host memory to a GPU it goes through pinned memory, without waiting for the copy."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def in_views(seasons: Sequence[SeasonTensors], rows: Tensor, views: Tensor | None) -> SeasonTensors:
    """The samples of `rows` [b], each in its view of `views` [b] among `seasons` (0 or None: as measured)."""
    if views is None:
        return seasons[0].rows(rows)
    if len(seasons) == 1:
        raise ValueError("the draw names views, but there is only the season as measured")
    order = torch.argsort(views, stable=True)
    parts = [seasons[view].rows(rows[views == view]) for view in torch.unique(views).tolist()]
    back = torch.argsort(order)
    return joined(parts).rows(back)


def joined(seasons: Sequence[SeasonTensors]) -> SeasonTensors:
    """The samples of several sets, one after another."""

    def one(windows: Sequence[WindowTensors]) -> WindowTensors:
        return WindowTensors(
            values=torch.cat([window.values for window in windows]),
            observed=torch.cat([window.observed for window in windows]),
            embeddings=_joined([window.embeddings for window in windows]),
            drivers=_joined([window.drivers for window in windows]),
            start=windows[0].start,
        )

    first, second = one([season.first for season in seasons]), one([season.second for season in seasons])
    return SeasonTensors(first, second, seasons[0].cut, _joined([season.static for season in seasons]))


def _joined(tensors: Sequence[Tensor | None]) -> Tensor | None:
    known = [tensor for tensor in tensors if tensor is not None]
    return torch.cat(known) if known else None


def cut_window(
    values: NDArray[np.float64],
    observed: NDArray[np.bool_],
    frame: tuple[int, int, int],
    embeddings: NDArray[np.float16] | None = None,
    drivers: NDArray[np.float32] | None = None,
) -> WindowTensors:
    """Cut a window out of standardised seasons [N,V,T].

    `frame` is (start, stop, until): the window holds the steps from start to stop, and none from `until` on is
    observed. embeddings [N,V,D] of that window's pictures, drivers [N,R,2T].
    """
    start, stop, until = frame
    numbers = np.where(observed[:, :, start:stop], values[:, :, start:stop], 0).astype(np.float32)
    mask = observed[:, :, start:stop].copy()
    numbers[:, :, max(0, until - start) :] = 0
    mask[:, :, max(0, until - start) :] = False
    return WindowTensors(
        values=torch.from_numpy(numbers),
        observed=torch.from_numpy(mask),
        embeddings=None if embeddings is None else torch.from_numpy(embeddings),
        drivers=None if drivers is None else torch.from_numpy(drivers),
        start=start,
    )
