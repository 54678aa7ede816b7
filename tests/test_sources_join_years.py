"""The year of numbered steps in a source of several, if the season crosses New Year: asked for, unless it is clear."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import InputError
from tests.joined_sources import read_card

YEARS = (2018, 2019, 2020)
MONTHS = (10, 11, 12, 1, 2, 3)
HEAD = 'name = "n"\nplace = "place"\nstep_days = {days}\nseason_start = "10-01"\nseason_steps = {steps}\n'
BY_MONTH = HEAD.format(days='"month"', steps=6)
SERIES = '[[sources]]\nfiles = "s.csv"\nyear = "y"\nstep = "m"\nstep_days = "month"\nvariates = [{{ name = "a" }}]\n{}'
YIELDS = '[[sources]]\nfiles = "yields.csv"\nyear = "y"\ntarget = { column = "t", unit = "t/ha" }\n'
Row = tuple[int, int, int]  # year of the row, month, year of the season


def write(folder: Path, rows: Iterable[Row]) -> None:
    lines = [f"{p},{year},{month},{(named - 2010) / 20 + month / 100}" for p in "pq" for year, month, named in rows]
    (folder / "s.csv").write_text("\n".join(["place,y,m,a", *lines]) + "\n")
    yields = [f"{p},{year},{year - 2014}" for p in "pq" for year in (2017, *YEARS, 2021)]
    (folder / "yields.csv").write_text("\n".join(["place,y,t", *yields]) + "\n")


def by_season(year_of: int = 0) -> list[Row]:
    return [(year + year_of, month, year) for year in YEARS for month in MONTHS]


def by_calendar() -> list[Row]:
    return [(year - (month >= 10), month, year) for year in YEARS for month in MONTHS]


def assert_each_season_has_its_months(folder: Path, card: str, year_of: int = 0) -> None:
    table = read_card(folder, card)
    assert table.year.tolist() == [year + year_of for year in YEARS] * 2
    for year, values in zip(table.year.tolist(), table.values[:, 0], strict=True):
        seen = values[~np.isnan(values)]
        np.testing.assert_allclose(seen, [(year - year_of - 2010) / 20 + month / 100 for month in MONTHS], atol=1e-6)


@pytest.mark.parametrize("ordered", [False, True])
def test_months_under_the_year_of_their_season_are_a_question(tmp_path: Path, ordered: bool) -> None:
    rows = by_season()
    write(tmp_path, sorted(rows) if ordered else rows)
    with pytest.raises(InputError) as caught:
        read_card(tmp_path, BY_MONTH + SERIES.format("") + YIELDS)
    assert "column y of s.csv can mean two things" in str(caught.value)
    assert ("fits both" if ordered else "speaks for the first") in str(caught.value)
    answer = SERIES.format('step_year = "season"\n')
    assert_each_season_has_its_months(tmp_path, BY_MONTH + answer + YIELDS)
    assert_each_season_has_its_months(tmp_path, HEAD.format(days=10, steps=19) + answer + YIELDS)


def test_seasons_may_be_named_after_their_start(tmp_path: Path) -> None:
    write(tmp_path, by_season(-1))
    card = 'season_year = "start"\n' + BY_MONTH + SERIES.format('step_year = "season"\n') + YIELDS
    assert_each_season_has_its_months(tmp_path, card, -1)


@pytest.mark.parametrize("key", ["", 'step_year = "calendar"\n'])
def test_rows_that_begin_and_end_in_a_season_have_calendar_years(tmp_path: Path, key: str) -> None:
    write(tmp_path, by_calendar())
    assert_each_season_has_its_months(tmp_path, BY_MONTH + SERIES.format(key) + YIELDS)


def test_whole_years_in_the_order_of_the_season_are_a_question_others_are_not(
    tmp_path: Path,
) -> None:
    write(tmp_path, [(year, (month + 8) % 12 + 1, year) for year in YEARS for month in range(1, 13)])
    card = BY_MONTH + SERIES.format("") + YIELDS
    with pytest.raises(InputError, match="speaks for the first"):
        read_card(tmp_path, card)
    write(tmp_path, [(year, month, year + (month >= 10)) for year in YEARS for month in range(1, 13)])
    table = read_card(tmp_path, card)
    whole = table.observed[:, 0].all(axis=1)
    np.testing.assert_allclose(table.values[whole, 0, 0], (table.year[whole] - 2010) / 20 + 0.1, atol=1e-6)


def test_a_season_within_a_year_and_a_calendar_of_places_ask_nothing(tmp_path: Path) -> None:
    write(tmp_path, by_season())
    within = BY_MONTH.replace("10-01", "01-01").replace("season_steps = 6", "season_steps = 3")
    assert len(read_card(tmp_path, within + SERIES.format("") + YIELDS)) == 6
    (tmp_path / "calendar.csv").write_text("place,sos,eos\np,10-01,03-31\nq,10-01,03-31\n")
    calendar = '[[sources]]\nfiles = "calendar.csv"\ncalendar = { start = "sos", end = "eos" }\n'
    head = 'name = "n"\nplace = "place"\nstep_days = 30\n'
    assert len(read_card(tmp_path, head + SERIES.format("") + YIELDS + calendar)) > 0
    with pytest.raises(InputError, match='`step_year` is "season", but with the `calendar` of a source each place'):
        read_card(tmp_path, head + SERIES.format('step_year = "season"\n') + YIELDS + calendar)
