"""NetCDF and Zarr cubes give the table that the same numbers give as CSV."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.errors import InputError
from pipeline.sources import read
from pipeline.table import SeasonTable

xr = pytest.importorskip("xarray")

DAYS = np.arange("2019-07-01", "2021-07-01", 7, dtype="datetime64[D]")
PLACES = ["north", "south", "west"]
RNG = np.random.default_rng(7)
NDVI = np.where(RNG.random((3, len(DAYS))) < 0.3, np.nan, RNG.random((3, len(DAYS)))).astype(np.float32)
YIELDS = np.array([[3.0, 4.0], [np.nan, 5.0], [6.0, 7.0]])


def save(cube: Any, path: Path) -> None:
    if path.suffix == ".nc":
        cube.to_netcdf(path)
    else:
        # Format 2 has a place for texts of fixed width; format 3 warns that it has none.
        cube.to_zarr(path, zarr_format=2)


def card(folder: Path, path: str, keys: str, variates: str = '[{name = "ndvi"}]') -> Path:
    form = {".nc": "netcdf", ".zarr": "zarr", ".csv": "long"}[Path(path).suffix]
    (folder / "card.toml").write_text(
        f'name = "n"\nformat = "{form}"\nfiles = "{path}"\nvariates = {variates}\n{keys}\n'
        '[target]\ncolumn = "yield"\nunit = "t/ha"\n'
    )
    return folder / "card.toml"


def as_csv(folder: Path, keys: str) -> SeasonTable:
    rows: list[list[object]] = [["place", "time", "year", "ndvi", "yield"]]
    for p, place in enumerate(PLACES):
        for d, day in enumerate(DAYS):
            year = int(str(day)[:4]) + (str(day)[5:7] >= "07")
            target = YIELDS[p, year - 2020]
            rows.append([place, str(day), year, "" if np.isnan(NDVI[p, d]) else repr(float(NDVI[p, d])), target])
    with (folder / "long.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return read(card(folder, "long.csv", keys))


@pytest.mark.parametrize("kind", [".nc", ".zarr"])
@pytest.mark.parametrize("dims", [("place", "time"), ("time", "place")])
def test_a_cube_of_places_and_times_reads_like_its_long_table(tmp_path: Path, kind: str, dims: tuple[str, str]) -> None:
    keys = 'date = "time"\nyear = "year"\nstep_days = "dekad"\nseason_start = "07-01"'
    coords = {"place": PLACES, "time": DAYS.astype("datetime64[ns]"), "year": [2020, 2021]}
    cube = xr.Dataset({"ndvi": (("place", "time"), NDVI), "yield": (("place", "year"), YIELDS)}, coords)
    save(cube.transpose(*dims, "year"), tmp_path / f"cube{kind}")
    table = read(card(tmp_path, f"cube{kind}", keys))
    assert table.values.shape == (5, 1, 36)
    assert table.fingerprint() == as_csv(tmp_path, keys).fingerprint()


@pytest.mark.parametrize("kind", [".nc", ".zarr"])
def test_a_cube_of_samples_and_steps_may_leave_its_steps_unnumbered(tmp_path: Path, kind: str) -> None:
    values = RNG.random((4, 5)).astype(np.float32)
    values[2, 3] = np.nan
    cube = xr.Dataset(
        {
            "ndvi": (("sample", "step"), values * 1000),
            "yield": (("sample",), [3000.0, 4000.0, np.nan, 6000.0]),
            "clay": (("sample",), [1.0, 2.0, 3.0, 4.0]),
            "place": (("sample",), ["c", "b", "a", "a"]),
            "year": (("sample",), [2020, 2020, 2020, 2021]),
        }
    )
    save(cube, tmp_path / f"cube{kind}")
    keys = 'step = "step"\nyear = "year"\nstatic = ["clay"]'
    path = card(tmp_path, f"cube{kind}", keys, '[{name = "n", column = "ndvi", scale = 0.001}]')
    path.write_text(path.read_text().replace("t/ha", "kg/ha"))
    table = read(path)
    assert table.sample_id.tolist() == ["a|2021", "b|2020", "c|2020"]
    np.testing.assert_allclose(table.values[:, 0], values[[3, 1, 0]], rtol=1e-6)
    assert table.target.tolist() == [6.0, 4.0, 3.0]
    assert table.static[:, 0].tolist() == [4.0, 2.0, 1.0]
    unlabelled = read(path, for_prediction=True)
    assert unlabelled.observed[unlabelled.sample_id == "a|2020", 0].tolist() == [[True, True, True, False, True]]


def test_a_cube_of_places_years_and_steps_crosses_new_year(tmp_path: Path) -> None:
    values = np.arange(2 * 3 * 12, dtype=np.float32).reshape(2, 3, 12)
    cube = xr.Dataset(
        {"ndvi": (("place", "year", "month"), values), "yield": (("place", "year"), np.ones((2, 3)))},
        {"place": ["p", "q"], "year": [2019, 2020, 2021], "month": range(1, 13)},
    )
    cube.to_netcdf(tmp_path / "cube.nc")
    keys = 'step = "month"\nyear = "year"\nstep_days = "month"\nseason_start = "07-01"'
    table = read(card(tmp_path, "cube.nc", keys))
    assert table.sample_id.tolist() == ["p|2020", "p|2021", "q|2020", "q|2021"]
    assert table.values[:, 0].tolist() == [[*range(s, s + 12)] for s in (6, 18, 42, 54)]


def test_cubes_of_several_years_are_read_together(tmp_path: Path) -> None:
    for year in (2020, 2021):
        xr.Dataset(
            {"ndvi": (("id", "step"), np.full((2, 3), float(year))), "yield": (("id",), [1.0, 2.0])},
            {"id": ["a", "b"], "year": year},
        ).to_netcdf(tmp_path / f"c{year}.nc")
    path = card(tmp_path, "*.nc", 'place = "id"\nstep = "step"\nyear = "year"')
    table = read(path)
    assert table.sample_id.tolist() == ["a|2020", "a|2021", "b|2020", "b|2021"]
    assert table.values[:, 0, 0].tolist() == [2020, 2021, 2020, 2021]


def test_a_yield_beside_the_samples_is_joined_by_name(tmp_path: Path) -> None:
    cube = xr.Dataset(
        {
            "ndvi": (("id", "step"), np.arange(6.0).reshape(2, 3)),
            "yield": (("id", "cut"), [[1.0, np.nan], [2.0, 2.0]]),
        },
        {"id": ["b", "a"], "place": ("id", ["p", "q"]), "year": ("id", [2020, 2021])},
    )
    cube.to_netcdf(tmp_path / "c.nc")
    table = read(card(tmp_path, "c.nc", 'sample_id = "id"\nstep = "step"\nyear = "year"'))
    assert table.sample_id.tolist() == ["a", "b"]
    assert table.target.tolist() == [2.0, 1.0]


def broken(cube: Any) -> dict[str, tuple[Any, str, list[str]]]:
    keys = 'step = "step"\nyear = "year"'
    return {
        "pixels": (
            cube.expand_dims(lat=[1, 2]),
            keys,
            ["ndvi lies on (lat, place, year, step)", "does not explain lat"],
        ),
        "other dims": (
            cube.assign(evi=cube.ndvi.isel(step=0)),
            keys,
            ["ndvi lies on (place, year, step)", "evi on (place, year)"],
        ),
        "unknown variable": (cube.rename(ndvi="ndvj"), keys, ["no column ndvi", "did you mean ndvj?"]),
        "infinite": (cube.assign(ndvi=cube.ndvi / 0), keys, ["place a", "year 2020", "ndvi is infinite", "Store NaN"]),
        "text": (cube.assign(ndvi=cube.ndvi.astype(str)), keys, ["ndvi is '1.0'", "not a number"]),
        "odd year": (cube.assign_coords(year=[3020]), keys, ["column year", "3020", "1900-2100"]),
    }


@pytest.mark.parametrize("case", ["pixels", "other dims", "unknown variable", "infinite", "text", "odd year"])
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_a_cube_that_cannot_be_meant_is_refused(tmp_path: Path, case: str) -> None:
    good = xr.Dataset(
        {"ndvi": (("place", "year", "step"), np.ones((2, 1, 3))), "yield": (("place", "year"), np.ones((2, 1)))},
        {"place": ["a", "b"], "year": [2020], "step": [1, 2, 3]},
    )
    cube, keys, fragments = broken(good)[case]
    cube.to_netcdf(tmp_path / "cube.nc")
    variates = '[{name = "ndvi"}, {name = "evi"}]' if case == "other dims" else '[{name = "ndvi"}]'
    with pytest.raises(InputError) as caught:
        read(card(tmp_path, "cube.nc", keys, variates))
    assert [f for f in ["cube.nc", *fragments] if f not in str(caught.value)] == []


def test_a_cube_that_does_not_fit_is_refused_before_it_is_read(tmp_path: Path) -> None:
    cube = xr.Dataset(
        {"ndvi": (("place", "year", "step"), np.ones((20, 10, 30))), "yield": (("place", "year"), np.ones((20, 10)))},
        {"place": [f"p{i}" for i in range(20)], "year": range(2000, 2010)},
    )
    cube.to_netcdf(tmp_path / "cube.nc")
    path = card(tmp_path, "cube.nc", 'step = "step"\nyear = "year"')
    assert len(read(path, memory_gb=0.1)) == 200
    with pytest.raises(InputError, match=r"cube\.nc: about 6,000 rows.*0\.0001 GB may be used.*memory_gb"):
        read(path, memory_gb=0.0001)
