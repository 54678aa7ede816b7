"""Years that rows name against the seasons their dates fall in: a shift would join every yield to another season."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import InputError
from pipeline.sources import read

CARD = """name = "n"
format = "long"
files = "f.csv"
date = "d"
year = "harvest"
step_days = 10
season_start = "10-01"
season_steps = 30
variates = [{name = "a"}]
target = {column = "t", unit = "t/ha"}
"""


def days(first: date, last: date) -> Iterable[date]:
    return (first + timedelta(days=k) for k in range(0, (last - first).days + 1, 10))


def table(folder: Path, shift: int = 0, keys: str = "", card: str = CARD) -> Path:
    """Three seasons from October to July at two places; the year column names the harvest's, and `shift` more."""
    lines = [
        f"{place}|{year},{place},{year + shift},{day},0.5,{year - 2015}"
        for place in ("p", "q")
        for year in (2018, 2019, 2020)
        for day in days(date(year - 1, 10, 1), date(year, 7, 1))
    ]
    (folder / "f.csv").write_text("id,place,harvest,d,a,t\n" + "\n".join(lines) + "\n")
    (folder / "card.toml").write_text(keys + card)
    return folder / "card.toml"


@pytest.mark.parametrize("ids", ["", 'sample_id = "id"\n'])
def test_years_of_the_cards_own_seasons_are_read(tmp_path: Path, ids: str) -> None:
    read_back = read(table(tmp_path, 0, ids))
    assert read_back.year.tolist() == [2018, 2019, 2020] * 2
    assert read_back.target.tolist() == [3.0, 4.0, 5.0] * 2
    assert read_back.counts == ()


@pytest.mark.parametrize("ids", ["", 'sample_id = "id"\n'])
@pytest.mark.parametrize("shift", [-1, 1, 5])
@pytest.mark.parametrize("for_prediction", [False, True])
def test_a_year_column_that_means_another_season_is_refused_with_an_example(
    tmp_path: Path, ids: str, shift: int, for_prediction: bool
) -> None:
    with pytest.raises(InputError) as caught:
        read(table(tmp_path, shift, ids), for_prediction=for_prediction)
    told = str(caught.value)
    assert "f.csv, line 2: the date 2017-10-01 lies in the season that is called 2018 here" in told
    assert f"column harvest says {2018 + shift}; so it is in 168 of 168 rows" in told
    assert '`season_year` is "end"' in told
    assert '"start" after that of its first' in told
    assert ('With `season_year = "start"` they agree' in told) == (shift == -1)
    assert ("Correct it, `season_start`" in told) == (shift != -1)


def test_the_advice_about_season_year_is_right(tmp_path: Path) -> None:
    read_back = read(table(tmp_path, -1, 'season_year = "start"\n'))
    assert read_back.year.tolist() == [2017, 2018, 2019] * 2
    assert read_back.target.tolist() == [3.0, 4.0, 5.0] * 2


def test_a_column_of_calendar_years_is_read_and_its_rows_of_the_year_before_are_counted(tmp_path: Path) -> None:
    # Seven months of a season from June to January lie in the year before the one it is called after.
    lines = [f"p,{day.year},{day},{day.month},{day.year - 2015}" for day in days(date(2018, 1, 1), date(2021, 12, 31))]
    (tmp_path / "f.csv").write_text("place,harvest,d,a,t\n" + "\n".join(lines) + "\n")
    card = CARD.replace("10-01", "06-01").replace("season_steps = 30", "season_steps = 8").replace("10\n", '"month"\n')
    (tmp_path / "card.toml").write_text(card)
    read_back = read(tmp_path / "card.toml")
    assert read_back.year.tolist() == [2018, 2019, 2020, 2021]
    assert read_back.target.tolist() == [3.0, 4.0, 5.0, 6.0]
    assert [c.rows > 0 for c in read_back.counts if "though its year column names another" in c.reason] == [True]


def test_a_minority_of_other_years_is_counted_and_not_refused(tmp_path: Path) -> None:
    path = table(tmp_path)
    text = (tmp_path / "f.csv").read_text().replace("p|2020,p,2020,2019", "p|2020,p,2021,2019")
    (tmp_path / "f.csv").write_text(text)
    assert "10 x observation row counted to the season of its date" in read(path).describe_counts()


def test_named_samples_may_reach_back_over_several_seasons(tmp_path: Path) -> None:
    lines = [f"p|2020,p,2020,{day},{day.year},4" for day in days(date(2016, 10, 1), date(2020, 7, 1))]
    (tmp_path / "f.csv").write_text("id,place,harvest,d,a,t\n" + "\n".join(lines) + "\n")
    (tmp_path / "card.toml").write_text('sample_id = "id"\n' + CARD)
    table_of_2020 = read(tmp_path / "card.toml")
    assert set(table_of_2020.values[table_of_2020.observed].tolist()) == {2019.0, 2020.0}


def test_a_cube_whose_times_name_another_year_is_refused(tmp_path: Path) -> None:
    xr = pytest.importorskip("xarray")
    time = np.array([*days(date(2017, 10, 1), date(2018, 7, 1))], "datetime64[ns]")
    for year, refused in ((2018, False), (2017, True)):
        cube = xr.Dataset(
            {"a": (("place", "time"), np.full((2, len(time)), 0.5)), "t": (("place",), [3.0, 4.0])},
            {"place": ["p", "q"], "d": ("time", time), "harvest": ("time", np.full(len(time), year))},
        )
        cube.to_netcdf(tmp_path / f"c{year}.nc")
        card = CARD.replace('"long"', '"netcdf"').replace("f.csv", f"c{year}.nc")
        (tmp_path / "card.toml").write_text(card)
        if not refused:
            assert read(tmp_path / "card.toml").target.tolist() == [3.0, 4.0]
            continue
        with pytest.raises(InputError, match=r"c2017\.nc, place p, harvest 2017, d 2017-10-01.*`season_year`"):
            read(tmp_path / "card.toml")


SOUTH = """name = "n"
season_start = "09-15"
step_days = 10
season_steps = {steps}
{keys}
[[sources]]
files = "f.csv"
date = "d"
variates = [{{name = "a"}}]
[[sources]]
files = "y.csv"
year = "year"
target = {{column = "t", unit = "t/ha"}}
"""


def southern(folder: Path, steps: int, keys: str = "") -> Path:
    """Seasons from 15 September to early April at two places, and yields of the years 2016 to 2020."""
    starts = [date(year, 9, 15) for year in (2016, 2017, 2018)]
    lines = [f"{p},{day},0.5" for p in ("p", "q") for first in starts for day in days(first, first + timedelta(190))]
    (folder / "f.csv").write_text("place,d,a\n" + "\n".join(lines) + "\n")
    yields = [f"{p},{year},{year - 2010}" for p in ("p", "q") for year in range(2016, 2021)]
    (folder / "y.csv").write_text("place,year,t\n" + "\n".join(yields) + "\n")
    (folder / "card.toml").write_text(SOUTH.format(steps=steps, keys=keys))
    return folder / "card.toml"


@pytest.mark.parametrize(
    ("steps", "keys", "line"),
    [
        (20, "", "season 2019: 2018-09-15 to 2019-04-02; it meets the yield of 2019"),
        (20, 'season_year = "start"', "season 2018: 2018-09-15 to 2019-04-02; it meets the yield of 2018"),
        (20, 'harvest = "03-31"', "season 2019: 2018-09-15 to 2019-04-02; it meets the yield of 2019"),
        (10, "", "season 2018: 2018-09-15 to 2018-12-23; it meets the yield of 2018"),
        (10, 'harvest = "12-31"', "season 2018: 2018-09-15 to 2018-12-23; it meets the yield of 2018"),
        (10, 'harvest = "03-31"\nseason_year = "start"',
         "season 2018: 2018-09-15 to 2018-12-23; it meets the yield of 2018"),
    ],
)  # fmt: skip
def test_the_days_of_a_season_stand_beside_its_yield(tmp_path: Path, steps: int, keys: str, line: str) -> None:
    assert line in read(southern(tmp_path, steps, keys)).notes


def test_a_table_for_prediction_has_the_days_and_no_yield(tmp_path: Path) -> None:
    path = southern(tmp_path, 20)
    (tmp_path / "y.csv").write_text("place,year\np,2019\n")
    assert "season 2019: 2018-09-15 to 2019-04-02" in read(path, for_prediction=True).notes


def test_a_season_cut_before_new_year_but_harvested_after_it_is_a_question(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read(southern(tmp_path, 10, 'harvest = "03-31"'))
    told = str(caught.value)
    assert "card.toml: the season from 2018-09-15 to 2018-12-23 is called 2018" in told
    assert "its `harvest`, 2019-03-31, is in 2019" in told
    assert "set season_steps = 12 or more" in told
    assert 'the year in which the season starts, set season_year = "start"' in told
    longer = read(southern(tmp_path, 12, 'harvest = "03-31"'))
    assert longer.year.tolist() == [2017, 2018, 2019] * 2
    assert longer.target.tolist() == [7.0, 8.0, 9.0] * 2


def test_a_season_that_runs_past_its_harvest_into_the_next_year_is_a_question_too(tmp_path: Path) -> None:
    path = southern(tmp_path, 15, 'harvest = "11-30"')
    with pytest.raises(
        InputError, match=r'`harvest`, 2018-11-30, is in 2018.*season_year = "start", or season_steps = 11'
    ):
        read(path)
    assert read(southern(tmp_path, 11, 'harvest = "11-30"')).year.tolist() == [2016, 2017, 2018] * 2


def test_rows_that_begin_in_autumn_are_of_the_season_of_the_next_year(tmp_path: Path) -> None:
    header = ",".join(["place", "year", *(f"a_{step}" for step in range(20))])
    rows = [f"{p},{year}," + ",".join(["0.5"] * 20) for p in ("p", "q") for year in (2016, 2017, 2018)]
    path = southern(tmp_path, 20)
    (tmp_path / "f.csv").write_text("\n".join([header, *rows]) + "\n")
    source = 'format = "wide"\nyear = "year"\ncalendar_start = "09-15"'
    path.write_text(path.read_text().replace('date = "d"', source))
    table = read(path)
    assert table.year.tolist() == [2017, 2018, 2019] * 2
    line = "season 2019: 2018-09-15 to 2019-04-02; it begins in the rows of 2018 of f.csv; it meets the yield of 2019"
    assert line in table.notes


def test_a_table_with_dates_says_which_days_a_season_has(tmp_path: Path) -> None:
    assert read(table(tmp_path)).notes == ("season 2020: 2019-10-01 to 2020-07-26",)


def test_a_calendar_says_which_days_the_season_of_a_place_has(tmp_path: Path) -> None:
    path = southern(tmp_path, 15)
    (tmp_path / "c.csv").write_text("place,sos,eos\np,10-01,02-28\nq,10-05,03-05\n")
    text = path.read_text().replace('season_start = "09-15"\n', "")
    path.write_text(text + '[[sources]]\nfiles = "c.csv"\ncalendar = {start = "sos", end = "eos"}\n')
    assert "season 2019 of p: 2018-10-01 to 2019-02-28; it meets the yield of 2019" in read(path).notes
