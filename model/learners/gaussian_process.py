"""A Gaussian process on yield anomalies: additive kernels over feature blocks, and random effects.

    k = sum over blocks of  a * x.x' + b * exp(-|x - x'|^2 / (2 l^2)),  plus  c * [same year] + d * [same place] + noise
        and, for each length L of NEARNESS,  e * exp(-distance^2 / (2 L^2))

The shock that all places share in a year is a separate effect, so slopes are estimated within years. Places that lie
close together have similar levels; three fixed lengths, each with a variance, approximate any one length. Variances and
lengths are those of the highest posterior density given the training rows (Rasmussen & Williams 2006, section 5.4),
under log-normal priors. Up to MOST_EXACT rows the posterior is exact. With more rows it is the projected process on
INDUCING rows (Seeger, Williams & Lawrence 2003; Quinonero-Candela & Rasmussen 2005), whose cost is linear in the rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor

MOST_FITTED = 1000  # rows that the variances are estimated from; more rows are sampled
MOST_EXACT = 3000
INDUCING = 1500
BLOCK_ROWS = 4096  # rows per block of covariances
VARIANCE, LENGTH, NOISE = (-2.0, 3.0), (0.0, 1.0), (-1.0, 2.0)  # priors: mean and standard deviation of the logarithm
BOUNDS = (-12.0, 6.0)
JITTER = 1e-6
NEARNESS = {"near": 1.0, "nearby": 3.0, "region": 9.0}  # lengths of the effects of position, in the unit of `position`

Numbers = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class GPRows:
    """n samples: blocks by name [n,d] float32 (see `Features`), year and place codes [n] int64.

    position [n,3] float64: coordinates, NaN if unknown; only for kernels with effects of NEARNESS
    """

    blocks: Mapping[str, Tensor]
    year: Tensor
    place: Tensor
    position: Tensor | None = None

    def rows(self, index: Tensor) -> GPRows:
        """The samples of `index` [m]."""
        blocks = {name: block[index] for name, block in self.blocks.items()}
        position = None if self.position is None else self.position[index]
        return GPRows(blocks, self.year[index], self.place[index], position)

    def state(self) -> dict[str, Tensor]:
        """For safetensors."""
        blocks = {f"block.{name}": block for name, block in self.blocks.items()}
        position = {} if self.position is None else {"position": self.position}
        return {**blocks, **position, "year": self.year, "place": self.place}

    @staticmethod
    def from_state(state: Mapping[str, Tensor]) -> GPRows:
        """Inverse of `state`."""
        blocks = {name.removeprefix("block."): one for name, one in state.items() if name.startswith("block.")}
        return GPRows(blocks, state["year"], state["place"], state.get("position"))

    def to(self, device: torch.device) -> GPRows:
        """The same samples on a device."""
        blocks = {name: block.to(device) for name, block in self.blocks.items()}
        position = None if self.position is None else self.position.to(device)
        return GPRows(blocks, self.year.to(device), self.place.to(device), position)

    def __len__(self) -> int:
        return len(self.year)


@dataclass(frozen=True)
class Kernel:
    """The covariance: logarithms of variance and length of each block, and of each random effect.

    linear, smooth, length: by block. effects: `year`, `place` and those of NEARNESS, if in use. All are logarithms, in
    units of the variance of the training anomalies.
    """

    linear: Mapping[str, float]
    smooth: Mapping[str, float]
    length: Mapping[str, float]
    effects: Mapping[str, float]
    noise: float

    @staticmethod
    def start(blocks: Sequence[str], effects: Sequence[str]) -> Kernel:
        """The initial values of the optimisation."""
        names = list(blocks)
        return Kernel(
            linear=dict.fromkeys(names, -2.0), smooth=dict.fromkeys(names, -2.0), length=dict.fromkeys(names, 0.0),
            effects=dict.fromkeys(effects, -2.0), noise=-1.0,
        )  # fmt: skip

    def covariance(self, a: GPRows, b: GPRows) -> Tensor:
        """Covariance [n,m] of the true anomalies, without noise. Rows may have further blocks."""
        total = torch.zeros(len(a), len(b), dtype=torch.float64, device=a.year.device)
        for name in self.linear:
            inner, apart = _products(a.blocks[name], b.blocks[name])
            total += math.exp(self.linear[name]) * inner
            total += math.exp(self.smooth[name]) * torch.exp(apart * (-0.5 * math.exp(-2 * self.length[name])))
        for name, log in self.effects.items():
            total += math.exp(log) * _effect(name, a, b)
        return total

    def variances(self, rows: GPRows) -> Tensor:
        """[n]: the diagonal of the covariance of `rows` with themselves."""
        total = torch.full((len(rows),), sum(math.exp(log) for log in self.effects.values()), dtype=torch.float64)
        total = total.to(rows.year.device)
        for name, log in self.linear.items():
            total += math.exp(log) * _squared_lengths(rows.blocks[name]) + math.exp(self.smooth[name])
        return total

    def shares(self, rows: GPRows) -> dict[str, float]:
        """Share of the variance of an anomaly per block and effect, and of the noise, averaged over `rows`."""
        parts = {
            name: math.exp(log) * float(_squared_lengths(rows.blocks[name]).mean()) + math.exp(self.smooth[name])
            for name, log in self.linear.items()
        }
        parts |= {name: math.exp(log) for name, log in self.effects.items()} | {"noise": math.exp(self.noise)}
        total = sum(parts.values())
        return {name: part / total for name, part in parts.items()}

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        named = {name: dict(getattr(self, name)) for name in ("linear", "smooth", "length", "effects")}
        return {**named, "noise": self.noise}

    def to_vector(self) -> Numbers:
        """All logarithms in a fixed order."""
        parts = (self.linear, self.smooth, self.length, self.effects)
        return np.array([*(log for part in parts for log in part.values()), self.noise])

    def with_vector(self, vector: Numbers) -> Kernel:
        """The same kernel with other logarithms."""
        values = iter(vector.tolist())
        linear, smooth, length, effects = (
            {name: next(values) for name in part} for part in (self.linear, self.smooth, self.length, self.effects)
        )
        return Kernel(linear=linear, smooth=smooth, length=length, effects=effects, noise=next(values))


@dataclass(frozen=True, eq=False)
class GaussianProcess:
    """The posterior given training rows.

    base      rows [m] that new rows are compared with: all training rows, or the inducing ones
    weights   [m] of the mean: a forecast is its covariance with the base rows times these weights
    inner     [m,m] Cholesky factor of the projected process; None if the posterior is exact
    evidence  log marginal likelihood of the rows that the kernel was estimated from
    """

    kernel: Kernel
    base: GPRows
    weights: Tensor
    inner: Tensor | None
    evidence: float

    @staticmethod
    def fit(
        rows: GPRows,
        anomaly: Tensor,
        effects: Sequence[str],
        *,
        steps: int,
        seed: int = 0,
        start: Kernel | None = None,
        blocks: Sequence[str] | None = None,
    ) -> GaussianProcess:
        """Estimate the kernel by at most `steps` iterations of L-BFGS, then condition on all rows.

        anomaly [n] float64, standardised; effects: any of `year`, `place` and NEARNESS; blocks: those of `rows` that
        the kernel reads, all by default.
        """
        kernel = start or Kernel.start(tuple(rows.blocks) if blocks is None else blocks, effects)
        drawn = torch.Generator().manual_seed(seed)
        some = torch.randperm(len(rows), generator=drawn)[:MOST_FITTED].sort().values.to(anomaly.device)
        likelihood = _Likelihood(rows.rows(some), anomaly[some], kernel)
        optimum = minimize(
            likelihood,
            kernel.to_vector(),
            jac=True,
            method="L-BFGS-B",
            bounds=[BOUNDS] * len(kernel.to_vector()),
            options={"maxiter": steps},
        )
        kernel = kernel.with_vector(optimum.x)
        evidence = -likelihood.negative(optimum.x)
        if len(rows) <= MOST_EXACT:
            weights = torch.cholesky_solve(anomaly[:, None], _factor(kernel, rows, noise=True))[:, 0]
            return GaussianProcess(kernel=kernel, base=rows, weights=weights, inner=None, evidence=evidence)
        some = torch.randperm(len(rows), generator=drawn)[:INDUCING].sort().values.to(anomaly.device)
        base = rows.rows(some)
        weights, inner = _projected(kernel, base, rows, anomaly)
        return GaussianProcess(kernel=kernel, base=base, weights=weights, inner=inner, evidence=evidence)

    def predict(self, new: GPRows) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of new observations (noise included) at m rows, standardised: [m], [m]."""
        parts = [self._predict(new.rows(at)) for at in torch.split(torch.arange(len(new)), BLOCK_ROWS)]
        mean, spread = (torch.cat(one) for one in zip(*parts, strict=True))
        return mean, spread

    def _predict(self, new: GPRows) -> tuple[Tensor, Tensor]:
        new = new.to(self.weights.device)
        across = self.kernel.covariance(new, self.base)
        half = torch.linalg.solve_triangular(self._lower, across.T, upper=False)
        variance = self.kernel.variances(new) - half.square().sum(0)
        if self.inner is not None:
            variance = variance + torch.linalg.solve_triangular(self.inner, across.T, upper=False).square().sum(0)
        spread = (variance.clamp(min=0) + math.exp(self.kernel.noise)).sqrt()
        return (across @ self.weights).cpu(), spread.cpu()

    @cached_property
    def _lower(self) -> Tensor:
        """Cholesky factor of the covariance of the base rows, with noise if the posterior is exact."""
        return _factor(self.kernel, self.base, noise=self.inner is None)

    def state(self) -> dict[str, Tensor]:
        """For safetensors. The base rows are saved separately, because processes share them."""
        state = {"weights": self.weights}
        return state if self.inner is None else state | {"inner": self.inner}

    def record(self) -> dict[str, Any]:
        """For JSON."""
        return {"kernel": self.kernel.to_dict(), "evidence": self.evidence}

    @staticmethod
    def from_state(record: Mapping[str, Any], state: Mapping[str, Tensor], base: GPRows) -> GaussianProcess:
        """Inverse of `state` and `record`."""
        kernel = Kernel(**record["kernel"])
        weights, inner = state["weights"], state.get("inner")
        return GaussianProcess(kernel=kernel, base=base, weights=weights, inner=inner, evidence=record["evidence"])


def _factor(kernel: Kernel, rows: GPRows, noise: bool) -> Tensor:
    """Cholesky factor [m,m] of the covariance of rows with themselves."""
    covariance = kernel.covariance(rows, rows)
    covariance.diagonal().add_(JITTER + (math.exp(kernel.noise) if noise else 0.0))
    lower: Tensor = torch.linalg.cholesky(covariance)
    return lower


def _projected(kernel: Kernel, base: GPRows, rows: GPRows, anomaly: Tensor) -> tuple[Tensor, Tensor]:
    """Weights [m] and factor [m,m] of the projected process: all n rows, projected on the m base rows.

    The factor is that of K + K_mn K_nm / noise, K the covariance of the base rows. This sum is too ill-conditioned for
    a Cholesky factor if the noise is low. With L the factor of K and A = L^-1 K_mn / sqrt(noise), it is L times the
    factor of I + A A', whose eigenvalues are at least 1 (Rasmussen & Williams 2006, section 3.4.3).
    """
    lower, spread = _factor(kernel, base, noise=False), math.exp(0.5 * kernel.noise)
    total = torch.eye(len(base), dtype=torch.float64, device=anomaly.device)
    right = torch.zeros_like(total[0])
    for at in torch.split(torch.arange(len(rows), device=anomaly.device), BLOCK_ROWS):
        half = torch.linalg.solve_triangular(lower, kernel.covariance(base, rows.rows(at)), upper=False) / spread
        total += half @ half.T
        right += half @ anomaly[at] / spread
    whitened = torch.linalg.cholesky(total)
    weights = torch.cholesky_solve(right[:, None], whitened)
    return torch.linalg.solve_triangular(lower.T, weights, upper=True)[:, 0], lower @ whitened


class _Likelihood:
    """The negative log posterior density of the kernel's logarithms, and its gradient."""

    def __init__(self, rows: GPRows, anomaly: Tensor, kernel: Kernel) -> None:
        self.anomaly, self.kernel = anomaly, kernel
        self.products = {name: _products(rows.blocks[name], rows.blocks[name]) for name in kernel.linear}
        self.effects = {name: _effect(name, rows, rows) for name in kernel.effects}
        count = len(kernel.linear)
        priors = [VARIANCE] * 2 * count + [LENGTH] * count + [VARIANCE] * len(kernel.effects) + [NOISE]
        self.mean, self.spread = np.array(priors).T

    def __call__(self, vector: Numbers) -> tuple[float, Numbers]:
        parts = list(self.parts(vector))
        total = sum(part for part, _ in parts)
        assert isinstance(total, Tensor)
        noise = math.exp(vector[-1])
        total.diagonal().add_(noise + JITTER)
        lower = torch.linalg.cholesky(total)
        weights = torch.cholesky_solve(self.anomaly[:, None], lower)[:, 0]
        slope = torch.outer(weights, weights) - torch.cholesky_inverse(lower)
        data = 0.5 * float(self.anomaly @ weights) + float(lower.diagonal().log().sum())
        away = (vector - self.mean) / self.spread
        variances = [-0.5 * float((slope * part).sum()) for part, _ in parts]
        lengths = [-0.5 * float((slope * of_length).sum()) for _, of_length in parts if of_length is not None]
        count = len(self.products)
        gradient = [*variances[: 2 * count], *lengths, *variances[2 * count :], -0.5 * noise * float(slope.trace())]
        return data + 0.5 * float(away @ away), np.array(gradient) + away / self.spread

    def parts(self, vector: Numbers) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Each term of the covariance, and its derivative by the logarithm of its length, if it has one."""
        kernel = self.kernel.with_vector(vector)
        for name, (inner, _) in self.products.items():
            yield math.exp(kernel.linear[name]) * inner, None
        for name, (_, apart) in self.products.items():
            shrink = math.exp(-2 * kernel.length[name])
            term = math.exp(kernel.smooth[name]) * torch.exp(apart * (-0.5 * shrink))
            yield term, term * apart * shrink
        for name, effect in self.effects.items():
            yield math.exp(kernel.effects[name]) * effect, None

    def negative(self, vector: Numbers) -> float:
        """The negative log marginal likelihood alone, constants included."""
        away = (vector - self.mean) / self.spread
        return self(vector)[0] - 0.5 * float(away @ away) + 0.5 * len(self.anomaly) * math.log(2 * math.pi)


def _effect(name: str, a: GPRows, b: GPRows) -> Tensor:
    """Correlation [n,m] of a random effect. Rows without a position are correlated with none, not even themselves."""
    if name not in NEARNESS:
        same: Tensor = getattr(a, name)[:, None] == getattr(b, name)[None, :]
        return same.double()
    if a.position is None or b.position is None:
        raise ValueError(f"the effect {name!r} needs positions")
    _, apart = _products(a.position, b.position)
    return torch.exp(-0.5 * apart / NEARNESS[name] ** 2).nan_to_num(0.0)


def _squared_lengths(block: Tensor) -> Tensor:
    """Squared lengths of rows [n,d]: [n] float64."""
    return torch.cat([part.double().square_().sum(1) for part in torch.split(block, BLOCK_ROWS)])


def _products(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Inner products and squared distances of rows [n,d] and [m,d]: [n,m] each."""
    a, b = a.double(), b.double()
    inner = a @ b.T
    lengths = a.square().sum(1)[:, None] + b.square().sum(1)[None, :]
    return inner, (lengths - 2 * inner).clamp_(min=0)
