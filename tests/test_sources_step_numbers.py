"""Numbered steps: they count from one number in all files and years, and those of no season are dropped and counted."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import InputError
from pipeline.sources import read
from pipeline.table import SeasonTable

YEARS = (2018, 2019, 2020)
GRID = 'name = "n"\nstep_days = 7\nseason_start = "01-01"\nseason_steps = 52\n'
STEPS = 'files = "t*.csv"\nyear = "y"\nstep = "s"\nvariates = [{ name = "a" }]\n'
ONE_FILE = GRID + 'format = "long"\n' + STEPS + 'target = { column = "t", unit = "t/ha" }\n'
JOIN = (
    GRID + '[[sources]]\n' + STEPS + '[[sources]]\nfiles = "yields.csv"\nyear = "y"\n'
    'target = { column = "t", unit = "t/ha" }\n'
)  # fmt: skip
Row = tuple[int, int]  # year, number of the step


def value(year: int, step: int) -> float:
    return round((year - 2010) / 20 + step / 1000, 4)


def write(folder: Path, name: str, rows: Iterable[Row], base: Callable[[int], int]) -> None:
    """Rows of two places. base: the number of the first step of a year"""
    lines = [
        f"{place},{year},{step + base(year)},{value(year, step)},{year - 2014}"
        for place in ("p", "q")
        for year, step in rows
    ]
    (folder / name).write_text("\n".join(["place,y,s,a,t", *lines]) + "\n")


def weeks(years: Iterable[int] = YEARS, first: int = 0) -> list[Row]:
    return [(year, step) for year in years for step in range(first, 52)]


def read_as(folder: Path, card: str) -> SeasonTable:
    yields = [f"{place},{year},{year - 2014}" for place in ("p", "q") for year in YEARS]
    (folder / "yields.csv").write_text("\n".join(["place,y,t", *yields]) + "\n")
    (folder / "card.toml").write_text(card)
    return read(folder / "card.toml")


def assert_all_weeks(table: SeasonTable) -> None:
    assert table.sample_id.tolist() == [f"{place}|{year}" for place in ("p", "q") for year in YEARS]
    for year, values in zip(table.year.tolist(), table.values[:, 0], strict=True):
        np.testing.assert_allclose(values, [value(year, step) for step in range(52)], atol=1e-6)


@pytest.mark.parametrize("card", [ONE_FILE, JOIN])
def test_years_that_count_from_0_beside_years_that_count_from_1_are_refused(tmp_path: Path, card: str) -> None:
    write(tmp_path, "t.csv", weeks(), lambda year: int(year > 2018))
    with pytest.raises(InputError) as caught:
        read_as(tmp_path, card)
    told = str(caught.value)
    assert "t.csv, line 54, column s: the steps of 2019 count from 1 to 52 here, but from 0 to 51 in 2018 (" in told
    assert "t.csv, line 2), so they would be read one step apart" in told
    for base in (0, 1):
        write(tmp_path, "t.csv", weeks(), lambda year, base=base: base)  # type: ignore[misc]
        assert_all_weeks(read_as(tmp_path, card))


@pytest.mark.parametrize("card", [ONE_FILE, JOIN])
def test_files_that_count_from_0_beside_files_that_count_from_1_are_refused(tmp_path: Path, card: str) -> None:
    write(tmp_path, "t_1.csv", weeks([2018, 2020]), lambda year: 1)
    write(tmp_path, "t_2.csv", weeks([2019]), lambda year: 0)
    with pytest.raises(InputError, match=r"t_1.csv, line 2, column s: .* of 2018 .* in 2019 \(.*t_2.csv, line 2"):
        read_as(tmp_path, card)


@pytest.mark.parametrize("card", [ONE_FILE, JOIN])
def test_a_year_without_an_observation_of_step_0_is_read(tmp_path: Path, card: str) -> None:
    write(tmp_path, "t.csv", [*weeks([2018, 2020]), *weeks([2019], first=1)], lambda year: 0)
    table = read_as(tmp_path, card)
    assert np.isnan(table.values[table.year == 2019, 0, 0]).all()
    assert np.isnan(table.values).sum() == 2


def test_first_step_says_that_a_late_year_begins_with_step_1(tmp_path: Path) -> None:
    rows = [(2018, step) for step in range(10)] + [(2019, step) for step in range(1, 11)]
    write(tmp_path, "t.csv", rows, lambda year: 0)
    with pytest.raises(InputError, match="set `first_step = 0`"):
        read_as(tmp_path, ONE_FILE)
    assert read_as(tmp_path, "first_step = 0\n" + ONE_FILE).year.tolist() == [2018, 2019] * 2


@pytest.mark.parametrize(
    ("card", "reason"),
    [
        (ONE_FILE, "observation row dropped, because it is outside the 52 steps of its season"),
        (JOIN, "observation row outside of the seasons left out"),
    ],
)
def test_week_53_is_counted_and_in_no_other_year(tmp_path: Path, card: str, reason: str) -> None:
    years = (2018, 2019)
    write(tmp_path, "t.csv", [*weeks(years), (2019, 52), *weeks([2020])], lambda year: 1)
    table = read_as(tmp_path, card)
    assert_all_weeks(table)
    assert [(count.reason, count.rows) for count in table.counts] == [(reason, 2)]


@pytest.mark.parametrize("card", [ONE_FILE, JOIN])
def test_rows_outside_of_a_short_season_are_counted(tmp_path: Path, card: str) -> None:
    write(tmp_path, "t.csv", weeks(), lambda year: 1)
    table = read_as(tmp_path, card.replace("season_steps = 52", "season_steps = 20").replace("01-01", "03-05"))
    assert table.values.shape[2] == 20
    (count,) = table.counts
    assert count.rows == 2 * 3 * 32


@pytest.mark.parametrize("year", ["calendar", "season"])
def test_week_53_of_a_season_across_new_year_is_dropped(tmp_path: Path, year: str) -> None:
    write(tmp_path, "t.csv", [*weeks(), (2019, 52)], lambda year: 1)
    card = ONE_FILE.replace("01-01", "10-01").replace("= 52", "= 26") + f'step_year = "{year}"\n'
    table = read_as(tmp_path, "season_year = 'end'\n" + card)
    offset = 39
    for own, values in zip(table.year.tolist(), table.values[:, 0], strict=True):
        steps = [(own - (year == "calendar"), step) for step in range(offset, 52)] + [(own, step) for step in range(13)]
        np.testing.assert_allclose(values, [value(*step) for step in steps], atol=1e-6)
    outside = next(count.rows for count in table.counts if "outside" in count.reason)
    assert outside == 2 * (3 * 26 + 1)


def test_the_last_composite_of_a_year_stands_in_that_year(tmp_path: Path) -> None:
    write(tmp_path, "t.csv", [(year, step) for year in YEARS for step in range(23)], lambda year: 1)
    table = read_as(tmp_path, JOIN.replace("step_days = 7", "step_days = 16").replace("= 52", "= 23"))
    assert table.observed.all()
    np.testing.assert_allclose(table.values[0, 0], [value(2018, step) for step in range(23)], atol=1e-6)
    assert table.counts == ()
