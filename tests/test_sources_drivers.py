"""Drivers are read as variates are and never drawn; static columns may lack values, and that is counted."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.augmentation import Views, view_tables
from pipeline.series import series_blocks
from pipeline.sources import read
from pipeline.style import Style
from pipeline.table import Count, SeasonTable
from tests.made_seasons import RANGES, made

RAIN = np.array([[1.0, np.nan, 3.0], [4.0, 5.0, 6.0]])
NDVI = np.array([[0.1, 0.2, np.nan], [0.4, 0.5, 0.6]])
DRIVERS = '[[drivers]]\nname = "rain"\nunit = "mm"\nscale = 10.0\n[[drivers]]\nname = "light"\nknown = true\n'


def write(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def spelled(number: float) -> str:
    return "" if np.isnan(number) else str(number)


def card(folder: Path, form: str, file: str, step: str, drivers: str = DRIVERS) -> Path:
    (folder / "card.toml").write_text(
        f'name = "n"\nformat = "{form}"\nfiles = "{file}"\nyear = "year"\n{step}\n[[variates]]\nname = "ndvi"\n'
        f'{drivers}[target]\ncolumn = "t"\nunit = "t/ha"\n'
    )
    return folder / "card.toml"


def wide(folder: Path) -> Path:
    header = ["place", "year", "t", *(f"{name}_{s}" for name in ("light", "ndvi", "rain") for s in range(3))]
    rows = [[p, 2020, 5, 10, 11, 12, *map(spelled, NDVI[i]), *map(spelled, RAIN[i])] for i, p in enumerate("pq")]
    write(folder / "w.csv", header, rows)
    return card(folder, "wide", "w.csv", "")


def long(folder: Path) -> Path:
    rows = [["pq"[i], 2020, s, 5, spelled(NDVI[i, s]), spelled(RAIN[i, s]), 10 + s] for i in range(2) for s in range(3)]
    write(folder / "l.csv", ["place", "year", "s", "t", "ndvi", "rain", "light"], rows)
    return card(folder, "long", "l.csv", 'step = "s"')


def cube(folder: Path) -> Path:
    xr = pytest.importorskip("xarray")
    series = {"ndvi": NDVI, "rain": RAIN, "light": np.tile([10.0, 11.0, 12.0], (2, 1))}
    data = {name: (("place", "s"), values) for name, values in series.items()} | {"t": (("place",), [5.0, 5.0])}
    xr.Dataset(data, {"place": ["p", "q"], "s": [0, 1, 2], "year": 2020}).to_netcdf(folder / "c.nc")
    return card(folder, "netcdf", "c.nc", 'step = "s"')


@pytest.mark.parametrize("kind", [wide, long, cube])
def test_every_format_reads_drivers_as_it_reads_variates(tmp_path: Path, kind: Callable[[Path], Path]) -> None:
    table = read(kind(tmp_path))
    assert (table.variate_names, table.driver_names, table.driver_units) == (("ndvi",), ("rain", "light"), ("mm", "1"))
    assert table.drivers_known.tolist() == [False, True]
    np.testing.assert_array_equal(table.values[:, 0], NDVI.astype(np.float32))
    np.testing.assert_array_equal(table.drivers[:, 0], (RAIN * 10).astype(np.float32))
    np.testing.assert_array_equal(table.drivers[:, 1], np.float32([[10, 11, 12]] * 2))
    np.testing.assert_array_equal(table.drivers_observed, ~np.isnan(table.drivers))
    assert table.describe_seasons()["drivers"] == ["rain [mm]", "light [1] known ahead"]


def test_drivers_are_in_the_fingerprint_and_in_no_picture(tmp_path: Path) -> None:
    table = read(wide(tmp_path))
    without = read(card(tmp_path, "wide", "w.csv", "", ""))
    keys = [series_blocks(one, RANGES[:1], Style()) for one in (table, without)]
    for ours, theirs in zip(*keys, strict=True):
        np.testing.assert_array_equal(ours.keys, theirs.keys)
    assert (without.drivers.shape, without.driver_names) == ((2, 0, 3), ())
    wetter = replace(table, drivers=table.drivers + 1)
    sure = replace(table, drivers_known=np.array([True, True]))
    assert len({one.fingerprint() for one in (table, without, wetter, sure)}) == 4


def test_a_season_needs_an_observation_of_a_variate_and_a_missing_driver_is_told(tmp_path: Path) -> None:
    path = wide(tmp_path)
    rows = [["r", 2020, 5, 1, 2, 3, "", "", "", 7, 8, 9], ["s", 2020, 5, 1, 2, 3, 0.5, 0.5, 0.5, "", "", ""]]
    with (tmp_path / "w.csv").open("a", newline="") as file:
        csv.writer(file).writerows(rows)
    table = read(path)
    assert table.place.tolist() == ["p", "q", "s"]
    assert Count("sample without any observation in its season dropped", 1) in table.counts
    assert Count("sample without any observation of rain, kept with that series masked", 1, lost=False) in table.counts


def driven(steps: int, seed: int) -> SeasonTable:
    """A made table with two drivers, the second known ahead."""
    rng = np.random.default_rng(seed)
    observed = rng.random((3, 2, steps)) < 0.8
    drivers = np.where(observed, rng.random(observed.shape), np.nan).astype(np.float32)
    return replace(
        made(steps, seed=seed),
        drivers=drivers,
        drivers_observed=observed,
        driver_names=("rain", "light"),
        drivers_known=np.array([False, True]),
    )


@settings(deadline=None, max_examples=40)
@given(st.integers(2, 12), st.data())
def test_only_what_is_known_ahead_is_seen_after_the_step(steps: int, data: st.DataObject) -> None:
    step, seed = data.draw(st.integers(1, steps)), data.draw(st.integers(0, 3))
    table, other = driven(steps, seed), driven(steps, seed + 1)
    later = np.arange(steps) >= step
    hidden = later & ~table.drivers_known[:, None]
    spoiled = replace(
        table,
        values=np.where(later, other.values, table.values),
        observed=np.where(later, other.observed, table.observed),
        drivers=np.where(hidden, other.drivers, table.drivers),
        drivers_observed=np.where(hidden, other.drivers_observed, table.drivers_observed),
    )
    early = table.as_of(step)
    assert early.fingerprint() == spoiled.as_of(step).fingerprint()
    np.testing.assert_array_equal(early.drivers_observed, table.drivers_observed & ~hidden)
    np.testing.assert_array_equal(early.drivers[:, 1], table.drivers[:, 1])
    assert np.isnan(early.drivers[:, 0, step:]).all()


def test_drivers_follow_their_samples_and_stay_in_views() -> None:
    table = driven(6, 0)
    np.testing.assert_array_equal(table.rows(np.array([2, 0])).drivers, table.drivers[[2, 0]])
    (view,) = view_tables(table, Views(count=1))
    np.testing.assert_array_equal(view.drivers, table.drivers)
    with pytest.raises(ValueError, match="drivers_known has shape"):
        replace(table, drivers_known=np.array([True]))


@pytest.mark.parametrize("form", ["wide", "long"])
def test_a_static_value_that_is_missing_or_marked_so_is_nan_and_counted(tmp_path: Path, form: str) -> None:
    step = 'step = "s"' if form == "long" else ""
    soil = {"p": 30, "q": "", "r": -9999, "s": -9999}
    if form == "wide":
        write(tmp_path / "f.csv", ["place", "year", "a_0", "a_1", "clay", "t"],
              [[p, 2020, 1, 2, clay, 3] for p, clay in soil.items()])  # fmt: skip
    else:
        write(tmp_path / "f.csv", ["place", "year", "s", "a", "clay", "t"],
              [[p, 2020, s, 1, clay, 3] for p, clay in soil.items() for s in (0, 1)])  # fmt: skip
    (tmp_path / "card.toml").write_text(
        f'name = "n"\nformat = "{form}"\nfiles = "f.csv"\nyear = "year"\nstatic = ["clay"]\nmissing = [-9999]\n'
        f'{step}\nvariates = [{{name = "a"}}]\n'
        'target = {column = "t", unit = "t/ha"}'
    )
    table = read(tmp_path / "card.toml")
    np.testing.assert_array_equal(table.static[:, 0], np.float32([30, np.nan, np.nan, np.nan]))
    assert Count("sample without a value in the static column clay", 3, lost=False) in table.counts
    assert table.describe_seasons()["static"] == ["clay"]
