"""Random convolution features of a season: the strongest cheap feature map of a series that uses no picture.

After ROCKET (Dempster, Petitjean & Webb 2020, Data Min. Knowl. Discov. 34, 1454-1495). Kernels have random length,
weights, dilation and subset of variates. Each response gives two features: the share above a threshold (PPV) and the
maximum. Values are standardised per step by training rows; gaps are filled from the steps beside them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from model.gap_filling import fill_gaps

KERNELS = 1500
LENGTHS = (3, 5, 7)
BATCH = 1024  # samples per convolution

Series = tuple[Tensor, Tensor]  # values, observed [N,V,T]


@dataclass(frozen=True, eq=False)
class Convolutions:
    """Fitted kernels.

    weight     [K,V,L] float64, L the longest length; shorter kernels end in zeros, unused variates are zero
    shape      [K,3] int64: length, dilation, whether the series is padded
    threshold  [K] for the PPV
    mean, scale [V,T] per step
    seen        [V,T] bool: observed in any training row; other steps are missing in all rows. Kernels of earlier
                versions have none.
    """

    weight: Tensor
    shape: Tensor
    threshold: Tensor
    mean: Tensor
    scale: Tensor
    seen: Tensor | None = None

    @staticmethod
    def fit(series: Series, rows: Tensor, seed: int = 0, kernels: int = KERNELS) -> Convolutions:
        """Draw kernels from the seed. Thresholds and standardisation come from the training rows [n]."""
        values, observed = (one[rows] for one in series)
        count = observed.sum(0).clamp(min=1)
        mean = torch.where(observed, values, 0).sum(0) / count
        spread = (torch.where(observed, values - mean, 0).square().sum(0) / count).sqrt()
        largest = torch.where(observed, values, 0).abs().amax(0)
        scale = torch.where(spread > 1e-9 * largest.clamp(max=1), spread, torch.inf)  # a constant step becomes 0
        drawn = torch.Generator().manual_seed(seed)
        weight, shape = _draw(drawn, kernels, *mean.shape)
        threshold = torch.zeros(kernels, dtype=torch.float64)
        fitted = Convolutions(weight, shape, threshold, mean, scale, observed.any(0))
        donors = torch.randint(len(rows), (kernels,), generator=drawn)
        levels = torch.rand(kernels, generator=drawn, dtype=torch.float64)
        z = fitted._standardised((values, observed))
        for kernel in range(kernels):
            response = fitted._response(z[donors[kernel]][None], torch.tensor([kernel]))
            threshold[kernel] = torch.quantile(response.flatten(), levels[kernel])
        return fitted

    def apply(self, series: Series) -> Tensor:
        """values, observed [N,V,T] -> [N,2K]: the PPV of every kernel, then its maximum."""
        features = torch.empty(len(series[0]), 2 * len(self.weight), dtype=torch.float64)
        for at in torch.split(torch.arange(len(features)), BATCH):
            features[at[0] : at[-1] + 1] = self._features(self._standardised((series[0][at], series[1][at])))
        return features

    def state(self) -> dict[str, Tensor]:
        """For safetensors."""
        names = ("weight", "shape", "threshold", "mean", "scale", "seen")
        return {name: tensor for name in names if (tensor := getattr(self, name)) is not None}

    @staticmethod
    def from_state(state: Mapping[str, Tensor]) -> Convolutions:
        """Inverse of `state`."""
        return Convolutions(**state)

    def _standardised(self, series: Series) -> Tensor:
        values, observed = series
        observed = observed if self.seen is None else observed & self.seen
        return fill_gaps(((values - self.mean) / self.scale).clamp(-5, 5), observed)

    def _features(self, z: Tensor) -> Tensor:
        share, most = torch.empty(2, len(z), len(self.weight), dtype=torch.float64)
        for at, response in self._responses(z):
            share[:, at] = (response > self.threshold[at][:, None]).double().mean(-1)
            most[:, at] = response.amax(-1)
        return torch.cat([share, most], 1)

    def _responses(self, z: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Indices of the kernels of one shape [k] and their responses [n,k,W], one shape after another."""
        for shape in torch.unique(self.shape, dim=0):
            at = (self.shape == shape).all(1).nonzero()[:, 0]
            yield at, self._response(z, at)

    def _response(self, z: Tensor, at: Tensor) -> Tensor:
        """Responses of the kernels `at` [k], which have one shape: z [n,V,T] -> [n,k,W]."""
        length, dilation, padded = self.shape[at[0]].tolist()
        padding = dilation * (length - 1) // 2 if padded else 0
        return functional.conv1d(z, self.weight[at][:, :, :length], padding=padding, dilation=dilation)


def _draw(drawn: torch.Generator, kernels: int, variates: int, steps: int) -> tuple[Tensor, Tensor]:
    """Weights [K,V,L] with mean 0 over each variate's taps, and shapes [K,3]."""
    lengths = [length for length in LENGTHS if length <= steps] or [1]
    weight = torch.zeros(kernels, variates, lengths[-1], dtype=torch.float64)
    shape = torch.zeros(kernels, 3, dtype=torch.int64)

    def uniform() -> float:
        return float(torch.rand(1, generator=drawn, dtype=torch.float64))

    for kernel in range(kernels):
        length = lengths[int(uniform() * len(lengths))]
        longest = max(1, (steps - 1) // max(1, length - 1))
        dilation = min(longest, int(2 ** (uniform() * torch.log2(torch.tensor(longest + 1.0)).item())))
        some = torch.randperm(variates, generator=drawn)
        some = some[: max(1, int(2 ** (uniform() * torch.log2(torch.tensor(variates + 1.0)).item())))]
        taps = torch.randn(len(some), length, generator=drawn, dtype=torch.float64)
        weight[kernel, some, :length] = taps - taps.mean(1, keepdim=True) * (length > 1)
        shape[kernel] = torch.tensor([length, max(1, dilation), int(uniform() < 0.5)])
    return weight, shape
