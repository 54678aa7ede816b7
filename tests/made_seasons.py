"""A table of random seasons with gaps."""

import numpy as np

from pipeline.style import Style
from pipeline.table import SeasonTable, Variate

STYLE = Style(size=64)
RANGES = np.array([[0.0, 1.0], [-1.0, 2.0]])


def made(steps, cut=0, samples=3, seed=0):
    """Two variates in 0..1 with gaps; NaN where not observed."""
    rng = np.random.default_rng(seed)
    observed = rng.random((samples, 2, steps)) < 0.8
    values = np.where(observed, rng.random(observed.shape), np.nan).astype(np.float32)
    names = np.array([f"s{i}" for i in range(samples)])
    return SeasonTable(
        name="made",
        values=values,
        observed=observed,
        target=np.ones(samples),
        sample_id=names,
        place=names,
        year=np.full(samples, 2020),
        variates=(Variate("a"), Variate("b")),
        step_days=10,
        cut=cut,
    )
