"""Yields of one year that were carried forward to the next one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.sources import read
from pipeline.sources.checks.copied_years import copied_years

PLACES, YEARS = 12, range(2016, 2022)


def yields(decimals: int = 2) -> np.ndarray:
    """Yields [places, years] in t/ha."""
    return np.random.default_rng(0).normal(6, 1, (PLACES, len(YEARS))).round(decimals)


def told(target: np.ndarray) -> str:
    place = np.repeat([f"p{p:02}" for p in range(len(target))], len(YEARS))
    found = copied_years(place, np.tile([*YEARS], len(target)), target.ravel())
    return "\n".join(f"{one.severity}: {one.sentence} {one.card_line}" for one in found)


def test_a_year_of_copied_yields_is_reported() -> None:
    target = yields()
    target[:, 5] = target[:, 4]
    text = told(target)
    assert text.startswith("warning: The yields of 2021 equal those of 2020 at 12 of 12 places")
    assert "year = 2021" in text
    target[3, 5] = np.nan
    target[4, 5] += 0.1
    assert "at 10 of 11 places" in told(target)


@pytest.mark.parametrize("decimals", [0, 1, 2])
def test_yields_of_their_own_are_not_reported_whatever_their_rounding(decimals: int) -> None:
    assert told(yields(decimals)) == ""


def test_yields_that_never_change_or_are_one_for_all_places_are_not_reported() -> None:
    assert told(np.repeat(yields()[:, :1], len(YEARS), axis=1)) == ""
    assert told(np.where(np.arange(len(YEARS)) > 3, 5.0, yields())) == ""
    few = yields()[:4]
    few[:, 5] = few[:, 4]
    assert told(few) == ""


def test_the_finding_is_one_of_the_table_unless_it_is_read_for_prediction(tmp_path: Path) -> None:
    target = yields()
    target[:, 5] = target[:, 4]
    rows = [f"p{p},{y},0.{2 + p},0.{3 + i},{target[p, i]}" for p in range(PLACES) for i, y in enumerate(YEARS)]
    (tmp_path / "f.csv").write_text("\n".join(["place,year,a_0,a_1,t", *rows]) + "\n")
    (tmp_path / "card.toml").write_text(
        'name = "n"\nformat = "wide"\nfiles = "f.csv"\nyear = "year"\nvariates = [{name = "a"}]\n'
        '[target]\ncolumn = "t"\nunit = "t/ha"\n'
    )
    assert "The yields of 2021 equal those of 2020" in read(tmp_path / "card.toml").describe_findings()
    assert "equal those" not in read(tmp_path / "card.toml", for_prediction=True).describe_findings()
