"""Partially pooled place means and trends: a mixed-effects model of yields that does not read the season.

    yield(p, t) = mean + trend * t + smooth(t) + shock(t) + place(p) + slope(p) * t + drift(p, t) + error

with normal effects. All places share `trend`, `smooth` and `shock`; each place has its own `place`, `slope` and `drift`
(Henderson 1975, Biometrics 31, 423-447; as Gaussian processes: Rasmussen & Williams 2006, chapter 2). The estimate of a
place with few years, or none, is pulled towards the mean of all places. A year without yields has no shock.

The covariance is one block per place plus a part of rank Y, the number of years, so the exact likelihood of n yields
takes O(sum n_p^3 + Y^3) operations (Woodbury's identity), not O(n^3).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor

DECADE = 10.0  # years; the unit of time
SMOOTH = 0.8  # decades; length scale of `smooth`
DRIFT = 0.5  # decades; length scale of `drift`
MOST_YEARS = 25  # only the latest years of known yields are read
MOST_PLACES = 500  # places that the variances are estimated from; more places are sampled
PRIOR_MEAN, PRIOR_SPREAD = -3.0, 2.0  # of the logarithm of every variance, in units of the variance of all yields
BOUNDS = (-12.0, 3.0)  # of that logarithm
JITTER = 1e-8
BLOCK_ROWS = 4096  # forecasts per block

Numbers = NDArray[np.float64]
Names = NDArray[np.str_]
Years = NDArray[np.int64]


@dataclass(frozen=True)
class Variances:
    """Variances of the effects, in units of the variance of all known yields."""

    trend: float
    smooth: float
    shock: float
    place: float
    slope: float
    drift: float
    error: float

    def to_dict(self) -> dict[str, float]:
        """For JSON."""
        return asdict(self)

    @staticmethod
    def from_dict(record: Mapping[str, Any]) -> Variances:
        """Inverse of `to_dict`."""
        return Variances(**record)


@dataclass(frozen=True, eq=False)
class Blocks:
    """Mean yields of n distinct (place, year) pairs, in one padded block per place.

    places   number of each place's block, by name
    years    [Y] decades from the centre of all known years
    year     [P,M] the same, of each pair;  column [P,M] its index in `years`
    target   [P,M] standardised;  repeats [P,M] number of yields behind each mean, 0 for padding
    """

    places: Mapping[str, int]
    years: Tensor
    year: Tensor
    column: Tensor
    target: Tensor
    repeats: Tensor

    @staticmethod
    def of(place: Names, year: Numbers, target: Numbers) -> Blocks:
        """From K yields: year in decades, target standardised."""
        names, at = np.unique(place, return_inverse=True)
        years, own = np.unique(year, return_inverse=True)
        pairs, inverse, repeats = np.unique(at * len(years) + own, return_inverse=True, return_counts=True)
        block, column = pairs // len(years), pairs % len(years)
        position = np.arange(len(pairs)) - np.searchsorted(block, np.arange(len(names)))[block]
        shape = len(names), int(position.max()) + 1

        def padded(values: NDArray[np.generic]) -> Tensor:
            block_values = np.zeros(shape, values.dtype)
            block_values[block, position] = values
            return torch.from_numpy(block_values)

        return Blocks(
            places=dict(zip(names.tolist(), range(len(names)), strict=True)),
            years=torch.from_numpy(years.copy()),
            year=padded(years[column]),
            column=padded(column),
            target=padded(np.bincount(inverse, target) / repeats),
            repeats=padded(repeats.astype(np.float64)),
        )

    def some(self, rows: Tensor) -> Blocks:
        """The blocks `rows` [p] only."""
        fields = {name: getattr(self, name)[rows] for name in ("year", "column", "target", "repeats")}
        return Blocks(places={}, years=self.years, **fields)


@dataclass(frozen=True, eq=False)
class Solved:
    """Log likelihood [], weights of a place's own effects [P,M] and of the shared effects [Y]."""

    likelihood: Tensor
    own: Tensor
    shared: Tensor


def solve(blocks: Blocks, v: Tensor) -> Solved:
    """Invert the covariance of the yields block by block. v [7]: variances in the order of `Variances`."""
    known, count = blocks.repeats > 0, len(blocks.years)
    own = _own_kernel(blocks.year, blocks.year, v) * (known[:, :, None] & known[:, None, :])
    diagonal = torch.where(known, v[-1] / blocks.repeats.clamp(min=1) + JITTER, 1.0)
    lower = torch.linalg.cholesky(own + torch.diag_embed(diagonal))
    incidence = torch.nn.functional.one_hot(blocks.column, count) * known[..., None]
    right = torch.cat([incidence, torch.where(known, blocks.target, 0)[..., None]], -1)
    half = torch.linalg.solve_triangular(lower, right, upper=False)  # [P,M,Y+1]
    gram = half.flatten(0, 1).T @ half.flatten(0, 1)
    inner, pull = gram[:count, :count], gram[:count, count]
    eye = torch.eye(count, dtype=torch.float64)
    root = torch.linalg.cholesky(_shared_kernel(blocks.years, blocks.years, v) + JITTER * eye)
    factor = torch.linalg.cholesky(eye + root.T @ inner @ root)
    shared = root @ torch.cholesky_solve((root.T @ pull)[:, None], factor)  # [Y,1]: the shared effects per year
    rest = half[:, :, count:] - half[:, :, :count] @ shared
    weights = torch.linalg.solve_triangular(lower.mT, rest, upper=True)[..., 0] * known
    halves = lower.diagonal(dim1=1, dim2=2).log().sum() + factor.diagonal().log().sum()
    quadratic = gram[count, count] - pull @ shared[:, 0]
    likelihood = -0.5 * quadratic - halves - 0.5 * float(known.sum()) * math.log(2 * math.pi)
    return Solved(likelihood, weights, torch.einsum("pmy,pm->y", incidence.double(), weights))


def fit_variances(place: Names, year: Years, target: Numbers) -> Variances:
    """Variances with the highest posterior density, with all effects integrated out, from K known yields in t/ha."""
    blocks = _standardised(place, year, target)[0]
    if len(blocks.year) > MOST_PLACES:
        drawn = torch.Generator().manual_seed(0)
        blocks = blocks.some(torch.randperm(len(blocks.year), generator=drawn)[:MOST_PLACES])

    def loss(log: Numbers) -> tuple[float, Numbers]:
        v = torch.tensor(log, requires_grad=True)
        prior = 0.5 * (((v - PRIOR_MEAN) / PRIOR_SPREAD) ** 2).sum()
        value = prior - solve(blocks, v.exp()).likelihood
        (slope,) = torch.autograd.grad(value, v)
        return value.item(), slope.numpy()

    start = np.array([-3.0, -3.0, -2.0, -1.0, -4.0, -3.0, -1.5])
    fit = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[BOUNDS] * len(start), options={"maxiter": 40})
    return Variances(*np.exp(fit.x).tolist())


def forecast(v: Variances, known: tuple[Names, Years, Numbers], place: Names, year: Years) -> Numbers:
    """The expected yield of each (place, year) [n] in t/ha, from K > 0 known yields (place, year, t/ha)."""
    blocks, centre, mean, spread = _standardised(*known)
    values = torch.tensor([*v.to_dict().values()], dtype=torch.float64)
    solved = solve(blocks, values)
    at = torch.from_numpy(year / DECADE - centre)
    expected = _shared_kernel(at, blocks.years, values) @ solved.shared
    block = torch.tensor([blocks.places.get(name, -1) for name in place.tolist()])
    for rows in torch.split((block >= 0).nonzero()[:, 0], BLOCK_ROWS):
        own = _own_kernel(at[rows, None], blocks.year[block[rows]], values)[:, 0]
        expected[rows] += (own * solved.own[block[rows]]).sum(1)
    return mean + spread * expected.numpy()


def _standardised(place: Names, year: Years, target: Numbers) -> tuple[Blocks, float, float, float]:
    """Blocks of the latest years; the centre in decades, and the mean and spread in t/ha that were removed."""
    recent = year > year.max() - MOST_YEARS
    place, year, target = place[recent], year[recent], target[recent]
    mean, spread = float(target.mean()), float(target.std())
    spread = spread if spread > 1e-9 else 1.0
    centre = float(year.mean()) / DECADE
    return Blocks.of(place, year / DECADE - centre, (target - mean) / spread), centre, mean, spread


def _own_kernel(a: Tensor, b: Tensor, v: Tensor) -> Tensor:
    """Covariance of a place with itself at the times a [...,m] and b [...,k], decades -> [...,m,k]."""
    apart = a[..., :, None] - b[..., None, :]
    straight = a[..., :, None] * b[..., None, :]
    return v[3] + v[4] * straight + v[5] * torch.exp(-0.5 * (apart / DRIFT) ** 2)


def _shared_kernel(a: Tensor, b: Tensor, v: Tensor) -> Tensor:
    """Covariance of the shared effects at the years a [m] and b [k], decades -> [m,k]; 1 for the mean."""
    apart = a[:, None] - b[None, :]
    shared = 1.0 + v[0] * a[:, None] * b[None, :] + v[1] * torch.exp(-0.5 * (apart / SMOOTH) ** 2)
    return shared + v[2] * (apart.abs() < 1e-6)
