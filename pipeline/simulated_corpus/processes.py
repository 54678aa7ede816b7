"""Latent courses of a table: Gaussian processes, seasons, weather and walks. Each has a spread of about 1.

Shapes: N samples, L latent courses, T steps. Every function takes a random generator and returns float64 [N,L,T].
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Courses = NDArray[np.float64]
MOST_KERNELS = 5  # in one composition, as in KernelSynth
JITTER = 1e-6  # added to the diagonal, so that the Cholesky factor exists


def gaussian_processes(rng: np.random.Generator, samples: int, courses: int, steps: int) -> Courses:
    """Each latent course is a Gaussian process with a composition of kernels of its own."""
    drawn = np.empty((samples, courses, steps))
    for course in range(courses):
        covariance = composed_kernel(rng, steps)
        factor = np.linalg.cholesky(covariance + JITTER * np.eye(steps))
        drawn[:, course] = rng.standard_normal((samples, steps)) @ factor.T
    return drawn


def composed_kernel(rng: np.random.Generator, steps: int) -> NDArray[np.float64]:
    """Sums and products of one to five random kernels on the steps: a covariance [T,T] with mean variance 1."""
    time = np.arange(steps) / max(steps - 1, 1)
    covariance = _kernel(rng, time)
    for _ in range(rng.integers(0, MOST_KERNELS)):
        other = _kernel(rng, time)
        covariance = covariance + other if rng.random() < 0.5 else covariance * other
    scaled: NDArray[np.float64] = covariance / np.trace(covariance) * steps
    return scaled


def _kernel(rng: np.random.Generator, time: NDArray[np.float64]) -> NDArray[np.float64]:
    """One kernel of the bank on times [T] from 0 to 1: smooth, rough, periodic, linear or constant."""
    apart = np.abs(time[:, None] - time)
    kind = rng.choice(["rbf", "rational quadratic", "periodic", "linear", "exponential", "constant"],
                      p=[0.35, 0.15, 0.2, 0.12, 0.13, 0.05])  # fmt: skip
    length = float(np.exp(rng.uniform(np.log(0.03), np.log(1.0))))
    if kind == "rbf":
        return np.exp(-0.5 * (apart / length) ** 2)
    if kind == "rational quadratic":
        return (1 + 0.5 * (apart / length) ** 2) ** -1.0
    if kind == "periodic":
        period = float(np.exp(rng.uniform(np.log(0.1), np.log(1.5))))
        return np.exp(-2 * np.sin(np.pi * apart / period) ** 2 / rng.uniform(0.4, 2.0) ** 2)
    if kind == "exponential":
        return np.exp(-apart / length)
    if kind == "linear":
        away = 2 * (time - rng.random())
        return np.outer(away, away)
    return np.ones_like(apart)


def seasons(rng: np.random.Generator, samples: int, courses: int, steps: int) -> Courses:
    """Double-logistic seasons, sometimes two a year, around dates that the table's samples share in part.

    The first course is the season. The others are its delayed or sharpened copies, and smooth deviations.
    """
    time = np.arange(steps) / max(steps - 1, 1)
    shift = rng.normal(0, np.exp(rng.uniform(np.log(0.01), np.log(0.12))), (samples, 1))
    green = _double_logistic(rng, time, samples, rng.uniform(0.0, 0.6) + shift)
    if rng.random() < 0.25:
        later = _double_logistic(rng, time, samples, rng.uniform(0.4, 0.9) + shift)
        green = np.maximum(green, rng.uniform(0.3, 1.0) * later)
    drawn = np.empty((samples, courses, steps))
    drawn[:, 0] = green
    for course in range(1, courses):
        if rng.random() < 0.5:
            delay = rng.integers(0, max(1, steps // 6) + 1)
            drawn[:, course] = np.roll(green, delay, axis=1) ** rng.uniform(0.5, 2.5)
            drawn[:, course, :delay] = green[:, :1]
        else:
            drawn[:, course] = 0.5 * gaussian_processes(rng, samples, 1, steps)[:, 0]
    return _standardised(drawn)


def _double_logistic(
    rng: np.random.Generator, time: NDArray[np.float64], samples: int, start: NDArray[np.float64]
) -> NDArray[np.float64]:
    """[N,T] from 0 to about 1; `start` [N,1]: time of the steepest rise, 0 to 1."""
    spread = np.exp(rng.uniform(np.log(0.02), np.log(0.3)))
    length = np.abs(rng.uniform(0.15, 0.6) + rng.normal(0, 0.3 * spread, (samples, 1)))
    rise = rng.uniform(8, 60) * np.exp(rng.normal(0, spread, (samples, 1)))
    fall = rng.uniform(8, 60) * np.exp(rng.normal(0, spread, (samples, 1)))
    height = np.exp(rng.normal(0, spread, (samples, 1)))
    up, down = _logistic(rise * (time - start)), _logistic(-fall * (time - start - length))
    course: NDArray[np.float64] = height * up * down
    return course


def _logistic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    course: NDArray[np.float64] = 1 / (1 + np.exp(-np.clip(x, -50, 50)))
    return course


def weather(rng: np.random.Generator, samples: int, courses: int, steps: int) -> Courses:
    """Weather-like courses in turn: temperature (a yearly wave and autoregressive noise), and rain (wet spells)."""
    drawn = np.empty((samples, courses, steps))
    time = np.arange(steps) / max(steps - 1, 1)
    for course in range(courses):
        if course % 2 == 0:
            phase = rng.uniform(0, 1) + rng.normal(0, 0.02, (samples, 1))
            wave = np.cos(2 * np.pi * (rng.uniform(0.3, 1.2) * time - phase))
            drawn[:, course] = wave + rng.uniform(0.05, 1.0) * _autoregressive(rng, samples, steps, rng.uniform(0, 0.9))
        else:
            wet = _autoregressive(rng, samples, steps, rng.uniform(0, 0.8)) > rng.uniform(-1.0, 0.8)
            amount = rng.gamma(rng.uniform(0.5, 2.0), 1.0, (samples, steps))
            drawn[:, course] = wet * amount * (1 + rng.uniform(0, 1) * np.sin(2 * np.pi * (time - rng.random())))
    return _standardised(drawn)


def walks(rng: np.random.Generator, samples: int, courses: int, steps: int) -> Courses:
    """Random walks, autoregressive noise, trends, and single steps from one level to another."""
    drawn = np.empty((samples, courses, steps))
    time = np.arange(steps) / max(steps - 1, 1)
    for course in range(courses):
        kind = rng.integers(4)
        if kind == 0:
            drawn[:, course] = rng.standard_normal((samples, steps)).cumsum(-1)
        elif kind == 1:
            drawn[:, course] = _autoregressive(rng, samples, steps, rng.uniform(-0.3, 0.95))
        elif kind == 2:
            trend = rng.normal(0, 1, (samples, 1)) * time + rng.normal(0, 1, (samples, 1)) * time**2
            drawn[:, course] = trend + 0.2 * _autoregressive(rng, samples, steps, 0.5)
        else:
            at = rng.random((samples, 1))
            level = rng.normal(0, 1, (samples, 1)) * (time > at)
            drawn[:, course] = level + rng.uniform(0.02, 0.3) * rng.standard_normal((samples, steps))
    return _standardised(drawn)


def _autoregressive(rng: np.random.Generator, samples: int, steps: int, memory: float) -> NDArray[np.float64]:
    """[N,T] of a first-order autoregressive process with variance 1."""
    drawn = rng.standard_normal((samples, steps))
    for step in range(1, steps):
        drawn[:, step] = memory * drawn[:, step - 1] + np.sqrt(1 - memory**2) * drawn[:, step]
    return drawn


def _standardised(courses: Courses) -> Courses:
    """Each course with mean 0 and spread 1 over samples and steps together; one without spread is only centred."""
    centred = courses - courses.mean((0, 2), keepdims=True)
    spread = centred.std((0, 2), keepdims=True)
    scaled: Courses = centred / np.where(spread > 1e-9, spread, 1.0)
    return scaled


PROCESSES: dict[str, Callable[[np.random.Generator, int, int, int], Courses]] = {
    "gaussian processes": gaussian_processes,
    "seasons": seasons,
    "weather": weather,
    "walks": walks,
}
