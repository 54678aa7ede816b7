"""For tests of the page of the data: tables of random numbers, saved cards, and the charts of a page."""

import json
import re

import numpy as np

from pipeline.table import SeasonTable, Variate
from tests.conftest import CARD


def made(n=60, variates=2, steps=10, places=6, seed=0, **changes):
    """A table of random numbers with gaps, `places` places and as many years as it takes."""
    rng = np.random.default_rng(seed)
    values = rng.normal(0.5, 0.1, (n, variates, steps)).astype(np.float32)
    values[rng.random(values.shape) < 0.3] = np.nan
    keys = {
        "name": "made",
        "values": values,
        "observed": ~np.isnan(values),
        "target": rng.gamma(20, 0.25, n),
        "sample_id": np.array([f"s{row:06d}" for row in range(n)]),
        "place": np.array([f"p{row % places}" for row in range(n)]),
        "year": 2001 + np.arange(n) // places,
        "variates": tuple(Variate(f"v{v}", "K") for v in range(variates)),
        "step_days": 10.0,
    }
    return SeasonTable(**{**keys, **changes})


def numbers_of(text):
    """The charts of a page, as its script takes them."""
    return json.loads(re.search(r"^const drawn = (.*);$", text, re.M)[1])


def saved(folder, frame, card=CARD):
    """A card beside a table of seasons."""
    frame.to_csv(folder / "seasons.csv", index=False)
    (folder / "card.toml").write_text(card)
    return folder / "card.toml"
