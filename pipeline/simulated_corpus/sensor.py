"""From latent courses to observed variates: mixing, level, amplitude, noise and gaps, in units of the y-range (0-1)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

EDGE = 0.02  # how far a value may lie outside the y-range; the picture then shows it on the edge
MOST_NOISE = 0.5  # spread of the noise relative to that of the variate


@dataclass(frozen=True, eq=False)
class Observed:
    """What a sensor delivers.

    values    [N,V,T] in units of the y-range, NaN where not observed
    clean     [N,V,T], the same without noise and gaps
    noise     [N,V] standard deviation of the noise that was added
    """

    values: NDArray[np.float64]
    clean: NDArray[np.float64]
    noise: NDArray[np.float64]


def observe(rng: np.random.Generator, courses: NDArray[np.float64], variates: int) -> Observed:
    """Observe V variates that mix the courses [N,L,T], with levels, noise and gaps of this table."""
    samples, _, steps = courses.shape
    clean = _scaled(rng, _mixed(rng, courses, variates))
    spread = clean.std((0, 2))
    relative = np.exp(rng.uniform(np.log(0.02), np.log(MOST_NOISE))) * np.exp(rng.normal(0, 0.3, variates))
    noise = np.minimum(relative, MOST_NOISE) * spread * np.exp(rng.normal(0, 0.2, (samples, 1)))
    noisy = clean + noise[:, :, None] * rng.standard_normal(clean.shape)
    values = np.where(_gaps(rng, samples, variates, steps), np.nan, noisy.clip(-EDGE, 1 + EDGE))
    return Observed(values, clean, noise)


def _mixed(rng: np.random.Generator, courses: NDArray[np.float64], variates: int) -> NDArray[np.float64]:
    """[N,V,T]: variates as combinations of the courses. Some tables mix them alike for all samples, as bands do."""
    samples, latent, _ = courses.shape
    weights = rng.normal(0, 1, (variates, latent)) * rng.choice([0.3, 1.0], (variates, latent))
    own = np.exp(rng.uniform(np.log(0.02), np.log(1.0)))  # how much the weights differ between samples
    each = weights + own * rng.normal(0, 1, (samples, variates, latent)) * np.abs(weights).mean()
    mixed: NDArray[np.float64] = np.einsum("nvl,nlt->nvt", each, courses)
    bent = rng.random(variates) < 0.3  # ratios of bands, such as RVI, are bent versions of other indices
    mixed[:, bent] = np.exp(0.7 * np.clip(mixed[:, bent], -3, 3))
    return mixed


def _scaled(rng: np.random.Generator, mixed: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give each variate an amplitude and a level of its y-range, and each sample a deviation from both."""
    samples, variates, _ = mixed.shape
    centred = mixed - mixed.mean((0, 2), keepdims=True)
    spread = centred.std((0, 2), keepdims=True)
    amplitude = np.exp(rng.uniform(np.log(0.04), np.log(0.25), (1, variates, 1)))
    level = rng.uniform(0.1, 0.9, (1, variates, 1))
    jitter = np.exp(rng.uniform(np.log(0.05), np.log(1.0))) * amplitude * rng.normal(0, 1, (samples, variates, 1))
    gain = np.exp(0.3 * rng.random() * rng.normal(0, 1, (samples, variates, 1)))
    scaled = level + jitter + gain * amplitude * centred / np.where(spread > 1e-9, spread, 1.0)
    return _folded(scaled)


def _folded(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Move series that leave the y-range back into it, and squeeze those that are longer than it."""
    low, high = values.min(-1, keepdims=True), values.max(-1, keepdims=True)
    squeeze = np.maximum(high - low, 1.0)
    values = (values - low) / squeeze + low
    high = values.max(-1, keepdims=True)
    moved: NDArray[np.float64] = values - np.minimum(low, 0.0) - np.maximum(high - 1.0, 0.0)
    return moved


def _gaps(rng: np.random.Generator, samples: int, variates: int, steps: int) -> NDArray[np.bool_]:
    """[N,V,T] True where nothing was observed. Clouds hide all variates of a step; a sensor may fail or end early."""
    missing = np.zeros((samples, variates, steps), bool)
    if rng.random() < 0.4:
        return missing
    cloudy = rng.random((samples, 1, steps)) < rng.uniform(0.02, 0.4)
    single = rng.random((samples, variates, steps)) < rng.choice([0.0, 0.05])
    missing |= cloudy | single
    if rng.random() < 0.3:
        first = rng.integers(0, steps, (samples, 1, 1))
        length = rng.integers(1, max(2, steps // 4) + 1, (samples, 1, 1))
        step = np.arange(steps)
        missing |= (step >= first) & (step < first + length)
    return missing
