"""Dates that can be read, but that another program has changed, or that mean something else than a day."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import InputError
from pipeline.sources import read
from pipeline.table import SeasonTable

PLACES, YEARS = ("p", "q", "r"), (2018, 2019, 2020)
HEAD = 'name = "n"\nplace = "place"\nseason_start = "{start}"\nseason_steps = {steps}\nstep_days = {days}\n'
SERIES = '[[sources]]\nfiles = "series*.csv"\ndate = "d"\nvariates = [{ name = "a" }]\n'
YIELDS = '[[sources]]\nfiles = "yields.csv"\nyear = "year"\ntarget = { column = "t", unit = "t/ha" }\n'
TEN_DAYS = HEAD.format(start="04-01", steps=12, days=10)
MONTHS = HEAD.format(start="01-01", steps=12, days='"month"')


def season(year: int) -> list[date]:
    return [date(year, 4, 1) + timedelta(10 * step) for step in range(12)]


def firsts(year: int) -> list[date]:
    return [date(year, month, 1) for month in range(1, 13)]


def iso(day: date) -> str:
    return day.isoformat()


def by_excel(day: date) -> str:
    """A date written as day/month/year, after Excel has read it as month/day/year where it can."""
    return date(day.year, day.day, day.month).isoformat() if day.day <= 12 else day.strftime("%d/%m/%Y")


def write(folder: Path, name: str, texts: Iterable[str]) -> None:
    rows = [f"{place},{text},{0.1 + n % 7 / 20}" for place in PLACES for n, text in enumerate(texts)]
    (folder / name).write_text("\n".join(["place,d,a", *rows]) + "\n")


def read_dates(folder: Path, texts: Iterable[str], card: str = TEN_DAYS) -> SeasonTable:
    write(folder, "series.csv", [*texts])
    rows = [f"{place},{year},{year - 2014}" for place in PLACES for year in (*YEARS, YEARS[-1] + 1)]
    (folder / "yields.csv").write_text("\n".join(["place,year,t", *rows]) + "\n")
    (folder / "card.toml").write_text(card + SERIES + YIELDS)
    return read(folder / "card.toml")


def refusal(folder: Path, texts: Iterable[str], card: str = TEN_DAYS) -> str:
    with pytest.raises(InputError) as caught:
        read_dates(folder, texts, card)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("form", ["{y}.{m:02}.{k}", "{y}/{m}/{k}", "{y}-{m:02}-{k:02}", "{k}.{m}.{y}"])
def test_numbers_of_dekads_are_no_days(tmp_path: Path, form: str) -> None:
    texts = [form.format(y=y, m=m, k=k) for y in YEARS for m in (4, 5, 6) for k in (1, 2, 3)]
    message = refusal(tmp_path, texts)
    assert "series.csv, line 2, column d: all dates lie on day 1, 2 or 3 of a month, such as " + texts[0] in message
    assert "Write the first day of each dekad: 2018-04-01, 2018-04-11, 2018-04-21." in message
    assert read_dates(tmp_path, [iso(date(y, m, k)) for y in YEARS for m in (4, 5, 6) for k in (1, 11, 21)])


@pytest.mark.parametrize(
    "days",
    [
        [date(y, 4, 1) + timedelta(n) for y in YEARS for n in range(100)],
        [date(y, m, 1) for y in YEARS for m in (4, 5, 6)],
        [date(y, m, k) for y in YEARS for m in (4, 5, 6) for k in (1, 3)],
        [date(y, 4, k) for y in YEARS for k in (1, 2, 3)],
    ],
)
def test_days_at_the_start_of_a_month_are_read(tmp_path: Path, days: list[date]) -> None:
    assert read_dates(tmp_path, map(iso, days)).observed[:, 0, 0].all()


def test_dates_that_excel_half_converted_are_refused_with_one_of_each_form(tmp_path: Path) -> None:
    message = refusal(tmp_path, [by_excel(day) for year in YEARS for day in season(year)])
    assert "series.csv, line 2, column d: 18 dates start with the year, such as '2018-01-04'" in message
    assert "others end with it, such as '21/04/2018'" in message
    assert "write all dates as YYYY-MM-DD" in message


def test_two_forms_are_read_if_excel_cannot_have_made_them(tmp_path: Path) -> None:
    texts = [iso(day) for year in YEARS[:2] for day in season(year)]
    texts += [day.strftime("%d/%m/%Y") for day in season(YEARS[2])]
    assert read_dates(tmp_path, texts).observed.all()


def test_each_file_may_have_a_form_of_its_own(tmp_path: Path) -> None:
    first = ["2018-04-01", "2018-05-11", "2018-06-10"]  # alone in its file: no day after the 12th
    write(tmp_path, "series_2020.csv", [day.strftime("%d/%m/%Y") for day in season(2020)])
    assert len(read_dates(tmp_path, first)) == 6


@pytest.mark.parametrize("month", [1, 7])
def test_firsts_of_months_with_day_and_month_swapped_are_refused(tmp_path: Path, month: int) -> None:
    days = [date(year, month, day.month) for year in YEARS for day in firsts(year)]
    message = refusal(tmp_path, map(iso, days), MONTHS)
    assert f"all dates of all years lie between day 1 and day 12 of month {month}" in message
    assert f"such as 2018-0{month}-02" in message
    assert f"this one would be 2018-02-0{month}" in message
    assert read_dates(tmp_path, [iso(day) for year in YEARS for day in firsts(year)], MONTHS).observed.all()


def test_a_season_of_single_days_may_lie_in_one_month(tmp_path: Path) -> None:
    days = [iso(date(year, 4, day)) for year in YEARS for day in range(1, 13)]
    assert "probably swapped" in refusal(tmp_path, days)
    assert read_dates(tmp_path, days, HEAD.format(start="04-01", steps=12, days=1)).observed.all()


@pytest.mark.parametrize(
    "day_of",
    [
        lambda year: [date(year, 4, day) for day in (2, 12, 22)],
        lambda year: [date(year, 4, day) for day in (1, 5, 9)],
        lambda year: [date(year, 3 + year % 2, day) for day in range(1, 13)],
    ],
)
def test_a_short_campaign_in_one_month_is_read(tmp_path: Path, day_of: Callable[[int], list[date]]) -> None:
    days = [iso(day) for year in YEARS for day in day_of(year)]
    assert len(read_dates(tmp_path, days, MONTHS)) == 9


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("2019_04_01", "write 2019-04-01"),
        ("2019-4-1", "write 2019-04-01"),
        ("2019091", "a year and a day of the year; write 2019-04-01"),
        ("2019-04", "a year and a month without a day; write 2019-04-01"),
        ("43556", "a day number of Excel; write 2019-04-01"),
        ("1554076800", "seconds since 1970; write 2019-04-01"),
        ("190401", "year has two digits"),
        ("01/04/19", "year has two digits"),
    ],
)
def test_a_form_that_needs_a_conversion_is_named(tmp_path: Path, text: str, hint: str) -> None:
    message = refusal(tmp_path, [text, "2019-04-11"])
    assert f"series.csv, line 2, column d: '{text}' is not a date" in message
    assert hint in message


@pytest.mark.parametrize("text", ["2019_13_45", "2019366", "99999", "spring", "2019-13"])
def test_what_is_no_form_of_a_date_gets_no_hint(tmp_path: Path, text: str) -> None:
    assert "looks like" not in refusal(tmp_path, [text])


def days_apart(step: int, seasons: range = range(2018, 2022)) -> list[date]:
    """Dates every `step` days from April to September of each year."""
    starts = [date(year, 4, 1) for year in seasons]
    return [start + timedelta(days) for start in starts for days in range(0, 182, step)]


def firsts_of_dekads() -> list[date]:
    return [date(year, month, day) for year in YEARS for month in range(1, 13) for day in (1, 11, 21)]


def by_pandas(day: date) -> str:
    """What `pandas.to_datetime` makes of a date written as day/month/year, if it reads the month first."""
    return date(day.year, day.day, day.month).isoformat() if day.day <= 12 else day.isoformat()


@pytest.mark.parametrize("days", [*map(days_apart, (1, 5, 7, 8, 10, 16)), firsts_of_dekads()])
def test_day_and_month_swapped_up_to_the_12th_are_refused_in_iso_form(tmp_path: Path, days: list[date]) -> None:
    swapped = [by_pandas(day) for day in days]
    first = next(day for day in days if day.isoformat() != by_pandas(day))
    message = refusal(tmp_path, swapped)
    assert f"series.csv, line {days.index(first) + 2}, column d: " in message
    assert f"those up to the 12th of a month such as {by_pandas(first)}, are off the regular grid" in message
    assert f"with day and month exchanged ({first})" in message
    assert read_dates(tmp_path, map(iso, days))


def test_a_swap_is_found_if_each_place_has_dates_of_its_own_or_if_dates_are_missing(tmp_path: Path) -> None:
    own = {"p": 0, "q": 3, "r": 6}
    rows = [f"{p},{by_pandas(day + timedelta(own[p]))},0.5" for p in PLACES for day in days_apart(8)]
    read_dates(tmp_path, [iso(day) for day in days_apart(8)])
    (tmp_path / "series.csv").write_text("\n".join(["place,d,a", *rows]) + "\n")
    with pytest.raises(InputError, match="probably swapped"):
        read(tmp_path / "card.toml")
    rows = [f"{p},{by_pandas(day)},0.5" for n, p in enumerate(PLACES) for day in days_apart(8)[n:] if day.day % 7 != n]
    (tmp_path / "series.csv").write_text("\n".join(["place,d,a", *rows]) + "\n")
    with pytest.raises(InputError, match="probably swapped"):
        read(tmp_path / "card.toml")


@pytest.mark.parametrize("seed", range(12))
def test_dates_that_nobody_swapped_are_read(tmp_path: Path, seed: int) -> None:
    """Regular dates with gaps, dates of a satellite under clouds, days of the month, and days at random."""
    rng = np.random.default_rng(seed)
    step, kind = int(rng.choice([1, 5, 8, 10, 16])), seed % 4
    days = days_apart(step)
    if kind == 0:
        days = [day for day in days if rng.random() < 0.7]
    elif kind == 1:
        days = sorted({*days_apart(16), *(day + timedelta(8 + 5 * (day.month % 2)) for day in days)})
        days = [day for day in days if rng.random() < 0.5]
    elif kind == 2:
        chosen = (1 + rng.choice(28, 3, replace=False)).tolist()
        days = [date(year, month, day) for year in YEARS for month in range(1, 13) for day in chosen]
    else:
        days = [date(year, 1, 1) + timedelta(int(day)) for year in YEARS for day in rng.choice(365, 40, replace=False)]
    assert read_dates(tmp_path, map(iso, days))


@pytest.mark.parametrize("digits", [2, 5])
def test_milliseconds_as_excel_shows_them_are_refused(tmp_path: Path, digits: int) -> None:
    times = [float((np.datetime64(day, "ms") - np.datetime64(0, "ms")).astype(int)) for day in days_apart(10)]
    texts = [f"{time:.{digits}E}" for time in times]
    message = refusal(tmp_path, texts)
    assert f"series.csv, line 2, column d: '{texts[0]}' is how Excel shows milliseconds since 1970" in message
    assert "write all dates as YYYY-MM-DD" in message
    # Earth Engine writes all digits; 1.45152E12 is a whole day.
    exact = [f"{time / 1e12:.12f}".rstrip("0") + "E12" for time in times]
    assert read_dates(tmp_path, exact).observed.any()
