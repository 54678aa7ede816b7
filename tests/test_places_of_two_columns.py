"""`place = ["state", "county"]`: two columns together name a place, in every layout and every file of a card."""

from __future__ import annotations

import csv
import json
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import InputError
from pipeline.sources import read
from pipeline.sources.geometry import shapes_of
from pipeline.sources.names.place_names import lost_zeros, normal_name, restore_zeros, restore_zeros_like
from pipeline.sources.names.place_parts import joined_columns, joined_name, parts_of
from pipeline.table import SeasonTable

BOTH = 'place = ["state", "county"]\n'
TARGET = 'crop = "maize"\n[[variates]]\nname = "ndvi"\n[target]\ncolumn = "yield"\nunit = "t/ha"\n'
PLACES = [("IL", "Adams"), ("IA", "Adams"), ("IA", "Adair")]
NAMES = ["IA,  Adair", "IA,  Adams", "IL,  Adams"]
YEARS = (2019, 2020)


def write(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> Path:
    path.parent.mkdir(exist_ok=True)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def number(place: int, year: int, step: int = 0) -> float:
    return round(0.3 + 0.05 * place + 0.02 * (year % 7) + 0.07 * step, 4)


def wide(folder: Path) -> Path:
    rows = [
        [*p, y, *(number(i, y, s) for s in range(4)), 3 + number(i, y)] for i, p in enumerate(PLACES) for y in YEARS
    ]
    write(folder / "t.csv", ["state", "county", "year", *(f"ndvi_{s}" for s in range(4)), "yield"], rows)
    return card(folder, 'format = "wide"\nfiles = "t.csv"\nyear = "year"\n' + BOTH + TARGET)


def long(folder: Path, step: bool = False) -> Path:
    def when(s: int, year: int) -> object:
        return s + 1 if step else f"{year}-{s + 4:02}-01"

    rows = [
        [*p, y, when(s, y), number(i, y, s), 3 + number(i, y)]
        for i, p in enumerate(PLACES)
        for y in YEARS
        for s in range(4)
    ]
    write(folder / "t.csv", ["state", "county", "year", "when", "ndvi", "yield"], rows)
    key = 'step = "when"\n' if step else 'date = "when"\nseason_start = "04-01"\nseason_steps = 4\n'
    text = f'format = "long"\nfiles = "t.csv"\nyear = "year"\nstep_days = "month"\n{key}' + BOTH + TARGET
    return card(folder, text)


def card(folder: Path, text: str) -> Path:
    path = folder / "card.toml"
    path.write_text('name = "n"\n' + text)
    return path


def assert_numbers_of_each_county(table: SeasonTable) -> None:
    assert table.place.tolist() == [name for name in NAMES for _ in YEARS]
    order = [PLACES.index((name[:2], name[5:])) for name in NAMES]
    wanted = [[number(i, y, s) for s in range(4)] for i in order for y in YEARS]
    np.testing.assert_allclose(table.values[:, 0], wanted, rtol=1e-6)


def test_a_wide_table_keeps_two_counties_of_one_name_apart(tmp_path: Path) -> None:
    assert_numbers_of_each_county(read(wide(tmp_path)))


@pytest.mark.parametrize("step", [False, True])
def test_a_long_table_keeps_two_counties_of_one_name_apart(tmp_path: Path, step: bool) -> None:
    assert_numbers_of_each_county(read(long(tmp_path, step)))


def test_samples_with_ids_know_their_place_by_both_columns(tmp_path: Path) -> None:
    path = long(tmp_path, step=True)
    rows = [line.split(",") for line in (tmp_path / "t.csv").read_text().splitlines()]
    write(tmp_path / "t.csv", ["id", *rows[0]], [["-".join(row[:3]), *row] for row in rows[1:]])
    path.write_text('sample_id = "id"\n' + path.read_text())
    table = read(path)
    assert sorted(set(table.place.tolist())) == NAMES


@pytest.mark.parametrize("step", [False, True])
def test_without_the_second_column_the_message_gives_the_line_of_the_card(tmp_path: Path, step: bool) -> None:
    path = long(tmp_path, step)
    path.write_text(path.read_text().replace(BOTH, 'place = "county"\n'))
    with pytest.raises(InputError, match=r"'Adams' is the name of .* column state.* place = \[\"state\", \"county\"\]"):
        read(path)
    path = wide(tmp_path / "wide" if (tmp_path / "wide").mkdir() is None else tmp_path)
    path.write_text(path.read_text().replace(BOTH, 'place = "county"\n'))
    with pytest.raises(InputError, match=r"there already.* place = \[\"state\", \"county\"\]"):
        read(path)


def test_two_counties_of_one_name_on_different_days_are_reported(tmp_path: Path) -> None:
    """Tiles of a satellite are seen on different days, so no row is there twice."""
    rows = [
        [s, "Adams", y, f"{y}-{m:02}-{d}", number(0, y, m), 3 + number(0, y)]
        for s, d in (("IL", "03"), ("IA", "05"))
        for y in YEARS
        for m in range(4, 8)
    ]
    write(tmp_path / "t.csv", ["state", "county", "year", "when", "ndvi", "yield"], rows)
    key = 'date = "when"\nseason_start = "04-01"\nseason_steps = 4\nplace = "county"\n'
    path = card(tmp_path, f'format = "long"\nfiles = "t.csv"\nyear = "year"\nstep_days = "month"\n{key}' + TARGET)
    found = [finding for finding in read(path).findings if "two of column state" in finding.sentence]
    assert [(one.severity, one.card_line) for one in found] == [("warning", 'place = ["state", "county"]')]


def sources(folder: Path, yields: str = 'place = ["State", "County"]\n') -> Path:
    """Series, yields, soil, calendar and history, each with columns of its own."""
    dates = [
        [c, s, f"{y}-{m:02}-11", number(i, y, m)] for i, (s, c) in enumerate(PLACES) for y in YEARS for m in range(4, 8)
    ]
    write(folder / "ndvi.csv", ["name", "region", "date", "ndvi"], dates)
    rows = [[f" {s} ", c, y, 3 + number(i, y)] for i, (s, c) in enumerate(PLACES) for y in YEARS]
    write(folder / "yields.csv", ["State", "County", "Year", "Value"], rows)
    write(
        folder / "soil.csv",
        ["state", "county", "clay", "lat", "lon"],
        [[*p, 10 + i, 40 + i, -90 - i] for i, p in enumerate(PLACES)],
    )
    write(folder / "calendar.csv", ["state", "county", "sos", "eos"], [[*p, 91, 212 + i] for i, p in enumerate(PLACES)])
    old = [[*p, y, 3 + number(i, y)] for i, p in enumerate(PLACES) for y in (2016, 2017, 2018)]
    write(folder / "old.csv", ["state", "county", "year", "value"], old)
    return card(
        folder,
        BOTH + 'step_days = 30\n[history]\nfiles = "old.csv"\nplace = ["state", "county"]\ncolumn = "value"\n'
        'unit = "t/ha"\n[[sources]]\nfiles = "ndvi.csv"\nplace = ["region", "name"]\ndate = "date"\n'
        'variates = [{name = "ndvi"}]\n[[sources]]\nfiles = "yields.csv"\n' + yields + 'year = "Year"\n'
        'target = {column = "Value", unit = "t/ha"}\n[[sources]]\nfiles = "soil.csv"\nstatic = ["clay"]\n'
        'latitude = "lat"\nlongitude = "lon"\n[[sources]]\nfiles = "calendar.csv"\n'
        'calendar = {start = "sos", end = "eos"}\n',
    )


def test_each_source_has_its_own_list_of_columns(tmp_path: Path) -> None:
    path = sources(tmp_path)
    table = read(path)
    assert table.place.tolist() == [name for name in NAMES for _ in YEARS]
    assert table.static[:, 0].tolist() == [12, 12, 11, 11, 10, 10]
    assert sorted(set(table.history.place.tolist())) == NAMES
    assert table.days_to_harvest is not None
    assert table.days_to_harvest.tolist() == [123, 123, 122, 122, 121, 121]
    where = [shape and shape["coordinates"] for shape in shapes_of(path).of(table)]
    assert where == [[-92.0, 42.0]] * 2 + [[-91.0, 41.0]] * 2 + [[-90.0, 40.0]] * 2


def test_a_source_with_fewer_columns_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"`place` of the source yields.csv is County, 1 column, .* the same number"):
        read(sources(tmp_path, 'place = "County"\n'))
    path = sources(tmp_path)
    path.write_text(path.read_text().replace('files = "old.csv"\nplace = ["state", "county"]\n', 'files = "old.csv"\n'))
    with pytest.raises(InputError, match=r"`place` of \[history\] is place, 1 column"):
        read(path)


@pytest.mark.parametrize("value", ["[]", '["state", ""]', "3", '["state", "state"]', '[["state"]]'])
def test_a_place_is_one_column_or_several_different_ones(tmp_path: Path, value: str) -> None:
    path = wide(tmp_path)
    path.write_text(path.read_text().replace(BOTH, f"place = {value}\n"))
    with pytest.raises(InputError, match="The key `place` is"):
        read(path)


def test_an_empty_part_is_refused(tmp_path: Path) -> None:
    path = wide(tmp_path)
    text = (tmp_path / "t.csv").read_text().replace("IL,Adams,2019", ",Adams,2019")
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(InputError, match=r"line 2, column state \+ county: the cell is empty; every"):
        read(path)
    (tmp_path / "t.csv").write_text(text.replace(",Adams,2019", "nan,Adams,2019"))
    with pytest.raises(InputError, match=r"line 2, column state \+ county: the cell is empty or holds 'nan'"):
        read(path)


def test_codes_get_their_zeros_back_in_each_part(tmp_path: Path) -> None:
    """Statistics offices write 1 and 1, registers 01 and 001."""
    codes = [("01", "001"), ("01", "003"), ("17", "001")]
    dates = [[s, c, f"{y}-0{m}-11", number(i, y, m)] for i, (s, c) in enumerate(codes) for y in YEARS for m in (4, 5)]
    write(tmp_path / "ndvi.csv", ["STATEFP", "COUNTYFP", "date", "ndvi"], dates)
    rows = [
        [s, c, y, 3 + number(i, y)] for i, (s, c) in enumerate([("1", "1"), ("1", "3"), ("17", "1")]) for y in YEARS
    ]
    write(tmp_path / "yields.csv", ["State ANSI", "County ANSI", "Year", "Value"], rows)
    path = card(
        tmp_path,
        'season_start = "04-01"\nseason_steps = 6\n[[sources]]\nfiles = "ndvi.csv"\nplace = ["STATEFP", "COUNTYFP"]\n'
        'date = "date"\nvariates = [{name = "ndvi"}]\n[[sources]]\nfiles = "yields.csv"\n'
        'place = ["State ANSI", "County ANSI"]\nyear = "Year"\ntarget = {column = "Value", unit = "t/ha"}\n',
    )
    table = read(path)
    assert sorted(set(table.place.tolist())) == ["01,  001", "01,  003", "17,  001"]
    assert np.isfinite(table.target).all()


def test_exclude_names_a_place_by_its_parts(tmp_path: Path) -> None:
    path = wide(tmp_path)
    path.write_text(path.read_text() + '[[exclude]]\nplace = ["IL", " Adams"]\nreason = "flooded"\n')
    assert sorted(set(read(path).place.tolist())) == NAMES[:2]


def test_a_geometry_has_a_property_for_each_part(tmp_path: Path) -> None:
    path = wide(tmp_path)
    features = [
        {
            "type": "Feature",
            "properties": {"state": s, "county": c},
            "geometry": {"type": "Point", "coordinates": [i, i]},
        }
        for i, (s, c) in enumerate(PLACES)
    ]
    (tmp_path / "f.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    path.write_text('geometry = "f.geojson"\n' + path.read_text())
    where = [shape and shape["coordinates"] for shape in shapes_of(path).of(read(path))]
    assert where == [[2, 2], [2, 2], [1, 1], [1, 1], [0, 0], [0, 0]]
    features[1]["properties"] = {"county": "Adams"}
    (tmp_path / "f.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    with pytest.raises(InputError, match="feature 2: it has no property 'state'"):
        shapes_of(path)


def test_a_cube_has_a_variable_for_each_part(tmp_path: Path) -> None:
    xr = pytest.importorskip("xarray")
    values = np.array([[[number(i, y, s) for s in range(4)] for y in YEARS] for i in range(3)], np.float32)
    xr.Dataset(
        {
            "ndvi": (("p", "year", "step"), values),
            "yield": (("p", "year"), 3 + values[:, :, 0]),
            "state": ("p", [s for s, _ in PLACES]),
            "county": ("p", [c for _, c in PLACES]),
        },
        {"year": [*YEARS], "step": [1, 2, 3, 4]},
    ).to_netcdf(tmp_path / "c.nc")
    path = card(
        tmp_path, 'format = "netcdf"\nfiles = "c.nc"\nyear = "year"\nstep = "step"\nstep_days = 30\n' + BOTH + TARGET
    )
    assert_numbers_of_each_county(read(path))


words = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc", "Zl", "Zp")), max_size=6)
names = words.map(normal_name).filter(lambda name: name != "" and normal_name(name) == name)
pairs = st.tuples(names, names)


@settings(max_examples=300, deadline=None)
@given(pairs, st.sampled_from(["NFC", "NFD"]), st.text(" \u00a0", max_size=2))
def test_equal_pairs_stay_one_place(pair: tuple[str, str], form: str, blanks: str) -> None:
    written = [normal_name(blanks + unicodedata.normalize(form, part) + blanks) for part in pair]  # type: ignore[arg-type]
    assert joined_name(written) == joined_name(pair)
    assert parts_of(joined_name(pair)) == [*pair]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.lists(names, min_size=1, max_size=3), min_size=2, max_size=6))
def test_different_lists_of_parts_never_merge(parts: list[list[str]]) -> None:
    different = {tuple(one) for one in parts}
    assert len({joined_name(one) for one in different}) == len(different)


# Letters and signs that a separator is made of.
tricky = st.text(", /|+a0", min_size=1, max_size=5).map(normal_name).filter(bool)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(tricky, tricky), min_size=1, max_size=8), st.lists(st.booleans(), min_size=8, max_size=8))
def test_columns_are_joined_row_by_row(rows: list[tuple[str, str]], empty: list[bool]) -> None:
    columns = []
    for part in zip(*rows, strict=True):
        distinct, codes = np.unique(np.array(part, np.str_), return_inverse=True)
        columns.append((distinct, np.where(empty[: len(rows)], -1, codes).astype(np.int64)))
    found, index = joined_columns(columns)
    for row, pair, none in zip(index.tolist(), rows, empty, strict=False):
        assert row == -1 if none else found[row] == joined_name(pair)
    assert len(set(found.tolist())) == len(found)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 99), st.integers(1, 999)), min_size=1, max_size=6, unique=True))
def test_zeros_that_one_file_lost_in_each_part_are_restored(codes: list[tuple[int, int]]) -> None:
    full = [joined_name([f"{state:02}", f"{county:03}"]) for state, county in codes]
    short = [joined_name([str(state), str(county)]) for state, county in codes]
    repaired, _ = restore_zeros_like(np.array(short), np.array(full), "yields.csv")
    assert repaired.tolist() == full


def test_two_spellings_of_one_pair_in_one_year_are_asked_about() -> None:
    place = np.array(["01,  001", "01,  1", "1,  001"])
    assert lost_zeros(place.tolist()) == {"01,  1": "01,  001", "1,  001": "01,  001"}
    with pytest.raises(InputError, match="both occur in 2020"):
        restore_zeros(place, np.array([2019, 2020, 2020]), "card.toml")
    found, _ = restore_zeros(place, np.array([2019, 2020, 2021]), "card.toml")
    assert found.tolist() == ["01,  001"] * 3
