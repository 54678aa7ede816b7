"""Cubes: marks of missing data and valid ranges hold for stored numbers, and times must be dates."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.errors import InputError
from pipeline.sources import read
from pipeline.table import SeasonTable

xr = pytest.importorskip("xarray")

DAYS = np.datetime64("2020-04-01", "ns") + np.arange(8) * np.timedelta64(10, "D")
NDVI = (np.add.outer(np.arange(4) * 300, np.arange(8) * 500) + 2000).astype(np.int16)


def card(folder: Path, kind: str, keys: str = "", variate: str = 'name = "ndvi"') -> Path:
    (folder / "card.toml").write_text(
        f'{keys}\nname = "n"\nformat = "{kind}"\nfiles = "c.{"nc" if kind == "netcdf" else "zarr"}"\ndate = "time"\n'
        f'season_start = "04-01"\nseason_steps = 8\nvariates = [{{{variate}}}]\n'
        'target = {column = "yield", unit = "t/ha"}\n'
    )
    return folder / "card.toml"


def cube(numbers: Any = NDVI, times: Any = DAYS, **attributes: Any) -> Any:
    """4 places x 8 dates of one band with the attributes given, and a yield of each place."""
    return xr.Dataset(
        {"ndvi": (("place", "time"), numbers, attributes), "yield": ("place", [3.0, 3.4, 3.9, 4.2])},
        {"place": list("abcd")} | ({} if times is None else {"time": times}),
    )


def saved(folder: Path, data: Any, keys: str = "", variate: str = 'name = "ndvi"') -> Path:
    data.to_netcdf(folder / "c.nc")
    return card(folder, "netcdf", keys, variate)


def with_(value: int) -> Any:
    numbers = NDVI.copy()
    numbers[1, 2] = numbers[3, 5] = value
    return numbers


def only_two_missing(table: SeasonTable) -> bool:
    absent = np.argwhere(~table.observed[:, 0]).tolist()
    return absent == [[1, 2], [3, 5]] and bool(np.nanmin(table.values) > 0.1)


def test_missing_names_numbers_as_they_are_stored(tmp_path: Path) -> None:
    path = saved(tmp_path, cube(with_(-3000), scale_factor=1e-4), "missing = [-3000]")
    assert only_two_missing(read(path))
    assert "no cell of the table" not in read(path).describe_findings()
    # What is -0.3 after unpacking is no stored number, and it is said that nothing matched.
    path = saved(tmp_path, cube(scale_factor=1e-4), "missing = [-0.3]")
    assert "`missing` names -0.3, and no cell" in read(path).describe_findings()


def test_a_mark_that_equals_an_unpacked_value_masks_nothing_else(tmp_path: Path) -> None:
    numbers = np.full_like(NDVI, 10_000)
    numbers[0] = NDVI[0]
    path = saved(tmp_path, cube(numbers, scale_factor=1e-4), "missing = [1]")
    assert read(path).observed.all()


def test_a_mark_behind_scale_and_offset_is_refused_as_it_is_stored(tmp_path: Path) -> None:
    path = saved(tmp_path, cube(with_(-32768), scale_factor=1e-4, add_offset=0.05))
    with pytest.raises(InputError, match=r"c\.nc, place b, time .*: -32768 stands in 2 cells.*missing = \[-32768\]"):
        read(path)
    path = saved(tmp_path, cube(with_(-3000), scale_factor=1e-4), variate='name = "ndvi", low = -0.2, high = 1.0')
    with pytest.raises(InputError, match="-3000 stands in 2 cells"):
        read(path)


@pytest.mark.parametrize(
    "attributes",
    [
        {"valid_range": np.array([-2000, 10000], np.int16)},
        {"valid_min": np.int16(-2000)},
        {"valid_range": np.array([-0.2, 1.0])},  # fractions beside stored whole numbers: unpacked values
    ],
)
def test_the_valid_range_of_a_file_is_honoured_and_said(tmp_path: Path, attributes: dict[str, Any]) -> None:
    table = read(saved(tmp_path, cube(with_(-2500), scale_factor=1e-4, **attributes)))
    assert only_two_missing(table)
    assert "2 values of ndvi lie outside the file's valid range" in table.describe_findings()


def zarr_of_format_2(folder: Path, numbers: Any, fill: float, said: bool) -> Path:
    cube(numbers.astype(np.float32)).to_zarr(folder / "c.zarr", zarr_format=2, consolidated=False)
    about = folder / "c.zarr/ndvi/.zarray"
    about.write_text(json.dumps(json.loads(about.read_text()) | {"fill_value": fill}))
    if said:
        named = folder / "c.zarr/ndvi/.zattrs"
        named.write_text(json.dumps(json.loads(named.read_text()) | {"_FillValue": fill}))
    return card(folder, "zarr")


def test_the_fill_value_of_zarr_format_2_marks_nothing_unless_the_file_says_so(tmp_path: Path) -> None:
    table = read(zarr_of_format_2(tmp_path, with_(0), 0.0, said=False))
    assert table.observed.all()
    assert (table.values == 0).sum() == 2
    assert "2 cells of ndvi hold 0, the `fill_value`" in table.describe_findings()
    (tmp_path / "said").mkdir()
    assert only_two_missing(read(zarr_of_format_2(tmp_path / "said", with_(0), 0.0, said=True)))


def test_no_warning_of_a_library_reaches_the_person(tmp_path: Path) -> None:
    path = zarr_of_format_2(tmp_path, NDVI, 0.0, said=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read(path).observed.all()


def test_times_in_months_get_a_message_that_helps(tmp_path: Path) -> None:
    data = cube(times=np.arange(8))
    data["time"].attrs["units"] = "months since 2020-04-01"
    with pytest.raises(InputError, match=r"c\.nc: time counts 'months since 2020-04-01'.*days since.*step_days = "):
        read(saved(tmp_path, data))


def test_a_time_without_dates_gets_a_message_that_helps(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"time is a dimension without a coordinate.*`step` instead of `date`"):
        read(saved(tmp_path, cube(times=None)))
    with pytest.raises(InputError, match=r"time holds plain numbers.*units"):
        read(saved(tmp_path, cube(times=np.arange(8))))


def test_times_of_another_zone_are_reported(tmp_path: Path) -> None:
    table = read(saved(tmp_path, cube(times=DAYS + np.timedelta64(22, "h"))))
    assert "All times of time stand at 22:00 (such as 2020-04-01T22:00)" in table.describe_findings()
    assert "time zone" not in read(saved(tmp_path, cube())).describe_findings()


def test_a_group_of_labels_may_lie_in_a_cube(tmp_path: Path) -> None:
    data = cube(scale_factor=1e-4).assign(district=("place", ["x", "x", "y", "y"]))
    path = saved(tmp_path, data)
    path.write_text(path.read_text().replace('unit = "t/ha"', 'unit = "t/ha", group = "district"'))
    assert read(path).group.tolist() == [0, 0, 2, 2]


@pytest.mark.parametrize(
    ("attributes", "keys", "told"),
    [
        ({"scale_factor": 1e-4}, "scale = 0.0001", "warning: c.nc: the file scales ndvi by 0.0001"),
        ({"scale_factor": 1e-4}, "scale = 100.0", "note: c.nc: the file scales ndvi by 0.0001"),
        ({"scale_factor": 1e-4}, "", ""),
        ({}, "scale = 0.0001", ""),
        ({"units": "K"}, 'unit = "C"', "warning: c.nc: the file gives ndvi in K (its `units`), the dataset card in C"),
        ({"units": "kelvin"}, 'unit = "degC"', "In the dataset card: offset = -273.15"),
        ({"units": "m"}, 'unit = "mm"', 'In the dataset card: unit = "m"'),
        ({"units": "K"}, 'unit = "C", offset = -273.15', ""),
        ({"units": "m"}, 'unit = "mm", scale = 1000', ""),
        ({"units": "degree_Celsius"}, 'unit = "C"', ""),
        ({"units": "kg m-2"}, 'unit = "mm"', ""),
        ({"units": "K"}, "", ""),
    ],
)
def test_a_scale_and_a_unit_of_the_file_are_compared_with_the_card(
    tmp_path: Path, attributes: dict[str, Any], keys: str, told: str
) -> None:
    path = saved(tmp_path, cube(**attributes), variate=f'name = "ndvi"{", " * bool(keys)}{keys}')
    text = read(path).describe_findings()
    assert told in text
    assert ("c.nc: the file" in text) == bool(told)
