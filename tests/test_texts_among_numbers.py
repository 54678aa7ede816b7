"""Texts in columns of numbers are refused with what to do: signs, units, thousands, and words for missing data."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

from pipeline.errors import InputError
from pipeline.sources.files.not_a_number import hint
from tests.real_life_tables import BANDS, by_card, seasons, table, warnings


@pytest.mark.parametrize("cell", ["-", " -", "- ", " - "])
def test_a_text_for_missing_data_may_have_blanks_around_it(tmp_path: Path, cell: str) -> None:
    frame = seasons().astype(object)
    frame.loc[2, "yield"] = cell
    assert len(table(tmp_path, frame, keys='missing = ["-"]')) == 47
    with pytest.raises(InputError, match=r'line 4, column yield: .* missing = \["-"\]'):
        table(tmp_path, frame)


@pytest.mark.parametrize("cell", [" ", "   "])
def test_a_cell_of_blanks_is_named_as_it_is(tmp_path: Path, cell: str) -> None:
    frame = seasons().astype(object)
    frame.loc[2, "yield"] = cell
    with pytest.raises(InputError, match=r"It holds (a blank|blanks only): empty the cell, or name it") as caught:
        table(tmp_path, frame)
    named = str(caught.value).split("missing = ")[1].split("]")[0] + "]"
    assert named == f'["{cell}"]'
    assert len(table(tmp_path, frame, keys=f"missing = {named}")) == 47


def test_all_texts_for_missing_data_are_named_at_once(tmp_path: Path) -> None:
    frame = seasons().astype(object)
    frame.loc[2, "yield"] = "None"
    with pytest.raises(InputError, match=r"'None' is not a number.*missing = \[\"None\"\]\.$"):
        table(tmp_path, frame)
    frame.loc[3, BANDS[:2]] = "n.d.", "inf"
    frame.loc[4, BANDS[3]] = "-"
    frame.loc[5, BANDS[3]] = "n.d."
    with pytest.raises(
        InputError, match=r"column yield: 'None' is not.*Other texts among the numbers: 'n\.d\.', '-'\."
    ):
        table(tmp_path, frame)


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("4.5*", "'*' seems to be a footnote of 4.5"),
        ("4.5 e", "'e' seems to be a footnote of 4.5"),
        ("5,390.5", "',' seems to separate thousands: write 5390.5 instead"),
        ("5 390", "' ' seems to separate thousands: write 5390 instead"),
        ("5,390", "It may be 5390 with a separator of thousands, or 5.390"),
        ("45 %", "`scale = 0.01`"),
        ("5.4 bep", "'bep' seems to be a footnote of 5.4, or its unit"),
        ("5,84", "If the comma is a decimal sign, write 5.84"),
        ("<0.5", 'It is a limit: write the number that it stands for, or empty the cell. missing = ["<0.5"]'),
        ("#DIV/0!", 'It is an error of a spreadsheet: correct its formula, or empty the cell. missing = ["#DIV/0!"]'),
        ("7.2\u00a0", "It holds the character U+00A0 (no-break space): write 7.2."),
        ("\u200b7.2", "It holds the character U+200B (zero width space): write 7.2."),
        ("\uff17.2", "It holds the character U+FF17 (fullwidth digit seven): write 7.2."),
        ("\u00a0", "It holds the character U+00A0 (no-break space): empty the cell."),
    ],
)
def test_a_number_with_something_beside_it_is_refused_with_what_to_do(tmp_path: Path, cell: str, said: str) -> None:
    frame = seasons().astype(object)
    frame.loc[5, "yield"] = cell
    with pytest.raises(InputError, match=f"line 7, column yield: {re.escape(repr(cell))}.*{re.escape(said)}"):
        table(tmp_path, frame)


def test_thousands_with_points_in_a_file_with_decimal_commas_are_refused(tmp_path: Path) -> None:
    frame = seasons().astype(object)
    frame["yield"] = [f"{round(1000 * one):,}".replace(",", ".") + ",0" for one in frame["yield"]]
    for band in BANDS:
        frame[band] = [str(one).replace(".", ",") for one in frame[band]]
    frame.to_csv(tmp_path / "t.csv", index=False, sep=";")
    with pytest.raises(InputError, match=r"'5\.390,0' is not a number.*'\.' seems to separate thousands: write 5390,0"):
        by_card(tmp_path, unit="kg/ha")


def test_thousands_with_points_that_look_like_decimals_are_reported(tmp_path: Path) -> None:
    frame = seasons().astype(object)
    frame["yield"] = [f"{round(1000 * one):,}".replace(",", ".") for one in frame["yield"]]
    assert "The median yield is 0.00588 t/ha" in warnings(table(tmp_path, frame, unit="kg/ha"))


@pytest.mark.parametrize(
    ("written", "years"),
    [
        ("2017/18", "2017 or 2018"),
        ("2017-18", "2017 or 2018"),
        ("2017/2018", "2017 or 2018"),
        ("1999/00", "1999 or 2000"),
    ],
)
def test_a_year_that_names_two_is_asked_about(tmp_path: Path, written: str, years: str) -> None:
    frame = seasons().astype(object)
    frame.loc[0, "year"] = written
    with pytest.raises(InputError, match=f"line 2, column year: .* year of the harvest alone, {years}"):
        table(tmp_path, frame)


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("yield", "this line seems to repeat the header: remove the line."),
        ("t/ha", "It seems to be a unit: remove the line of units"),
        ("(bu / acre)", "It seems to be a unit: remove the line of units"),
        ("Jan", "It seems to be a month: write months as whole numbers, 1 to 12."),
    ],
)
def test_a_word_of_a_header_a_unit_and_a_month_are_not_named_as_missing_data(
    tmp_path: Path, cell: str, said: str
) -> None:
    frame = seasons().astype(object)
    frame.loc[0, "yield"] = cell
    with pytest.raises(InputError, match=f"line 2, column yield: .*{re.escape(said)}") as refused:
        table(tmp_path, frame)
    assert "missing =" not in str(refused.value)


def test_decimal_commas_far_down_in_a_file_of_semicolons_name_the_key_of_the_card(tmp_path: Path) -> None:
    frame = pd.concat(
        [seasons().assign(place=lambda rows, n=n: rows["place"].astype(str) + f" {n}") for n in range(30)]
    )
    for name in (*BANDS, "yield"):
        frame[name] = [f"{round(100 * one)}" for one in frame[name]]
    frame.iloc[-1, frame.columns.get_loc("yield")] = "512,5"
    frame.to_csv(tmp_path / "t.csv", index=False, sep=";")
    with pytest.raises(InputError, match=r"'512,5' is not a number.* set decimal = \",\" in a dataset card"):
        by_card(tmp_path, unit="kg/ha")


def test_hints_know_nothing_of_other_texts() -> None:
    assert [hint(text) for text in ("12-05", "1,2,3", "a4", "4.5.6")] == [""] * 4
