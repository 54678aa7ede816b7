"""docs/from-satellite.md: exports in the form that each tool writes are read, unedited, by the cards of the page."""

from __future__ import annotations

import csv
import math
import re
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline import draft_card
from pipeline.errors import InputError
from pipeline.sources import read
from pipeline.table import SeasonTable

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs/from-satellite.md").read_text(encoding="utf-8")
CARDS = {text.split()[1]: text for text in re.findall(r"```toml\n(# .*?)```", PAGE, re.DOTALL)}
YEARS = (2019, 2020, 2021, 2022)
COUNTIES = [("17", "001", "Adams"), ("17", "003", "Alexander"), ("17", "005", "Bond"), ("17", "019", "Champaign")]
FIELDS = ["a-1", "a-2", "b-7", "c-3", "d-9"]
STEPS = 21


def days(year: int) -> list[date]:
    return [date(year, 4, 1) + timedelta(10 * step) for step in range(STEPS)]


def ndvi(place: int, year: int, step: int) -> float:
    peak = 0.55 + 0.03 * place + 0.02 * (year % 5)
    return round(0.15 + peak * math.exp(-(((step - 11) / 5) ** 2)) + 0.01 * math.sin(7 * place + step + year), 6)


def masked(place: int, year: int, step: int) -> bool:
    return (3 * place + year + 5 * step) % 11 == 0


def harvest(place: int, year: int) -> float:
    return round(9 + 0.4 * place + 0.3 * (year % 5), 2)


def card(folder: Path, name: str) -> Path:
    path = folder / name
    path.write_text(CARDS[name], encoding="utf-8")
    return path


def assert_as_exported(table: SeasonTable, places: int, variates: int = 1) -> None:
    """What was exported, where it was not masked; each yield in its place and year."""
    assert table.values.shape == (places * len(YEARS), variates, STEPS)
    at = {name: index for index, name in enumerate(sorted(set(table.place.tolist())))}
    for n, (name, year) in enumerate(zip(table.place.tolist(), table.year.tolist(), strict=True)):
        wanted = [np.nan if masked(at[name], year, s) else ndvi(at[name], year, s) for s in range(STEPS)]
        np.testing.assert_allclose(table.values[n, 0], wanted, rtol=1e-5)
    assert {finding.severity for finding in table.findings} <= {"note"}


def farm_yields(folder: Path, places: list[object], name: str = "field_id") -> None:
    rows = [{name: p, "year": y, "yield": harvest(i, y)} for i, p in enumerate(places) for y in YEARS]
    pd.DataFrame(rows).to_csv(folder / "yields.csv", index=False)


NASS = [
    "Program", "Year", "Period", "Week Ending", "Geo Level", "State", "State ANSI", "Ag District",
    "Ag District Code", "County", "County ANSI", "Zip Code", "Region", "watershed_code", "Watershed",
    "Commodity", "Data Item", "Domain", "Domain Category", "Value", "CV (%)",
]  # fmt: skip
CORN = "CORN, GRAIN - YIELD, MEASURED IN BU / ACRE"


def nass(folder: Path, blank: str = "") -> None:
    """Quick Stats: all cells in quotes, " (D)" for what is withheld, counties that are summed up without a code."""
    grain = ["", "", "00000000", "", "CORN", CORN, "TOTAL", "NOT SPECIFIED"]

    def yields(place: int, year: int) -> str:
        return f"{harvest(place, year) / 0.0627677:.1f}"  # t/ha of a bushel of maize per acre

    rows = [
        ["SURVEY", y, "YEAR", "", "COUNTY", "ILLINOIS", s, "WEST", "30", name.upper(), c, *grain, yields(i, y), ""]
        for i, (s, c, name) in enumerate(COUNTIES)
        for y in YEARS
    ]
    other = [*rows[0][:9], "OTHER (COMBINED) COUNTIES", blank, *rows[0][11:]]
    withheld = [*rows[0][:9], "BOONE", "007", *rows[0][11:19], " (D)", ""]
    with (folder / "nass.csv").open("w", newline="") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows([NASS, *rows, other, withheld])


def earth_engine(folder: Path, selectors: bool, polygons: bool = False) -> None:
    """One file per year. Without `selectors` Earth Engine sorts the properties between `system:index` and `.geo`."""
    geometry = '{"type":"MultiPoint","coordinates":[]}'
    if polygons:
        ring = ",".join(f"[{-91 + 0.001 * n},{40 + 0.001 * n}]" for n in range(2000))
        geometry = f'{{"geodesic":false,"type":"Polygon","coordinates":[[{ring}]]}}'
    header = ["GEOID", "STATEFP", "COUNTYFP", "NAME", "date", "ndvi", "ndmi"]
    if not selectors:
        header = ["system:index", "COUNTYFP", "GEOID", "NAME", "STATEFP", "date", "ndmi", "ndvi", ".geo"]
    for year in YEARS:
        with (folder / f"s2_{year}.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, header, extrasaction="ignore", lineterminator="\n")
            writer.writeheader()
            for step, day in enumerate(days(year)):
                for place, (state, county, name) in enumerate(COUNTIES):
                    seen = "" if masked(place, year, step) else repr(ndvi(place, year, step))
                    other = "" if seen == "" else repr(round(float(seen) - 0.3, 6))
                    writer.writerow({"system:index": f"{step}_{place:020x}", "STATEFP": state, "COUNTYFP": county,
                                     "GEOID": state + county, "NAME": name, "date": day.isoformat(), "ndvi": seen,
                                     "ndmi": other, ".geo": geometry})  # fmt: skip


@pytest.mark.parametrize(("selectors", "polygons"), [(True, False), (False, False), (False, True)])
def test_earth_engine_and_quick_stats(tmp_path: Path, selectors: bool, polygons: bool) -> None:
    earth_engine(tmp_path, selectors, polygons)
    nass(tmp_path)
    table = read(card(tmp_path, "gee.toml"))
    assert_as_exported(table, len(COUNTIES), 2)
    np.testing.assert_allclose(table.target[0], harvest(0, 2019), rtol=2e-3)
    assert any("1 row without a place" in finding.sentence for finding in table.findings)
    run = [sys.executable, "render_cache.py", "--data", str(tmp_path / "gee.toml"), "--encoder", "none", "--dry-run",
           "--cache", str(tmp_path / "cache")]  # fmt: skip
    if selectors:
        found = subprocess.run(run, cwd=ROOT, capture_output=True, text=True)
        assert found.returncode == 0, found.stderr
        assert "16 samples x 2 variates x 21 steps" in found.stdout


def test_earth_engine_by_geoid_alone_is_read_too(tmp_path: Path) -> None:
    earth_engine(tmp_path, selectors=True)
    farm_yields(tmp_path, [state + county for state, county, _ in COUNTIES], "GEOID")
    text = CARDS["exactextract_long.toml"].replace('"field_id"', '"GEOID"').replace('"ndvi.csv"', '"s2_*.csv"')
    (tmp_path / "card.toml").write_text(text.replace(', column = "mean"', ""))
    assert_as_exported(read(tmp_path / "card.toml"), len(COUNTIES))


def test_a_crop_calendar_of_counties(tmp_path: Path) -> None:
    earth_engine(tmp_path, selectors=True)
    nass(tmp_path)
    rows = [[s, c, f"{4}-{25 + i}", 270 + 3 * i] for i, (s, c, _) in enumerate(COUNTIES)]
    rows = [[s, c, f"0{start}", harvested] for s, c, start, harvested in rows]
    pd.DataFrame(rows, columns=["STATEFP", "COUNTYFP", "planting", "harvest"]).to_csv(
        tmp_path / "calendar.csv", index=False
    )
    table = read(card(tmp_path, "calendar.toml"))
    assert len(table) == len(COUNTIES) * len(YEARS)
    assert table.days_to_harvest is not None
    first = table.days_to_harvest[:4].tolist()  # Adams: 25 April less 30 days to day 270
    assert first == [(date(y, 1, 1) + timedelta(269) - (date(y, 4, 25) - timedelta(30))).days for y in YEARS]


def test_exactextract_by_date(tmp_path: Path) -> None:
    rows = [
        {"field_id": f, "mean": np.nan if masked(i, y, s) else ndvi(i, y, s), "date": day.isoformat()}
        for y in YEARS
        for s, day in enumerate(days(y))
        for i, f in enumerate(FIELDS)
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "ndvi.csv", index=False)
    farm_yields(tmp_path, [*FIELDS])
    assert_as_exported(read(card(tmp_path, "exactextract_long.toml")), len(FIELDS))
    pd.DataFrame(rows).to_csv(tmp_path / "ndvi.csv")  # with the index of pandas in a column without a name
    assert_as_exported(read(tmp_path / "exactextract_long.toml"), len(FIELDS))


def test_exactextract_by_bands(tmp_path: Path) -> None:
    for year in YEARS:
        rows = [
            {"field_id": f}
            | {f"band_{s + 1}_mean": np.nan if masked(i, year, s) else ndvi(i, year, s) for s in range(STEPS)}
            for i, f in enumerate(FIELDS)
        ]
        pd.DataFrame(rows).to_csv(tmp_path / f"ndvi_{year}.csv", index=False)
    farm_yields(tmp_path, [*FIELDS])
    assert_as_exported(read(card(tmp_path, "exactextract_wide.toml")), len(FIELDS))


def test_a_stack_averaged_by_xarray(tmp_path: Path) -> None:
    xr = pytest.importorskip("xarray")
    time = np.array([day for y in YEARS for day in days(y)], "datetime64[ns]")
    values = np.full((len(time), 4, 5), np.nan, np.float32)
    for t, (year, step) in enumerate((y, s) for y in YEARS for s in range(STEPS)):
        for place in range(5):
            pixels = ndvi(place, year, step) + np.array([-0.02, 0.02, 0.01, -0.01])
            values[t, :, place] = np.nan if masked(place, year, step) else pixels
    stack = xr.Dataset({"ndvi": (("time", "y", "x"), values)}, {"time": time})
    field = xr.DataArray(np.tile(np.arange(5) + 101, (4, 1)), dims=("y", "x"), name="field_id")
    stack[["ndvi"]].groupby(field).mean().to_netcdf(tmp_path / "ndvi.nc")
    assert 'stack[["ndvi"]].groupby(field).mean().to_netcdf' in PAGE
    farm_yields(tmp_path, [*range(101, 106)])
    assert_as_exported(read(card(tmp_path, "xarray.toml")), 5)


def dekads(year: int) -> list[str]:
    starts = [date(year, month, day) for month in range(4, 11) for day in (1, 11, 21)]
    return [f"{day.isoformat()}T00:00:00.000Z" for day in starts]


@pytest.mark.parametrize("column", ["ndvi", "avg(band_0)"])
def test_openeo_csv(tmp_path: Path, column: str) -> None:
    """Rows come in any order, without a value where all pixels are masked; polygons are numbered from 0."""
    rows = [
        [day, i, "" if masked(i, y, s) else ndvi(i, y, s)]
        for y in YEARS
        for s, day in enumerate(dekads(y))
        for i in range(12)
    ]
    rng = np.random.default_rng(0)
    with (tmp_path / "ndvi.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["date", "feature_index", column], *(rows[i] for i in rng.permutation(len(rows)))])
    farm_yields(tmp_path, [*range(12)], "feature_index")
    path = card(tmp_path, "openeo.toml")
    if column != "ndvi":
        path.write_text(path.read_text().replace('name = "ndvi",', 'name = "ndvi", column = "avg(band_0)",'))
    table = read(path)
    assert table.values.shape == (48, 1, STEPS)
    n = int(np.flatnonzero((table.place == "10") & (table.year == 2021))[0])
    wanted = [np.nan if masked(10, 2021, s) else ndvi(10, 2021, s) for s in range(STEPS)]
    np.testing.assert_allclose(table.values[n, 0], wanted, rtol=1e-5)
    assert table.target[n] == harvest(10, 2021)


def test_openeo_netcdf(tmp_path: Path) -> None:
    xr = pytest.importorskip("xarray")
    time = np.array([day[:10] for y in YEARS for day in dekads(y)], "datetime64[ns]")
    values = [[np.nan if masked(i, y, s) else ndvi(i, y, s) for y in YEARS for s in range(STEPS)] for i in range(5)]
    cube = xr.Dataset({"ndvi": (("feature", "t"), values)}, {"t": time})
    cube.coords["lat"] = ("feature", np.linspace(50, 51, 5))
    cube.coords["lon"] = ("feature", np.linspace(5, 6, 5))
    cube.coords["feature_names"] = ("feature", [f"feature_{i}" for i in range(5)])
    cube.attrs["Conventions"] = "CF-1.8"
    cube.to_netcdf(tmp_path / "ndvi.nc", encoding={"ndvi": {"zlib": True, "complevel": 5}})
    farm_yields(tmp_path, [*range(5)], "feature_index")
    assert_as_exported(read(card(tmp_path, "openeo_netcdf.toml")), 5)


def test_openeo_json_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "ndvi.json").write_text('{"2022-04-01T00:00:00Z": [[0.2], [null]]}')
    with pytest.raises(InputError, match=r"ndvi\.json"):
        read(tmp_path / "ndvi.json")
    farm_yields(tmp_path, [*range(5)], "feature_index")
    path = card(tmp_path, "openeo.toml")
    path.write_text(path.read_text().replace("ndvi.csv", "ndvi.json"))
    with pytest.raises(InputError, match=r"ndvi\.json.*which reads \.csv"):
        read(path)


def test_eurostat(tmp_path: Path) -> None:
    """Winter wheat: SDMX-CSV with countries beside the regions, an empty value, and flags."""
    regions = ["DE11", "DE12", "FRB0", "PL21"]
    header = "DATAFLOW,LAST UPDATE,freq,crops,strucpro,geo,TIME_PERIOD,OBS_VALUE,OBS_FLAG,CONF_STATUS"
    lines = [
        f"ESTAT:APRO_CPSHR(1.0),26/10/25 23:00:00,A,C1110,YI_HU_EU,{geo},{y},{harvest(i, y) / 2},{'e' if i else ''},"
        for i, geo in enumerate([*regions, "DE", "DE1"])
        for y in YEARS
    ]
    lines.append("ESTAT:APRO_CPSHR(1.0),26/10/25 23:00:00,A,C1110,YI_HU_EU,SI03,2022,,:,")
    (tmp_path / "eurostat.csv").write_text("\n".join([header, *lines]) + "\n")
    for year in YEARS:
        rows = [
            {"NUTS_ID": geo, "date": date(year - 1, 10, 1) + timedelta(10 * s), "ndvi": ndvi(i, year, s)}
            for s in range(30)
            for i, geo in enumerate(regions)
        ]
        pd.DataFrame(rows).to_csv(tmp_path / f"s2_{year}.csv", index=False)
    table = read(card(tmp_path, "eurostat.toml"))
    assert sorted(set(table.place.tolist())) == regions
    assert sorted(set(table.year.tolist())) == [*YEARS]
    assert table.observed.all()
    assert table.target[0] == harvest(0, 2019) / 2


def test_a_card_is_drafted_from_the_exports(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    earth_engine(tmp_path, selectors=False)
    farm_yields(tmp_path, [state + county for state, county, _ in COUNTIES], "GEOID")
    files = [*sorted(map(str, tmp_path.glob("s2_*.csv"))), str(tmp_path / "yields.csv")]
    assert draft_card.main([*files, "--out", str(tmp_path / "card.toml")]) == 0
    assert "It reads 16 samples x 2 variates x 21 steps" in capsys.readouterr().out


def test_every_card_of_the_page_is_used_by_a_command_and_by_a_test() -> None:
    assert {*CARDS} == {*re.findall(r"render_cache\.py --data (\S+\.toml)", PAGE)}
    source = Path(__file__).read_text(encoding="utf-8")
    assert [name for name in CARDS if f'card(tmp_path, "{name}")' not in source] == []


def test_every_script_of_the_page_is_python() -> None:
    scripts = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(scripts) >= 6
    for script in scripts:
        compile(script, "docs/from-satellite.md", "exec")
