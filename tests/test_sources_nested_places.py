"""Places that contain other places: a country among its regions, a level of codes beside the finer one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.sources import read
from pipeline.sources.checks.nested_places import nested_places

YEARS = range(2015, 2022)


def yields(places: list[str], seed: int = 0, digits: int = 2, common: float = 0.1) -> pd.DataFrame:
    """Yields with a level per place, a common course of years and noise."""
    rng = np.random.default_rng(seed)
    course = rng.normal(0, common, len(YEARS))
    rows = [
        (place, year, round(level + 6 * course[t] + rng.normal(0, 0.4), digits))
        for place, level in zip(places, rng.normal(6, 0.8, len(places)), strict=True)
        for t, year in enumerate(YEARS)
    ]
    return pd.DataFrame(rows, columns=["place", "year", "yield"])


def summed(frame: pd.DataFrame, name: str, digits: int = 2, begins: str = "") -> pd.DataFrame:
    """The mean of the yields of the places whose names begin so, as a place of its own."""
    mean = frame[frame.place.str.startswith(begins)].groupby("year", as_index=False)["yield"].mean().round(digits)
    return pd.concat([frame, mean.assign(place=name)])


def found(frame: pd.DataFrame) -> str:
    columns = (frame.place.to_numpy(str), frame.year.to_numpy(), frame["yield"].to_numpy(float))
    return "\n".join(f"{one.sentence} {one.card_line}" for one in nested_places(*columns))


REGIONS = ["Bahia", "Goias", "Ceara", "Acre", "Para", "Parana", "Amapa", "Piaui"]


@pytest.mark.parametrize("digits", [1, 2, 6])
def test_a_place_with_the_mean_of_all_others_is_named(digits: int) -> None:
    told = found(summed(yields(REGIONS, digits=digits), "Brasil", digits))
    assert "Place Brasil seems to sum up the table" in told
    assert '[[exclude]]\nplace = "Brasil"' in told


def test_a_stored_unit_and_a_year_without_some_places_change_nothing() -> None:
    frame = yields(REGIONS)
    frame = frame[~((frame.place == "Acre") & (frame.year == 2018))]
    frame["yield"] *= 1000
    assert "Place Brasil seems" in found(summed(frame, "Brasil", 0))


@pytest.mark.parametrize("years", [2, 3])
def test_few_years_or_few_places_show_no_sum(years: int) -> None:
    frame = summed(yields(REGIONS), "Brasil")
    assert found(frame[frame.year < 2015 + years]) == ""
    assert found(summed(yields(REGIONS[:4]), "Brasil")) == ""


@pytest.mark.parametrize("digits", [0, 1, 3])
def test_independent_places_raise_no_alarm(digits: int) -> None:
    for seed in range(60):
        assert found(yields([f"place {i}" for i in range(40)], seed, digits)) == ""
    assert found(yields([f"place {i}" for i in range(3000)], digits=digits)) == ""


def test_equal_yields_of_a_year_are_no_means() -> None:
    frame = yields(REGIONS)
    assert found(frame.assign(**{"yield": frame.groupby("year")["yield"].transform("first")})) == ""


NUTS = ["DE11", "DE12", "DE13", "DE21", "DE22", "DE23"]


def test_two_levels_of_codes_are_named() -> None:
    frame = yields(NUTS)
    for begins in ("DE1", "DE2"):
        frame = pd.concat([frame, summed(yields(NUTS), begins, begins=begins).query(f"place == '{begins}'")])
    told = found(frame)
    assert "Places DE1, DE2 seem to contain other places of the table: 3 codes, such as DE11 and DE12, begin" in told
    counties = [f"{state}{number:03}" for state in (17, 18) for number in (1, 3, 5)]
    assert "Place 17 seems to contain" in found(summed(yields(counties), "17", begins="17"))


@pytest.mark.parametrize("pattern", ["F{}", "AB{}", "{}", "field {}", "{:03}", "DE{}"])
def test_counted_names_are_no_levels(pattern: str) -> None:
    names = [pattern.format(i) for i in range(1, 131)]
    for seed in range(5):
        frame = yields(names, seed)
        # All yields near each other: every one lies between those of others.
        assert found(frame.assign(**{"yield": frame["yield"].round(0)})) == ""
    assert found(yields(["DE1", *NUTS])[lambda t: t.place != "DE1"]) == ""


def test_a_code_whose_yields_are_not_between_those_of_the_longer_ones_is_a_place() -> None:
    frame = yields(NUTS)
    alone = frame[frame.place == "DE11"].assign(place="DE1", **{"yield": lambda t: t["yield"] + 4})
    assert found(pd.concat([frame, alone])) == ""


def test_a_table_that_is_read_has_the_warning(tmp_path: Path) -> None:
    frame = summed(yields(REGIONS), "Brasil")
    rng = np.random.default_rng(1)
    for step in range(1, 13):
        frame[f"ndvi_{step}"] = rng.uniform(0.2, 0.8, len(frame)).round(3)
    frame.to_csv(tmp_path / "t.csv", index=False)
    card = 'name = "t"\nformat = "wide"\nfiles = "t.csv"\nyear = "year"\nstep_days = "month"\n'
    card += 'variates = [{ name = "ndvi" }]\ntarget = { column = "yield", unit = "t/ha" }\n'
    (tmp_path / "card.toml").write_text(card)
    assert "warning: Place Brasil seems to sum up the table" in read(tmp_path / "card.toml").describe_findings()
    assert "Brasil" not in read(tmp_path / "card.toml", for_prediction=True).describe_findings()
