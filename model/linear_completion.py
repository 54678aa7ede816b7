"""Completion by ridge regression, and its share in the completion of a model.

Everything is a deviation from the mean season of the training rows (climatology), with gaps filled from the steps
beside them. The steps after the cut are linear in the steps before it, of all variates.

A transformer trained on a few hundred seasons and ridge make different errors, so their weighted mean has a lower one
than each (docs/log.md, "A share of ridge in the completion").
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
MOST_ROWS = 20_000  # of each kind in a fit; more would not change it and take memory

Numbers = NDArray[np.float64]


class LinearCompletion(nn.Module):
    """A linear map from the first window to the rest of the season.

    The buffers are zero before `fit`, and `share` [V] is zero until `mix_in_ridge` sets it.
    """

    before: Tensor  # [V,W] mean season of the first window
    after: Tensor  # [V,H] mean season of the rest
    weight: Tensor  # [VW,VH]
    share: Tensor  # [V] of ridge in the model's completion

    def __init__(self, variates: int, window: int, horizon: int) -> None:
        super().__init__()
        self.register_buffer("before", torch.zeros(variates, window))
        self.register_buffer("after", torch.zeros(variates, horizon))
        self.register_buffer("weight", torch.zeros(variates * window, variates * horizon))
        self.register_buffer("share", torch.zeros(variates))

    @staticmethod
    def fit(season: SeasonTensors, train: Tensor, valid: Tensor) -> LinearCompletion:
        """Fit on training rows [n] of `season`. The penalty is the one of PENALTIES with the lowest validation MSE."""
        bare = replace(season, first=season.first.without_pictures(), second=season.second.without_pictures())
        known, held = (bare.rows(rows[:: 1 + (len(rows) - 1) // MOST_ROWS]) for rows in (train, valid))
        variates, window, horizon = *known.first.values.shape[1:], known.rest[0].shape[2]
        fitted = LinearCompletion(variates, window, horizon).to(known.first.values.device)
        fitted.before.copy_(_mean(known.first.values, known.first.observed))
        fitted.after.copy_(_mean(*known.rest))
        later, seen = known.rest
        basis = RidgeBasis.of(_numbers(fitted._deviations(known.first.values, known.first.observed)))
        moments = basis.rotated.T @ _numbers(fill_gaps(later - fitted.after, seen).flatten(1))
        x = _numbers(fitted._deviations(held.first.values, held.first.observed))
        truth, counted = held.rest[0] - fitted.after, held.rest[1] & held.first.present[..., None]
        y, counts = _numbers(truth.flatten(1)), _numbers(counted.flatten(1))
        lowest = np.inf
        for penalty in PENALTIES:
            weight = basis.loadings @ (moments / (basis.eigenvalues + penalty)[:, None])
            error = float((counts * (x @ weight - y) ** 2).sum())
            if error < lowest:
                lowest = error
                fitted.weight.copy_(torch.from_numpy(weight))
        return fitted

    def forward(self, values: Tensor, observed: Tensor) -> Tensor:
        """values, observed [B,V,W] -> [B,V,H], in the units of the input."""
        return self.after + (self._deviations(values, observed) @ self.weight).view(-1, *self.after.shape)

    def mixed_into(self, completion: Tensor, values: Tensor, observed: Tensor) -> Tensor:
        """The completion [B,V,H] of a model, moved towards this one by `share`."""
        return torch.lerp(completion, self(values, observed), self.share[:, None])

    def _deviations(self, values: Tensor, observed: Tensor) -> Tensor:
        """[B,VW]: deviations from the mean season before the cut, with gaps filled."""
        return fill_gaps(values - self.before, observed).flatten(1)


def best_shares(own: Tensor, linear: Tensor, truth: Tensor, seen: Tensor) -> Tensor:
    """The share [V] of `linear` in a weighted mean with `own` that has the lowest MSE; all [n,V,H], each in 0 to 1.

    A variate without an observed step, or on which both agree, gets the share of all variates together.
    """
    apart = torch.where(seen, linear - own, 0).double()
    wanted = torch.where(seen, truth - own, 0).double()
    along, length = (apart * wanted).sum((0, 2)), apart.square().sum((0, 2))
    pooled = along.sum() / length.sum() if length.sum() > 0 else along.new_zeros(())
    return torch.where(length > 0, along / length.clamp_min(1e-30), pooled).clamp(0, 1)


def _mean(values: Tensor, observed: Tensor) -> Tensor:
    """[V,S]: mean over the samples [n,V,S] that observe a step; 0 if none does."""
    return torch.where(observed, values, 0).sum(0) / observed.sum(0).clamp_min(1)


def _numbers(tensor: Tensor) -> Numbers:
    return tensor.double().cpu().numpy()
