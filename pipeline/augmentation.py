"""Augmented views of each season, for training. They are drawn and embedded like any other series.

A view depends only on the numbers of its sample and on the number of the view. It is the same on any machine and in
any order of rows, so its pictures can be cached. Only training rows are used in augmented views.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import xxhash
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.table import SeasonTable


@dataclass(frozen=True)
class Views:
    """The number and the strength of augmented views. Zero switches a part off.

    Raises InputError if a value is outside its limits.
    """

    count: int = 0
    """K: number of views per sample, in addition to the measured series."""
    noise: float = 0.01
    """Standard deviation of the noise on each step, as a share of the standard deviation of its series."""
    warp: float = 0.1
    """Largest change of the season's speed, about its middle. 0.1 reads it at 0.9 to 1.1 times its speed."""
    mask: float = 0.1
    """Share of the observed steps that become unobserved."""

    def __post_init__(self) -> None:
        limits = {"count": (0, 100), "noise": (0, 1), "warp": (0, 0.5), "mask": (0, 0.9)}
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if not low <= value <= high:
                flag = "views" if name == "count" else name
                raise InputError(f"--{flag} is {value}; it must lie in {low} to {high}.")

    def flags(self) -> list[str]:
        """The flags of render_cache.py that produce these views."""
        if not self.count:
            return []
        default = Views()
        changed = [name for name in ("noise", "warp", "mask") if getattr(self, name) != getattr(default, name)]
        return ["--views", str(self.count), *(part for n in changed for part in (f"--{n}", str(getattr(self, n))))]


def view_tables(table: SeasonTable, views: Views) -> list[SeasonTable]:
    """One table per view: the same samples, with series that are warped in time, then noised, then masked.

    Drivers and static columns do not change: the crop develops differently under the same weather and on the same soil.
    """
    return [_view(table, views, number) for number in range(1, views.count + 1)]


def _view(table: SeasonTable, views: Views, number: int) -> SeasonTable:
    values, observed = np.empty_like(table.values), np.empty_like(table.observed)
    for sample in range(len(table)):
        seen = table.observed[sample]
        measured = np.where(seen, table.values[sample], np.float32(0)) + np.float32(0)
        digest = xxhash.xxh3_64(measured.tobytes(), seed=number)
        digest.update(np.ascontiguousarray(seen).tobytes())
        rng = np.random.default_rng(digest.intdigest())
        speed = 1 + views.warp * rng.uniform(-1, 1)
        warped, seen = _warped(measured.astype(np.float64), seen, speed)
        warped += views.noise * _spread(warped, seen) * rng.standard_normal(warped.shape)
        seen &= rng.random(seen.shape) >= views.mask
        values[sample], observed[sample] = np.where(seen, warped, np.nan), seen
    return replace(table, values=values, observed=observed, name=f"{table.name} view {number}")


def _warped(
    values: NDArray[np.float64], observed: NDArray[np.bool_], speed: float
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Values and mask [V,T], read at `speed` about the middle of the season, with linear interpolation.

    Steps beyond the ends of the season are unobserved. An interpolated step is observed if both its neighbours are.
    """
    steps = values.shape[1]
    middle = (steps - 1) / 2
    at = middle + (np.arange(steps) - middle) * speed
    inside = (at >= 0) & (at <= steps - 1)
    low = np.clip(np.floor(at), 0, steps - 1).astype(int)
    high = np.minimum(low + 1, steps - 1)
    share = np.clip(at - low, 0, 1)
    read = values[:, low] * (1 - share) + values[:, high] * share
    seen = inside & (observed[:, low] | (share == 1)) & (observed[:, high] | (share == 0))
    return read, seen


def _spread(values: NDArray[np.float64], observed: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Standard deviation [V,1] over the observed steps of each series; 0 if no step is observed."""
    count = np.maximum(observed.sum(1, keepdims=True), 1)
    mean = np.where(observed, values, 0).sum(1, keepdims=True) / count
    squares: NDArray[np.float64] = np.where(observed, (values - mean) ** 2, 0).sum(1, keepdims=True) / count
    return np.sqrt(squares)
