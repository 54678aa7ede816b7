"""Wide tables, with and without a card."""

from __future__ import annotations

import csv
import gzip
import io
import random
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.card import LONGEST_NAME, DatasetCard
from pipeline.errors import InputError
from pipeline.sources import read
from pipeline.table import SeasonTable

CARDS = Path(__file__).resolve().parents[1] / "cards"
DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the real data of ../shared/data is not here")


def write(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def fields(
    path: Path,
    *,
    n: int = 3,
    steps: Sequence[str] = ("00", "01", "02", "03"),
    bands: Sequence[str] = ("ndvi", "evi"),
    labels: Mapping[str, float] | None = None,
) -> Path:
    """Fields f0, f1, ...; the value of band b of field i at step t is i + b/10 + t/100; field i yields label + i."""
    labels = {"y2022": 5.0} if labels is None else labels
    header = ["field", *(f"{band}_{step}" for band in bands for step in steps), *labels]
    rows = [
        [f"f{i}", *(i + b / 10 + t / 100 for b in range(len(bands)) for t in range(len(steps)))]
        + [label + i for label in labels.values()]
        for i in range(n)
    ]
    return write(path, header, rows)


def reasons(table: SeasonTable) -> dict[str, int]:
    return {count.reason: count.rows for count in table.counts}


def same(a: SeasonTable, b: SeasonTable) -> bool:
    return a.fingerprint() == b.fingerprint() and a.counts == b.counts


def test_a_plain_wide_table_needs_no_card(tmp_path: Path) -> None:
    table = read(fields(tmp_path / "fields.csv"))
    assert table.variate_names == ("ndvi", "evi")
    assert table.values.dtype == np.float32
    assert table.values.shape == (3, 2, 4)
    np.testing.assert_array_equal(table.values[2, 1], np.float32([2.1, 2.11, 2.12, 2.13]))
    assert table.sample_id.tolist() == ["f0|2022", "f1|2022", "f2|2022"]
    assert table.place.tolist() == ["f0", "f1", "f2"]
    assert table.target.tolist() == [5.0, 6.0, 7.0]
    assert (table.step_days, table.season_start, table.counts) == (10.0, "01-01", ())


@pytest.mark.parametrize("steps", [("1", "2", "3", "4"), ("0", "1", "2", "3"), ("01", "02", "03", "04")])
def test_steps_may_be_unpadded_and_start_at_one(tmp_path: Path, steps: Sequence[str]) -> None:
    padded = read(fields(tmp_path / "a.csv"))
    assert same(padded, read(fields(tmp_path / "b.csv", steps=steps)))


def test_steps_are_sorted_as_numbers_and_not_as_text(tmp_path: Path) -> None:
    table = read(fields(tmp_path / "a.csv", steps=[str(step) for step in range(1, 13)]))
    np.testing.assert_array_equal(table.values[0, 0], np.float32(np.arange(12) / 100))


@pytest.mark.parametrize("kind", [".csv.gz", ".parquet"])
def test_the_kind_of_file_changes_nothing(tmp_path: Path, kind: str) -> None:
    plain = fields(tmp_path / "fields.csv")
    other = tmp_path / f"fields{kind}"
    if kind == ".parquet":
        pq.write_table(pacsv.read_csv(plain), other)
    else:
        other.write_bytes(gzip.compress(plain.read_bytes()))
    assert same(read(plain), read(other))


def test_a_folder_a_glob_and_a_list_are_the_same_data(tmp_path: Path) -> None:
    files = [
        fields(tmp_path / f"fields_{year}.csv", labels={f"y{year}": 5.0}, n=year - 2018) for year in (2020, 2021, 2022)
    ]
    (tmp_path / "notes.txt").write_text("not data")
    (tmp_path / ".hidden.csv").write_text("not data")
    tables = [read(tmp_path), read(str(tmp_path / "*.csv")), read(files), read([files[2], files[0], files[1]])]
    assert len(tables[0]) == 2 + 3 + 4
    assert {table.fingerprint() for table in tables} == {tables[0].fingerprint()}


def test_files_of_several_years_may_order_their_bands_differently(tmp_path: Path) -> None:
    first = fields(tmp_path / "a_2021.csv", labels={"y2021": 5.0})
    rows = list(csv.reader(io.StringIO(fields(tmp_path / "b_2022.csv").read_text())))
    order = [0, *range(5, 9), *range(1, 5), 9]
    swapped = write(tmp_path / "b_2022.csv", [rows[0][i] for i in order], [[row[i] for i in order] for row in rows[1:]])
    table = read([first, swapped])
    assert table.variate_names == ("ndvi", "evi")
    np.testing.assert_array_equal(table.values[table.year == 2022], table.values[table.year == 2021])


def test_a_folder_with_one_card_is_read_by_the_card(tmp_path: Path) -> None:
    fields(tmp_path / "fields_2022.csv")
    (tmp_path / "card.toml").write_text(WIDE_CARD)
    table = read(tmp_path)
    assert table.name == "demo"
    assert same(table, read(tmp_path / "card.toml"))


WIDE_CARD = """
name = "demo"
format = "wide"
files = ["fields_2022.csv"]
place = "field"
variates = [{name = "evi", unit = "1", low = -1.0, high = 9.0}, {name = "green", pattern = "ndvi_{step}", scale = 10}]
target = {column = "y2022", unit = "kg/ha"}
"""


def test_a_card_names_scales_and_converts(tmp_path: Path) -> None:
    fields(tmp_path / "fields_2022.csv")
    (tmp_path / "card.toml").write_text(WIDE_CARD)
    table = read(tmp_path / "card.toml")
    assert table.variate_names == ("evi", "green")
    assert (table.variates[0].low, table.variates[0].high) == (-1.0, 9.0)
    np.testing.assert_array_equal(table.values[1, 1], np.float32(np.array([1.0, 1.01, 1.02, 1.03]) * 10))
    assert table.target.tolist() == [0.005, 0.006, 0.007]


def test_several_yield_columns_take_their_label_from_the_file_name(tmp_path: Path) -> None:
    labels = {"y2020": 3.0, "y2021": 4.0, "y2022": 5.0}
    table = read(fields(tmp_path / "fields_2021.csv", labels=labels))
    assert table.year.tolist() == [2021] * 3
    assert table.target.tolist() == [4.0, 5.0, 6.0]
    history = table.history
    assert list(zip(history.place.tolist(), history.year.tolist(), history.target.tolist(), strict=True)) == [
        ("f0", 2020, 3.0),
        ("f1", 2020, 4.0),
        ("f2", 2020, 5.0),
    ]
    assert same(table, read(fields(tmp_path / "fields.csv", labels=labels), year=2021))


@pytest.mark.parametrize("later", ["99", "-1", "inf", "no number at all", ""])
def test_yields_of_later_years_are_never_read(tmp_path: Path, later: str) -> None:
    clean = read(fields(tmp_path / "fields_2021.csv", labels={"y2020": 3.0, "y2021": 4.0}))
    path = fields(tmp_path / "fields_2021.csv", labels={"y2020": 3.0, "y2021": 4.0, "y2022": 5.0})
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], *(line.rsplit(",", 1)[0] + f",{later}" for line in lines[1:])]) + "\n")
    assert same(clean, read(path))


def test_yields_of_one_place_repeated_in_the_files_of_two_years_are_one_history(tmp_path: Path) -> None:
    labels = {"y2020": 3.0, "y2021": 4.0, "y2022": 5.0}
    files = [fields(tmp_path / f"fields_{year}.csv", labels=labels) for year in (2021, 2022)]
    table = read(files)
    assert sorted(zip(table.history.place.tolist(), table.history.year.tolist(), strict=True)) == [
        (place, year) for place in ("f0", "f1", "f2") for year in (2020, 2021)
    ]


def test_a_table_without_identity_is_named_by_rows_and_says_so(tmp_path: Path) -> None:
    table = read(write(tmp_path / "a.csv", ["ndvi_0", "ndvi_1", "y2022"], [[1, 2, 3], [4, 5, 6]]))
    assert table.place.tolist() == ["row 1", "row 2"]
    assert [count.rows for count in table.counts] == [2]
    assert "named after its row" in table.counts[0].reason


def test_rows_of_two_files_without_identity_are_not_taken_for_the_same_place(tmp_path: Path) -> None:
    files = [write(tmp_path / f"{y}.csv", ["a_0", "a_1", f"y{y}"], [[1, 2, 3]]) for y in (2021, 2022)]
    assert read(files).place.tolist() == ["2021.csv row 1", "2022.csv row 1"]


def test_the_identity_column_is_found_in_any_case(tmp_path: Path) -> None:
    header = ["ID", "County", "a_0", "a_1", "y2022"]
    assert read(write(tmp_path / "a.csv", header, [["7", "Cook", 1, 2, 3]])).place.tolist() == ["Cook"]


@pytest.mark.parametrize("cell", ["", "NA", "NaN", "nan", "null"])
def test_missing_values_stay_unobserved_and_are_never_zero(tmp_path: Path, cell: str) -> None:
    table = read(write(tmp_path / "a.csv", ["place", "a_0", "a_1", "y2022"], [["p", cell, 0, 3]]))
    assert table.observed[0, 0].tolist() == [False, True]
    assert np.isnan(table.values[0, 0, 0])
    assert table.values[0, 0, 1] == 0


def test_fill_values_of_the_card_are_unobserved(tmp_path: Path) -> None:
    write(tmp_path / "fields.csv", ["place", "a_0", "a_1", "y"], [["p", -9999, 5, 3]])
    (tmp_path / "card.toml").write_text(
        'name = "n"\nformat = "wide"\nfiles = "fields.csv"\nmissing = [-9999]\nvariates = [{name = "a", scale = 0.1}]\n'
        'target = {column = "y", unit = "t/ha"}'
    )
    assert read(tmp_path, year=2022).values[0, 0].tolist() == pytest.approx([np.nan, 0.5], nan_ok=True)


def test_yields_that_are_missing_zero_or_negative_are_dropped_and_counted(tmp_path: Path) -> None:
    rows = [[f"p{i}", 1, 2, y] for i, y in enumerate(["", "NA", 0, -3, 4])]
    table = read(write(tmp_path / "a.csv", ["place", "a_0", "a_1", "y2022"], rows))
    assert table.sample_id.tolist() == ["p4|2022"]
    assert reasons(table) == {
        "sample without a yield dropped": 2,
        "sample with a yield of zero or below dropped (a real crop failure of 0 t/ha, too)": 2,
    }


def test_for_prediction_samples_without_a_yield_stay(tmp_path: Path) -> None:
    rows = [["a", 1, 2, ""], ["b", 1, 2, 0], ["c", 1, 2, 4]]
    table = read(write(tmp_path / "a.csv", ["place", "a_0", "a_1", "y2022"], rows), for_prediction=True)
    assert table.target.tolist() == pytest.approx([np.nan, np.nan, 4.0], nan_ok=True)


def test_for_prediction_the_yield_column_may_be_absent_and_earlier_years_are_history(tmp_path: Path) -> None:
    path = fields(tmp_path / "fields_2023.csv", labels={"y2022": 5.0})
    table = read(path, for_prediction=True)
    assert table.year.tolist() == [2023] * 3
    assert np.isnan(table.target).all()
    assert table.history.target.tolist() == [5.0, 6.0, 7.0]


def test_a_series_without_observations_is_masked_and_counted(tmp_path: Path) -> None:
    rows = [["p", "", "", 1, 2, 3], ["q", 1, 2, 3, 4, 3], ["r", "", "", "", "", 3]]
    table = read(write(tmp_path / "a.csv", ["place", "a_0", "a_1", "b_0", "b_1", "y2022"], rows))
    assert table.observed.any(axis=2).tolist() == [[False, True], [True, True]]
    assert reasons(table) == {
        "sample without any observation in its season dropped": 1,
        "sample without any observation of a, kept with that series masked": 1,
    }


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("exports 2022", "exports 2022"),
        ("..hidden", "hidden"),
        ("a'b\n\"c", "a-b--c"),
        ("Ackerbau Übersee", "Ackerbau Übersee"),
        ("Äcker", "Äcker"),  # as macOS spells it
        ("...", "table"),
        ("n" * 200, "n" * LONGEST_NAME),
    ],
)
def test_a_table_is_called_after_its_folder_in_letters_that_a_run_folder_may_have(
    tmp_path: Path, folder: str, name: str
) -> None:
    (tmp_path / folder).mkdir()
    fields(tmp_path / folder / "fields.csv")
    assert read(tmp_path / folder).name == name
    keys = {"name": name, "format": "wide", "files": "f.csv", "variates": [{"name": "a"}]}
    assert DatasetCard.from_keys(keys, tmp_path).name == name


def test_a_table_of_several_files_is_called_after_them(tmp_path: Path) -> None:
    files = [fields(tmp_path / f"a, b {year}.csv", labels={f"y{year}": 5.0}) for year in (2021, 2022)]
    assert read(files).name == "a- b 2021+a- b 2022"


@pytest.mark.parametrize("mark", ["\n", "\t", "\x0b", "\x7f", "\x85", "\u2028"])
def test_a_place_with_a_control_character_is_refused_with_its_line(tmp_path: Path, mark: str) -> None:
    rows = [["p", 1, 2, 3], [f"q{mark}r", 1, 2, 3]]
    path = write(tmp_path / "a.csv", ["id", "a_0", "a_1", "y2022"], rows)
    with pytest.raises(InputError, match=r"a\.csv, line \d, column id: .*the control character '\\.*take it out"):
        read(path)


def test_emoji_and_signs_in_a_place_are_no_control_characters(tmp_path: Path) -> None:
    names = ["🌾", "👨‍🌾", "a/b", "=1+1", "<b>", "a·b"]
    table = read(write(tmp_path / "a.csv", ["id", "a_0", "a_1", "y2022"], [[n, 1, 2, 3] for n in names]))
    assert set(table.place.tolist()) == set(names)


@pytest.mark.parametrize(
    ("yields", "told"),
    [
        ([4.0, 5.64, 7.0], "Median yield 5.64 t/ha."),
        ([70.0] * 3, "Median yield 70 t/ha (unusual for grain: is the unit right?)."),
        ([0.05] * 3, "Median yield 0.05 t/ha (unusual for grain: is the unit right?)."),
    ],
)
def test_the_median_yield_is_told_and_doubted_where_no_grain_has_it(
    tmp_path: Path, yields: list[float], told: str
) -> None:
    rows = [[f"p{i}", 1, 2, y] for i, y in enumerate(yields)]
    assert read(write(tmp_path / "a.csv", ["place", "a_0", "a_1", "y2022"], rows)).describe_yields() == told


def test_a_table_without_yields_has_no_median_to_tell(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", ["place", "a_0", "a_1", "y2022"], [["p", 1, 2, ""]])
    assert read(path, for_prediction=True).describe_yields() == ""


def test_season_steps_cut_the_season(tmp_path: Path) -> None:
    path = fields(tmp_path / "a.csv")
    whole, cut = read(path), read(path, season_steps=2)
    np.testing.assert_array_equal(cut.values, whole.values[:, :, :2])


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), n=st.integers(1, 12))
def test_the_order_of_rows_and_columns_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory, seed: int, n: int
) -> None:
    folder = tmp_path_factory.mktemp("shuffled")
    fields(folder / "fields_2022.csv", n=n)
    (folder / "card.toml").write_text(WIDE_CARD)
    before = read(folder)
    rows = list(csv.reader(io.StringIO((folder / "fields_2022.csv").read_text())))
    dice = random.Random(seed)
    order = dice.sample(range(len(rows[0])), len(rows[0]))
    body = dice.sample(rows[1:], n)
    write(folder / "fields_2022.csv", [rows[0][i] for i in order], [[row[i] for i in order] for row in body])
    assert same(before, read(folder))


def test_static_columns_stay_with_their_sample(tmp_path: Path) -> None:
    write(tmp_path / "f.csv", ["place", "a_0", "a_1", "clay", "y"], [["q", 1, 2, 30, 3], ["p", 1, 2, "", 3]])
    (tmp_path / "card.toml").write_text(
        'name = "n"\nformat = "wide"\nfiles = "f.csv"\nvariates = [{name = "a"}]\nstatic = ["clay"]\n'
        'target = {column = "y", unit = "t/ha"}'
    )
    table = read(tmp_path / "card.toml", year=2020)
    assert table.static_names == ("clay",)
    assert table.static[:, 0].tolist() == pytest.approx([np.nan, 30.0], nan_ok=True)


def test_text_keys_keep_their_letters(tmp_path: Path) -> None:
    rows = [["007", 1, 2, 3], ['Côte d\'Or, "ouest"', 1, 2, 3]]
    assert set(read(write(tmp_path / "a.csv", ["id", "a_0", "a_1", "y2022"], rows)).place) == {r[0] for r in rows}


def test_parquet_takes_whole_numbers_as_places_and_values(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": [7, 8], "a_0": [1, 2], "a_1": [1.5, None], "y2022": [3, 4]}), tmp_path / "a.parquet")
    table = read(tmp_path / "a.parquet")
    assert table.place.tolist() == ["7", "8"]
    assert table.observed[1, 0].tolist() == [True, False]


def test_a_file_larger_than_a_block_reads_like_its_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = fields(tmp_path / "fields.csv", n=300)
    whole = read(path)
    monkeypatch.setattr("pipeline.sources.files.csv_batches._BLOCK_BYTES", 4096)
    assert same(whole, read(path))
