"""Ridge regression. Its penalty is chosen by leaving out one group at a time, without a fit per penalty.

With eigenvectors V and eigenvalues l of Z'Z, the coefficients at every penalty a are V diag(1 / (l + a)) V'Z'y: one
decomposition serves all penalties. The scaling of Z decides how many decompositions there are.

* `fold`: columns are standardised on the fitted rows, as a scikit-learn pipeline does in a grid search. Each group
  needs one decomposition. Its Z'Z is that of all rows minus that of the group, so no fold reads all rows.
* `once`: columns are standardised on all rows of the fit, so one decomposition serves all groups too. The residuals of
  a left-out group g follow from its block of the hat matrix, (I - H_gg)^-1 (y - fit)_g (Hastie, Tibshirani and
  Friedman 2009, section 7.10, for groups of one row). It suits thousands of columns. With few years it may choose
  another penalty, because a left-out year still counts in the standard deviation of a column.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import KFold
from sklearn.preprocessing import StandardScaler

Numbers = NDArray[np.float64]
Rows = NDArray[np.int64]
Scales = Literal["fold", "once"]


ALPHAS = np.logspace(0, 5, 11)


@dataclass(frozen=True, eq=False)
class RidgeFit:
    """The penalty `alpha` with the lowest error on left-out groups, and coefficients [p] of standardised columns.

    errors [A]: mean squared error of a left-out group, averaged over groups, per penalty.
    """

    alpha: float
    errors: Numbers
    scaler: Any
    coefficients: Numbers
    intercept: float

    def predict(self, new: Numbers) -> Numbers:
        """new [m,p] -> [m]."""
        forecast: Numbers = self.scaler.transform(new) @ self.coefficients + self.intercept
        return forecast


def grouped_ridge(
    x: Numbers,
    y: Numbers,
    groups: NDArray[Any],
    alphas: Sequence[float] | Numbers,
    scales: Scales = "fold",
    *,
    overwrite: bool = False,
) -> RidgeFit:
    """x [n,p], y [n] -> the fit with the penalty among `alphas` that has the lowest error; the first one of a tie.

    Rows with equal `groups` [n] are left out together. There must be at least two groups.
    overwrite: standardise x in place, which saves the memory of a copy.
    """
    scaler = StandardScaler(copy=not overwrite)
    z: Numbers = scaler.fit_transform(x)
    scaler.copy = True  # new rows are never overwritten
    mean, penalties = float(y.mean()), np.asarray(alphas, np.float64)
    centred = y - mean
    members = [np.flatnonzero(groups == one) for one in np.unique(groups)]
    basis = RidgeBasis.of(z)
    if scales == "once":
        errors = _by_hat_blocks(basis, centred, members, penalties)
    else:
        errors = _by_fold(z, centred, members, penalties)
    alpha = float(penalties[int(np.argmin(errors))])
    weights = basis.rotated.T @ centred / (basis.eigenvalues + alpha)
    return RidgeFit(alpha, errors, scaler, basis.loadings @ weights, mean)


def ridge_by_year(
    x: Numbers, y: Numbers, year: NDArray[np.int64], scales: Scales = "fold", *, overwrite: bool = False
) -> RidgeFit:
    """Fit with a penalty among ALPHAS, chosen by leaving out one year at a time; with one year, by five folds.

    overwrite: as for `grouped_ridge`.
    """
    groups = year
    if len(np.unique(year)) == 1:
        groups = np.empty(len(y), np.int64)
        for number, (_, held) in enumerate(KFold(min(5, len(y)), shuffle=True, random_state=0).split(y)):
            groups[held] = number
    return grouped_ridge(x, y, groups, ALPHAS, scales, overwrite=overwrite)


@dataclass(frozen=True, eq=False)
class RidgeBasis:
    """Centred columns z [n,p] in the basis of their eigenvectors: rotated [n,r] = z loadings [p,r], r = min(n, p)."""

    rotated: Numbers
    loadings: Numbers
    eigenvalues: Numbers

    @staticmethod
    def of(z: Numbers) -> RidgeBasis:
        if z.shape[1] <= z.shape[0]:
            eigenvalues, loadings = np.linalg.eigh(z.T @ z)
            return RidgeBasis(z @ loadings, loadings, np.maximum(eigenvalues, 0))
        eigenvalues, left = np.linalg.eigh(z @ z.T)
        lengths = np.sqrt(np.maximum(eigenvalues, 0))
        inverse = np.divide(1, lengths, out=np.zeros_like(lengths), where=eigenvalues > 1e-10 * eigenvalues[-1])
        return RidgeBasis(left * lengths, (z.T @ left) * inverse, np.maximum(eigenvalues, 0))


def _by_fold(z: Numbers, y: Numbers, members: Sequence[Rows], alphas: Numbers) -> Numbers:
    """Errors [A] if each fold standardises its own columns. z [n,p] and y [n] are centred on all rows."""
    total, moment, errors = np.empty(0), z.T @ y, np.zeros(len(alphas))
    for rows, (mean, scale, constant) in zip(members, _scales_without(z, members), strict=True):
        rest, part = len(y) - len(rows), np.where(constant, 0, (z[rows] - mean) / scale)
        level = -float(y[rows].sum()) / rest
        if z.shape[1] <= rest:
            total = total if total.size else z.T @ z
            gram = total - z[rows].T @ z[rows] - rest * np.outer(mean, mean)
            gram = np.where(constant | constant[:, None], 0, gram / np.outer(scale, scale))
            along = np.where(constant, 0, (moment - z[rows].T @ y[rows] - rest * mean * level) / scale)
            eigenvalues, vectors = np.linalg.eigh(gram)
            weights, seen = vectors.T @ along, part @ vectors
        else:  # more columns than rows: the same with the eigenvectors of the rows
            fitted = np.ones(len(y), bool)
            fitted[rows] = False
            others = np.where(constant, 0, (z[fitted] - mean) / scale)
            eigenvalues, vectors = np.linalg.eigh(others @ others.T)
            weights, seen = vectors.T @ (y[fitted] - level), part @ (others.T @ vectors)
        shrunk = weights[:, None] / (np.maximum(eigenvalues, 0)[:, None] + alphas)
        errors += np.mean((y[rows, None] - level - seen @ shrunk) ** 2, axis=0)
    return errors / len(members)


def _scales_without(z: Numbers, members: Sequence[Rows]) -> Iterator[tuple[Numbers, Numbers, NDArray[np.bool_]]]:
    """Mean [p], standard deviation [p] (1 if constant) and which columns are constant [p], without each group in turn.

    Computed from the statistics of the other groups. Subtracting the group from the statistics of all rows would lose a
    column that hardly varies outside the group.
    """
    counts = np.array([len(rows) for rows in members], np.float64)
    means = np.stack([z[rows].mean(0) for rows in members])
    within = np.stack([((z[rows] - mean) ** 2).sum(0) for rows, mean in zip(members, means, strict=True)])
    tiny = np.finfo(np.float64).eps
    for number in range(len(members)):
        others = np.arange(len(members)) != number
        n = counts[others].sum()
        mean = counts[others] @ means[others] / n
        variance = (within[others].sum(0) + counts[others] @ (means[others] - mean) ** 2) / n
        constant = variance <= n * tiny * variance + (n * tiny * mean) ** 2  # scikit-learn's bound
        yield mean, np.where(constant, 1, np.sqrt(variance)), constant


def _by_hat_blocks(basis: RidgeBasis, y: Numbers, members: Sequence[Rows], alphas: Numbers) -> Numbers:
    """Errors [A] from blocks of the hat matrix of all rows."""
    one = len(y) ** -0.5  # of the intercept's column, which no penalty shrinks
    projected = np.concatenate([[one * y.sum()], basis.rotated.T @ y])
    errors = np.zeros(len(alphas))
    for rows in members:
        part = np.insert(basis.rotated[rows], 0, one, axis=1)
        few = len(rows) <= part.shape[1]
        inner = np.empty(0) if few else part.T @ part
        for at, alpha in enumerate(alphas):
            penalised = np.concatenate([[1.0], basis.eigenvalues + alpha])
            residual = y[rows] - part @ (projected / penalised)
            if few:
                left_out = np.linalg.solve(np.eye(len(rows)) - (part / penalised) @ part.T, residual)
            else:  # more rows in the group than columns: the same by Woodbury's identity
                left_out = residual + part @ np.linalg.solve(np.diag(penalised) - inner, part.T @ residual)
            errors[at] += float(np.mean(left_out**2))
    return errors / len(members)
