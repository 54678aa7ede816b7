"""Ridge regression whose penalty is chosen by leaving out one group at a time, from one eigendecomposition.

The columns are standardised once, on all rows of the fit, and the squared penalty leaves the intercept alone. With
eigenvectors V and eigenvalues l of Z'Z, the fit at every penalty a is Z V diag(1 / (l + a)) V'Z'y. The residuals of a
group g that is left out follow from the block H_gg of the hat matrix: (I - H_gg)^-1 (y - fit)_g, exactly as if the
model had been fitted again without g (Hastie, Tibshirani and Friedman 2009, section 7.10, for groups of one row).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.preprocessing import StandardScaler

Numbers = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class RidgeFit:
    """The penalty `alpha` with the lowest error on groups left out, and the forecast of a column of `coefficients`.

    errors [A]: mean squared error of a group that is left out, averaged over groups, at every penalty.
    """

    alpha: float
    errors: Numbers
    scaler: Any
    coefficients: Numbers  # [p], of standardised columns
    intercept: float

    def predict(self, new: Numbers) -> Numbers:
        """new [m,p] -> [m]."""
        forecast: Numbers = self.scaler.transform(new) @ self.coefficients + self.intercept
        return forecast


@dataclass(frozen=True, eq=False)
class GroupedRidge:
    """One decomposition of the columns x [n,p], for any target, penalty and group.

    rotated [n,r]: the standardised columns times the eigenvectors, r = min(n, p); loadings [p,r] lead from there back
    to coefficients of standardised columns.
    """

    scaler: Any
    rotated: Numbers
    loadings: Numbers
    eigenvalues: Numbers
    groups: tuple[NDArray[np.int64], ...]

    @staticmethod
    def of(x: Numbers, groups: NDArray[Any]) -> GroupedRidge:
        """x [n,p]; rows with equal `groups` [n], of which there are at least two, are left out together."""
        scaler = StandardScaler()
        z: Numbers = scaler.fit_transform(x)
        if z.shape[1] <= z.shape[0]:
            eigenvalues, loadings = np.linalg.eigh(z.T @ z)
            rotated = z @ loadings
        else:
            eigenvalues, left = np.linalg.eigh(z @ z.T)
            lengths = np.sqrt(np.maximum(eigenvalues, 0))
            rotated = left * lengths
            inverse = np.divide(1, lengths, out=np.zeros_like(lengths), where=eigenvalues > 1e-10 * eigenvalues[-1])
            loadings = (z.T @ left) * inverse
        members = tuple(np.flatnonzero(groups == one) for one in np.unique(groups))
        return GroupedRidge(scaler, rotated, loadings, np.maximum(eigenvalues, 0), members)

    def fit(self, y: Numbers, alphas: Sequence[float] | Numbers) -> RidgeFit:
        """y [n] -> the fit with the penalty among `alphas` that has the lowest error; the first one of equals."""
        errors = self._errors(y, np.asarray(alphas, np.float64))
        alpha = float(alphas[int(np.argmin(errors))])
        mean = float(y.mean())
        weights = self.rotated.T @ (y - mean) / (self.eigenvalues + alpha)
        return RidgeFit(alpha, errors, self.scaler, self.loadings @ weights, mean)

    def _errors(self, y: Numbers, alphas: Numbers) -> Numbers:
        """The mean squared error of a left-out group, averaged over groups, at every penalty [A]."""
        intercept = np.full((len(y), 1), len(y) ** -0.5)  # a column that no penalty shrinks
        basis = np.concatenate([intercept, self.rotated], axis=1)
        projected = basis.T @ y
        total = np.zeros(len(alphas))
        for rows in self.groups:
            part = basis[rows]
            small = len(rows) <= basis.shape[1]
            inner = np.empty(0) if small else part.T @ part
            for at, alpha in enumerate(alphas):
                penalised = np.concatenate([[1.0], self.eigenvalues + alpha])
                residual = y[rows] - part @ (projected / penalised)
                if small:
                    left_out = np.linalg.solve(np.eye(len(rows)) - (part / penalised) @ part.T, residual)
                else:  # the same by Woodbury's identity, where a group has more rows than there are columns
                    left_out = residual + part @ np.linalg.solve(np.diag(penalised) - inner, part.T @ residual)
                total[at] += float(np.mean(left_out**2))
        return total / len(self.groups)
