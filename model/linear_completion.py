"""Completion by ridge regression, and its weight in the completion of a model.

Everything is a deviation from the mean season of the training rows (climatology), with gaps filled from the steps
beside them. The steps after the cut are linear in the steps before it, of all variates.

A transformer trained on a few hundred seasons and ridge make different errors, so their weighted mean has a lower one
than each (docs/log.md, "Ridge in the completion").
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from model.gap_filling import fill_gaps
from model.grouped_ridge import RidgeBasis
from model.season_tensors import SeasonTensors

PENALTIES = np.logspace(0, 6, 13)
PRIOR_SEASONS = 20  # validation seasons that a weight of one half counts as
MOST_ROWS = 20_000  # of each kind in a fit; more would not change it and take memory

Numbers = NDArray[np.float64]


class LinearCompletion(nn.Module):
    """A linear map from the first window [V,W] to the rest of the season [V,H].

    All buffers are zero before `fit`, and `mixing_weight` until `mix_in_ridge` sets it.
    """

    before: Tensor  # [V,W] mean season of the first window
    after: Tensor  # [V,H] mean season of the rest
    measured: Tensor  # [V,W] bool: observed in any training row; other steps are read as missing
    coefficients: Tensor  # [VW,VH]
    mixing_weight: Tensor  # [V] of ridge in the model's completion; all equal

    def __init__(self, variates: int, window: int, horizon: int) -> None:
        super().__init__()
        self.register_buffer("before", torch.zeros(variates, window))
        self.register_buffer("after", torch.zeros(variates, horizon))
        self.register_buffer("measured", torch.zeros(variates, window, dtype=torch.bool))
        self.register_buffer("coefficients", torch.zeros(variates * window, variates * horizon))
        self.register_buffer("mixing_weight", torch.zeros(variates))

    @staticmethod
    def fit(season: SeasonTensors, train: Tensor, valid: Tensor) -> LinearCompletion:
        """Fit on training rows [n] of `season`. The penalty is the one of PENALTIES with the lowest validation MSE."""
        bare = replace(season, first=season.first.without_pictures(), second=season.second.without_pictures())
        known, held = (bare.rows(rows[:: 1 + (len(rows) - 1) // MOST_ROWS]) for rows in (train, valid))
        (later, seen), (truth, counted) = known.rest, held.rest
        variates, window = known.first.values.shape[1:]
        fitted = LinearCompletion(variates, window, later.shape[2]).to(later.device)
        fitted._fit_mean_season(known)
        basis = RidgeBasis.of(_numbers(fitted._deviations(known.first.values, known.first.observed)))
        moments = basis.rotated.T @ _numbers(fill_gaps(later - fitted.after, seen).flatten(1))
        x = _numbers(fitted._deviations(held.first.values, held.first.observed))
        y, counts = _numbers((truth - fitted.after).flatten(1)), _numbers(counted.flatten(1))
        lowest = np.inf
        for penalty in PENALTIES:
            coefficients = basis.loadings @ (moments / (basis.eigenvalues + penalty)[:, None])
            error = float((counts * (x @ coefficients - y) ** 2).sum())
            if error < lowest:
                lowest = error
                fitted.coefficients.copy_(torch.from_numpy(coefficients))
        return fitted

    def forward(self, values: Tensor, observed: Tensor) -> Tensor:
        """values, observed [B,V,W] -> [B,V,H], in the units of the input."""
        return self.after + (self._deviations(values, observed) @ self.coefficients).view(-1, *self.after.shape)

    def mixed_into(self, completion: Tensor, values: Tensor, observed: Tensor) -> Tensor:
        """The weighted mean with the completion [B,V,H] of a model. A variate without observed steps gets ridge."""
        weight = torch.where(observed.any(-1), self.mixing_weight, 1)[..., None]
        return torch.lerp(completion, self(values, observed), weight)

    def _fit_mean_season(self, season: SeasonTensors) -> None:
        """Means over samples. A step that no sample observes gets a mean by linear interpolation between steps."""
        first, (later, seen) = season.first, season.rest
        cut = self.before.shape[1] if season.cut is None else season.cut
        values = torch.cat([first.values[:, :, :cut], later], -1)
        observed = torch.cat([first.observed[:, :, :cut], seen], -1)
        mean = (torch.where(observed, values, 0).sum(0) / observed.sum(0).clamp_min(1)).cpu().numpy()
        known, steps = observed.any(0).cpu().numpy(), np.arange(values.shape[2])
        for v in range(len(mean)):
            if known[v].any():
                mean[v] = np.interp(steps, steps[known[v]], mean[v, known[v]])
        self.before[:, :cut] = torch.from_numpy(mean[:, :cut])
        self.after.copy_(torch.from_numpy(mean[:, cut:]))
        self.measured.copy_(first.observed.any(0))

    def _deviations(self, values: Tensor, observed: Tensor) -> Tensor:
        """[B,VW]: deviations from the mean season before the cut, with gaps filled."""
        return fill_gaps(values - self.before, observed & self.measured).flatten(1)


def best_weight(own: Tensor, linear: Tensor, truth: Tensor, seen: Tensor) -> float:
    """The weight of `linear` in a weighted mean with `own`, from n validation seasons; all [n,V,H].

    It is the one with the lowest MSE, 0 to 1, averaged with one half, which counts as PRIOR_SEASONS seasons. Validation
    rows are often of a single year. A weight per variate, or a weight without this average, follows that year too
    closely (docs/log.md, "The weight of ridge").
    """
    apart = torch.where(seen, linear - own, 0).double()
    wanted = torch.where(seen, truth - own, 0).double()
    length = float(apart.square().sum())
    best = min(1.0, max(0.0, float((apart * wanted).sum()) / length)) if length > 0 else 0.5
    return (len(own) * best + PRIOR_SEASONS / 2) / (len(own) + PRIOR_SEASONS)


def _numbers(tensor: Tensor) -> Numbers:
    return tensor.double().cpu().numpy()
