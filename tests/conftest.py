"""A small table that every command can run on in seconds, and an encoder that needs no weights."""

from __future__ import annotations

import signal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import settings

from model import baselines
from model.learners import trees

settings.register_profile("any machine", deadline=None)  # a loaded machine is no reason to fail
settings.load_profile("any machine")


def pytest_configure() -> None:
    """Let programs that tests start take Ctrl-C, also where the suite runs in the background and ignores it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def networks_of_the_tests(tmp_path_factory):
    """Converted networks are kept here, not among those of the person who runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("model.encoders.openvino_cache.FOLDER", tmp_path_factory.mktemp("networks"))
        yield


FORESTS = [(module, name, getattr(module, name)) for module in (trees, baselines) for name in ("TREES", "ROUNDS")]


@pytest.fixture(scope="session", autouse=True)
def small_forests():
    """Forests have 20 trees in tests, because those of users take half of the time of a run of stage 2."""
    with pytest.MonkeyPatch.context() as patch:
        for module, name, _ in FORESTS:
            patch.setattr(module, name, 20)
        yield


@pytest.fixture(scope="module")
def full_forests(small_forests):
    """Forests as users have them, for tests of how good a forecast is."""
    with pytest.MonkeyPatch.context() as patch:
        for module, name, trees_of_users in FORESTS:
            patch.setattr(module, name, trees_of_users)
        yield


ROOT = Path(__file__).resolve().parents[1]
STEPS, BANDS, PLACES, YEARS = 12, ("ndvi", "NIR"), 12, range(2016, 2023)


def small_seasons(seed: int = 0) -> pd.DataFrame:
    """12 places x 7 years of two bands on 12 steps; yield follows the peak, the place and noise."""
    rng = np.random.default_rng(seed)
    steps = np.arange(STEPS)
    rows = []
    for place in range(PLACES):
        level = rng.normal(5, 0.8)
        for year in YEARS:
            peak = rng.uniform(0.4, 0.9)
            ndvi = 0.15 + peak * np.exp(-(((steps - rng.normal(6, 0.7)) / 2.2) ** 2)) + rng.normal(0, 0.01, STEPS)
            ndvi[rng.random(STEPS) < 0.1] = np.nan
            row = {"place": f"field{place}", "year": year}
            row |= {f"ndvi_{s:02d}": v for s, v in enumerate(ndvi)}
            row |= {f"NIR_{s:02d}": v for s, v in enumerate(0.1 + 0.4 * ndvi + rng.normal(0, 0.01, STEPS))}
            rows.append(row | {"yield_t_ha": level + 3 * (peak - 0.65) + rng.normal(0, 0.2)})
    return pd.DataFrame(rows)


CARD = """
name = "small"
format = "wide"
files = ["seasons.csv"]
place = "place"
year = "year"
step_days = 10

[[variates]]
name = "ndvi"
low = -0.2
high = 1.0

[[variates]]
name = "NIR"

[target]
column = "yield_t_ha"
unit = "t/ha"
"""


@pytest.fixture
def small_card(tmp_path: Path) -> Path:
    """A dataset card of small_seasons in a folder of its own."""
    folder = tmp_path / "small"
    folder.mkdir()
    small_seasons().to_csv(folder / "seasons.csv", index=False)
    (folder / "card.toml").write_text(CARD)
    return folder / "card.toml"
