"""Marks of missing data that nobody named: refused in every kind of table, and only where they can be nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import InputError
from pipeline.sources import read
from pipeline.sources.files.missing_values import MARKS

WIDE = """name = "n"
format = "wide"
files = "f.csv"
year = "year"
variates = [{name = "a", scale = SCALE}]
target = {column = "t", unit = "t/ha"}
"""


def wide(folder: Path, cells: list[str], keys: str = "", scale: float = 1.0) -> Path:
    """A card and a table of one variate, one row a pair of cells."""
    rows = [f"p{i},2020,{a},{b},3" for i, (a, b) in enumerate(zip(cells[::2], cells[1::2], strict=True))]
    (folder / "f.csv").write_text("\n".join(["place,year,a_0,a_1,t", *rows]) + "\n")
    (folder / "card.toml").write_text(keys + WIDE.replace("SCALE", str(scale)))
    return folder / "card.toml"


def refusal(data: Path, for_prediction: bool = False) -> str:
    with pytest.raises(InputError) as caught:
        read(data, for_prediction=for_prediction)
    return str(caught.value)


@pytest.mark.parametrize("mark", [*map(str, MARKS), "1e20", "-3.4e38", "9.96921e36", "-3.4028235e+38"])
def test_a_mark_of_missing_data_is_refused_with_its_cells_and_the_card_that_names_it_is_read(
    tmp_path: Path, mark: str
) -> None:
    cells = ["0.2", mark, "0.3", "0.4", mark, "0.1"]
    told = refusal(wide(tmp_path, cells))
    assert f"{tmp_path}/f.csv, line 2, column a_1: " in told
    assert "stands in 2 cells of this variate, whose other values lie between 0.1 and 0.4" in told
    assert "or leave those cells empty" in told
    named = told.split("`missing = ")[1].split("`")[0]
    for keys in (f"missing = {named}\n", f"missing = [{mark}]\n"):
        table = read(wide(tmp_path, cells, keys))
        assert table.observed[:, 0].tolist() == [[True, False], [True, True], [False, True]]


def test_a_mark_is_found_behind_a_scale_and_advised_as_it_is_stored(tmp_path: Path) -> None:
    cells = ["5", "-9999", "3", "-9999"]
    assert "`missing = [-9999]`" in refusal(wide(tmp_path, cells, scale=0.0001))
    assert "`missing = [-9999]`" in refusal(wide(tmp_path, cells, scale=-0.1))


def test_two_marks_of_one_variate_are_told_together_with_those_the_card_has(tmp_path: Path) -> None:
    cells = ["0.5", "-9999", "-99", "-9999", "-99", "255"]
    told = refusal(wide(tmp_path, cells, "missing = [255]\n"))
    assert "-9999 and -99 stand in 4 cells" in told
    assert "`missing = [255, -9999, -99]`" in told


@pytest.mark.parametrize(
    "cells",
    [
        ["20", "-99", "30", "40"],  # once, and not far away
        ["999", "999", "500", "101"],  # less than twice the others: a rainy month in mm
        ["-999", "-999", "-2000", "8000"],
        ["-3", "-3", "0.1", "0.2"],  # no usual mark
    ],
)
def test_what_may_be_a_measurement_is_read(tmp_path: Path, cells: list[str]) -> None:
    assert read(wide(tmp_path, cells)).observed.all()


@pytest.mark.parametrize(
    ("cells", "keys", "why"),
    [
        (["0.2", "-9999", "0.3", "0.4"], "scale = 1.0", "one cell is enough if it is very far"),
        (["2000", "-3000", "8000", "-3000"], "scale = 0.0001, low = -0.2, high = 1.0", "outside of the range"),
        (["2000", "-3000", "8000", "4000"], "scale = 0.0001, low = -0.2, high = 1.0", "once, outside of the range"),
        (["2000", "-3000", "8000", "-3000"], "scale = 0.0001", "the sign of no other value"),
        (["2000", "-28672", "9880", "4000"], "scale = 0.0001", "once, a fill value among positive numbers"),
        (["2000", "-9999", "8000", "-9999"], "scale = 0.0001, low = -1.0, high = 1.0", "within a wide range"),
        (["2000", "65535", "8000", "65535"], "scale = 0.0001", "a gap"),
        (["20", "255", "100", "255"], "scale = 1.0", "a gap above percentages"),
        (["208", "-999", "0", "-999"], "scale = 1.0", "rain has no sign"),
        (["-10", "-99", "30", "-99"], "scale = 1.0", "a gap below temperatures"),
    ],
)
def test_a_mark_is_judged_by_range_sign_and_gap(tmp_path: Path, cells: list[str], keys: str, why: str) -> None:
    path = wide(tmp_path, cells)
    path.write_text(path.read_text().replace("scale = 1.0", keys))
    assert f"{cells[1]} stands in {cells.count(cells[1])} cell" in refusal(path), why


def test_a_value_within_the_declared_range_is_a_measurement(tmp_path: Path) -> None:
    path = wide(tmp_path, ["20", "255", "100", "255"])
    assert "give the variate its `low` and `high`" in refusal(path)
    path.write_text(path.read_text().replace("scale = 1.0", "low = 0.0, high = 500.0"))
    assert read(path).observed.all()


def test_one_mark_is_enough_in_a_table_to_be_forecast(tmp_path: Path) -> None:
    path = wide(tmp_path, ["20", "-99", "30", "40"])
    assert read(path).observed.all()
    assert "-99 stands in 1 cell" in refusal(path, for_prediction=True)


def test_a_mark_that_no_cell_holds_is_reported(tmp_path: Path) -> None:
    table = read(wide(tmp_path, ["0.2", "-9999", "0.3", "0.4"], "missing = [-9999, -3000]\n"))
    (found,) = [finding for finding in table.findings if "`missing`" in finding.sentence]
    assert found.severity == "warning"
    assert "-3000" in found.sentence
    assert "-9999" not in found.sentence


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_missing_takes_texts_beside_numbers(tmp_path: Path, kind: str) -> None:
    rows = [["p0", 0.2, " (D)", "3"], ["p1", 0.3, "0.4", "(D)"], ["NA", -9999, "0.5", "-9999"], ["q", 0.1, "0.3", "4"]]
    columns = dict(zip(["place", "a_0", "a_1", "t"], map(list, zip(*rows, strict=True)), strict=True))
    if kind == "csv":
        lines = ["place,a_0,a_1,t", *(",".join(map(str, row)) for row in rows)]
        (tmp_path / "f2020.csv").write_text("\n".join(lines) + "\n")
    else:
        pq.write_table(pa.table(columns), tmp_path / "f2020.parquet")
    (tmp_path / "card.toml").write_text(
        f'name = "n"\nformat = "wide"\nfiles = "f2020.{kind}"\nmissing = ["(D)", "NA", -9999]\n'
        'variates = [{name = "a"}]\ntarget = {column = "t", unit = "t/ha"}\n'
    )
    table = read(tmp_path / "card.toml")
    assert table.place.tolist() == ["p0", "q"]
    assert table.observed[:, 0].tolist() == [[True, False], [True, True]]
    everything = read(tmp_path / "card.toml", for_prediction=True)
    assert everything.place.tolist() == ["NA", "p0", "p1", "q"]
    assert not everything.observed[0, 0, 0]


def test_a_text_that_no_card_names_is_refused_with_the_line_that_names_it(tmp_path: Path) -> None:
    told = refusal(wide(tmp_path, ["0.2", "(D)", "0.3", "0.4"]))
    assert "'(D)' is not a number" in told
    assert 'missing = ["(D)"]' in told


def test_a_variate_that_holds_nothing_but_the_mark_is_refused(tmp_path: Path) -> None:
    assert "-9999 stands in 2 cells" in refusal(wide(tmp_path, ["-9999", "-9999"]))


def test_marks_of_the_files_of_several_years_are_counted_together(tmp_path: Path) -> None:
    for year, value in ((2021, "0.3"), (2022, "-99"), (2023, "-99")):
        (tmp_path / f"f{year}.csv").write_text(f"place,b_0,b_1,a_0,a_1,y{year}\np,1,1,{value},0.4,3\n")
    told = refusal(tmp_path)
    assert "f2022.csv, line 2, column a_0: -99 stands in 2 cells" in told


@pytest.mark.parametrize("for_prediction", [False, True])
def test_a_parquet_table_and_one_read_for_prediction_are_looked_at_too(tmp_path: Path, for_prediction: bool) -> None:
    columns = {"a_0": pa.array([1e20, 1e20, 1.0], pa.float32()), "a_1": [1.0] * 3, "y2022": [3.0] * 3}
    pq.write_table(pa.table(columns), tmp_path / "f.parquet")
    told = refusal(tmp_path / "f.parquet", for_prediction)
    assert "f.parquet, row 1, column a_0: 1e+20 stands in 2 cells" in told


@pytest.mark.parametrize("when", ["date", "step"])
def test_a_long_table_is_looked_at_too(tmp_path: Path, when: str) -> None:
    rows = [("2020-01-01", 1, 0.3), ("2020-02-01", 2, -9999), ("2020-03-01", 3, -9999)]
    (tmp_path / "f.csv").write_text(
        "place,year,date,step,A,t\n" + "".join(f"p,2020,{date},{step},{a},3\n" for date, step, a in rows)
    )
    (tmp_path / "card.toml").write_text(
        f'name = "n"\nformat = "long"\nfiles = "f.csv"\nyear = "year"\n{when} = "{when}"\n'
        'variates = [{name = "a", column = "A"}]\ntarget = {column = "t", unit = "t/ha"}\n'
    )
    told = refusal(tmp_path / "card.toml")
    assert "f.csv, line 3, column A: -9999 stands in 2 cells" in told


def test_a_cube_is_looked_at_too(tmp_path: Path) -> None:
    xr = pytest.importorskip("xarray")
    values = np.array([[[0.2, -3.4e38, 0.3]], [[-3.4e38, 0.1, 0.2]]], np.float32)
    cube = xr.Dataset(
        {"ndvi": (("place", "year", "step"), values), "yield": (("place", "year"), np.ones((2, 1)))},
        {"place": ["a", "b"], "year": [2020], "step": [1, 2, 3]},
    )
    cube.to_netcdf(tmp_path / "cube.nc")
    card = (
        'name = "n"\nformat = "netcdf"\nfiles = "cube.nc"\nyear = "year"\nstep = "step"\n'
        'variates = [{name = "ndvi"}]\ntarget = {column = "yield", unit = "t/ha"}\n'
    )
    (tmp_path / "card.toml").write_text(card)
    told = refusal(tmp_path / "card.toml")
    assert "cube.nc, place a, year 2020, step 2, column ndvi: -3.4e+38 stands in 2 cells" in told
    (tmp_path / "card.toml").write_text("missing = [-3.4e38]\n" + card)
    assert read(tmp_path / "card.toml").observed.sum() == 4


def bytes_of_ndvi(share: float, codes: tuple[int, ...], high: int = 230) -> list[str]:
    """600 whole numbers of 20 to `high`, a share of which is replaced by codes."""
    rng = np.random.default_rng(4)
    numbers = np.where(rng.random(600) < share, rng.choice([*codes, 0], 600), rng.integers(20, high, 600))
    return [str(number) for number in np.where(numbers == 0, codes[-1], numbers)]


SCALED = "scale = 0.004, offset = -0.08, low = -0.2, high = 1.0"


def findings(path: Path, keys: str = SCALED) -> str:
    path.write_text(path.read_text().replace("scale = 1.0", keys))
    return read(path).describe_findings()


@pytest.mark.parametrize("codes", [(252, 254, 255), (251,), (255,)])
def test_flags_of_one_byte_within_the_declared_range_are_reported(tmp_path: Path, codes: tuple[int, ...]) -> None:
    told = findings(wide(tmp_path, bytes_of_ndvi(0.08, codes)))
    assert f"a is stored as whole numbers up to {codes[-1]}, and " in told
    listed = ", ".join(map(str, codes))
    assert "more than hold 241 to 250 (0). Many products use 251 to 255 as flags" in told
    assert f"missing = [{listed}]" in told
    named = wide(tmp_path, bytes_of_ndvi(0.08, codes), f"missing = [{listed}]\n")
    assert "flags" not in findings(named)


def test_whole_numbers_up_to_255_are_measurements_if_the_numbers_below_are_as_frequent(tmp_path: Path) -> None:
    assert "flags" not in findings(wide(tmp_path, bytes_of_ndvi(0.0, (255,), high=256)))
    fractions = [f"{int(cell) + 0.25:g}" for cell in bytes_of_ndvi(0.08, (252, 254))]
    assert "flags" not in findings(wide(tmp_path, fractions))
    days = [str(day) for day in range(94, 256, 16)] * 4  # days of the year in regular steps
    assert "flags" not in findings(wide(tmp_path, days), "low = 0.0, high = 366.0")


def test_flags_of_one_byte_are_reported_in_long_tables_and_sources(tmp_path: Path) -> None:
    numbers = bytes_of_ndvi(0.08, (252, 254))
    rows = [f"p{i % 10},20{11 + i // 100}-{1 + i // 10 % 10:02}-03,{number},3" for i, number in enumerate(numbers)]
    (tmp_path / "f.csv").write_text("\n".join(["place,date,a,t", *rows]) + "\n")
    form = f'name = "n"\nstep_days = "month"\nvariates = [{{name = "a", {SCALED}}}]\ndate = "date"\n'
    (tmp_path / "card.toml").write_text(
        f'format = "long"\nfiles = "f.csv"\n{form}target = {{column = "t", unit = "t/ha"}}\n'
    )
    assert "as flags" in read(tmp_path / "card.toml").describe_findings()
    years = [f"p{p},{y},3" for p in range(10) for y in range(2011, 2017)]
    (tmp_path / "y.csv").write_text("\n".join(["place,year,t", *years]) + "\n")
    head, keys = 'name = "n"\nstep_days = "month"\n', form.split("\n", 2)[2]
    (tmp_path / "card.toml").write_text(
        f'{head}[[sources]]\nfiles = "f.csv"\n{keys}[[sources]]\nfiles = "y.csv"\nyear = "year"\n'
        'target = {column = "t", unit = "t/ha"}\n'
    )
    assert "as flags" in read(tmp_path / "card.toml").describe_findings()


def static(folder: Path, soil: list[str]) -> str:
    rows = [f"p{i},{year},{i},{i + 1},3,{clay}" for i, clay in enumerate(soil) for year in (2020, 2021)]
    (folder / "f.csv").write_text("\n".join(["place,year,a_0,a_1,t,clay", *rows]) + "\n")
    (folder / "card.toml").write_text('static = ["clay"]\n' + WIDE.replace("SCALE", "1.0"))
    return read(folder / "card.toml").describe_findings()


def test_a_usual_mark_among_static_numbers_is_reported_with_its_places(tmp_path: Path) -> None:
    soil = [str(20 + i) for i in range(8)]
    told = static(tmp_path, [*soil, "255", "255"])
    assert "static column clay is 255 in 2 of 10 places, whose other values lie between 20 and 27" in told
    assert "missing = [255]" in told
    assert "static column" not in static(tmp_path, [*soil, "60", "99"])  # less than twice the largest
    assert "static column" not in static(tmp_path, [*soil, "250.5"])
