"""The length of a step that a drafted card writes, for the grid of the season and for each source."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline import draft_card
from pipeline.card import DatasetCard
from pipeline.sources import read

PLACES, YEARS = ("a", "b", "c"), (2018, 2019, 2021)
SEASONS = [(place, year) for place in PLACES for year in YEARS]
RNG = np.random.default_rng(0)
THIRDS = {"first": (1, 11, 21), "last": (10, 20, 0)}


def dated(days: Sequence[tuple[int, int]], name: str = "ndvi") -> pd.DataFrame:
    """A row per place, year and (month, day); day 0 is the last of the month."""
    rows = [
        {"county": place, "date": day_of(year, month, day), name: round(RNG.uniform(0.1, 0.9), 3)}
        for place, year in SEASONS
        for month, day in days
    ]
    return pd.DataFrame(rows)


def day_of(year: int, month: int, day: int) -> date:
    return date(year, month, day) if day else date(year, month + 1, 1) - timedelta(1)


def every(days: int, steps: int, name: str = "ndvi") -> pd.DataFrame:
    """Dates at equal distances from 1 April on."""
    first = [date(2019, 4, 1) + timedelta(days * step) for step in range(steps)]
    return dated([(day.month, day.day) for day in first], name)


def months(first: int = 1, last: int = 12) -> pd.DataFrame:
    rows = [
        {"county": place, "year": year, "month": month, "rain": 10.0 * month + at}
        for at, (place, year) in enumerate(SEASONS)
        for month in range(first, last + 1)
    ]
    return pd.DataFrame(rows)


def wide_months() -> pd.DataFrame:
    rows = months().pivot(index=["county", "year"], columns="month", values="rain")
    return rows.rename(columns=lambda month: f"rain_{month}").reset_index()


def drafted(folder: Path, **tables: pd.DataFrame) -> str:
    """The text of the card of these tables and one of yields."""
    yields = pd.DataFrame([{"county": p, "year": y, "yield_t_ha": RNG.uniform(4, 9)} for p, y in SEASONS])
    for name, rows in (tables | {"yields": yields}).items():
        rows.round(3).to_csv(folder / f"{name}.csv", index=False)
    files = [str(folder / f"{name}.csv") for name in (*tables, "yields")]
    assert draft_card.main([*files, "--out", str(folder / "card.toml")]) == 0
    return (folder / "card.toml").read_text(encoding="utf-8")


def test_a_column_of_months_has_steps_of_its_own(tmp_path: Path) -> None:
    text = drafted(tmp_path, ndvi=every(10, 18), rain=months())
    assert "\nstep_days = 10 #" in text
    assert 'step = "month"\nstep_days = "month" # column month numbers them' in text
    assert "is it the calendar year of the step, also if the harvest is in the next?" in text
    table = read(tmp_path / "card.toml")
    assert "step_days" not in table.describe_findings()
    rain = table.values[0, [one.name for one in table.variates].index("rain")]
    assert rain[2] == 40  # April is known on 30 April, in the third step
    assert np.flatnonzero(~np.isnan(rain)).tolist() == [2, 6, 9, 12, 15]  # 31 May is 60 days after 1 April


def test_twelve_columns_are_asked_about_as_months(tmp_path: Path) -> None:
    text = drafted(tmp_path, ndvi=every(10, 18), rain=wide_months())
    assert 'step_days = "month" # QUESTION: 12 steps were found; how many days is one? (or month, dekad)' in text
    assert 'calendar_start = "01-01" # QUESTION: is it the first day of the first step?' in text
    assert "is it the calendar year in which step 1 lies?" in text
    (rain,) = (one for one in DatasetCard.load(tmp_path / "card.toml").sources if one.format == "wide")
    assert rain.step_days == "month"
    assert (
        np.nanmax(read(tmp_path / "card.toml").values[0, 1]) == 80
    )  # August; that of September is later than the season


def test_numbered_steps_alone_make_the_grid_and_need_no_other(tmp_path: Path) -> None:
    text = drafted(tmp_path, rain=months())
    assert text.count("step_days") == 1
    assert 'step_days = "month" # QUESTION: 12 steps' in text


@pytest.mark.parametrize("which", ["first", "last"])
def test_dates_of_dekads_have_steps_of_dekads(tmp_path: Path, which: str) -> None:
    text = drafted(tmp_path, ndvi=dated([(month, day) for month in range(3, 11) for day in THIRDS[which]]))
    assert f'step_days = "dekad" # dates are the {which} days of dekads: ' in text
    table = read(tmp_path / "card.toml")
    assert table.observed.all()
    assert table.steps == 24
    assert "dekad" not in table.describe_findings()


def test_dates_at_equal_distances_keep_their_number_of_days(tmp_path: Path) -> None:
    assert "step_days = 10 # dates lie 10 days apart" in drafted(tmp_path, ndvi=every(10, 18))


def test_the_finest_dates_make_the_grid_and_coarser_ones_are_asked_about(tmp_path: Path) -> None:
    text = drafted(tmp_path, ndvi=every(10, 18), rain=dated([(month, 1) for month in range(4, 10)], "rain"))
    assert "step_days = 10 # dates lie 10 days and 31 days apart" in text
    assert text.count("Each number counts on its date.") == 1
    rain = text[text.index('files = ["rain.csv"]') :]
    assert "days apart, and a step has 10." in rain[: rain.index("[[sources.variates]]")]


def test_daily_weather_takes_the_steps_of_the_pictures(tmp_path: Path) -> None:
    text = drafted(tmp_path, ndvi=every(16, 10), weather=every(1, 160, "tmax"))
    assert "step_days = 16 # dates lie 1 days and 16 days apart" in text
    assert "Each number counts" not in text


def test_months_alone_are_months(tmp_path: Path) -> None:
    assert 'step_days = "month" #' in drafted(tmp_path, rain=dated([(month, 1) for month in range(4, 10)], "rain"))
