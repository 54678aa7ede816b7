"""Codes of two levels, such as Länder (01) and Kreise (01001), of which a spreadsheet dropped leading zeros."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import InputError
from pipeline.sources import read
from tests.joined_sources import HEAD, TARGET, dated, read_card, series_yields_and_soil

KREISE = ("01001", "01002", "09161", "11000")
YEARS = (2018, 2019, 2020, 2021)


def without_zeros(place: pd.Series, year: pd.Series) -> pd.Series:
    """The codes as a spreadsheet shows them in the second half of the years."""
    return place.where(year < YEARS[2], place.str.lstrip("0"))


def frames() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Series of four Kreise, and their yields beside those of two Länder."""
    series, yields, _ = series_yields_and_soil()
    for frame in (series, yields):
        frame["place"] = frame["place"].map(dict(zip(("p1", "p2", "p3", "p4"), KREISE, strict=True)))
    laender = pd.DataFrame(
        {"place": np.repeat(["01", "11"], len(YEARS)), "year": [*YEARS] * 2, "harvest": np.arange(5, 9, 0.5)}
    )
    return series, pd.concat([yields, laender])


def test_yields_of_two_levels_meet_the_series_of_one(tmp_path: Path) -> None:
    series, yields = frames()
    series.to_csv(tmp_path / "ndvi.csv", index=False)
    yields.assign(place=without_zeros(yields["place"], yields["year"])).to_csv(tmp_path / "yields.csv", index=False)
    table = read_card(tmp_path, HEAD + dated("ndvi") + TARGET)
    assert sorted(table.sample_id.tolist()) == sorted(f"{place}|{year}" for place in KREISE for year in YEARS)
    assert "1001 as 01001" in table.describe_findings()


def test_one_file_of_two_levels_has_each_place_once(tmp_path: Path) -> None:
    series, yields = frames()
    one = series.merge(yields, on=["place", "year"])
    one = pd.concat([one, one[one["place"] == "01001"].assign(place="01")])
    one.assign(place=without_zeros(one["place"], one["year"])).to_csv(tmp_path / "one.csv", index=False)
    keys = 'format = "long"\nfiles = "one.csv"\nyear = "year"\ndate = "date"\n[[variates]]\nname = "ndvi"\n'
    (tmp_path / "card.toml").write_text(HEAD + keys + '[target]\ncolumn = "harvest"\nunit = "t/ha"\n')
    table = read(tmp_path / "card.toml")
    assert sorted(set(table.place.tolist())) == sorted(["01", *KREISE])
    assert len(table) == 5 * len(YEARS)


def test_two_spellings_of_one_code_in_one_year_are_an_error_beside_shorter_codes(tmp_path: Path) -> None:
    series, yields = frames()
    pairs = {"11000": "1001", "09161": "02"}
    for name, frame in (("ndvi", series), ("yields", yields)):
        frame.assign(place=frame["place"].replace(pairs)).to_csv(tmp_path / f"{name}.csv", index=False)
    with pytest.raises(InputError, match=r"ndvi\.csv: places '1001' and '01001' both occur in 2018"):
        read_card(tmp_path, HEAD + dated("ndvi") + TARGET)
