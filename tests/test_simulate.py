"""The simulator's reflectance and sky, and the demo table that was made with it and committed."""

from __future__ import annotations

import re
from datetime import date
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline import simulate
from pipeline.card import DatasetCard
from pipeline.simulate import DAYS, STEPS, VARIATES, Season
from pipeline.sources import read

DEMO = Path(__file__).resolve().parents[1] / "demo"
CARD = DatasetCard.load(DEMO / "card.toml")
RANGES = {variate.name: (variate.low, variate.high) for variate in CARD.variates}

needs_aquacrop = pytest.mark.skipif(
    find_spec("aquacrop") is None, reason="aquacrop, a development dependency, is not installed"
)


@pytest.fixture(scope="module")
def demo() -> pd.DataFrame:
    return pd.read_parquet(DEMO / "seasons.parquet")


def series(table: pd.DataFrame) -> NDArray[np.float32]:
    """The N samples of a wide table as [N,V,T]."""
    columns = [f"{variate}_{step:02d}" for variate in VARIATES for step in range(STEPS)]
    return table[columns].to_numpy(np.float32).reshape(len(table), len(VARIATES), STEPS)


def season(
    canopy: float = 0, withered: float = 0, wetness: float = 0, thirst: float = 0, nutrients: float = 1
) -> Season:
    """A season that is the same on every day."""
    covers = {"canopy": canopy, "withered": withered, "wetness": wetness, "thirst": thirst}
    return Season(**{name: np.full(DAYS, value) for name, value in covers.items()}, nutrients=nutrients, dry_yield=5)


def bands(shown: Season) -> dict[str, float]:
    """Its noise-free reflectance by band, and ndvi."""
    found = dict(zip(simulate.BANDS, simulate.reflectance(shown, 1.0)[:, 0].tolist(), strict=True))
    return found | {"ndvi": (found["NIR"] - found["red"]) / (found["NIR"] + found["red"])}


def clear_sky() -> simulate.SiteSeason:
    return simulate.SiteSeason(np.arange(STEPS) * simulate.STEP_DAYS, np.zeros(STEPS, bool), 0.0)


# --- Covers become reflectance ---


def test_a_closed_canopy_is_green_and_bare_soil_is_not() -> None:
    assert bands(season(canopy=1))["ndvi"] > 0.8
    assert bands(season())["ndvi"] < 0.25


def test_withered_leaves_look_like_straw_and_not_like_leaves() -> None:
    assert bands(season(withered=1))["ndvi"] < 0.3


def test_wet_soil_is_darker_in_every_band() -> None:
    dry, wet = bands(season()), bands(season(wetness=0.8))
    assert all(wet[band] < 0.7 * dry[band] for band in simulate.BANDS)


def test_a_thirsty_canopy_is_brighter_in_swir1_and_a_hungry_one_redder() -> None:
    well, thirsty, hungry = (bands(season(canopy=0.9, **lack)) for lack in ({}, {"thirst": 1.0}, {"nutrients": 0.4}))
    assert thirsty["SWIR1"] > well["SWIR1"] + 0.05
    assert hungry["red"] > well["red"] + 0.02


@given(
    canopy=st.floats(0, 1),
    withered=st.floats(0, 1),
    rest=st.tuples(*[st.floats(0, 1)] * 3),
    brightness=st.floats(0.7, 1.5),
    seed=st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_any_mix_of_covers_is_seen_within_the_ranges_of_the_card(
    canopy: float, withered: float, rest: tuple[float, float, float], brightness: float, seed: int
) -> None:
    wetness, thirst, nutrients = rest
    shown = season(canopy, min(withered, 1 - canopy), wetness, thirst, nutrients)
    seen = simulate.observe(shown, brightness, clear_sky(), np.random.default_rng(seed))
    for name, values in zip(VARIATES, seen, strict=True):
        low, high = RANGES[name]
        assert low <= np.nanmin(values)
        assert np.nanmax(values) <= high


# --- Views and clouds ---


def test_a_cloud_hides_every_band() -> None:
    cloudy = np.arange(STEPS) % 3 == 0
    shared = simulate.SiteSeason(clear_sky().day, cloudy, 0.0)
    seen = simulate.observe(season(canopy=0.5), 1.0, shared, np.random.default_rng(0))
    missing = np.isnan(seen)
    assert missing[:, cloudy].all()
    assert (missing == missing[0]).all()
    assert not missing.all()


def test_every_view_is_a_day_of_its_own_step() -> None:
    shared = simulate.share("tunis", 1995, 0, np.zeros(DAYS))
    assert (shared.day // simulate.STEP_DAYS == np.arange(STEPS)).all()


def test_clouds_come_with_rain_and_stay() -> None:
    def sky(rain: float) -> NDArray[np.bool_]:
        daily = np.full(DAYS, rain)
        return np.array([simulate.share("suffolk", year, seed, daily).cloudy for year in range(50) for seed in (0, 1)])

    dry, wet = sky(0.0), sky(5.0)
    assert wet.mean() > 2 * dry.mean()
    after_cloud, after_clear = wet[:, 1:][wet[:, :-1]].mean(), wet[:, 1:][~wet[:, :-1]].mean()
    assert after_cloud > after_clear + 0.1


# --- The plan ---


def test_wheat_is_sown_in_the_autumn_before_its_harvest_and_maize_in_the_same_year() -> None:
    croppings = {(c.site, c.crop): c for c in simulate.CROPPINGS}
    assert croppings["suffolk", "wheat"].sowing(1995, 3) == date(1994, 10, 18)
    assert croppings["champion", "maize"].sowing(1995, -5) == date(1995, 4, 30)


def test_a_field_keeps_its_soil_whatever_the_number_of_seasons_and_changes_with_the_seed() -> None:
    assert simulate.fields(0) == simulate.fields(0)
    assert simulate.fields(0) != simulate.fields(1)
    names = [place.name for place in simulate.fields(0)]
    assert len(names) == len(set(names)) == sum(c.fields for c in simulate.CROPPINGS)


# --- The crop model ---


@pytest.mark.slow
@needs_aquacrop
def test_the_same_seed_gives_the_same_table_with_one_worker_or_two_and_it_is_the_committed_one(
    demo: pd.DataFrame,
) -> None:
    made, together = (simulate.table(simulate.make(seed=0, seasons=2, workers=n)).to_pandas() for n in (1, 2))
    pd.testing.assert_frame_equal(made, together, check_exact=True)
    committed = demo.set_index(["field", "year"]).loc[list(zip(made["field"], made["year"], strict=True))]
    # Another machine's arithmetic may move a stored 1e-4 by one.
    np.testing.assert_allclose(series(made), series(committed), rtol=1e-3, atol=3e-4)
    np.testing.assert_allclose(made["yield_t_ha"], committed["yield_t_ha"], atol=0.011)


@pytest.mark.slow
@needs_aquacrop
def test_a_season_without_a_harvest_is_counted_and_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulate, "LEAST_YIELD", 99.0)
    made = simulate.make(seed=0, seasons=1, workers=1)
    assert made.rows == []
    assert made.dropped == {"yield below 99.0 t/ha": 1}


def test_without_aquacrop_a_person_is_told_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(simulate, "find_spec", lambda name: None)
    assert simulate.main(["--out", str(tmp_path / "x.parquet")]) == 2
    assert "requirements-dev.txt" in capsys.readouterr().err


@pytest.mark.parametrize("wrong", [["--seasons", "0"], ["--out", "no/such/folder/x.parquet"]])
def test_wrong_arguments_are_refused_before_anything_is_simulated(
    wrong: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert simulate.main(wrong) == 2
    assert wrong[1] in capsys.readouterr().err


# --- The committed table ---


def test_the_demo_is_read_by_its_card_without_loss(demo: pd.DataFrame) -> None:
    table = read(DEMO / "card.toml")
    assert table.values.shape == (len(demo), len(VARIATES), STEPS)
    assert table.variate_names == VARIATES
    assert sum(count.rows for count in table.counts) == 0
    assert "simulated" in table.name


def test_the_demo_has_a_few_hundred_seasons_of_many_fields_in_the_same_years(demo: pd.DataFrame) -> None:
    assert 400 <= len(demo) <= 600
    assert set(demo["year"]) == set(simulate.YEARS)
    assert set(demo["site"]) == set(simulate.SITES)
    assert set(demo["field"]) == {place.name for place in simulate.fields(0)}
    assert not demo.duplicated(["field", "year"]).any()
    assert demo.groupby("field")["year"].count().min() >= 5
    assert (DEMO / "seasons.parquet").stat().st_size < 1.5e6


def test_the_demo_lies_within_the_ranges_of_its_card(demo: pd.DataFrame) -> None:
    for index, variate in enumerate(VARIATES):
        low, high = RANGES[variate]
        values = series(demo)[:, index]
        assert low <= np.nanmin(values)
        assert np.nanmax(values) <= high
    assert demo["yield_t_ha"].between(0.05, 18).all()


def test_the_indices_of_the_demo_follow_from_its_bands(demo: pd.DataFrame) -> None:
    blue, red, nir, _, ndvi, evi, rvi = np.moveaxis(series(demo).astype(np.float64), 1, 0)
    np.testing.assert_allclose(ndvi, (nir - red) / (nir + red), atol=1e-4)
    np.testing.assert_allclose(evi, 2.5 * (nir - red) / (nir + 6 * red - 7.5 * blue + 1), atol=1e-4)
    np.testing.assert_allclose(rvi, nir / red, atol=1e-4)


def test_a_tenth_to_a_quarter_of_the_demo_is_under_cloud_in_all_bands_at_once(demo: pd.DataFrame) -> None:
    missing = np.isnan(series(demo))
    assert 0.10 < missing.mean() < 0.25
    assert (missing == missing[:, :1]).all()
    assert not missing.all(axis=(1, 2)).any()


def test_no_column_of_the_demo_gives_the_yield_away(demo: pd.DataFrame) -> None:
    columns = [name for name in demo.columns if re.fullmatch(r".+_\d\d", name)]
    shared = demo[columns].corrwith(demo["yield_t_ha"]) ** 2
    assert len(columns) == len(VARIATES) * STEPS
    assert 0.05 < shared.max() < 0.8


def test_places_differ_in_the_demo_and_so_do_the_years_of_a_place(demo: pd.DataFrame) -> None:
    mean = demo.groupby("field")["yield_t_ha"].transform("mean")
    within, between = (demo["yield_t_ha"] - mean).var(), mean.var()
    assert within > 0.5
    assert between > 0.5


def test_the_demo_says_that_it_is_simulated() -> None:
    assert "simulated" in CARD.name
    assert "simulated" in CARD.source
    assert "simulated" in (DEMO / "README.md").read_text()
