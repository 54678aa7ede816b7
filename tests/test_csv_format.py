"""Exports of spreadsheets: what can be read one way is read and reported, what can be read two ways is asked."""

import csv
import gzip
import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import InputError
from pipeline.sources import read
from pipeline.sources.files.csv_format import CsvFormat, CsvKeys, format_of
from pipeline.sources.files.swallowed_lines import LineCounter

ROOT = Path(__file__).resolve().parents[1]


def table_text(separator=",", decimal=".", place="Münster", first="", number="{:.3f}"):
    """Seven fields, a place name with an umlaut among them, two steps, yields of 2019."""
    rows = [["field", "ndvi_0", "ndvi_1", "y2019"]]
    for n in range(7):
        numbers = (number.format(value).replace(".", decimal) for value in (0.1 * n + 0.01, 0.123, 5.25))
        rows.append([place if n == 0 else f"f{n}", *numbers])
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=separator, lineterminator="\r\n").writerows(rows)
    return first + text.getvalue()


def written(folder, text, encoding="utf-8", name="t_2019.csv"):
    path = folder / name
    data = text.encode(encoding)
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return path


USUAL = table_text()
FORMS = {
    "semicolons and commas": (table_text(";", ","), "utf-8", "with semicolons between columns, with decimal commas"),
    "semicolons and points": (table_text(";"), "utf-8", "with semicolons between columns. If"),
    "tabs": (table_text("\t"), "utf-8", "with tabs between columns"),
    "sep line": (table_text(";", ",", first="sep=;\r\n"), "utf-8", "with semicolons between columns, with decimal"),
    "sep line with commas": (table_text(first="sep=,\r\n"), "utf-8", ""),
    "byte order mark": (table_text(";", ","), "utf-8-sig", "with semicolons"),
    "windows": (table_text(";", ","), "cp1252", "with decimal commas, as Windows-1252 (Latin-1) text"),
    "utf-16": (table_text("\t", ","), "utf-16", "with tabs between columns, with decimal commas, as UTF-16 text"),
    "utf-16 and commas": (table_text(), "utf-16", "as UTF-16 text"),
}


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_an_export_is_the_same_table_and_the_first_lines_say_what_was_assumed(tmp_path, form, zipped):
    text, encoding, told = FORMS[form]
    usual = read(written(tmp_path, USUAL, name="usual_2019.csv"))
    found = read(written(tmp_path, text, encoding, "t_2019.csv.gz" if zipped else "t_2019.csv"))
    assert found.fingerprint() == usual.fingerprint()
    assert usual.notes == ()
    assert "Münster" in found.place
    assert [told in note for note in found.notes] == [True] * bool(told)


@pytest.mark.parametrize(
    ("text", "encoding", "told"),
    [
        (table_text(";", ",").replace("5,25", "5.25", 1), "utf-8", "'0,010' and '5.250' are both in the table"),
        (table_text(";", number="1,250"), "utf-8", "'1,250' may be a decimal number or thousands"),
        (table_text(), "cp1252", "is not UTF-8; save the file as UTF-8, or name its `encoding` in a dataset card"),
    ],
)
def test_what_can_be_read_two_ways_is_asked(tmp_path, text, encoding, told):
    with pytest.raises(InputError, match=r"t_2019\.csv") as error:
        read(written(tmp_path, text, encoding))
    assert told in str(error.value)


CARD = """
name = "t"
format = "wide"
files = ["t_2019.csv"]
place = "field"
{keys}
[target]
column = "y2019"
unit = "t/ha"
[[variates]]
name = "ndvi"
"""


def read_by_card(folder, keys):
    (folder / "card.toml").write_text(CARD.format(keys=keys))
    return read(folder / "card.toml")


def test_the_cards_keys_decide(tmp_path):
    written(tmp_path, table_text(";", number="1,250"))
    assert read_by_card(tmp_path, 'decimal = ","').values.max() == 1.25
    written(tmp_path, table_text(), "cp1252")
    table = read_by_card(tmp_path, 'encoding = "latin-1"')
    assert "Münster" in table.place
    assert table.notes == ()
    written(tmp_path, table_text(";", ",", place="Łódź"), "cp1250")
    assert "Łódź" in read_by_card(tmp_path, 'encoding = "cp1250"').place
    with pytest.raises(InputError, match="decimal point"):
        read_by_card(tmp_path, 'encoding = "cp1250"\ndecimal = "."')
    with pytest.raises(InputError, match=r"`separator` .*correct `separator`|correct `separator`"):
        read_by_card(tmp_path, 'separator = "|"')
    with pytest.raises(InputError, match="the name of an encoding"):
        read_by_card(tmp_path, 'encoding = "klingon"')
    with pytest.raises(InputError, match="both ','"):
        read_by_card(tmp_path, 'separator = ","\ndecimal = ","')


def test_a_bad_cell_is_named_as_it_stands_in_the_file(tmp_path):
    path = written(tmp_path, table_text(";", ",", first="sep=;\r\n").replace("0,210", "0.2.1", 1))
    with pytest.raises(InputError, match=r"t_2019.csv, line 5, column ndvi_0: '0.2.1' is not a number.* decimal comma"):
        read(path)


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.lists(st.integers(-99999, 99999), min_size=3, max_size=3), min_size=1, max_size=20),
    separator=st.sampled_from([";", "\t", "|"]),
)
def test_a_decimal_comma_is_never_taken_for_anything_else(tmp_path_factory, rows, separator):
    """Whatever the numbers: read with the sign they were written with, or refused."""
    text = "\n".join(
        [separator.join("abc"), *(separator.join(f"{n / 1000:.3f}".replace(".", ",") for n in row) for row in rows)]
    )
    path = written(tmp_path_factory.mktemp("t"), text + "\n")
    assert format_of(path, CsvKeys(decimal=",")) == CsvFormat(separator, ",")
    if all(abs(n) >= 1000 for row in rows for n in row):
        with pytest.raises(InputError, match="thousands"):
            format_of(path)
    else:
        assert format_of(path) == CsvFormat(separator, ",")


@pytest.mark.slow
def test_the_command_reads_a_spreadsheets_export(tmp_path):
    rng = np.random.default_rng(0)
    lines = ["sep=;", "Landkreis;Jahr;Schritt;NDVI;Ertrag"]
    for year in (2019, 2020, 2021):
        for place in ("Münster", "Köln", "Soest"):
            yields = f"{rng.uniform(5, 8):.2f}".replace(".", ",")
            lines += [
                f"{place};{year};{step};{f'{rng.uniform(0.2, 0.9):.2f}'.replace('.', ',')};{yields}"
                for step in range(12)
            ]
    written(tmp_path, "\r\n".join(lines), "cp1252", "ernte.csv")
    (tmp_path / "card.toml").write_text(
        'name = "ernte"\nformat = "long"\nfiles = ["ernte.csv"]\nplace = "Landkreis"\nyear = "Jahr"\nstep = "Schritt"\n'
        '[target]\ncolumn = "Ertrag"\nunit = "t/ha"\n[[variates]]\nname = "ndvi"\ncolumn = "NDVI"\n'
    )
    command = [sys.executable, "render_cache.py", "--data", str(tmp_path), "--encoder", "none", "--dry-run"]
    run = subprocess.run([*command, "--cache", str(tmp_path / "c")], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    first, assumed = run.stdout.splitlines()[:2]
    assert first.startswith("ernte: 9 samples")
    assert assumed.startswith("ernte.csv: read with semicolons between columns, with decimal commas, as Windows-1252")


REMARKS = ["field,ndvi_0,ndvi_1,y2019,remarks", *(f"f{n},0.{n + 1},0.5,{4 + n / 10}," for n in range(7))]


def with_remarks(folder, remarks, name="t_2019.csv"):
    """A table of seven fields with remarks in its last column. remarks: line -> its text."""
    lines = [line + remarks.get(number, "") for number, line in enumerate(REMARKS, start=1)]
    return read(written(folder, "\n".join(lines) + "\n", name=name))


@pytest.mark.parametrize("name", ["t_2019.csv", "t_2019.csv.gz"])
@pytest.mark.parametrize(
    ("remarks", "said"),
    [
        ({3: '"hail', 6: 'late"'}, "line 3, column remarks: .* ends on line 6, so 3 lines below it"),
        ({3: '"hail', 4: 'late"'}, "line 3, column remarks: .* ends on line 4, so 1 line below it"),
        ({5: '"hail'}, "line 5, column remarks: .* ends on line 8"),
    ],
)
def test_lines_that_an_unbalanced_quotation_mark_swallows_are_refused(tmp_path, remarks, said, name):
    with pytest.raises(InputError, match=said):
        with_remarks(tmp_path, remarks, name)


def test_lines_before_the_first_quotation_mark_are_counted_too():
    text = b"a,b\n1,2\n3,4\n" + b'5,"6\n7,8"\n'
    counter = LineCounter(lambda: pa.BufferReader(text))
    while counter.read(4):
        pass
    assert counter.lines() == 5
    plain = LineCounter(lambda: pa.BufferReader(text[:12]))
    assert bytes(plain.read(99)) == text[:12]
    assert plain.lines() == 0


def test_a_remark_of_several_lines_swallows_none(tmp_path):
    assert len(with_remarks(tmp_path, {3: '"hail, in June\nand a late, wet\nharvest"', 6: '"x"'})) == 7


def kilograms(folder, yields, keys=""):
    """A semicolon file of whole NDVI x 100 and the yields of seven fields, read by a card."""
    lines = ["field;ndvi_0;ndvi_1;y2019", *(f"f{n};{20 + n};{30 + n};{text}" for n, text in enumerate(yields))]
    written(folder, "\n".join(lines) + "\n")
    (folder / "card.toml").write_text(CARD.format(keys=keys).replace("t/ha", "kg/ha"))
    return read(folder / "card.toml")


def test_points_that_may_separate_thousands_are_asked_about_column_by_column(tmp_path):
    yields = ["989", "1.051", "870", "915", "700", "655", "940"]
    with pytest.raises(
        InputError, match=r"t_2019.csv, column y2019: '1.051' may be .* such as '989'.*decimal = \"\.\""
    ):
        kilograms(tmp_path, yields)
    assert kilograms(tmp_path, yields, 'decimal = "."').target.min() < 0.01


@pytest.mark.parametrize(
    "yields",
    [
        ["4", "5.125", "6", "3.375", "4.125", "5", "6"],  # 5125 lies far above 6
        ["989", "1051.5", "870", "915.250", "700", "655", "940"],
        ["5.125", "5.375", "4.625", "4.750", "5.125", "6.125", "6.000"],  # no whole number
    ],
)
def test_points_that_are_decimals_are_not_asked_about(tmp_path, yields):
    assert kilograms(tmp_path, yields).target.tolist() == pytest.approx([float(one) / 1000 for one in yields])


def dated(folder, dates, keys=""):
    rows = "".join(f"p{place},{day},0.{n + 1},5\n" for place in range(3) for n, day in enumerate(dates))
    (folder / "t.csv").write_text(f"place,date,ndvi,yield\n{rows}")
    (folder / "card.toml").write_text(
        f'name = "t"\nformat = "long"\nfiles = ["t.csv"]\ndate = "date"\nseason_steps = 36\n{keys}\n'
        '[target]\ncolumn = "yield"\nunit = "t/ha"\n[[variates]]\nname = "ndvi"\n'
    )
    return read(folder / "card.toml")


@pytest.mark.parametrize(
    ("dates", "told"),
    [
        (["03.02.2019", "17.05.2019"], "6 x date read as day, month, year."),
        (["3.2.2019 00:00", "17.5.2019 00:00"], "6 x date read as day, month, year."),
        (["03/02/2019", "17/05/2019"], "6 x date read as day, month, year."),
        (["02/03/2019", "05/17/2019"], "6 x date read as month, day, year."),
        (["20190203", "20190517"], ""),
    ],
)
def test_dates_are_read_where_they_can_be_read_one_way(tmp_path, dates, told):
    table = dated(tmp_path, dates)
    assert np.flatnonzero(table.observed[0, 0]).tolist() == [3, 13]  # 3 February and 17 May, in steps of ten days
    assert told in table.describe_counts()
    assert ("date read" in table.describe_counts()) == bool(told)


def test_dates_that_can_be_read_two_ways_are_asked(tmp_path):
    both = ["03/02/2019", "05/06/2019"]
    with pytest.raises(InputError, match=r"line 2, column date: '03/02/2019' may start with the day or the month; set"):
        dated(tmp_path, both)
    assert np.flatnonzero(dated(tmp_path, both, 'date_order = "dmy"').observed[0, 0]).tolist() == [3, 15]
    assert np.flatnonzero(dated(tmp_path, both, 'date_order = "mdy"').observed[0, 0]).tolist() == [6, 12]
    with pytest.raises(InputError, match="'31/31/2019' is not a date"):
        dated(tmp_path, ["31/31/2019", "05/06/2019"])
