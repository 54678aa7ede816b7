"""`missing` in the section of a variate: it leaves out cells of that variate alone, and all such cells are counted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import InputError
from pipeline.sources import read

LONG = 'name = "n"\nformat = "long"\nfiles = "f.csv"\ndate = "date"\nstep_days = "month"\nseason_steps = 6\n'
WIDE = 'name = "n"\nformat = "wide"\nfiles = "f.csv"\nyear = "year"\n'
CUBE = 'name = "n"\nformat = "netcdf"\nfiles = "f.nc"\nyear = "year"\nstep = "step"\n'
TARGET = '[target]\ncolumn = "t"\nunit = "t/ha"\n'
PLACES, STEPS = 6, 6


def series() -> tuple[np.ndarray, np.ndarray]:
    """NDVI and rain [places, steps]; NDVI has two zeros that mean missing data, rain has four that were measured."""
    random = np.random.default_rng(0)
    ndvi, rain = random.uniform(0.3, 0.8, (PLACES, STEPS)), random.uniform(1, 80, (PLACES, STEPS)).round(1)
    ndvi[0, 1] = ndvi[3, 2] = rain[0, 0] = rain[1, 1] = rain[2, 2] = rain[3, 3] = 0
    return ndvi.round(3), rain


def saved(folder: Path, layout: str, *, ndvi: str = "", rain: str = "", card: str = "") -> Path:
    """The same numbers in one of three layouts, with keys of NDVI, of rain (a driver) and of the whole card."""
    n, r = series()
    if layout == "long":
        rows = [(f"p{p}", f"2020-{s + 1:02}-05", n[p, s], r[p, s], 3 + p) for p in range(PLACES) for s in range(STEPS)]
        pd.DataFrame(rows, columns=["place", "date", "ndvi", "rain", "t"]).to_csv(folder / "f.csv", index=False)
    elif layout == "wide":
        rows = [(f"p{p}", 2020, *n[p], *r[p], 3 + p) for p in range(PLACES)]
        names = [f"{band}_{s}" for band in ("ndvi", "rain") for s in range(STEPS)]
        pd.DataFrame(rows, columns=["place", "year", *names, "t"]).to_csv(folder / "f.csv", index=False)
    else:
        import xarray as xr

        dims = ("place", "step")
        places = np.array([f"p{p}" for p in range(PLACES)], object)
        xr.Dataset(
            {"ndvi": (dims, n), "rain": (dims, r), "t": ("place", 3.0 + np.arange(PLACES))},
            {"place": places, "step": np.arange(1, STEPS + 1), "year": ("place", np.full(PLACES, 2020))},
        ).to_netcdf(folder / "f.nc")
    sections = f'[[variates]]\nname = "ndvi"\n{ndvi}\n[[drivers]]\nname = "rain"\n{rain}\n'
    (folder / "card.toml").write_text(card + {"long": LONG, "wide": WIDE, "cube": CUBE}[layout] + sections + TARGET)
    return folder / "card.toml"


def left_out(path: Path) -> dict[str, int]:
    counts = {count.reason: count.rows for count in read(path).counts}
    return {reason: rows for reason, rows in counts.items() if reason.startswith("cell of")}


@pytest.mark.parametrize("layout", ["long", "wide", "cube"])
def test_zeros_of_one_variate_are_left_out_and_those_of_another_stay(tmp_path: Path, layout: str) -> None:
    path = saved(tmp_path, layout, ndvi="missing = [0]")
    table = read(path)
    assert (int((~table.observed[:, 0]).sum()), int((~table.drivers_observed).sum())) == (2, 0)
    assert int((table.drivers == 0).sum()) == 4
    assert left_out(path) == {"cell of ndvi left out, because `missing` names 0": 2}
    assert "exactly 0" not in table.describe_findings()


@pytest.mark.parametrize("layout", ["long", "wide", "cube"])
def test_cells_that_the_card_leaves_out_are_counted_for_each_variate(tmp_path: Path, layout: str) -> None:
    assert left_out(saved(tmp_path, layout, card="missing = [0]\n")) == {
        "cell of ndvi left out, because `missing` names 0": 2,
        "cell of rain left out, because `missing` names 0": 4,
    }


@pytest.mark.parametrize("layout", ["long", "wide", "cube"])
def test_a_number_that_no_cell_of_the_variate_holds_is_reported(tmp_path: Path, layout: str) -> None:
    found = read(saved(tmp_path, layout, ndvi="missing = [0]", rain="missing = [0, -5]")).findings
    (one,) = [finding for finding in found if "-5" in finding.sentence]
    assert one.sentence.startswith("`missing` of rain names -5, and no cell of rain holds it.")
    assert one.card_line == "missing = [0] # among the keys of rain"


def test_advice_on_zeros_names_the_key_of_the_variate(tmp_path: Path) -> None:
    (one,) = [finding for finding in read(saved(tmp_path, "long")).findings if "exactly 0" in finding.sentence]
    assert one.sentence.startswith("ndvi is exactly 0 in 2 of 36 cells")
    assert one.card_line == "missing = [0] # among the keys of ndvi"


def test_a_mark_that_another_variate_may_reach_is_named_for_its_variate(tmp_path: Path) -> None:
    path = saved(tmp_path, "long")
    frame = pd.read_csv(tmp_path / "f.csv")
    frame.loc[[3, 9], "ndvi"], frame.loc[5, "rain"] = 255, 255
    frame.to_csv(tmp_path / "f.csv", index=False)
    with pytest.raises(InputError, match=r"dataset card among the keys of ndvi, `missing = \[0, 255\]`"):
        read(saved_again(path, "missing = [0]"))
    table = read(saved_again(path, "missing = [0, 255]"))
    assert float(table.drivers.max()) == 255


def saved_again(path: Path, ndvi: str) -> Path:
    """The card with these keys of NDVI, beside the same files."""
    path.write_text(
        f'{LONG}[[variates]]\nname = "ndvi"\n{ndvi}\n[[drivers]]\nname = "rain"\nlow = 0.0\nhigh = 300.0\n{TARGET}'
    )
    return path


def test_a_source_takes_the_numbers_of_the_card_and_of_its_variates(tmp_path: Path) -> None:
    saved(tmp_path, "long")
    yields = "\n".join(["place,year,t", *(f"p{p},2020,{3 + p}" for p in range(PLACES))])
    (tmp_path / "y.csv").write_text(yields + "\n")
    (tmp_path / "card.toml").write_text(
        'name = "n"\nstep_days = "month"\nseason_steps = 6\n[[sources]]\nfiles = "f.csv"\ndate = "date"\n'
        'variates = [{ name = "ndvi", missing = [0] }]\ndrivers = [{ name = "rain" }]\n'
        '[[sources]]\nfiles = "y.csv"\nyear = "year"\ntarget = { column = "t", unit = "t/ha" }\n'
    )
    assert left_out(tmp_path / "card.toml") == {"cell of ndvi left out, because `missing` names 0": 2}
