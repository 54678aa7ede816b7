"""Inputs that may hold the yield itself, or what is known only after the season: reported, not refused."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.findings import Finding

LEAST_STEPS = 4  # observed steps of a season that say whether it is constant
CONSTANT_SHARE = 0.9  # of the seasons that are constant, for a variate that is no series
LEAST_VALUES = 3  # distinct constants
SAME, ALIKE = 0.99, 0.9  # correlation with the yield that is reported by itself, and beside a constant
LEAST_ROWS = 20
MOST_ROWS = 20_000  # evenly spaced samples suffice

Floats = NDArray[np.float32]


def yield_among_inputs(
    names: Sequence[str], values: Floats, static_names: Sequence[str], static: Floats, target: NDArray[np.float64]
) -> tuple[Finding, ...]:
    """Warnings about inputs that have one value per season, or that hardly differ from the yield.

    values [N,V,T] and static [N,S], NaN where unobserved; target [N] in t/ha
    """
    some = np.unique(np.linspace(0, len(target) - 1, min(len(target), MOST_ROWS), dtype=np.int64))
    if len(some) < LEAST_ROWS:
        return ()
    yields = target[some]
    found: list[Finding] = []
    for name, series in zip(names, values[some].transpose(1, 0, 2), strict=True):
        found += list(_of_series(name, series, yields))
    for name, numbers in zip(static_names, static[some].T, strict=True):
        agreement = correlation(numbers, yields)
        if abs(agreement) >= SAME:
            found.append(_same(name, agreement))
    return tuple(found)


def _of_series(name: str, series: Floats, yields: NDArray[np.float64]) -> Iterator[Finding]:
    """Warnings about one variate [n,T]."""
    constants = constants_of(series)
    known = ~np.isnan(constants)
    seen = (~np.isnan(series)).sum(1) >= LEAST_STEPS
    several = len(np.unique(constants[known])) >= LEAST_VALUES
    if several and known.sum() >= CONSTANT_SHARE * seen.sum() and known.sum() >= LEAST_ROWS:
        agreement = correlation(constants, yields)
        beside = f" Its correlation with the yield is {agreement:.2f}." if abs(agreement) >= ALIKE else ""
        yield Finding(
            "warning",
            f"{name} has one value per season, so it is no series.{beside} If it is known only after the season, as a "
            "harvested amount is, remove it: otherwise the forecast reads the answer. If it is known before, such as a "
            "number of the soil, name its column in `static`.",
        )
        return
    each = [correlation(series[:, step], yields) for step in range(series.shape[1])]
    best = int(np.argmax(np.abs(each)))
    if abs(each[best]) >= SAME:
        yield _same(f"{name} at step {best}", each[best])


def _same(what: str, agreement: float) -> Finding:
    return Finding(
        "warning",
        f"{what} hardly differs from the yield: their correlation is {agreement:.3f}. Does its column hold the yield, "
        "or something that is known only after the harvest? Then remove it, or the forecast reads the answer.",
    )


def constants_of(series: Floats) -> Floats:
    """The value of each season [n,T] whose observed steps are all equal, NaN for the others and for short ones: [n]."""
    seen = ~np.isnan(series)
    low = np.where(seen, series, np.inf).min(1)
    high = np.where(seen, series, -np.inf).max(1)
    constant: Floats = np.where((seen.sum(1) >= LEAST_STEPS) & (low == high), low, np.nan).astype(np.float32)
    return constant


def correlation(numbers: Floats, yields: NDArray[np.float64]) -> float:
    """Pearson's correlation over rows where both are known; 0 for fewer than LEAST_ROWS rows, or if one is constant."""
    known = ~np.isnan(numbers) & ~np.isnan(yields)
    if known.sum() < LEAST_ROWS:
        return 0.0
    a, b = numbers[known].astype(np.float64), yields[known]
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a**2).sum() * (b**2).sum()))
    return float((a * b).sum()) / scale if scale > 0 else 0.0
