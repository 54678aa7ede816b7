"""Numbered steps and dates that contradict the length of a step in the card are reported."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pytest

from pipeline.errors import InputError
from pipeline.sources import read
from pipeline.sources.times.step_length import length_in_name

PLACES, YEARS = ("p", "q", "r"), (2018, 2019, 2020)
HEAD = 'name = "n"\nplace = "place"\n'
TARGET = 'target = { column = "t", unit = "t/ha" }\n'
SEASONS = [(place, year) for place in PLACES for year in YEARS]


def number(step: int) -> str:
    return f"{0.1 + step / 100:.2f}"


def warnings(folder: Path, card: str) -> list[str]:
    """The card lines of all findings about the length of a step."""
    (folder / "card.toml").write_text(card)
    return [one.card_line for one in read(folder / "card.toml").findings if "step_days" in one.card_line]


def long_table(folder: Path, column: str, steps: range, keys: str) -> list[str]:
    rows = [f"{place},{year},{step},{number(step)},{year - 2015}" for place, year in SEASONS for step in steps]
    (folder / "f.csv").write_text(f"place,y,{column},a,t\n" + "\n".join(rows) + "\n")
    long = f'format = "long"\nfiles = "f.csv"\nyear = "y"\nstep = "{column}"\nvariates = [{{ name = "a" }}]\n'
    return warnings(folder, HEAD + keys + long + TARGET)


def wide_columns(steps: int) -> str:
    return ",".join(f"a_{step}" for step in range(1, steps + 1))


def wide_table(folder: Path, steps: int, keys: str) -> list[str]:
    rows = [f"{place},{year},{','.join(map(number, range(steps)))},{year - 2015}" for place, year in SEASONS]
    (folder / "f.csv").write_text(f"place,y,{wide_columns(steps)},t\n" + "\n".join(rows) + "\n")
    wide = 'format = "wide"\nfiles = "f.csv"\nyear = "y"\nvariates = [{ name = "a" }]\n'
    return warnings(folder, HEAD + keys + wide + TARGET)


def dated_table(folder: Path, days: list[str], keys: str) -> list[str]:
    rows = [
        f"{place},{year}-{day},{number(step)},{year - 2015}" for place, year in SEASONS for step, day in enumerate(days)
    ]
    (folder / "f.csv").write_text("place,d,a,t\n" + "\n".join(rows) + "\n")
    long = 'format = "long"\nfiles = "f.csv"\ndate = "d"\nvariates = [{ name = "a" }]\n'
    return warnings(folder, HEAD + keys + long + TARGET)


@pytest.mark.parametrize(
    ("column", "steps", "keys", "settled"),
    [
        ("month", range(1, 13), "", 'step_days = "month"'),
        ("Monat", range(1, 10), "step_days = 10\n", 'step_days = "month"'),
        ("iso_week", range(1, 30), "", "step_days = 7"),
        ("dekad", range(1, 20), 'step_days = "month"\nseason_steps = 12\n', 'step_days = "dekad"'),
    ],
)
def test_the_name_of_the_steps_contradicts_their_length(
    tmp_path: Path, column: str, steps: range, keys: str, settled: str
) -> None:
    if column == "dekad":  # more months than a year has
        with pytest.raises(InputError, match="more than a year"):
            long_table(tmp_path, column, steps, keys)
        steps = range(1, 12)
    assert long_table(tmp_path, column, steps, keys) == [settled]
    assert long_table(tmp_path, column, steps, f"{settled}\n") == []


@pytest.mark.parametrize(
    ("column", "steps", "keys"),
    [
        ("month", range(1, 13), "step_days = 30\n"),
        ("month", range(1, 20), "step_days = 10\n"),  # no months, whatever their name
        ("dekad", range(1, 37), ""),
        ("week", range(1, 40), "step_days = 8\n"),
        ("step", range(1, 19), ""),
        ("weeks_ago", range(1, 13), "step_days = 7\n"),
        ("monthly_step", range(1, 11), ""),
    ],
)
def test_a_name_that_agrees_or_is_none_is_no_reason(tmp_path: Path, column: str, steps: range, keys: str) -> None:
    assert long_table(tmp_path, column, steps, keys) == []


@pytest.mark.parametrize(
    ("steps", "settled"), [(12, 'step_days = "month"'), (23, "step_days = 16"), (24, "step_days = 15"),
                           (26, "step_days = 14")]
)  # fmt: skip
def test_a_year_of_another_step_is_asked_about_unless_the_card_says_it(
    tmp_path: Path, steps: int, settled: str
) -> None:
    assert wide_table(tmp_path, steps, "") == [settled]
    found = (read(tmp_path / "card.toml")).describe_findings()
    assert f"the {steps} steps count 10 days each and are {steps * 10} days" in found
    assert long_table(tmp_path, "step", range(1, steps + 1), "") == [settled]
    for keys in ("step_days = 10\n", f"{settled}\n"):
        assert wide_table(tmp_path, steps, keys) == []
    assert wide_table(tmp_path, steps - 2 if steps == 26 else steps - 1, "step_days = 10\n") == []


@pytest.mark.parametrize("steps", [7, 18, 20, 36])
def test_other_numbers_of_steps_are_not_asked_about(tmp_path: Path, steps: int) -> None:
    assert wide_table(tmp_path, steps, "") == []


def joined(folder: Path, monthly: str, grid: str = "step_days = 10\n") -> str:
    """A card that joins dates ten days apart, a source `monthly` of months and yields."""
    days = [(place, date(year, 4, 1) + timedelta(10 * step)) for place, year in SEASONS for step in range(12)]
    rain = [f"{place},{year},{month},{month}" for place, year in SEASONS for month in range(1, 13)]
    wide = [f"{place},{year},{','.join(map(str, range(12)))}" for place, year in SEASONS]
    (folder / "a.csv").write_text("place,d,a\n" + "".join(f"{p},{day},0.{day.month}\n" for p, day in days))
    (folder / "rain.csv").write_text("place,y,month,rain\n" + "\n".join(rain) + "\n")
    (folder / "wide.csv").write_text("place,y," + wide_columns(12).replace("a_", "rain_") + "\n" + "\n".join(wide))
    (folder / "t.csv").write_text("place,y,t\n" + "".join(f"{p},{y},{y - 2015}\n" for p, y in SEASONS))
    dated = '[[sources]]\nfiles = "a.csv"\ndate = "d"\nvariates = [{ name = "a" }]\n'
    yields = f'[[sources]]\nfiles = "t.csv"\nyear = "y"\n{TARGET}'
    rain_of = f'[[sources]]\nyear = "y"\ndrivers = [{{ name = "rain" }}]\n{monthly}\n'
    return HEAD + grid + 'season_start = "04-01"\nseason_steps = 12\n' + dated + rain_of + yields


def test_a_source_of_months_on_a_grid_of_ten_days(tmp_path: Path) -> None:
    months = 'files = "rain.csv"\nstep = "month"\n'
    assert warnings(tmp_path, joined(tmp_path, months)) == ['[[sources]]\nstep_days = "month"']
    assert warnings(tmp_path, joined(tmp_path, months + 'step_days = "month"\n')) == []
    wide = 'files = "wide.csv"\nformat = "wide"\n'
    assert warnings(tmp_path, joined(tmp_path, wide, grid="")) == ['[[sources]]\nstep_days = "month"']
    assert warnings(tmp_path, joined(tmp_path, wide + 'step_days = "month"\n', grid="")) == []


def test_a_wide_source_with_more_steps_than_a_year_is_an_error(tmp_path: Path) -> None:
    card = joined(tmp_path, 'files = "wide.csv"\nformat = "wide"\n')
    rows = [f"{place},{year},{','.join(map(str, range(46)))}" for place, year in SEASONS]
    header = "place,y," + wide_columns(46).replace("a_", "rain_")
    (tmp_path / "wide.csv").write_text(header + "\n" + "\n".join(rows) + "\n")
    with pytest.raises(InputError, match=r"the source wide.csv: a row holds 46 steps.*step_days = 8"):
        warnings(tmp_path, card)


LENGTHS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def dekads(thirds: tuple[str, ...], months: range) -> list[str]:
    return [f"{month:02}-{day or LENGTHS[month - 1]}" for month in months for day in thirds]


@pytest.mark.parametrize("thirds", [("01", "11", "21"), ("10", "20", "")], ids=["first days", "last days"])
def test_dates_of_dekads_ask_for_steps_of_dekads(tmp_path: Path, thirds: tuple[str, ...]) -> None:
    days = dekads(thirds, range(3, 13))
    assert dated_table(tmp_path, days, "") == ['step_days = "dekad"']
    found = read(tmp_path / "card.toml").describe_findings()
    assert f"All dates of column d are {'first' if thirds[0] == '01' else 'last'} days of dekads" in found
    assert dated_table(tmp_path, days, "step_days = 10\n") == ['step_days = "dekad"']
    for settled in ('step_days = "dekad"\n', "step_days = 11\n"):
        assert dated_table(tmp_path, days, settled) == []


def test_dekads_that_no_step_moves_are_not_asked_about(tmp_path: Path) -> None:
    season = 'season_start = "04-01"\nseason_steps = 18\n'
    first, last = (dekads(thirds, range(4, 10)) for thirds in (("01", "11", "21"), ("10", "20", "")))
    assert dated_table(tmp_path, first, season) == []
    assert dated_table(tmp_path, last, season) == ['step_days = "dekad"']  # 31 May is 60 days after 1 April
    assert dated_table(tmp_path, last[:5], season.replace("18", "5")) == []


def test_dates_at_equal_distances_of_ten_days_are_no_dekads(tmp_path: Path) -> None:
    days = [f"{date(2019, 4, 1) + timedelta(10 * step):%m-%d}" for step in range(12)]
    assert dated_table(tmp_path, days, 'season_start = "04-01"\nseason_steps = 12\n') == []


@pytest.mark.parametrize(
    ("name", "length"),
    [("month", "month"), ("MonthOfYear", "month"), ("mês", "month"), ("weekNo", 7), ("KW", 7), ("Dekade", "dekad"),
     ("step", None), ("monthly", None), ("weekday", None), ("period", None)],
)  # fmt: skip
def test_the_words_for_a_length(name: str, length: object) -> None:
    assert length_in_name(name) == length
