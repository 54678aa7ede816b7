"""Files with rows of several crops, items or elements: reported or refused by the column's name, and `keep` chooses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import InputError
from pipeline.sources import read
from pipeline.sources.geometry import shapes_of
from pipeline.table import SeasonTable
from tests.joined_sources import HEAD, dated, read_card

PLACES, YEARS = [f"p{i}" for i in range(8)], range(2017, 2022)
DAYS = ["04-05", "05-05", "06-05", "07-05", "08-05"]
MONTHS = HEAD.replace("step_days = 10", 'step_days = "month"').replace("season_steps = 20", "season_steps = 5")
OFFICE = (
    '[[sources]]\nfiles = "office.csv"\nplace = "Area"\nyear = "Year"\n{keys}'
    'target = {{ column = "Value", unit = "t/ha" }}\n'
)
LONG = """name = "t"
format = "long"
files = "t.csv"
date = "date"
season_start = "04-01"
step_days = "month"
season_steps = 5
{keys}
[[variates]]
name = "ndvi"
[target]
column = "yield"
unit = "t/ha"
"""


def harvests() -> pd.DataFrame:
    rng = np.random.default_rng(2)
    pairs = pd.DataFrame([(place, year) for place in PLACES for year in YEARS], columns=["place", "year"])
    return pairs.assign(**{"yield": rng.uniform(4, 8, len(pairs)).round(2)})


def series() -> pd.DataFrame:
    rng = np.random.default_rng(3)
    rows = [(p, f"{y}-{day}", round(rng.uniform(0.2, 0.8), 3)) for p in PLACES for y in YEARS for day in DAYS]
    return pd.DataFrame(rows, columns=["place", "date", "ndvi"])


def office(item: list[str], element: str = "Yield", times: float = 1.0) -> pd.DataFrame:
    """Yields as a statistics office writes them, with the item of each row."""
    own = harvests()
    value = (times * own["yield"]).round(2)
    return pd.DataFrame({"Area": own.place, "Element": element, "Item": item, "Year": own.year, "Value": value})


def joined(folder: Path, frame: pd.DataFrame, keys: str = "", more: str = "") -> SeasonTable:
    series().to_csv(folder / "ndvi.csv", index=False)
    frame.to_csv(folder / "office.csv", index=False)
    return read_card(folder, MONTHS + dated("ndvi") + OFFICE.format(keys=keys) + more)


def warnings(table: SeasonTable) -> str:
    return "\n".join(one.sentence + one.card_line for one in table.findings if one.severity == "warning")


def by_place(other: str = "Soya beans") -> list[str]:
    return ["Maize" if place < "p4" else other for place in harvests().place]


def test_codes_of_crops_are_reported_and_named_where_two_rows_meet(tmp_path: Path) -> None:
    coded = office(["113" if item == "Maize" else "327" for item in by_place()]).rename(columns={"Item": "crop_code"})
    assert "column crop_code has 2 values among the yields, 113 and 327, and" in warnings(joined(tmp_path, coded))
    assert warnings(joined(tmp_path, coded, 'keep = { crop_code = "113" }\n')) == ""
    beside = coded.assign(crop=by_place())
    assert "crop_code" not in warnings(joined(tmp_path, beside))
    with pytest.raises(InputError, match=r"differ in crop_code \(113 / 327\).*keep = \{ crop_code = \"327\" \}"):
        joined(tmp_path, pd.concat([coded[coded.crop_code == "113"], coded.assign(crop_code="327", Value=2.5)]))


def test_two_items_of_different_places_are_reported_and_keep_chooses_one(tmp_path: Path) -> None:
    table = joined(tmp_path, office(by_place()))
    assert "office.csv: column Item has 2 values among the yields, Maize and Soya beans, and" in warnings(table)
    assert 'keep = { Item = "Maize" }' in warnings(table)
    chosen = joined(tmp_path, office(by_place()), 'keep = { Item = "Maize" }\n')
    assert set(chosen.place) == {"p0", "p1", "p2", "p3"}
    assert warnings(chosen) == ""
    both = joined(tmp_path, office(by_place()), 'keep = { Item = ["Maize", "Soya beans"] }\n')
    assert both.fingerprint() == table.fingerprint()
    assert warnings(both) == ""


def test_two_practices_of_different_years_are_reported_in_a_column_of_two_words(tmp_path: Path) -> None:
    items = ["CORN" if year < 2020 else "CORN, IRRIGATED" for year in harvests().year]
    frame = office(items).rename(columns={"Item": "Data Item"})
    assert 'keep = { "Data Item" = "CORN" }' in warnings(joined(tmp_path, frame))


@pytest.mark.parametrize("column", ["Remarks", "Area Code", "Flag"])
def test_other_columns_may_vary(tmp_path: Path, column: str) -> None:
    assert warnings(joined(tmp_path, office(by_place()).rename(columns={"Item": column}))) == ""


def test_numbers_years_and_many_values_are_no_kinds(tmp_path: Path) -> None:
    own = harvests()
    for items in ([*own.year.map("{0}/18".format)], [*own.year.astype(str)], [f"row {i}" for i in range(len(own))]):
        assert warnings(joined(tmp_path, office(items).rename(columns={"Item": "season"}))) == ""


def test_a_kind_among_rows_without_a_yield_is_not_reported(tmp_path: Path) -> None:
    frame = office(by_place())
    frame.loc[frame.Item != "Maize", "Value"] = np.nan
    assert "column Item" not in warnings(joined(tmp_path, frame))


def test_varieties_are_only_noted(tmp_path: Path) -> None:
    table = joined(tmp_path, office(by_place()).rename(columns={"Item": "Variety"}))
    assert warnings(table) == ""
    assert "column Variety has 2 values" in table.describe_findings()


def test_a_crop_column_of_a_long_table_is_reported_but_not_a_season_of_dates(tmp_path: Path) -> None:
    frame = series().assign(year=lambda t: t.date.str[:4].astype(int)).merge(harvests()).drop(columns="year")
    frame["crop"] = np.where(frame.place < "p3", "maize", "wheat")
    frame.to_csv(tmp_path / "t.csv", index=False)
    assert "t.csv: column crop has 2 values among the yields, maize and wheat" in warnings(
        read_card(tmp_path, LONG.format(keys=""))
    )
    chosen = read_card(tmp_path, LONG.format(keys='keep = { crop = "wheat" }'))
    assert set(chosen.place) == set(PLACES[3:])
    frame.rename(columns={"crop": "season"}).assign(
        season=np.where(frame.date.str[5:7] < "06", "spring", "summer")
    ).to_csv(tmp_path / "t.csv", index=False)
    assert warnings(read_card(tmp_path, LONG.format(keys=""))) == ""


def test_a_crop_column_of_a_wide_table_is_reported_with_and_without_a_card(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    own = harvests().query("year == 2020").drop(columns="year").rename(columns={"yield": "y2020"})
    for step in range(36):
        own[f"ndvi_{step:02}"] = rng.uniform(0.2, 0.8, len(own)).round(3)
    own["Crop"] = np.where(own.place < "p4", "maize", "wheat")
    own.to_csv(tmp_path / "fields_2020.csv", index=False)
    assert "column Crop has 2 values among the yields" in warnings(read(tmp_path / "fields_2020.csv"))
    card = 'name = "t"\nformat = "wide"\nfiles = "fields_2020.csv"\nkeep = { Crop = "maize" }\n'
    card += '[[variates]]\nname = "ndvi"\n[target]\ncolumn = "y2020"\nunit = "t/ha"\n'
    assert read_card(tmp_path, card).place.tolist() == PLACES[:4]


def test_items_of_the_history_are_reported_and_kept_too(tmp_path: Path) -> None:
    past = harvests().assign(year=lambda t: t.year - 10, crop=by_place())
    past.to_csv(tmp_path / "past.csv", index=False)
    more = '[history]\nfiles = "past.csv"\ncolumn = "yield"\nunit = "t/ha"\n'
    frame = office(["Maize"] * len(harvests()))
    assert "past.csv: column crop has 2 values" in warnings(joined(tmp_path, frame, more=more))
    table = joined(tmp_path, frame, more=more + 'keep = { crop = "Maize" }\n')
    assert set(table.history.place) == set(PLACES[:4])
    pd.concat([past, past.assign(crop="Barley", **{"yield": 3.0})]).to_csv(tmp_path / "past.csv", index=False)
    with pytest.raises(InputError, match=r"two known yields of place p0 .* differ in crop \(Maize / Barley\)"):
        joined(tmp_path, frame, more=more)


def test_two_elements_of_one_place_and_year_are_named_and_keep_chooses_one(tmp_path: Path) -> None:
    one, other = office(["Maize"] * len(harvests()), "Area harvested", 100), office(["Maize"] * len(harvests()))
    frame = pd.concat([one, other])
    with pytest.raises(InputError, match=r"These two rows differ in Element \(Area harvested / Yield\)") as caught:
        joined(tmp_path, frame)
    assert 'keep = { Element = "Yield" } in the dataset card' in str(caught.value)
    assert "counties in two states" not in str(caught.value)
    kept = joined(tmp_path, frame, 'keep = { Element = "Yield" }\n')
    assert kept.fingerprint() == joined(tmp_path, other).fingerprint()


def test_a_keep_that_no_row_has_is_refused_with_the_texts_of_the_column(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"column Element: `keep` .* 'yield' is wanted, and the column holds 'Yield'"):
        joined(tmp_path, office(["Maize"] * len(harvests())), 'keep = { Element = "yield" }\n')
    with pytest.raises(InputError, match="there is no column Elemnt; did you mean Element"):
        joined(tmp_path, office(["Maize"] * len(harvests())), 'keep = { Elemnt = "Yield" }\n')
    with pytest.raises(InputError, match="`keep` stands beside"):
        read_card(tmp_path, 'keep = { Element = "Yield" }\n' + MONTHS + dated("ndvi") + OFFICE.format(keys=""))
    with pytest.raises(InputError, match="has no rows to `keep`"):
        read_card(tmp_path, LONG.format(keys='keep = { a = "b" }').replace('"long"', '"netcdf"'))


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_series_of_two_products_are_reported_by_their_column(tmp_path: Path, ending: str) -> None:
    one = series().assign(Dataset="MOD13Q1")
    frame = pd.concat([one, one.assign(Dataset="MYD13Q1", ndvi=one.ndvi * 0.9)])
    harvests().rename(columns={"place": "Area", "year": "Year", "yield": "Value"}).to_csv(
        tmp_path / "office.csv", index=False
    )
    path = tmp_path / f"ndvi.{ending}"
    frame.to_csv(path, index=False) if ending == "csv" else frame.to_parquet(path, index=False)
    sources = dated("ndvi").replace(".csv", f".{ending}") + OFFICE.format(keys="")
    found = warnings(read_card(tmp_path, MONTHS + sources))
    assert "200 of 400 rows share place and date" in found
    assert "differ in Dataset (MOD13Q1 / MYD13Q1)" in found
    kept = read_card(
        tmp_path, MONTHS + sources.replace('date = "date"', 'date = "date"\nkeep = { Dataset = "MOD13Q1" }')
    )
    assert warnings(kept) == ""
    assert np.nanmax(kept.values) == np.float32(one.ndvi.max())


def test_two_wide_rows_of_one_sample_are_told_apart_by_a_column(tmp_path: Path) -> None:
    rows = ["place,year,sowing,a_0,a_1,t", "p,2020,early,1,2,3", "p,2020,late,2,3,4"]
    (tmp_path / "t.csv").write_text("\n".join(rows) + "\n")
    card = 'name = "t"\nformat = "wide"\nfiles = "t.csv"\nyear = "year"\nvariates = [{name = "a"}]\n'
    with pytest.raises(InputError, match=r"line 3: sample p\|2020 .* differ in sowing \(early / late\)"):
        read_card(tmp_path, card + 'target = {column = "t", unit = "t/ha"}\n')


def test_positions_and_states_are_read_from_the_kept_rows_only(tmp_path: Path) -> None:
    frame = series().assign(lat=50.0, lon=10.0, state="A", kind="mean")
    other = frame.assign(lat=51.0, state="B", kind="count", ndvi=9.0)
    pd.concat([other, frame]).merge(harvests().drop_duplicates("place")[["place", "yield"]]).to_csv(
        tmp_path / "t.csv", index=False
    )
    table = read_card(tmp_path, LONG.format(keys='keep = { kind = "mean" }\nlatitude = "lat"\nlongitude = "lon"'))
    assert "two of column state" not in warnings(table)
    assert shapes_of(tmp_path / "card.toml").known["p0"]["coordinates"] == [10.0, 50.0]


@pytest.mark.parametrize("parquet", [False, True])
def test_two_rows_that_keep_allows_name_its_column(tmp_path: Path, parquet: bool) -> None:
    one = office(["Maize"] * len(harvests()))
    frame = pd.concat([one, one.assign(Item="Wheat", Value=one.Value + 1)])
    series().to_csv(tmp_path / "ndvi.csv", index=False)
    card = MONTHS + dated("ndvi") + OFFICE.format(keys='keep = { Item = ["Maize", "Wheat"] }\n')
    if parquet:
        frame.to_parquet(tmp_path / "office.parquet", index=False)
        card = card.replace("office.csv", "office.parquet")
    else:
        frame.to_csv(tmp_path / "office.csv", index=False)
    with pytest.raises(InputError) as caught:
        read_card(tmp_path, card)
    assert "differ in Item (Maize / Wheat)" in str(caught.value)
    assert 'keep = { Item = "Wheat" }' in str(caught.value)
    assert '["state", "county"]' not in str(caught.value)
