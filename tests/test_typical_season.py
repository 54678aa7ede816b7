"""New years that are unlike all training years are reported, and ordinary years are not."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from pipeline.table import SeasonTable, Variate
from stages.inputs.new_data_checks import years_not_tested
from stages.inputs.typical_season import LEAST_YEARS, TypicalSeason, unlike_training_years

YEARS, PLACES, STEPS = 8, 30, 18


def seasons(seed=0, years=YEARS):
    """Two variates with a course, a level of each place, a shift of each year, and gaps."""
    rng = np.random.default_rng(seed)
    place, year = np.repeat(np.arange(PLACES), years), np.tile(np.arange(years), PLACES)
    course = np.exp(-(((np.arange(STEPS) - 9) / 4) ** 2))
    level, shift = rng.normal(0, 0.05, PLACES)[place], rng.normal(0, 0.03, years)[year]
    ndvi = 0.2 + 0.6 * course + (level + shift)[:, None] + rng.normal(0, 0.08, (len(place), STEPS))
    values = np.stack([ndvi, 5 + 3 * ndvi + rng.normal(0, 0.2, ndvi.shape)], 1).astype(np.float32)
    values[rng.random(values.shape) < 0.1] = np.nan
    names = np.char.add("p", place.astype(str))
    return SeasonTable(
        name="made",
        values=values,
        observed=~np.isnan(values),
        target=rng.normal(5, 1, len(place)),
        sample_id=np.array([f"{a}|{b}" for a, b in zip(names, year, strict=True)]),
        place=names,
        year=2010 + year,
        variates=(Variate("ndvi"), Variate("nir")),
        step_days=10.0,
    )


def split(table, year):
    return np.flatnonzero(table.year != year), table.rows(np.flatnonzero(table.year == year))


def said(table, fitted_rows, new):
    record = json.loads(json.dumps(TypicalSeason.fit(table, fitted_rows).to_dict()))
    return list(unlike_training_years(new, {"fold": {"typical": record}}))


def test_ordinary_years_are_hardly_ever_reported():
    """A random year may be unlike all seven others, so the rate of alarms is tested."""
    alarms = 0
    for seed in range(200):
        table = seasons(seed)
        train, new = split(table, 2010 + YEARS - 1)
        alarms += bool(said(table, train, new))
    assert alarms <= 4


def halved(values):
    values[:, 0] *= 0.5


def late(values):
    values[:, 0] = np.roll(values[:, 0], 3, axis=-1)


@pytest.mark.parametrize("change", [halved, late])
def test_a_year_of_another_sensor_or_with_shifted_dates_is_reported(change):
    table = seasons()
    train, new = split(table, 2017)
    values = new.values.copy()
    change(values)
    (sentence,) = said(table, train, replace(new, values=values, observed=~np.isnan(values)))
    assert sentence.startswith("ndvi of 2017 differs from the mean season of the training rows by ")
    assert "the farthest of 7 training years by 0." in sentence


def test_without_enough_years_or_places_nothing_is_compared():
    table = seasons()
    train, new = split(table, 2017)
    values = new.values * np.float32(0.3)
    odd = replace(new, values=values)
    assert len(said(table, train, odd)) == 2
    few = np.flatnonzero(table.year < 2010 + LEAST_YEARS - 1)
    assert said(table, few, odd) == []
    assert said(table, train, odd.rows(np.arange(PLACES // 2 - 1))) == []
    other = replace(odd, place=np.char.add("other ", odd.place))
    assert said(table, train, other) == []
    assert list(unlike_training_years(odd, {"fold": {}})) == []  # a run of an earlier version


def test_the_distance_is_that_of_its_formula():
    table = seasons(years=4)
    rows = np.arange(len(table))
    found = TypicalSeason.fit(table, rows)
    values = np.where(table.observed, table.values, np.nan).astype(float)
    mean = np.nanmean(values, 0)
    spread = np.sqrt(np.nanmean((values - mean) ** 2, axis=(0, 2)))
    each = [np.sqrt(np.nanmean(((np.nanmean(values[table.year == year], 0) - mean) / spread[:, None]) ** 2, 1))
            for year in np.unique(table.year)]  # fmt: skip
    np.testing.assert_allclose(found.farthest, np.max(each, 0))
    np.testing.assert_allclose(found.mean, mean)


@pytest.mark.parametrize(("split", "years", "count"), [("place", [2024], 1), ("random", [2024], 1), ("year", [2024], 0),
                                                       ("place", [2023], 0)])  # fmt: skip
def test_a_run_tested_within_its_training_years_says_what_a_new_year_brings(split, years, count):
    table = seasons(years=1)
    found = list(years_not_tested(replace(table, year=np.full(len(table), years[0])), split, {2023}))
    assert len(found) == count
    if count:
        assert found[0].startswith("The run was trained and tested on 2023 only, with test rows from training years.")
