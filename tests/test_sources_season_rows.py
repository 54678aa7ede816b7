"""No season is longer than a year, and the year of a row of numbered steps across New Year is asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import InputError
from pipeline.sources import read
from pipeline.sources.times.calendar import Calendar
from pipeline.table import SeasonTable

CARD = 'name = "n"\nformat = "{form}"\nfiles = "t.csv"\nyear = "y"\nvariates = [{{name = "a"}}]\n{keys}\n'
TARGET = 'target = {column = "t", unit = "t/ha"}\n'


def wide(folder: Path, steps: int, keys: str = "") -> Path:
    header = ["place", "y", *(f"a_{step}" for step in range(steps)), "t"]
    rows = [["p", 2020, *(0.1 + step / 1000 for step in range(steps)), 3]]
    (folder / "t.csv").write_text("\n".join(",".join(map(str, row)) for row in [header, *rows]) + "\n")  # type: ignore[call-overload]
    (folder / "card.toml").write_text(CARD.format(form="wide", keys=keys) + TARGET)
    return folder / "card.toml"


def long(folder: Path, rows: list[tuple[str, int, int, float]], keys: str) -> Path:
    lines = [f"{place},{year},{step},{value},{3 + year / 1000}" for place, year, step, value in rows]
    (folder / "t.csv").write_text("\n".join(["place,y,s,a,t", *lines]) + "\n")
    (folder / "card.toml").write_text(CARD.format(form="long", keys=f'step = "s"\n{keys}') + TARGET)
    return folder / "card.toml"


@pytest.mark.parametrize(
    ("steps", "days", "meaning"),
    [(365, "10", "days"), (52, "10", "weeks, step_days = 7"), (46, "10", "8-day composites"),
     (46, "16", "8-day composites"), (36, '"month"', "steps of 10 days"), (52, "8", "weeks")],
)  # fmt: skip
def test_a_season_of_more_than_a_year_is_refused_with_the_likely_meaning(
    tmp_path: Path, steps: int, days: str, meaning: str
) -> None:
    with pytest.raises(InputError, match="more than a year") as caught:
        read(wide(tmp_path, steps, f"step_days = {days}"))
    assert meaning in str(caught.value)
    assert "step_days" in str(caught.value)


def test_a_row_that_is_a_year_in_other_steps_is_refused_even_if_the_season_is_short(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a row holds 46 steps.*8-day composites"):
        read(wide(tmp_path, 46, "step_days = 16\nseason_steps = 12"))


def test_a_table_without_a_card_is_refused_too_and_says_what_a_step_is(tmp_path: Path) -> None:
    def plain(steps: int) -> SeasonTable:
        header = ["place", *(f"a_{step}" for step in range(steps)), "y2020"]
        row = ["p", *(0.1 + step / 1000 for step in range(steps)), 3]
        (tmp_path / "f.csv").write_text("\n".join(",".join(map(str, one)) for one in (header, row)) + "\n")
        return read(tmp_path / "f.csv")

    with pytest.raises(InputError, match="52 steps in a year are weeks"):
        plain(52)
    assert "12 steps from 1 January are 120 days (12 steps in a year are months" in plain(12).describe_findings()


@pytest.mark.parametrize(
    ("days", "steps"), [(16, 23), (8, 46), (10, 36), (7, 52), (14, 26), (5, 73), (30, 12), (1, 365)]
)
def test_composites_fill_a_year(days: float, steps: int) -> None:
    assert Calendar(days).steps_a_year == steps
    Calendar(days).refuse_longer_than_a_year(steps, "here")


def test_dates_of_16_day_composites_are_23_steps(tmp_path: Path) -> None:
    days = np.datetime64("2020-01-01") + 16 * np.arange(23)
    rows = [f"p,2020,{day},{0.2 + i / 100},3" for i, day in enumerate(days)]
    (tmp_path / "t.csv").write_text("\n".join(["place,y,d,a,t", *rows]) + "\n")
    (tmp_path / "card.toml").write_text(CARD.format(form="long", keys='date = "d"\nstep_days = 16') + TARGET)
    table = read(tmp_path / "card.toml")
    assert table.steps == 23
    assert table.observed.all()
    assert table.counts == ()


@pytest.mark.parametrize("gap", [1, 8, 16])
def test_days_of_the_year_as_step_numbers_are_refused_with_the_likely_meaning(tmp_path: Path, gap: int) -> None:
    rows = [("p", 2020, day, 0.2) for day in range(1, 366, gap)]
    with pytest.raises(InputError, match=r"column s counts to step 3\d\d.*days of the year"):
        read(long(tmp_path, rows, "step_days = 10"))


MONTHS = [10, 11, 12, 1, 2, 3]
AUTUMN = 'step_days = "month"\nseason_start = "10-01"\nseason_steps = 6\n'


def by_season(value: float = 0.001) -> list[tuple[str, int, int, float]]:
    return [("p", year, month, year * value) for year in (2018, 2019, 2020) for month in MONTHS]


def test_months_under_one_harvest_year_are_a_question_and_the_card_answers_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r'column y of t.csv .*step_year = "season".*speaks for the first'):
        read(long(tmp_path, by_season(), AUTUMN))
    table = read(long(tmp_path, by_season(), AUTUMN + 'step_year = "season"'))
    assert table.sample_id.tolist() == ["p|2018", "p|2019", "p|2020"]
    for year, values in zip(table.year.tolist(), table.values[:, 0], strict=True):
        assert values.tolist() == [np.float32(year * 0.001)] * 6
    assert table.counts == ()


def test_named_samples_take_the_key_and_the_limits_too(tmp_path: Path) -> None:
    def named(rows: list[tuple[str, int, int, float]], keys: str) -> SeasonTable:
        path = long(tmp_path, rows, 'sample_id = "id"\n' + keys)
        lines = (tmp_path / "t.csv").read_text().splitlines()
        named_rows = [f"{','.join(line.split(',')[:2])}," + line for line in lines[1:]]
        named_rows = [line.replace(",", "-", 1) for line in named_rows]
        (tmp_path / "t.csv").write_text("\n".join([f"id,{lines[0]}", *named_rows]) + "\n")
        return read(path)

    table = named(by_season(), AUTUMN + 'step_year = "season"')
    assert table.sample_id.tolist() == ["p-2018", "p-2019", "p-2020"]
    assert table.observed.all()
    assert table.steps == 6
    with pytest.raises(InputError, match="days of the year"):
        named([("p", 2020, day, 0.2) for day in range(1, 366, 8)], "step_days = 8")


def test_the_same_rows_by_calendar_year_take_their_first_months_from_the_year_before(tmp_path: Path) -> None:
    table = read(long(tmp_path, by_season(), AUTUMN + 'step_year = "calendar"'))
    assert table.sample_id.tolist() == ["p|2019", "p|2020"]
    assert table.values[0, 0].tolist() == [np.float32(2.018)] * 3 + [np.float32(2.019)] * 3


def test_rows_in_the_order_of_the_calendar_that_hold_half_a_year_are_a_question_too(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"can mean two things.*fits both"):
        read(long(tmp_path, sorted(by_season()), AUTUMN))


def test_a_wide_row_is_a_calendar_year_and_it_is_said(tmp_path: Path) -> None:
    header = ["place", "y", *(f"a_{month}" for month in range(1, 13)), "t"]
    rows = [["p", year, *(year / 1000 + month / 100 for month in range(1, 13)), 3] for year in (2019, 2020)]
    (tmp_path / "t.csv").write_text("\n".join(",".join(map(str, row)) for row in [header, *rows]) + "\n")  # type: ignore[call-overload]
    (tmp_path / "card.toml").write_text(CARD.format(form="wide", keys=AUTUMN) + TARGET)
    table = read(tmp_path / "card.toml")
    assert table.sample_id.tolist() == ["p|2020"]
    assert "from the row of the year before" in table.describe_findings()


def test_whole_calendar_years_are_read_as_such_and_it_is_said(tmp_path: Path) -> None:
    rows = [("p", year, month, year * 0.001) for year in (2018, 2019) for month in range(1, 13)]
    table = read(long(tmp_path, rows, AUTUMN))
    assert table.sample_id.tolist() == ["p|2019"]
    assert 'step_year = "calendar"' in table.describe_findings()


@pytest.mark.parametrize(
    ("numbers", "keys", "advice"),
    [
        (range(4, 11), 'step_days = "month"', 'Number them from 1 to 7, and let `calendar_start` in .* be "04-01"'),
        (range(10, 31), "step_days = 10", "Number them from 1 to 21, .* be the day on which the first one begins"),
        (range(12), 'step_days = "month"\nfirst_step = 1', "Correct `first_step` in .*card.toml"),
    ],
)
def test_columns_of_a_card_that_do_not_count_from_one_get_a_remedy(
    tmp_path: Path, numbers: range, keys: str, advice: str
) -> None:
    header = ",".join(["place", "y", *(f"a_{number}" for number in numbers), "t"])
    (tmp_path / "t.csv").write_text(f"{header}\np,2020,{'0.5,' * len(numbers)}3\n")
    (tmp_path / "card.toml").write_text(CARD.format(form="wide", keys=keys) + TARGET)
    with pytest.raises(InputError, match=advice) as caught:
        read(tmp_path / "card.toml")
    assert "a dataset card names the bands" not in str(caught.value)
