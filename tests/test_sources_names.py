"""Names of places on their way through the readers: merged if equal, asked about if they can be read two ways."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import InputError
from pipeline.sources import read
from pipeline.table import SeasonTable

CARD = 'name = "n"\nformat = "{form}"\nfiles = "*.csv"\nplace = "county"\nyear = "year"\n{keys}\n'
TARGET = '[[variates]]\nname = "ndvi"\n[target]\ncolumn = "yield"\nunit = "t/ha"\n'


def write(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def season(place: int, year: int, steps: int = 4) -> list[float]:
    return [round(0.3 + 0.01 * place + 0.02 * (year % 7) + 0.05 * step, 4) for step in range(steps)]


def plain(folder: Path, identity: Sequence[str], rows: dict[int, list[Sequence[str]]]) -> Path:
    """One wide file per year without a card; each row is what stands in the identity columns."""
    for year, names in rows.items():
        header = [*identity, *(f"ndvi_{step}" for step in range(4)), f"y{year}"]
        table = [[*name, *season(i, year), 3 + 0.1 * i + 0.01 * (year % 9)] for i, name in enumerate(names)]
        write(folder / f"f_{year}.csv", header, table)
    return folder


def sentences(table: SeasonTable, *words: str) -> list[str]:
    return [f.sentence for f in table.findings if all(word in f.sentence for word in words)]


@pytest.mark.parametrize("other", ["Adams ", " Adams", "Adams\u00a0", "\ufeffAdams"])
def test_rows_of_two_files_meet_although_one_has_blanks(tmp_path: Path, other: str) -> None:
    header = ["county", "year", "date", "ndvi", "yield"]
    write(tmp_path / "a.csv", header, [["Adams", 2019, "2019-04-01", 0.2, 3]])
    write(tmp_path / "b.csv", header, [[other, 2019, "2019-04-11", 0.3, 3]])
    keys = 'date = "date"\nseason_start = "04-01"\nseason_steps = 2'
    (tmp_path / "card.toml").write_text(CARD.format(form="long", keys=keys) + TARGET)
    table = read(tmp_path / "card.toml")
    assert table.place.tolist() == ["Adams"]
    assert table.observed.all()


def test_composed_and_decomposed_letters_are_one_place(tmp_path: Path) -> None:
    table = read(plain(tmp_path, ["county"], {2020: [["Cze\u0301lin"]], 2021: [["Cz\u00e9lin"]]}))
    assert len(set(table.place.tolist())) == 1


def test_a_number_with_a_decimal_point_is_the_same_place(tmp_path: Path) -> None:
    table = read(plain(tmp_path, ["fips"], {2020: [["17019.0"], ["17113.0"]], 2021: [["17019"], ["17113"]]}))
    assert sorted(set(table.place.tolist())) == ["17019", "17113"]


def test_zeros_lost_in_one_file_are_restored_and_reported(tmp_path: Path) -> None:
    years = {2020: [["01001"], ["17019"]], 2021: [["1001"], ["17019"]], 2022: [["01001"], ["17019"]]}
    table = read(plain(tmp_path, ["fips"], years))
    assert sorted(set(table.place.tolist())) == ["01001", "17019"]
    assert "01001|2021" in table.sample_id.tolist()
    assert sentences(table, "Leading zeros", "1001 as 01001")


def test_zeros_lost_in_the_history_are_restored_and_reported(tmp_path: Path) -> None:
    header = ["county", "year", *(f"ndvi_{step}" for step in range(4)), "yield"]
    write(tmp_path / "t.csv", header, [[p, 2020, *season(i, 2020), 3 + i] for i, p in enumerate(["01001", "17019"])])
    (tmp_path / "past").mkdir()
    write(tmp_path / "past/h.csv", ["county", "year", "t"], [["1001", 2015, 3], ["17019", 2015, 4]])
    history = '[history]\nfiles = "past/h.csv"\nplace = "county"\ncolumn = "t"\nunit = "t/ha"\n'
    (tmp_path / "card.toml").write_text(CARD.format(form="wide", keys="") + TARGET + history)
    table = read(tmp_path / "card.toml")
    assert table.history.place.tolist() == ["01001", "17019"]
    assert sentences(table, "Leading zeros", "the history")
    assert sentences(table, "history has yields of 2 of 2 places")


def test_a_history_in_capitals_is_reported(tmp_path: Path) -> None:
    header = ["county", "year", *(f"ndvi_{step}" for step in range(4)), "yield"]
    write(tmp_path / "t.csv", header, [[p, 2020, *season(i, 2020), 3 + i] for i, p in enumerate(["Adams", "Cook"])])
    (tmp_path / "past").mkdir()
    write(tmp_path / "past/h.csv", ["county", "year", "t"], [["ADAMS", 2015, 3], ["Cook", 2015, 4]])
    history = '[history]\nfiles = "past/h.csv"\nplace = "county"\ncolumn = "t"\nunit = "t/ha"\n'
    (tmp_path / "card.toml").write_text(CARD.format(form="wide", keys="") + TARGET + history)
    table = read(tmp_path / "card.toml")
    assert sentences(table, "'ADAMS' and 'Adams'", "differ only in capitals")
    assert sentences(table, "yields of 1 of 2 places", "Place Adams has no history")


def test_what_numbers_the_rows_of_a_program_is_no_place(tmp_path: Path) -> None:
    table = read(plain(tmp_path, ["Unnamed: 0"], {2020: [["0"], ["1"]], 2021: [["0"], ["1"]]}))
    assert len(set(table.place.tolist())) == 4
    assert sentences(table, "No column is known to name the place")


def test_a_row_number_beside_the_county_is_not_the_place(tmp_path: Path) -> None:
    years = {2020: [["0", "Adams"], ["1", "Brown"]], 2021: [["0", "Brown"], ["1", "Adams"]]}
    table = read(plain(tmp_path, ["id", "county"], years))
    assert sorted(set(table.place.tolist())) == ["Adams", "Brown"]
    assert sentences(table, "county names the place", "id could too")


def test_an_id_that_tells_the_fields_of_a_county_apart_is_the_place(tmp_path: Path) -> None:
    table = read(plain(tmp_path, ["id", "county"], {2020: [["F7", "Adams"], ["F9", "Adams"]]}))
    assert table.place.tolist() == ["F7", "F9"]


def test_a_county_that_repeats_beside_a_row_number_is_a_question(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"both county and id could name the place.*numbers the rows.*place = "):
        read(plain(tmp_path, ["id", "county"], {2020: [["0", "Adams"], ["1", "Adams"]]}))


def test_the_geoid_of_an_earth_engine_export_is_the_place(tmp_path: Path) -> None:
    years = {y: [["0" * 20, "17019"], ["0" * 19 + "1", "17113"]] for y in (2020, 2021)}
    assert set(read(plain(tmp_path, ["system:index", "GEOID"], years)).place.tolist()) == {"17019", "17113"}


def test_the_index_of_several_exports_is_a_question(tmp_path: Path) -> None:
    years = {y: [["0" * 20], ["0" * 19 + "1"]] for y in (2020, 2021)}
    with pytest.raises(InputError, match=r"only system:index could name the place.*GEOID"):
        read(plain(tmp_path, ["system:index"], years))


def test_rows_without_a_known_place_column_are_reported_with_the_columns_left(tmp_path: Path) -> None:
    table = read(plain(tmp_path, ["holding"], {2020: [["a"]], 2021: [["a"]]}))
    assert sentences(table, "No column is known to name the place", "holding")
    assert sentences(table, "2 places occur in only one year")


def test_a_place_may_be_called_na_and_is_reported(tmp_path: Path) -> None:
    table = read(plain(tmp_path, ["place"], {2020: [["NA"], ["ZM"]]}))
    assert table.place.tolist() == ["NA", "ZM"]
    assert sentences(table, "the place NA")


@pytest.mark.parametrize("word", ["NULL", "None", "N/A", "#N/A", "<NA>", "NAN", "nil", "Null"])
def test_a_place_named_like_a_missing_value_is_a_place_and_a_warning(tmp_path: Path, word: str) -> None:
    table = read(plain(tmp_path, ["place"], {2020: [[word], ["ZM"]]}))
    (found,) = [one for one in table.findings if f"has the place {word}, which is read as a name." in one.sentence]
    assert found.severity == "warning"
    assert f'place = "{word}"' in found.card_line


def test_a_place_called_nan_is_refused_with_the_text_that_was_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"line 3, column place: the cell is empty or holds 'nan', which is read as a"):
        read(plain(tmp_path, ["place"], {2020: [["NA"], ["nan"]]}))
    with pytest.raises(InputError, match=r"line 2, column place: the cell is empty; every row needs it"):
        read(plain(tmp_path, ["place"], {2020: [[""], ["NA"]]}))


def test_what_is_always_said_about_places(tmp_path: Path) -> None:
    table = read(plain(tmp_path, ["place"], {2020: [["a"], ["b"]], 2021: [["a"], ["c"]]}))
    places = "The table has 3 places in 2 years. 2 places occur in only one year. "
    assert sentences(table, places + "1 place of 2021 does not occur in an earlier year.")


def test_a_last_year_of_new_names_is_a_warning(tmp_path: Path) -> None:
    table = read(plain(tmp_path, ["place"], {2020: [["a"], ["b"]], 2021: [["a"], ["b"]], 2022: [["A1"], ["B1"]]}))
    assert [f.severity for f in table.findings if "places in 3 years" in f.sentence] == ["warning"]


def test_two_counties_of_one_name_ask_for_the_state(tmp_path: Path) -> None:
    years: dict[int, list[Sequence[str]]] = {2020: [["IL", "Adams"], ["IA", "Adams"]]}
    with pytest.raises(InputError, match=r"sample Adams\|2020 is there already.*let both columns name the place"):
        read(plain(tmp_path, ["state", "county"], years))
    header = ["state", "county", "year", "date", "ndvi", "yield"]
    rows = [[s, "Adams", 2020, f"2020-0{m}-01", 0.2 + 0.1 * m, 3] for s in ("IL", "IA") for m in (4, 5)]
    folder = tmp_path / "long"
    folder.mkdir()
    write(folder / "t.csv", header, rows)
    keys = 'date = "date"\nstep_days = "month"\nseason_start = "04-01"\nseason_steps = 2'
    (folder / "card.toml").write_text(CARD.format(form="long", keys=keys) + TARGET)
    with pytest.raises(
        InputError, match=r"'Adams' is the name of places in two of column state, .* be read as one place"
    ):
        read(folder / "card.toml")


def test_many_rows_of_one_place_and_date_are_reported(tmp_path: Path) -> None:
    header = ["county", "year", "date", "ndvi", "yield"]
    rows = [["Adams", 2020, f"2020-0{m}-01", 0.2 + 0.1 * m + part, 3] for part in (0, 0.05) for m in (4, 5)]
    write(tmp_path / "t.csv", header, rows)
    keys = 'date = "date"\nstep_days = "month"\nseason_start = "04-01"\nseason_steps = 2'
    (tmp_path / "card.toml").write_text(CARD.format(form="long", keys=keys) + TARGET)
    assert sentences(read(tmp_path / "card.toml"), "2 of 4 rows share place and date", "both columns")


@pytest.mark.parametrize("columns", [["NDVI_20220401", "NDVI_20220411"], ["2022-04-01", "2022-04-11"],
                                     ["2022_04_01_NDVI", "2022_04_11_NDVI"], ["1.4.2022", "11.4.2022"]])  # fmt: skip
def test_dates_in_a_header_belong_in_a_long_table(tmp_path: Path, columns: list[str]) -> None:
    path = write(tmp_path / "a_2022.csv", ["field", *columns, "y2022"], [["z", 0.2, 0.3, 3]])
    with pytest.raises(InputError, match=r"2 columns are named after dates.*long table"):
        read(path)


def test_texts_of_a_cube_lose_their_padding_and_must_be_utf_8(tmp_path: Path) -> None:
    xr = pytest.importorskip("xarray")
    card = (
        'name = "n"\nformat = "netcdf"\nfiles = "c.nc"\nyear = "year"\nstep = "step"\nvariates = [{name = "ndvi"}]\n'
        'target = {column = "yield", unit = "t/ha"}\n'
    )
    (tmp_path / "card.toml").write_text(card)

    def cube(names: list[object]) -> None:
        values = np.arange(6, dtype=np.float32).reshape(2, 1, 3) / 10 + 0.2
        xr.Dataset(
            {"ndvi": (("p", "year", "step"), values), "yield": (("p", "year"), [[3.0], [4.0]]), "place": ("p", names)},
            {"year": [2020], "step": [1, 2, 3]},
        ).to_netcdf(tmp_path / "c.nc")

    cube(["north\0\0", " west"])
    assert read(tmp_path / "card.toml").place.tolist() == ["north", "west"]
    cube([b"n\xf6rd", b"west"])
    with pytest.raises(InputError, match="not UTF-8"):
        read(tmp_path / "card.toml")
