"""Several sources of one card: the same table as the one file they were cut from, whatever form each has."""

from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.card import DatasetCard
from pipeline.errors import InputError
from pipeline.sources import aggregate
from pipeline.sources.geometry import shapes_of
from pipeline.sources.times.calendar import Calendar
from tests.joined_sources import (
    CALENDAR,
    HEAD,
    PLACES,
    SOIL,
    TARGET,
    YEARS,
    cut,
    dated,
    read_card,
    series_yields_and_soil,
    write_frames,
)


@pytest.fixture(scope="module")
def frames():
    return series_yields_and_soil()


@pytest.fixture
def folder(tmp_path, frames):
    return write_frames(tmp_path, frames)


@pytest.fixture
def one_file(folder, frames):
    """The same data as one long file, read as ever."""
    series, yields, soil = frames
    series.merge(yields, on=["place", "year"]).merge(soil, on="place").to_csv(folder / "one.csv", index=False)
    card = HEAD + (
        'format = "long"\nfiles = ["one.csv"]\nyear = "year"\ndate = "date"\nstatic = ["clay"]\n'
        '[target]\ncolumn = "harvest"\nunit = "t/ha"\n[[variates]]\nname = "ndvi"\n[[drivers]]\nname = "rain"\n'
    )
    return read_card(folder, card)


def test_sources_of_dates_make_the_table_of_the_one_file(folder, frames, one_file):
    for name in ("ndvi", "rain"):
        cut(folder, frames, name)
    table = read_card(folder, HEAD + dated("ndvi") + dated("rain", "drivers") + TARGET + SOIL)
    assert table.fingerprint() == one_file.fingerprint()
    assert table.describe_counts() == one_file.describe_counts()


def test_a_source_of_wide_rows_and_one_of_numbered_steps_meet_on_the_same_grid(folder, frames, one_file):
    series = frames[0]
    wide = series.pivot(index=["place", "year"], columns="step", values="ndvi")
    wide.columns = [f"ndvi_{step:02}" for step in wide.columns]
    wide.reset_index().to_csv(folder / "ndvi.csv", index=False)
    cut(folder, frames, "rain", ("place", "year", "step"))
    table = read_card(
        folder,
        HEAD + TARGET + SOIL
        + '[[sources]]\nfiles = "ndvi.csv"\nformat = "wide"\nyear = "year"\ncalendar_start = "04-01"\n'
        + 'variates = [{ name = "ndvi" }]\n'
        + '[[sources]]\nfiles = "rain.csv"\nyear = "year"\nstep = "step"\nfirst_step = 0\ncalendar_start = "04-01"\n'
        + 'drivers = [{ name = "rain" }]\n',
    )  # fmt: skip
    assert table.fingerprint() == one_file.fingerprint()


def test_each_source_has_its_own_names_scale_offset_marks_and_form(folder, frames, one_file):
    series, yields, _ = frames
    stored = pd.DataFrame({"Kreis": series.place, "Tag": series.date, "wert": (series.ndvi * 200 + 50)})
    stored.loc[len(stored)] = ["p1", date(2018, 4, 2), -9999]
    stored.to_csv(folder / "ndvi.csv", index=False, sep=";", decimal=",")
    cut(folder, frames, "rain")
    yields.rename(columns={"place": "name", "year": "Jahr"}).to_csv(folder / "yields.csv", index=False)
    table = read_card(
        folder,
        HEAD + dated("rain", "drivers") + SOIL
        + '[[sources]]\nfiles = "ndvi.csv"\nplace = "Kreis"\ndate = "Tag"\nmissing = [-9999]\n'
        + 'variates = [{ name = "ndvi", column = "wert", scale = 0.005, offset = -0.25 }]\n'
        + '[[sources]]\nfiles = "yields.csv"\nplace = "name"\nyear = "Jahr"\n'
        + 'target = { column = "harvest", unit = "t/ha" }\n',
    )  # fmt: skip
    np.testing.assert_allclose(table.values, one_file.values, atol=1e-6)
    np.testing.assert_array_equal(table.observed, one_file.observed)
    np.testing.assert_array_equal(table.drivers, one_file.drivers)
    assert table.notes[0].startswith("ndvi.csv: read with semicolons between columns, with decimal commas")


def test_a_month_stands_at_the_step_in_which_it_ends(folder, frames):
    """What covers several steps of the card is known at the end of its last day, and not before."""
    cut(folder, frames, "ndvi")
    months = pd.DataFrame(
        [{"place": p, "year": y, "step": m, "rain": m} for p in PLACES for y in YEARS for m in range(1, 13)]
    )
    months.to_csv(folder / "rain.csv", index=False)
    table = read_card(
        folder,
        HEAD + dated("ndvi") + TARGET
        + '[[sources]]\nfiles = "rain.csv"\nyear = "year"\nstep = "step"\nstep_days = "month"\n'
        + 'drivers = [{ name = "rain" }]\n',
    )  # fmt: skip
    known = {int(step): float(table.drivers[0, 0, step]) for step in np.flatnonzero(table.drivers_observed[0, 0])}
    # 30 April is day 29 from 1 April on, 31 May day 60, and so on.
    assert known == {2: 4.0, 6: 5.0, 9: 6.0, 12: 7.0, 15: 8.0, 18: 9.0}


def test_a_date_with_its_own_step_days_stands_at_the_end_of_its_step(folder, frames):
    cut(folder, frames, "ndvi")
    months = [{"place": p, "date": f"{y}-{m:02d}-01", "rain": m} for p in PLACES for y in YEARS for m in range(1, 13)]
    pd.DataFrame(months).to_csv(folder / "rain.csv", index=False)

    def known(keys):
        table = read_card(folder, HEAD + dated("ndvi") + TARGET + dated("rain", "drivers", keys))
        steps = np.flatnonzero(table.drivers_observed[0, 0])
        asked = [one for one in table.findings if "All dates of rain.csv are the first of a month" in one.sentence]
        return {int(step): float(table.drivers[0, 0, step]) for step in steps}, len(asked)

    on_their_day = {0: 4.0, 3: 5.0, 6: 6.0, 9: 7.0, 12: 8.0, 15: 9.0, 18: 10.0}
    assert known("") == (on_their_day, 1)
    assert known("step_days = 1") == (on_their_day, 0)
    pd.DataFrame(months).query("date.str.contains('-01-01')").to_csv(folder / "rain.csv", index=False)
    assert known("")[1] == 0  # one number a year
    pd.DataFrame(months).to_csv(folder / "rain.csv", index=False)
    # As numbered months do: 30 April is day 29 from 1 April on, 31 May day 60, and so on.
    assert known('step_days = "month"') == ({2: 4.0, 6: 5.0, 9: 6.0, 12: 7.0, 15: 8.0, 18: 9.0}, 0)
    # The first dekad of a month ends on its 10th, and 16 days from its first on its 16th.
    assert known('step_days = "dekad"') == ({0: 4.0, 3: 5.0, 7: 6.0, 10: 7.0, 13: 8.0, 16: 9.0, 19: 10.0}, 0)
    assert known("step_days = 16") == ({1: 4.0, 4: 5.0, 7: 6.0, 10: 7.0, 13: 8.0, 16: 9.0, 19: 10.0}, 0)


def test_what_does_not_meet_is_reported_with_three_names_of_each_kind(folder, frames):
    _, yields, _ = frames
    cut(folder, frames, "ndvi")
    extra = pd.DataFrame({"place": [f"x{n}" for n in range(5)], "year": 2018, "harvest": 5.0})
    pd.concat([yields[~((yields.place == "p1") & (yields.year == 2018))], extra]).to_csv(
        folder / "yields.csv", index=False
    )
    pd.DataFrame({"place": ["p2", "p3", "q"], "clay": [1.0, 2.0, 3.0]}).to_csv(folder / "soil.csv", index=False)
    table = read_card(folder, HEAD + dated("ndvi") + TARGET + SOIL)
    assert len(table) == 15
    assert table.notes == (
        "joined by place and season: 15 place-years of 4 places have series and a yield",
        "season 2021: 2021-04-01 to 2021-10-17; it meets the yield of 2021",
        "  ndvi.csv (ndvi): 4 places, 16 place-years; 15 met (p1 2019, p1 2020, p1 2021, ...); 1 did not (p1 2018)",
        "  yields.csv (yield): 9 places, 20 place-years; 15 met (p1 2019, p1 2020, p1 2021, ...); "
        "5 did not (x0 2018, x1 2018, x2 2018, ...)",
        "  soil.csv (clay): 3 places; 2 met (p2, p3); 1 did not (q); 2 joined places are not in it (p1, p4)",
    )
    assert "sample without a value in the static column clay" in table.describe_counts()


@pytest.mark.parametrize(
    ("days", "keys"),
    [
        ([["p1", 91, 280], ["p2", 100, 280], ["p3", 335, 200], ["p4", "366", "100.9"]], ""),
        ([["p1", "04-01", "10-07"], ["p2", "04-10", "10-07"], ["p3", "12-01", "07-19"], ["p4", "12-31", "04-10"]], ""),
    ],
)
def test_a_season_starts_on_the_places_own_day_across_new_year_too(folder, frames, days, keys):
    every_day = pd.DataFrame([
        {"place": place, "date": date(2017, 1, 1) + timedelta(n), "ndvi": n / 3000}
        for place in PLACES for n in range(365 * 5)
    ])  # fmt: skip
    every_day.to_csv(folder / "ndvi.csv", index=False)
    pd.DataFrame(days, columns=["place", "sos", "eos"]).to_csv(folder / "calendar.csv", index=False)
    head = 'name = "t"\nstep_days = 10\n'
    table = read_card(folder, head + dated("ndvi") + TARGET + CALENDAR.format(keys=keys, more=""))
    starts = {"p1": (0, 4, 1), "p2": (0, 4, 10), "p3": (-1, 12, 1), "p4": (-1, 12, 31)}
    for row, place in enumerate(table.place):
        back, month, day = starts[place]
        first = date(int(table.year[row]) + back, month, day)
        n = (first - date(2017, 1, 1)).days
        wanted = np.mean([(n + k) / 3000 for k in range(10)])
        # In leap years a day of the year is a day earlier in the month.
        assert abs(table.values[row, 0, 0] - wanted) <= 1.01 / 3000
        assert table.days_to_harvest[row] > 90
    assert table.season_start == "each place's own start"


def test_a_calendar_of_dates_holds_for_the_seasons_it_names(folder, frames):
    cut(folder, frames, "ndvi")
    rows = [[p, f"{y}-04-{1 + y % 4:02}", f"{y}-10-01", y] for p in PLACES for y in (2018, 2019, 2020)]
    pd.DataFrame(rows, columns=["place", "sos", "eos", "season"]).to_csv(folder / "calendar.csv", index=False)
    head = 'name = "t"\nstep_days = 10\n'
    table = read_card(folder, head + dated("ndvi") + TARGET + CALENDAR.format(keys='year = "season"\n', more=""))
    assert sorted({*table.year.tolist()}) == [2018, 2019, 2020]
    assert table.days_to_harvest.tolist() == [(date(y, 10, 1) - date(y, 4, 1 + y % 4)).days for y in table.year]


@settings(max_examples=200, deadline=None)
@given(
    step_days=st.one_of(st.sampled_from(["month", "dekad"]), st.floats(1, 60)),
    start=st.sampled_from(["01-01", "04-01", "10-01"]),
    year=st.integers(1990, 2030),
    step=st.integers(0, 11),
)
def test_the_last_day_of_a_step_lies_in_that_step(step_days, start, year, step):
    """And the day after it in the next."""
    grid = Calendar(step_days, start, start, "start")
    (last,) = grid.last_days(np.array([year]), np.array([step]))
    for day, wanted in ((last, step), (last + 1, step + 1)):
        assert grid.step_in(np.array([year]), np.array([day]), 12)[0] == wanted


def test_an_offset_is_added_after_the_scale_in_every_format(tmp_path):
    header = "field,ndvi_0,ndvi_1,y2019\n"
    rows = "".join(f"f{n},{10000 + n},{20000 - n},5\n" for n in range(4))
    (tmp_path / "t_2019.csv").write_text(header + rows)
    text = (
        'name = "t"\nformat = "wide"\nfiles = ["t_2019.csv"]\nplace = "field"\n[target]\ncolumn = "y2019"\n'
        'unit = "t/ha"\n[[variates]]\nname = "ndvi"\nscale = 0.0000275\noffset = -0.2\nlow = 0\nhigh = 1\n'
    )
    table = read_card(tmp_path, text)
    np.testing.assert_allclose(table.values[1, 0], [10001 * 0.0000275 - 0.2, 19999 * 0.0000275 - 0.2], rtol=1e-6)
    assert DatasetCard.load(tmp_path / "card.toml").variates[0].offset == -0.2


@settings(max_examples=200, deadline=None)
@given(pairs=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 49)), min_size=0, max_size=60))
def test_distinct_pairs_are_those_of_numpy(pairs):
    one, other = (np.array([pair[side] for pair in pairs], np.int64) for side in (0, 1))
    wanted, where = np.unique(one * 50 + other, return_inverse=True)
    found, index = aggregate.distinct_pairs(one, other, 50)
    np.testing.assert_array_equal(found, wanted)
    np.testing.assert_array_equal(index, where)
    shared = aggregate.in_shared_cells(one, other)
    assert shared.tolist() == [pairs.count(pair) > 1 for pair in pairs]


def test_a_cube_is_a_source_of_series_too(folder, frames, one_file):
    series = frames[0]
    cube = series.assign(time=pd.to_datetime(series.date)).set_index(["place", "time"])[["ndvi"]].to_xarray()
    cube.to_netcdf(folder / "ndvi.nc")
    cut(folder, frames, "rain")
    source = '[[sources]]\nfiles = "ndvi.nc"\nformat = "netcdf"\ndate = "time"\nvariates = [{ name = "ndvi" }]\n'
    table = read_card(folder, HEAD + source + dated("rain", "drivers") + TARGET + SOIL)
    np.testing.assert_array_equal(table.values, one_file.values)
    np.testing.assert_array_equal(table.target, one_file.target)


def test_a_history_and_static_numbers_of_a_year_beside_sources(folder, frames):
    _, yields, _ = frames
    cut(folder, frames, "ndvi")
    yields.assign(year=yields.year - 10).to_csv(folder / "history.csv", index=False)
    sown = yields[["place", "year"]].assign(sown=lambda rows: rows.year - 2000.0)
    sown.to_csv(folder / "sown.csv", index=False)
    table = read_card(
        folder,
        HEAD + dated("ndvi") + TARGET + '[[sources]]\nfiles = "sown.csv"\nyear = "year"\nstatic = ["sown"]\n'
        + '[history]\nfiles = ["history.csv"]\ncolumn = "harvest"\nunit = "t/ha"\n',
    )  # fmt: skip
    assert len(table.history) == 16
    assert table.static[:, 0].tolist() == [year - 2000 for year in table.year]
    assert "  sown.csv (sown): 4 places, 16 place-years; 16 met" in table.notes[-1]


def test_marks_of_a_source_are_known_as_texts_and_named_once_if_none_holds_them(folder, frames, one_file):
    series, yields, soil = frames
    stored = series[["place", "date", "ndvi"]].astype({"ndvi": object})
    stored.loc[len(stored)] = ["p1", date(2018, 4, 2), "(D)"]
    stored.to_csv(folder / "ndvi.csv", index=False)
    soil.to_csv(folder / "soil.csv", index=False)
    late = pd.DataFrame([["p9", 2018, -9999]], columns=["place", "year", "harvest"])
    pd.concat([yields, late]).to_csv(folder / "yields.csv", index=False)
    table = read_card(folder, 'missing = ["(D)", -9999, -77]\n' + HEAD + dated("ndvi") + TARGET + SOIL)
    np.testing.assert_array_equal(table.values, one_file.values)
    np.testing.assert_array_equal(table.target, one_file.target)
    unmatched = [one.sentence for one in table.findings if "`missing` names" in one.sentence]
    assert len(unmatched) == 1
    assert unmatched[0].startswith("`missing` names -77, and no cell")


@pytest.mark.parametrize("kind", ["csv", "netcdf"])
def test_places_of_all_sources_are_spelled_in_one_form(folder, frames, one_file, kind):
    """One file has its leading zeros, blanks or a decimal point, another one does not; NA is a name."""
    series, yields, soil = frames
    spelled = {"p1": "01001", "p2": "01002", "p3": "17019", "p4": "NA"}
    short = {"p1": "1001", "p2": "1002 ", "p3": "17019.0", "p4": "NA"}
    stored = series[["place", "date", "ndvi"]].assign(place=series.place.map(short))
    if kind == "csv":
        stored.to_csv(folder / "ndvi.csv", index=False)
        source = dated("ndvi")
    else:
        stored.assign(date=pd.to_datetime(stored.date)).set_index(["place", "date"]).to_xarray().to_netcdf(
            folder / "ndvi.nc"
        )
        source = dated("ndvi", keys='format = "netcdf"').replace(".csv", ".nc")
    yields.assign(place=yields.place.map(spelled)).to_csv(folder / "yields.csv", index=False)
    soil.assign(place=soil.place.map(spelled)).to_csv(folder / "soil.csv", index=False)
    table = read_card(folder, HEAD + source + TARGET + SOIL)
    assert np.unique(table.place).tolist() == ["01001", "01002", "17019", "NA"]
    np.testing.assert_array_equal(table.values, one_file.values)
    np.testing.assert_array_equal(table.static, one_file.static)
    assert any("Leading zeros differ in the names of 2 places of ndvi" in one.sentence for one in table.findings)


def test_the_source_of_the_yields_names_their_groups(folder, frames):
    cut(folder, frames, "ndvi")
    _, yields, _ = frames
    named = yields.assign(district=yields.place.map({"p1": "a", "p2": "a", "p3": "b", "p4": ""}))
    named.to_csv(folder / "yields.csv", index=False)
    grouped = HEAD + dated("ndvi") + TARGET.replace('"t/ha"', '"t/ha", group = "district"')
    table = read_card(folder, grouped)
    assert table.group_column == "district"
    assert len(np.unique(table.group)) == 3 * len(YEARS)
    again = named.iloc[:1].assign(district="b")
    pd.concat([named, again]).to_csv(folder / "yields.csv", index=False)
    with pytest.raises(InputError, match="place p1 is of group b here and of a in another row of that year"):
        read_card(folder, grouped)


@pytest.mark.parametrize(("unit", "days", "noted"), [("mm", 2, True), ("mm/day", 2, False), ("mm", 10, False)])
def test_amounts_of_which_several_fall_in_one_step_are_noted_as_means(folder, frames, unit, days, noted):
    cut(folder, frames, "ndvi")
    rows = [
        (place, date(year, 4, 1) + timedelta(days * t), t % 7) for place in PLACES for year in YEARS for t in range(19)
    ]
    pd.DataFrame(rows, columns=["place", "date", "rain"]).to_csv(folder / "rain.csv", index=False)
    rain = dated("rain", "drivers").replace('"rain" }', f'"rain", unit = "{unit}" }}')
    told = read_card(folder, HEAD + dated("ndvi") + rain + TARGET).describe_findings()
    assert (
        "note: Several rows fall in one step, and a step holds their mean, not their sum. rain in mm" in told
    ) == noted


def test_exchanged_columns_of_positions_are_refused(folder, frames):
    cut(folder, frames, "ndvi")
    at = pd.DataFrame({"place": PLACES, "lat": [-89.0, -88.9, -88.8, 40.3], "lon": [40.0, 40.1, 40.2, -88.7]})
    at.to_csv(folder / "at.csv", index=False)
    card = HEAD + dated("ndvi") + TARGET + '[[sources]]\nfiles = "at.csv"\nlatitude = "lat"\nlongitude = "lon"\n'
    (folder / "card.toml").write_text(card)
    told = "at.csv, line 2, column lat: the latitude is -89 and the longitude 40, and 75% of the rows lie more than 72"
    with pytest.raises(InputError, match=told):
        shapes_of(folder / "card.toml")
    at.rename(columns={"lat": "lon", "lon": "lat"}).to_csv(folder / "at.csv", index=False)
    assert shapes_of(folder / "card.toml").known.keys() == {*PLACES}


@pytest.mark.parametrize(("steps", "warned"), [(2, True), (20, False)])
def test_sources_of_which_most_rows_lie_outside_of_the_seasons_are_reported(tmp_path, steps, warned):
    frames = series_yields_and_soil()
    write_frames(tmp_path, frames)
    cut(tmp_path, frames, "ndvi")
    head = HEAD.replace("season_steps = 20", f"season_steps = {steps}")
    table = read_card(tmp_path, head + dated("ndvi") + TARGET)
    found = [one.sentence for one in table.findings if "outside of the seasons" in one.sentence]
    assert found == ["288 of 320 observation rows lie outside of the seasons and are left out. Are `season_start` and "
                     "`season_steps` right?"] * warned  # fmt: skip
