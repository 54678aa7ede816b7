"""A table with two header rows is refused in one paragraph, by the draft of a card and by every way to read it."""

import pytest

import render_cache
from pipeline import draft_card
from pipeline.errors import InputError
from pipeline.sources import read

STEPS = 4
MERGED = ";".join(["", "NDVI", *[""] * (STEPS - 1), "LST", *[""] * (STEPS - 1), "Yield 2019"])
SECOND = ";".join(["Field", *map(str, range(1, STEPS + 1)), *map(str, range(1, STEPS + 1)), "t/ha"])
ROW = ";".join(["0,25"] * STEPS + ["11,5"] * STEPS + ["5,8"])
WIDE = """\
name = "wide"
format = "wide"
files = ["wide_2019.csv"]
separator = ";"
decimal = ","
step_days = 16
season_start = "01-01"
place = "Field"
[[variates]]
name = "NDVI"
"""
LONG = WIDE.replace('"wide"\nfiles', '"long"\nfiles').replace("[[", 'date = "date"\nyear = "year"\n[[')


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "wide_2019.csv"
    path.write_text("\n".join([MERGED, SECOND, *(f"f{n};{ROW}" for n in range(5))]) + "\n")
    return path


def check(sentence, path):
    assert f"{path.name}: the header has 7 empty names" in sentence
    assert "join them into one name per column, such as NDVI_1, and delete the other row" in sentence


def test_a_draft_of_two_header_rows_ends_in_one_paragraph(table, tmp_path, capsys):
    assert draft_card.main([str(table), "--out", str(tmp_path / "card.toml")]) == 2
    error = capsys.readouterr().err
    check(error, table)
    assert len(error.strip().splitlines()) == 1
    assert not (tmp_path / "card.toml").exists()


def test_render_cache_refuses_two_header_rows_without_a_card(table, tmp_path, capsys):
    cache = str(tmp_path / "cache")
    assert render_cache.main(["--data", str(table), "--encoder", "none", "--dry-run", "--cache", cache]) == 2
    check(capsys.readouterr().err, table)


@pytest.mark.parametrize("card", [WIDE, LONG], ids=["wide", "long"])
def test_a_card_of_two_header_rows_is_refused_alike(table, tmp_path, card):
    (tmp_path / "card.toml").write_text(card)
    with pytest.raises(InputError) as caught:
        read(tmp_path / "card.toml", for_prediction=True)
    check(str(caught.value), table)


def test_empty_columns_that_no_card_names_do_not_matter(tmp_path):
    names = ["Field", *(f"NDVI_{step}" for step in range(STEPS)), "yield", "", ""]
    rows = [f"f{n};{';'.join(['0,25'] * STEPS)};{n + 3},5;;" for n in range(5)]
    (tmp_path / "wide_2019.csv").write_text("\n".join([";".join(names), *rows]) + "\n")
    target = '[target]\ncolumn = "yield"\nunit = "t/ha"\n[[variates]]'
    (tmp_path / "card.toml").write_text(WIDE.replace("[[variates]]", target))
    assert len(read(tmp_path / "card.toml")) == 5


def test_one_column_without_a_name_is_the_index_of_pandas(tmp_path):
    names = ["", "Field", *(f"NDVI_{step}" for step in range(STEPS)), "yield"]
    rows = [f"{n},f{n},0.25,0.5,0.5,0.25,5.5" for n in range(5)]
    (tmp_path / "t_2019.csv").write_text("\n".join([",".join(names), *rows]) + "\n")
    assert draft_card.main([str(tmp_path / "t_2019.csv"), "--out", str(tmp_path / "card.toml")]) == 0
