"""A time that the reader does not understand is asked about first, with what to write, and the variates are listed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline import draft_card
from pipeline.card import DatasetCard
from pipeline.drafts.quality_names import is_called_quality
from pipeline.sources import read

PLACES, YEARS = ("a", "b", "c"), (2018, 2019, 2021)
Write = Callable[[date], dict[str, object]]


def series(write: Write, days: int = 10, steps: int = 15) -> pd.DataFrame:
    """A row per place and date; `write` makes the columns of the time."""
    rng = np.random.default_rng(0)
    rows = [
        {"field": place, **write(date(year, 4, 1) + timedelta(days * step)), "ndvi": round(rng.uniform(0.1, 0.9), 3)}
        for place in PLACES
        for year in YEARS
        for step in range(steps)
    ]
    return pd.DataFrame(rows)


def drafted(folder: Path, rows: pd.DataFrame) -> str:
    """The text of the card of a table of series and one of yields."""
    rows.to_csv(folder / "s.csv", index=False)
    years = [{"field": place, "year": year, "yield": 4 + year % 7 / 2} for place in PLACES for year in YEARS]
    pd.DataFrame(years).to_csv(folder / "y.csv", index=False)
    files = [str(folder / "s.csv"), str(folder / "y.csv")]
    assert draft_card.main([*files, "--out", str(folder / "card.toml")]) == 0
    return (folder / "card.toml").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("write", "column", "asked"),
    [
        (lambda day: {"Date": f"A{day:%Y%j}"}, "Date", "a year and a day of the year; write 2018-04-01"),
        (lambda day: {"Date": f"{day:%d%b%y}"}, "Date", "column Date: '01Apr18' is not a date"),
        (lambda day: {"month": f"{day:%Y%m}"}, "month",
         "column month holds 201804, a year and a month, which is no step of a season; write a date, such as 2018-04"),
        (lambda day: {"week": f"{day:%G%V}"}, "week", "column week holds 201813, which is no step of a season"),
        (lambda day: {"period": f"{day:%Y-%m}"}, "period", "a year and a month without a day; write 2018-04-01"),
        (lambda day: {"YEAR": day.year, "MO": day.month, "DY": day.day}, "date",
         "MO and DY may say when a row was measured; write one column of dates, called date, such as 2018-05-17"),
        (lambda day: {"year": day.year, "DOY": day.timetuple().tm_yday}, "date", "DOY may say when a row was measured"),
        (lambda day: {"year": day.year, "month": day.month, "day": day.day}, "date", "month and day may say when"),
        (lambda day: {"year": day.year, "month": day.month, "dekad": min(2, (day.day - 1) // 10) + 1}, "date",
         "column dekad counts the dekads of a month, and month the months. Write one column of dates"),
    ],
)  # fmt: skip
def test_a_time_that_is_not_understood_comes_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], write: Write, column: str, asked: str
) -> None:
    text = drafted(tmp_path, series(write))
    first = text[text.index('files = ["s.csv"]') :].splitlines()[1]
    assert first.startswith("# QUESTION: ")
    assert asked in first
    said = capsys.readouterr().out.splitlines()
    assert said[1].startswith(f"It cannot be read yet: {tmp_path / 's.csv'}: ")
    assert asked in said[1]
    card = DatasetCard.load(tmp_path / "card.toml")
    assert [variate.name for variate in card.variates] == ["ndvi"]
    assert card.sources[0].date == column
    assert "season_steps" not in text
    assert "QUESTION: how many days is a step" in text


def test_the_card_reads_once_the_date_is_written_as_asked(tmp_path: Path) -> None:
    drafted(tmp_path, series(lambda day: {"Date": f"A{day:%Y%j}"}))
    series(lambda day: {"Date": day}).to_csv(tmp_path / "s.csv", index=False)
    table = read(tmp_path / "card.toml")
    assert (len(table), [one.name for one in table.variates]) == (9, ["ndvi"])


def test_weeks_of_iso_are_dates(tmp_path: Path) -> None:
    text = drafted(tmp_path, series(lambda day: {"week": f"{day:%G-W%V}"}, days=7))
    assert 'date = "week" # QUESTION: is that the date? 2018-W13 is read as 2018-03-26' in text
    assert "step_days = 7 #" in text
    assert read(tmp_path / "card.toml").year.tolist() == [*YEARS] * 3


def test_a_column_of_dates_by_another_name_is_taken_with_a_question(tmp_path: Path) -> None:
    rows = series(lambda day: {"interval_from": f"{day}T00:00:00Z", "interval_to": f"{day + timedelta(10)}T00:00:00Z"})
    text = drafted(tmp_path, rows.assign(stDev=rows.ndvi / 10, noDataCount=range(len(rows))))
    assert 'date = "interval_from" # QUESTION: is that the date? It may be interval_to, too' in text
    assert "QUESTION: stDev of s.csv: left out" in text
    assert [variate.name for variate in DatasetCard.load(tmp_path / "card.toml").variates] == ["ndvi"]
    assert read(tmp_path / "card.toml").observed.all()


def test_parts_of_a_date_beside_it_are_no_variates(tmp_path: Path) -> None:
    drafted(tmp_path, series(lambda day: {"date": day, "month": day.month, "doy": day.timetuple().tm_yday}))
    assert [variate.name for variate in DatasetCard.load(tmp_path / "card.toml").variates] == ["ndvi"]


def test_a_period_of_words_and_a_day_in_a_table_of_yields_are_no_time(tmp_path: Path) -> None:
    drafted(tmp_path, series(lambda day: {"date": day}))
    yields = pd.read_csv(tmp_path / "y.csv").assign(Period="YEAR", doy=220, area=[*range(10, 19)])
    yields.to_csv(tmp_path / "y.csv", index=False)
    files = [str(tmp_path / name) for name in ("s.csv", "y.csv")]
    assert draft_card.main([*files, "--out", str(tmp_path / "two.toml")]) == 0
    text = (tmp_path / "two.toml").read_text()
    assert "YEAR" not in text
    assert "may say when" not in text
    assert len(read(tmp_path / "two.toml")) == 9


def test_stdev_in_capitals_of_camels_is_a_spread() -> None:
    assert is_called_quality("stDev")
