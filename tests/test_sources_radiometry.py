"""Radiometry brings flights to one level by their own medians: off by default, told when on, no yield looked at."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pipeline.errors import InputError
from pipeline.sources import read
from pipeline.sources.files.columns import Text
from pipeline.sources.radiometry import LEAST_SAMPLES, MOST_LEFT_OUT, Level, medians
from pipeline.table import Count
from tests.reference import levelled_slowly

LEVEL = Level("flight", (0,), ("red",), "card.toml")
NAMES = np.array(["x", "y", "z"])


@st.composite
def flights(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Reflectances [N,T] with gaps, and the flight of each sample."""
    n, steps, seed = draw(st.integers(6, 14)), draw(st.integers(1, 4)), draw(st.integers(0, 99))
    rng = np.random.default_rng(seed)
    values = rng.uniform(0.02, 0.9, (n, steps)).astype(np.float32)
    values[rng.random(values.shape) < draw(st.sampled_from([0, 0.2, 0.4]))] = np.nan
    group = rng.integers(0, draw(st.integers(1, 3)), n)
    cells = [(group == g)[:, None] & ~np.isnan(values) for g in range(3)]
    enough = sum((np.where(cell.sum(0) >= LEAST_SAMPLES, cell.sum(0), 0)).sum() for cell in cells)
    assume(enough and enough >= (1 - MOST_LEFT_OUT) * (~np.isnan(values)).sum())
    return values, group


def levelled(values: np.ndarray, group: np.ndarray) -> np.ndarray:
    return LEVEL.apply_to_rows(values[:, None], Text(NAMES, group), str)[0][:, 0]


@settings(deadline=None, max_examples=60)
@given(flights())
def test_levelling_equals_its_slow_twin(data: tuple[np.ndarray, np.ndarray]) -> None:
    values, group = data
    expected = levelled_slowly(values, [*NAMES[group].tolist()])
    np.testing.assert_allclose(levelled(values, group), expected, rtol=1e-6)


@settings(deadline=None, max_examples=60)
@given(flights(), st.sampled_from([0.1, 0.5, 7.0]))
def test_a_flight_that_is_scaled_comes_out_as_if_it_was_not(data: tuple[np.ndarray, np.ndarray], scale: float) -> None:
    values, group = data
    scaled = np.where((group == 0)[:, None], values * np.float32(scale), values)
    ratio = levelled(scaled, group) / levelled(values, group)
    # One factor for everything: the median over everything has moved.
    np.testing.assert_allclose(ratio[~np.isnan(ratio)], np.nanmedian(ratio), rtol=1e-5)


@settings(deadline=None, max_examples=60)
@given(flights(), st.integers(0, 99))
def test_other_flights_do_not_matter_but_for_one_factor(data: tuple[np.ndarray, np.ndarray], seed: int) -> None:
    values, group = data
    assume((group == 0).sum() >= LEAST_SAMPLES)
    noise = np.random.default_rng(seed).uniform(0.5, 2, values.shape).astype(np.float32)
    other = np.where((group == 0)[:, None], values, values * noise)
    ratio = (levelled(other, group) / levelled(values, group))[group == 0]
    assume(not np.isnan(ratio).all())
    np.testing.assert_allclose(ratio[~np.isnan(ratio)], np.nanmedian(ratio), rtol=1e-5)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 4), st.floats(-5, 5)), min_size=1, max_size=30))
def test_medians_are_those_of_numpy(pairs: list[tuple[int, float]]) -> None:
    cell, values = np.array([c for c, _ in pairs]), np.array([v for _, v in pairs])
    expected = [np.median(values[cell == c]) for c in cell]
    np.testing.assert_allclose(medians(values, cell), expected, rtol=1e-12)


def write(path: Path, header: str, rows: Iterable[Sequence[object]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header.split(","), *rows])


def card(folder: Path, form: str, file: str, step: str, more: str) -> Path:
    (folder / "card.toml").write_text(
        f'name = "n"\nformat = "{form}"\nfiles = "{file}"\nyear = "year"\n{step}\n'
        'variates = [{name = "red"}, {name = "nir"}]\n'
        f'drivers = [{{name = "rain"}}]\ntarget = {{column = "t", unit = "t/ha"}}\n{more}'
    )
    return folder / "card.toml"


RADIOMETRY = '[radiometry]\ngroup = "flight"\n'
RNG = np.random.default_rng(3)
PLACES = [f"p{i}" for i in range(8)]
RED, NIR, RAIN = (RNG.uniform(0.1, 0.9, (8, 2)).round(4) for _ in range(3))
FLIGHT = ["x", "x", "x", "x", "y", "y", "y", "z"]


def wide(folder: Path, more: str = RADIOMETRY) -> Path:
    header = "place,year,t,flight,red_0,red_1,nir_0,nir_1,rain_0,rain_1"
    rows = [[p, 2020, i + 1, FLIGHT[i], *RED[i], *NIR[i], *RAIN[i]] for i, p in enumerate(PLACES)]
    write(folder / "w.csv", header, rows)
    return card(folder, "wide", "w.csv", "", more)


def long(folder: Path, more: str = RADIOMETRY) -> Path:
    rows = [[p, 2020, s, i + 1, FLIGHT[i], RED[i, s], NIR[i, s], RAIN[i, s]]
            for i, p in enumerate(PLACES) for s in (0, 1)]  # fmt: skip
    write(folder / "l.csv", "place,year,s,t,flight,red,nir,rain", rows)
    return card(folder, "long", "l.csv", 'step = "s"', more)


def long_of_dates(folder: Path, more: str = RADIOMETRY) -> Path:
    """Every flight has a name of its own a date, as flights do, and some rows lie outside of the season."""
    rows = [[p, f"2020-0{s + 1}-05", i + 1, f"{FLIGHT[i]}{s}", RED[i, s % 2], NIR[i, s % 2], RAIN[i, s % 2]]
            for i, p in enumerate(PLACES) for s in (0, 1, 2)]  # fmt: skip
    write(folder / "d.csv", "place,d,t,flight,red,nir,rain", rows)
    path = card(folder, "long", "d.csv", 'date = "d"\nstep_days = "month"\nseason_steps = 2', more)
    path.write_text(path.read_text().replace('year = "year"\n', ""))
    return path


def long_of_samples(folder: Path, more: str = RADIOMETRY) -> Path:
    path = long_of_dates(folder, more)
    path.write_text('sample_id = "place"\n' + path.read_text())
    return path


def cube(folder: Path, more: str = RADIOMETRY) -> Path:
    xr = pytest.importorskip("xarray")
    data = {name: (("place", "s"), values) for name, values in {"red": RED, "nir": NIR, "rain": RAIN}.items()}
    data |= {"t": (("place",), np.arange(1.0, 9.0)), "flight": (("place",), FLIGHT)}  # type: ignore[dict-item]
    xr.Dataset(data, {"place": PLACES, "s": [0, 1], "year": 2020}).to_netcdf(folder / "c.nc")
    return card(folder, "netcdf", "c.nc", 'step = "s"', more)


KINDS = [wide, long, long_of_dates, long_of_samples, cube]


@pytest.mark.parametrize("kind", KINDS)
def test_every_format_levels_alike_and_says_so(tmp_path: Path, kind: Callable[..., Path]) -> None:
    table = read(kind(tmp_path))
    for v, stored in enumerate((RED, NIR)):
        expected = levelled_slowly(stored.astype(np.float32), FLIGHT)
        np.testing.assert_allclose(table.values[:, v], expected[:7], rtol=1e-6)
    np.testing.assert_array_equal(table.drivers[:, 0], RAIN[:7].astype(np.float32))
    told = {count.reason: count.rows for count in table.counts}
    # Flight z has one sample: its values are left out, and with them the sample.
    assert [rows for reason, rows in told.items() if "red, nir divided by the median of its flight" in reason] == [28]
    for name in ("red", "nir"):
        assert told[f"value of {name} left out: fewer than 3 samples of its flight at its step"] == 2
    assert "p7" not in table.place


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_off_without_the_card_and_touches_only_what_is_listed(tmp_path: Path, kind: Callable[..., Path]) -> None:
    plain = read(kind(tmp_path, ""))
    np.testing.assert_array_equal(plain.values[:, 0], RED.astype(np.float32))
    assert "median" not in plain.describe_counts()
    one = read(kind(tmp_path, RADIOMETRY + 'variates = ["nir"]\n'))
    np.testing.assert_array_equal(one.values[:, 0], RED.astype(np.float32))
    np.testing.assert_allclose(one.values[:, 1], levelled_slowly(NIR.astype(np.float32), FLIGHT), rtol=1e-6)
    assert not one.observed[7, 1].any()


def test_no_yield_is_looked_at(tmp_path: Path) -> None:
    before = read(wide(tmp_path))
    text = (tmp_path / "w.csv").read_text().splitlines()
    write(tmp_path / "w.csv", text[0], [[*line.split(",")[:2], 9.5 - i, *line.split(",")[3:]]
                                        for i, line in enumerate(text[1:])])  # fmt: skip
    after = read(tmp_path / "card.toml")
    np.testing.assert_array_equal(before.values, after.values)
    assert not np.array_equal(before.target, after.target)


@pytest.mark.parametrize("kind", [".csv", ".parquet"])
def test_a_year_may_be_the_group(tmp_path: Path, kind: str) -> None:
    import pandas as pd

    path = wide(tmp_path, '[radiometry]\ngroup = "year"\n')
    frame = pd.read_csv(tmp_path / "w.csv")
    frame["year"] = [2019] * 4 + [2020] * 4
    frame.to_csv(tmp_path / "w.csv", index=False)
    frame.to_parquet(tmp_path / "w.parquet")
    path.write_text(path.read_text().replace(".csv", kind))
    table = read(path)
    assert table.year.tolist() == [2019] * 4 + [2020] * 4
    expected = levelled_slowly(RED.astype(np.float32), ["a"] * 4 + ["b"] * 4)
    np.testing.assert_allclose(table.values[:, 0], expected, rtol=1e-6)


def test_a_flight_in_two_files_is_one_flight(tmp_path: Path) -> None:
    path = wide(tmp_path)
    whole = read(path)
    lines = (tmp_path / "w.csv").read_text().splitlines()
    (tmp_path / "w.csv").write_text("\n".join(lines[:4]) + "\n")
    (tmp_path / "w2.csv").write_text("\n".join([lines[0], *lines[4:]]) + "\n")
    path.write_text(path.read_text().replace('"w.csv"', '["w.csv", "w2.csv"]'))
    np.testing.assert_array_equal(read(path).values, whole.values)
    assert Count("value of red left out: fewer than 3 samples of its flight at its step", 2) in read(path).counts


def test_a_cube_whose_groups_lie_elsewhere_is_refused(tmp_path: Path) -> None:
    xr = pytest.importorskip("xarray")
    path = cube(tmp_path)
    with xr.open_dataset(tmp_path / "c.nc") as opened:
        other = opened.drop_vars("flight").assign(flight=("camera", ["x", "y"])).load()
    other.to_netcdf(tmp_path / "c.nc")
    with pytest.raises(InputError, match=r"flight, the `group` of \[radiometry\] .* lies on \(camera\)"):
        read(path)
