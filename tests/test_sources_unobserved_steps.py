"""Steps of the season at which no sample has a value are reported, as misread dates leave such steps."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import InputError
from pipeline.sources import read
from pipeline.sources.checks.unobserved_steps import unobserved_steps

CARD = """name = "n"
format = "long"
files = "f.csv"
date = "d"
step_days = 10
season_start = "04-01"
season_steps = 12
variates = [{name = "a"}, {name = "b"}]
target = {column = "t", unit = "t/ha"}
"""
PLACES, YEARS = ("p", "q", "r"), (2018, 2019, 2020)


def table(folder: Path, steps: Collection[int]) -> Path:
    """Three places in three years, with one row per step; b is measured at every other of these steps."""
    rows = [
        f"{place},{date(year, 4, 1) + timedelta(10 * step)},{0.1 + step / 50},{0.5 if step % 2 else ''},{year - 2015}"
        for place in PLACES
        for year in YEARS
        for step in steps
    ]
    (folder / "f.csv").write_text("place,d,a,b,t\n" + "\n".join(rows) + "\n")
    (folder / "card.toml").write_text(CARD)
    return folder / "card.toml"


def reported(folder: Path, steps: Collection[int], *, for_prediction: bool = False) -> str:
    found = read(table(folder, steps), for_prediction=for_prediction).describe_findings()
    return next((line for line in found.splitlines() if "no value in any sample" in line), "")


@pytest.mark.parametrize(
    ("steps", "named", "question", "settled"),
    [
        (range(9), "3 of 12 steps have no value in any sample: steps 9 to 11", "longer than the data", "steps = 9"),
        (range(4), "8 of 12 steps have no value in any sample: steps 4 to 11", "longer than the data", ""),
        (range(2, 12), "2 of 12 steps have no value in any sample: steps 0 to 1", "start before the data", ""),
        ([*range(5), *range(6, 12)], "1 of 12 steps has no value in any sample: step 5", "rows missing", ""),
        (range(0, 12, 3), "8 of 12 steps have no value in any sample: steps 1 to 2, 4 to 5, 7 to 8, ...",
         "step_days", ""),
    ],
)  # fmt: skip
def test_steps_without_a_value_are_named(
    tmp_path: Path, steps: Iterable[int], named: str, question: str, settled: str
) -> None:
    line = reported(tmp_path, [*steps])
    assert line.startswith("warning: " + named)
    assert question in line
    assert ("season_steps = " in line) == bool(settled)
    assert settled in line


def test_a_variate_that_some_steps_lack_is_no_reason_for_it(tmp_path: Path) -> None:
    assert reported(tmp_path, range(12)) == ""


def test_a_season_that_is_under_way_is_read_for_prediction_without_it(tmp_path: Path) -> None:
    assert reported(tmp_path, range(5), for_prediction=True) == ""


def test_a_step_that_one_sample_has_is_observed() -> None:
    values = np.full((4, 2, 6), np.nan, np.float32)
    values[3, 1, :5] = 0.5
    (found,) = unobserved_steps(values)
    assert "step 5, counted from 0" in found.sentence
    values[0, 0, 5] = 0.5
    assert unobserved_steps(values) == ()


def test_rows_from_the_start_of_the_season_on_may_end_it_before_new_year(tmp_path: Path) -> None:
    rows = [f"{place},{year},{month},0.{month},3" for place in PLACES for year in YEARS for month in range(4, 11)]
    (tmp_path / "f.csv").write_text("place,y,m,a,t\n" + "\n".join(rows) + "\n")
    keys = 'year = "y"\nstep = "m"\nstep_days = "month"\nseason_start = "04-01"\n'
    card = 'name = "n"\nformat = "long"\nfiles = "f.csv"\n{}variates = [{{name = "a"}}]\n'
    card += 'target = {{column = "t", unit = "t/ha"}}\n'
    (tmp_path / "card.toml").write_text(card.format(keys))
    with pytest.raises(InputError, match=r"No row lies before the season's first step.*set season_steps = 7"):
        read(tmp_path / "card.toml")
    (tmp_path / "card.toml").write_text(card.format(keys + "season_steps = 7\n"))
    answered = read(tmp_path / "card.toml")
    assert answered.observed.all()
    assert answered.year.tolist() == [*YEARS] * 3
    (tmp_path / "card.toml").write_text(card.format(keys + 'step_year = "calendar"\n'))
    assert "5 of 12 steps have no value" in read(tmp_path / "card.toml").describe_findings()
