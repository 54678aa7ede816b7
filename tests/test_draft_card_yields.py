"""Which columns a drafted card takes for the yield, in which unit, and which ones it leaves out as known too late."""

from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest

from pipeline import draft_card
from pipeline.card import DatasetCard
from pipeline.sources import read

PLACES, YEARS, STEPS = ("a", "b", "c", "d", "e"), (2018, 2019, 2020, 2021), 8


def long_rows(first=(3, 1), years_before=0):
    """A long table whose seasons start in month and day `first`, in the calendar year `years_before` the harvest."""
    rng = np.random.default_rng(0)
    return pd.DataFrame([
        {"field": place, "year": year, "date": date(year - years_before, *first) + timedelta(16 * step),
         "ndvi": round(rng.uniform(0.1, 0.8), 3), "soil": 10 + at}
        for at, place in enumerate(PLACES) for year in YEARS for step in range(STEPS)
    ])  # fmt: skip


def seasonal(rows, seed=1, low=3, high=8):
    """A number for each place and year, repeated on all of its rows."""
    season = rows.groupby(["field", "year"]).ngroup().to_numpy()
    return np.random.default_rng(seed).uniform(low, high, season.max() + 1).round(2)[season]


def yield_rows(**columns):
    rows = pd.DataFrame([{"field": place, "year": year} for place in PLACES for year in YEARS])
    return rows.assign(**columns)


def drafted(tmp_path, **tables):
    """The text of the card of one CSV file per table."""
    for name, rows in tables.items():
        rows.to_csv(tmp_path / f"{name}.csv", index=False)
    files = [str(tmp_path / f"{name}.csv") for name in tables]
    assert draft_card.main([*files, "--out", str(tmp_path / "card.toml")]) == 0
    return (tmp_path / "card.toml").read_text(encoding="utf-8")


def variates_of(tmp_path):
    return [variate.name for variate in DatasetCard.load(tmp_path / "card.toml").variates]


@pytest.mark.parametrize(
    "name",
    ["yield_dt", "harvest_kg", "Production_t", "biomass_at_harvest", "grain_number", "Erntemenge", "producción",
     "récolte_t", "colheita", "Kornertrag"],
)  # fmt: skip
@pytest.mark.parametrize("years", [YEARS, YEARS[:1]], ids=["years", "one year"])
def test_amounts_of_the_harvest_are_neither_variates_nor_static(tmp_path, name, years):
    rows = long_rows().query("year in @years").reset_index(drop=True)
    rows["yield"] = seasonal(rows)
    rows[name] = rows["yield"] * 10
    text = drafted(tmp_path, s=rows)
    assert variates_of(tmp_path) == ["ndvi"]
    assert 'static = ["soil"]' in text
    asked = [line for line in text.splitlines() if name in line]
    assert len(asked) == 1
    assert asked[0].startswith("# QUESTION: ")
    assert "known only after the season" in asked[0]
    assert 'column = "yield"' in text
    assert len(read(tmp_path / "card.toml")) == len(PLACES) * len(years)


def test_numbered_yields_are_no_steps_of_a_variate(tmp_path):
    rows = yield_rows(**{f"ndvi_{step}": np.linspace(0.1, 0.8, 20) for step in range(12)})
    rows = rows.assign(**{f"yield_{lag}": np.linspace(3, 6, 20) for lag in (1, 2, 3)})
    text = drafted(tmp_path, s=rows)
    assert variates_of(tmp_path) == ["ndvi"]
    assert "yield_1, yield_2, yield_3 of s.csv may all be the yield" in text


@pytest.mark.parametrize("name", ["gross_primary_production", "days_to_harvest"])
def test_series_that_only_sound_like_an_amount_stay_variates(tmp_path, name):
    rows = long_rows()
    rows["yield"] = seasonal(rows)
    rows[name] = np.random.default_rng(2).uniform(1, 9, len(rows))
    drafted(tmp_path, s=rows)
    assert variates_of(tmp_path) == ["ndvi", name]


@pytest.mark.parametrize(
    ("first", "years_before", "unnamed"),
    [((3, 1), 0, []), ((10, 1), 1, []), ((10, 1), 1, ["year"])],
    ids=["one calendar year", "over New Year", "over New Year, only dates"],
)
def test_a_column_with_one_number_per_season_is_no_series(tmp_path, first, years_before, unnamed):
    rows = long_rows(first, years_before)
    rows["nitrogen"] = seasonal(rows)
    rows.loc[3, "nitrogen"] = np.nan
    rows["yield"] = 5.0
    rows = rows.drop(columns=unnamed)
    text = drafted(tmp_path, s=rows)
    assert variates_of(tmp_path) == ["ndvi"]
    assert "# QUESTION: nitrogen of s.csv: left out. It has one number per season, so it is no series" in text
    assert 'static = ["soil"]' in text
    (tmp_path / "card.toml").write_text(text.replace('static = ["soil"', 'static = ["nitrogen", "soil"'))
    assert read(tmp_path / "card.toml").static.shape[1] == 2


def test_a_series_that_changes_within_the_seasons_stays_one(tmp_path):
    rows = long_rows()
    rows["yield"] = seasonal(rows)
    first_half = rows.groupby(["field", "year"]).cumcount() < STEPS // 2
    rows["snow"] = np.where(first_half, 1, 0)
    text = drafted(tmp_path, s=rows)
    assert variates_of(tmp_path) == ["ndvi", "snow"]
    assert "left out" not in text


@pytest.mark.parametrize(
    "name",
    ["yield_forecast_june", "expected_yield", "yieldPredicted", "yield_est", "Ertragsprognose", "rendement_prévision",
     "pronóstico rendimiento", "yield_avg", "mean_yield", "yield_5yr", "Durchschnittsertrag", "yield (estimated)"],
)  # fmt: skip
def test_a_forecast_or_an_average_is_taken_only_if_there_is_no_other_yield_and_then_asked_about(tmp_path, name):
    years = yield_rows(**{name: 5.1, "yield_final": 5.2})
    series = long_rows()
    text = drafted(tmp_path, s=series, y=years)
    assert 'column = "yield_final"' in text
    assert f"yield_final is taken (by their names no measured yields: {name})" in text
    (tmp_path / "card.toml").unlink()
    text = drafted(tmp_path, s=series, y=years.drop(columns="yield_final"))
    assert f'column = "{name}"' in text
    assert f"# QUESTION: {name} of y.csv is taken for the yield, but its name has " in text
    assert "Is it the yield that was measured in this season?" in text


@pytest.mark.parametrize("name", ["yield", "yield_test", "best_yield", "meaningful_yield", "yield_2019", "YieldFinal"])
def test_other_words_in_the_name_of_a_yield_are_not_asked_about(tmp_path, name):
    text = drafted(tmp_path, s=long_rows(), y=yield_rows(**{name: 5.1}))
    assert f'column = "{name}"' in text
    assert "was measured" not in text


@pytest.mark.parametrize(
    ("area", "name", "mass"),
    [("ha", "yield_t", "t"), ("hectares", "Yield (tonnes)", "t"), ("Fläche", "Ertrag_kg", "kg"),
     ("field_area", "yield_dt", "dt"), ("acres", "yield_bu", "bu")],
)  # fmt: skip
@pytest.mark.parametrize("size", [2, 60], ids=["small", "large"])
def test_a_mass_beside_an_area_may_be_a_total_and_gets_no_unit(tmp_path, capsys, area, name, mass, size):
    years = yield_rows(**{area: np.linspace(1, 2, 20), name: np.linspace(3, 6, 20) * size})
    text = drafted(tmp_path, s=long_rows(), y=years)
    assert f"# QUESTION: is {name} a total of the whole area? Its name has {mass} but no area" in text
    assert f"# Column {area} may be that area. If it is a total, divide it by {area} first." in text
    assert "\nunit = " not in text
    assert "names neither `unit` nor `factor`" in capsys.readouterr().out
    commented = text.replace(f'# unit = "{mass}/', f'unit = "{mass}/')
    assert len(text) - len(commented) == 2


@pytest.mark.parametrize(
    ("other", "name", "unit"),
    [("ha", "yield_t_ha", "t/ha"), ("ha", "yield", "t/ha"), ("n_kg_per_ha", "yield_t", "t/ha"),
     ("leaf_area_index", "yield_t", "t/ha"), ("clay", "yield_t", "t/ha")],
)  # fmt: skip
def test_a_yield_per_area_or_without_an_area_beside_it_keeps_its_unit(tmp_path, other, name, unit):
    years = yield_rows(**{other: np.linspace(1, 2, 20), name: np.linspace(3, 6, 20)})
    text = drafted(tmp_path, s=long_rows(), y=years)
    assert f'\nunit = "{unit}" # QUESTION: is it' in text
    assert "total" not in text


@pytest.mark.parametrize("column", ["season", "crop_season", "Jahr"])
@pytest.mark.parametrize("form", ["{}/{:02}", "{}-20{:02}"])
def test_a_season_of_two_years_is_a_year_and_no_kind_of_row(tmp_path, capsys, column, form):
    years = yield_rows(**{"yield": np.linspace(3, 6, 20)})
    years[column] = [form.format(year - 1, year % 100) for year in years.pop("year")]
    text = drafted(tmp_path, s=long_rows().drop(columns="year"), y=years)
    assert "keep" not in text
    assert f'year = "{column}" # QUESTION: ' in text
    assert f"# QUESTION: column {column} holds '{form.format(2017, 18)}', but a year is one number" in text
    assert form.format(2017, 18) in capsys.readouterr().out


def test_a_season_beside_a_year_is_no_kind_of_row(tmp_path):
    years = yield_rows(**{"yield": np.linspace(3, 6, 20)})
    years["season"] = [f"{year - 1}/{year % 100}" for year in years.year]
    text = drafted(tmp_path, s=long_rows(), y=years)
    assert "keep" not in text
    assert "column season" not in text
    assert len(read(tmp_path / "card.toml")) == 20


def test_a_year_of_two_digits_is_named_with_what_to_write(tmp_path, capsys):
    years = yield_rows(**{"yield": np.linspace(3, 6, 20)})
    years["year"] -= 2000
    text = drafted(tmp_path, s=long_rows(), y=years)
    assert "# QUESTION: column year holds 18, but a year needs four digits, such as 2018" in text
    said = capsys.readouterr().out
    assert "column year: the year 18 is not a whole number" in said


@pytest.mark.parametrize(("mark", "written"), [(1e20, "1e20"), (-9999, "-9999")])
def test_a_mark_is_written_as_a_person_would_and_read_as_missing(tmp_path, mark, written):
    rows = long_rows()
    rows.loc[[5, 17, 40], "ndvi"] = mark
    text = drafted(tmp_path, s=rows, y=yield_rows(**{"yield": 5.0 + np.arange(20) / 10}))
    assert f"missing = [{written}] # QUESTION" in text
    table = read(tmp_path / "card.toml")
    assert int(np.isnan(table.values).sum()) == 3


STATISTICS = {
    "Value of NASS": (
        "County,Year,Period,Commodity,Data Item,Value,State ANSI",
        '{place},{year},YEAR,CORN,"CORN, GRAIN - YIELD, MEASURED IN BU / ACRE",{number},17',
        "Value",
    ),
    "Value of FAOSTAT": (
        "Area,Area Code (M49),Element Code,Element,Item Code (CPC),Item,Year Code,Year,Unit,Value",
        "{place},100,5510,Area harvested,111,Wheat,{year},{year},ha,{area}\n"
        "{place},100,5419,Yield,111,Wheat,{year},{year},kg/ha,{number}",
        "Value",
    ),
    "OBS_VALUE of Eurostat": ("geo,TIME_PERIOD,crops,OBS_VALUE", "{place},{year},C1100,{number}", "OBS_VALUE"),
    "a crop and a unit": ("Kreis,Jahr,Winterweizen (dt/ha)", "{place},{year},{number}", "Winterweizen (dt/ha)"),
}


@pytest.mark.parametrize("kind", STATISTICS)
def test_a_column_that_may_be_the_yield_is_named_and_filled_in(tmp_path, capsys, kind):
    header, row, column = STATISTICS[kind]
    keys = [(place, year) for place in PLACES for year in YEARS]
    lines = [row.format(place=p, year=y, number=60 + 3 * at, area=900 - at) for at, (p, y) in enumerate(keys)]
    (tmp_path / "y.csv").write_text(header + "\n" + "\n".join(lines) + "\n")
    long_rows().drop(columns="soil").to_csv(tmp_path / "s.csv", index=False)
    files = [str(tmp_path / name) for name in ("s.csv", "y.csv")]
    assert draft_card.main([*files, "--out", str(tmp_path / "card.toml")]) == 0
    text = (tmp_path / "card.toml").read_text()
    assert f"# QUESTION: no column is called a yield; is it {column}? In which unit?" in text
    assert f'# column = "{column}"' in text
    assert f"It cannot be read yet: {tmp_path / 'y.csv'}: no column is called a yield; is it" in capsys.readouterr().out
    assert "Element Code" not in text
    assert "Year Code" not in text
    assert "YEAR" not in text
    if "FAOSTAT" in kind:
        assert "QUESTION: Area Code (M49): codes of places" in text
        assert '# keep = { Element = "Yield" }' in text
        text = text.replace("# keep = { Element", "keep = { Element")
    for line in ("[sources.target]", f'column = "{column}"', "unit ="):
        text = text.replace(f"# {line}", line)
    (tmp_path / "card.toml").write_text(text.replace('unit = "..."', 'unit = "dt/ha"'))
    assert len(read(tmp_path / "card.toml")) == len(keys)


def test_a_value_of_each_date_is_a_series_and_a_named_yield_goes_first(tmp_path):
    rows = long_rows().rename(columns={"ndvi": "Value"})
    text = drafted(tmp_path, s=rows, y=yield_rows(**{"N (kg/ha)": 120.0, "yield": np.linspace(3, 8, 20)}))
    assert "no column is called a yield" not in text
    assert variates_of(tmp_path) == ["Value"]


def test_a_likely_yield_is_no_static_number(tmp_path):
    rows = long_rows().query("year == 2018").reset_index(drop=True)
    text = drafted(tmp_path, s=rows.assign(**{"Mais (t/ha)": seasonal(rows)}))
    assert "is it Mais (t/ha)? In which unit?" in text
    assert 'static = ["soil"]' in text


@pytest.mark.parametrize("name", ["Rendimento medio (kg/ha)", "yld", "yld_t_ha"])
def test_other_words_for_a_yield(tmp_path, name):
    assert f'column = "{name}"' in drafted(tmp_path, s=long_rows(), y=yield_rows(**{name: np.linspace(3, 8, 20)}))
