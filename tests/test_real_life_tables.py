"""Tables as people send them: read right, refused with what to do, or reported; none is misread in silence."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import InputError
from pipeline.sources import read
from pipeline.sources.checks.total_rows import is_total
from pipeline.sources.names.near_names import near_names
from pipeline.sources.times.dates import parse_days
from tests.real_life_tables import BANDS, CARD, PLACES, by_card, dated, seasons, table, warnings


def test_a_plain_table_raises_no_alarm(tmp_path: Path) -> None:
    assert warnings(table(tmp_path, seasons())) == ""


@pytest.mark.parametrize(("number", "cells"), [(-1.0, 6), (9.99, 4), (1.6, 5)])
def test_a_number_that_is_repeated_far_from_all_others_is_reported(tmp_path: Path, number: float, cells: int) -> None:
    frame = seasons()
    for row in range(cells):
        frame.loc[3 * row, BANDS[row]] = number
    assert f"ndvi is exactly {number:g} in {cells} of 576 cells" in warnings(table(tmp_path, frame))


def test_saturated_and_classed_numbers_are_no_marks(tmp_path: Path) -> None:
    frame = seasons()
    frame[BANDS] = frame[BANDS].clip(0.2, 0.8)
    assert warnings(table(tmp_path, frame)) == ""
    frame[BANDS] = (frame[BANDS] * 5).round() / 5  # five classes
    frame.loc[:5, BANDS[0]] = 1.6
    assert "exactly 1.6" not in warnings(table(tmp_path, frame))


@pytest.mark.parametrize(
    "name", ["Total", "Grand total", "TOTAL", "total:", "State Total", "Average", "Insgesamt", "Gesamt"]
)
def test_a_row_that_sums_up_the_others_is_refused(tmp_path: Path, name: str) -> None:
    frame = seasons()
    last = {"place": name, "year": 2022} | frame[[*BANDS, "yield"]].mean().round(3).to_dict()
    frame = pd.concat([frame, pd.DataFrame([last])])
    with pytest.raises(InputError, match=f"line 50: the place is called '{name}', which looks like a sum or mean"):
        table(tmp_path, frame)
    rule = f'[[exclude]]\nplace = "{name}"\nreason = "a sum of the others"'
    frame.to_csv(tmp_path / "t.csv", index=False)
    (tmp_path / "card.toml").write_text(CARD.format(form="wide", keys="", unit="t/ha") + rule)
    assert len(read(tmp_path / "card.toml")) == 48


def test_places_that_hold_such_a_word_are_no_totals() -> None:
    assert not any(
        map(is_total, ["Totalán", "Mean Hill", "Sumner", "Media", "Total Valley", "IL,  Sumter", "Allgesamt 3"])
    )
    assert is_total("Illinois,  Total")
    assert all(
        map(is_total, ["Bayern gesamt", "Bavaria total", "State average", "all fields", "Nieder Bayern insgesamt"])
    )
    assert not any(map(is_total, ["All Saints", "Average Creek", "Field 3", "Totalgesamtheim"]))


@pytest.mark.parametrize(
    "name",
    [
        "All India",
        "Polska ogółem",
        "Ogółem",
        "Всього",
        "Усього по області",
        "Итого",
        "Összesen",
        "Celkem",
        "Totaal",
        "Toplam",
        "Jumlah",
        "Total País",
        "Total del estado",
        "合计",
        "全省合计",
        "全国",
        "Nationwide",
        "EU27_2020",
        "EU28",
        "OTHER (COMBINED) COUNTIES",
        "Other counties",
        "European Union - 27 countries (from 2020)",
    ],
)
def test_sums_have_other_names_in_other_languages(name: str) -> None:
    assert is_total(name)
    assert is_total(f"somewhere,  {name}")


@pytest.mark.parametrize("name", ["Totana", "EU2701", "Otherton", "全椒县", "Indiana", "Total Valley", "Itogon"])
def test_names_that_only_look_like_those_are_places(name: str) -> None:
    assert not is_total(name)


def test_a_place_in_another_scale_is_reported(tmp_path: Path) -> None:
    for times in (10.0, 0.1):
        frame = seasons()
        mine = frame.place == "c3"
        frame.loc[mine, BANDS] = (frame.loc[mine, BANDS] * times).round(5)
        assert "ndvi of place c3 lies around" in warnings(table(tmp_path, frame))


def test_a_file_of_some_places_in_another_scale_is_reported(tmp_path: Path) -> None:
    frame = seasons()
    mine = frame.place.isin(["c6", "c7"])
    frame.loc[mine, BANDS] = (frame.loc[mine, BANDS] * 10).round(3)
    assert "ndvi of place c6 and of 1 more places lies around" in warnings(table(tmp_path, frame))


def test_a_yield_in_another_file_is_named_by_its_own_row(tmp_path: Path) -> None:
    dated(lambda year, month: f"{year}-{month:02}-05").drop(columns="yield").to_csv(tmp_path / "ndvi.csv", index=False)
    yields = seasons()[["place", "year", "yield"]]
    yields.loc[yields.year == 2020, "yield"] *= 1000
    yields.to_csv(tmp_path / "yields.csv", index=False)
    (tmp_path / "card.toml").write_text(
        'name = "t"\nplace = "place"\nstep_days = "month"\n[[sources]]\nfiles = "ndvi.csv"\ndate = "date"\n'
        'variates = [{name = "ndvi"}]\n[[sources]]\nfiles = "yields.csv"\nyear = "year"\n'
        'target = {column = "yield", unit = "t/ha"}\n'
    )
    with pytest.raises(InputError, match=r"yields\.csv, line 5, column yield: the yield is .* times the median"):
        read(tmp_path / "card.toml")


def test_a_place_that_is_twice_as_green_is_no_news(tmp_path: Path) -> None:
    frame = seasons()
    mine = frame.place == "c3"
    frame.loc[mine, BANDS] = frame.loc[mine, BANDS] * 2
    assert warnings(table(tmp_path, frame)) == ""


@pytest.mark.parametrize("spell", ["{} County", "{} county", "Landkreis {}"])
def test_a_name_with_and_without_the_kind_of_place_is_reported(tmp_path: Path, spell: str) -> None:
    frame = seasons()
    frame["place"] = [spell.format(p) if y % 2 else p for p, y in zip(frame.place, frame.year, strict=True)]
    assert "differ only in a word such as County" in warnings(table(tmp_path, frame))


def test_two_kinds_of_one_name_in_one_year_are_two_places() -> None:
    names = ["Baltimore", "Baltimore County"]
    assert near_names(names, lambda: {"Baltimore": {2019, 2020}, "Baltimore County": {2020}}) == ()
    assert near_names(names, lambda: {"Baltimore": {2019}, "Baltimore County": {2020}}) != ()
    assert near_names(["17,019", "17019"], lambda: {"17,019": {2019}, "17019": {2020}}) != ()
    assert near_names(["1-1", "11", "1", "2"]) == ()


def test_a_code_that_excel_shortened_is_refused(tmp_path: Path) -> None:
    frame = seasons().astype(object)
    frame.loc[4, "place"] = "1.70191E+11"
    with pytest.raises(InputError, match=r"line 6, column place: '1.70191E\+11' is how Excel shows a long code"):
        table(tmp_path, frame)


@pytest.mark.parametrize(("off", "said"), [(1, "one year"), (-1, "one year"), (2, "two years"), (-2, "two years")])
@pytest.mark.parametrize("digits", [2, 1])
def test_a_history_of_other_years_is_refused_even_if_it_is_rounded(
    tmp_path: Path, off: int, said: str, digits: int
) -> None:
    known = seasons()[["place", "year", "yield"]]
    known.assign(year=known.year + off, **{"yield": known["yield"].round(digits)}).to_csv(
        tmp_path / "h.csv", index=False
    )
    seasons().to_csv(tmp_path / "t.csv", index=False)
    part = '[history]\nfiles = "h.csv"\ncolumn = "yield"\nunit = "t/ha"\n'
    (tmp_path / "card.toml").write_text(CARD.format(form="wide", keys="", unit="t/ha") + part)
    with pytest.raises(InputError, match=rf"\[history\] is {said} off"):
        read(tmp_path / "card.toml")


def test_yields_that_hardly_change_are_no_shifted_history(tmp_path: Path) -> None:
    frame = seasons()
    frame["yield"] = [5.0 + 0.3 * PLACES.index(p) + 0.1 * (y % 2) for p, y in zip(frame.place, frame.year, strict=True)]
    frame[["place", "year", "yield"]].to_csv(tmp_path / "h.csv", index=False)
    frame.to_csv(tmp_path / "t.csv", index=False)
    part = '[history]\nfiles = "h.csv"\ncolumn = "yield"\nunit = "t/ha"\n'
    (tmp_path / "card.toml").write_text(CARD.format(form="wide", keys="", unit="t/ha") + part)
    assert len(read(tmp_path / "card.toml")) == 48


@pytest.mark.parametrize("sign", ["/", "-"])
def test_dates_that_can_be_read_two_ways_are_asked_about(tmp_path: Path, sign: str) -> None:
    frame = dated(lambda year, month: f"05{sign}{month:02}{sign}{year}")
    with pytest.raises(InputError, match=r'may start with the day or the month; set `date_order = "dmy"` or "mdy"'):
        table(tmp_path, frame, "long")
    assert table(tmp_path, frame, "long", 'date_order = "dmy"').observed.all()
    assert table(tmp_path, dated(lambda year, month: f"25{sign}{month:02}{sign}{year}"), "long").observed.all()


def test_one_file_does_not_decide_the_order_of_dates_in_another(tmp_path: Path) -> None:
    day_first, unclear = dated(lambda year, month: f"25/{month:02}/{year}"), dated(lambda y, m: f"{m:02}/05/{y}")
    day_first[day_first.year < 2020].to_csv(tmp_path / "t1.csv", index=False)
    unclear[unclear.year >= 2020].to_csv(tmp_path / "t2.csv", index=False)
    with pytest.raises(InputError, match=r"t2\.csv, column date: '01/05/2020' may start .*t1\.csv is written as day"):
        by_card(tmp_path, "long")
    month_first = dated(lambda year, month: f"{month:02}/25/{year}")
    month_first[month_first.year >= 2020].to_csv(tmp_path / "t2.csv", index=False)
    with pytest.raises(InputError, match=r"t2\.csv, column date: its dates start with the month, those of .*t1\.csv"):
        by_card(tmp_path, "long")


@pytest.mark.parametrize("text", ["2019/04/05", "2019.4.5", "2019-04-05", "20190405", "1554465600000", "1.5544656E12",
                                  "2019-04-05T10:30:00Z"])  # fmt: skip
def test_days_that_can_be_read_one_way_are_read(text: str) -> None:
    with pytest.raises(ValueError, match="is not a date"):
        parse_days(["201904051030"])  # no milliseconds
    assert [day.isoformat() for day in parse_days([text])] == ["2019-04-05"]


def test_milliseconds_of_earth_engine_are_days(tmp_path: Path) -> None:
    frame = dated(lambda year, month: int(np.datetime64(f"{year}-{month:02}-05", "ms").astype(int)))
    assert table(tmp_path, frame, "long").observed.all()


def test_a_long_file_of_another_scale_is_refused_and_named(tmp_path: Path) -> None:
    frame = dated(lambda year, month: f"{year}-{month:02d}-15")
    north = frame["place"].isin(PLACES[:5])
    (tmp_path / "card.toml").write_text(
        CARD.format(form="long", keys='date = "date"\nseason_steps = 12', unit="t/ha"), encoding="utf-8"
    )
    frame[north].to_csv(tmp_path / "t_north.csv", index=False)
    frame[~north].assign(ndvi=frame["ndvi"] * 10).to_csv(tmp_path / "t_south.csv", index=False)
    with pytest.raises(InputError, match=r"t_south.csv, line 2: ndvi of file t_south.csv is about 11 times as large"):
        read(str(tmp_path / "card.toml"))


def test_a_sample_in_two_long_files_belongs_to_neither(tmp_path: Path) -> None:
    frame = dated(lambda year, month: f"{year}-{month:02d}-15")
    early = frame["date"].str[5:7].astype(int) <= 6
    (tmp_path / "card.toml").write_text(
        CARD.format(form="long", keys='date = "date"\nseason_steps = 12', unit="t/ha"), encoding="utf-8"
    )
    frame[early].to_csv(tmp_path / "t1.csv", index=False)
    frame[~early].to_csv(tmp_path / "t2.csv", index=False)
    assert read(str(tmp_path / "card.toml")).file is None


def test_grain_in_another_unit_is_reported_by_its_median(tmp_path: Path) -> None:
    frame = seasons()
    frame["yield"] *= 10
    found = [one for one in table(tmp_path, frame).findings if "no grain" in one.sentence]
    assert [one.severity for one in found] == ["warning"]
    assert not any("no grain" in one.sentence for one in table(tmp_path, seasons()).findings)


def test_a_variate_without_any_value_is_reported(tmp_path: Path) -> None:
    frame = seasons().assign(**{f"nir_{step}": np.nan for step in range(1, 13)})
    keys = '[[variates]]\nname = "nir"'
    found = table(tmp_path, frame, keys=keys).findings
    assert any(one.sentence.startswith("nir has no value in any sample") for one in found)


def test_dates_in_two_orders_are_named_by_their_order(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not a date in the order day, month, year"):
        parse_days(["21/04/2018", "04/21/2018"])


def test_a_file_that_may_not_be_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table(tmp_path, seasons())
    monkeypatch.setattr(os, "access", lambda path, mode: not str(path).endswith(".csv"))
    with pytest.raises(InputError, match="you may not read this file"):
        read(str(tmp_path / "card.toml"))


def test_a_file_of_blank_lines_is_empty(tmp_path: Path) -> None:
    (tmp_path / "blank.csv").write_text("\n\n\n", encoding="utf-8")
    with pytest.raises(InputError, match="the file is empty"):
        read(str(tmp_path / "blank.csv"))


@pytest.mark.parametrize(("crop", "warned"), [("", True), ('crop = "wheat"\n', True), ('crop = "saffron"\n', False)])
def test_yields_too_low_for_grain_are_reported_unless_the_crop_is_no_grain(
    tmp_path: Path, crop: str, warned: bool
) -> None:
    frame = seasons()
    frame["yield"] = 1000 * frame["yield"]
    found = table(tmp_path, frame.assign(**{"yield": frame["yield"] / 80}), keys=crop, unit="kg/ha")
    assert "unusual for grain" in found.describe_yields()
    assert ("which is unusually low for grain" in warnings(found)) == warned


@pytest.mark.parametrize(("months", "warned"), [(range(4, 10), True), (range(1, 13), False)])
def test_series_that_lie_mostly_outside_of_the_seasons_are_reported(
    tmp_path: Path, months: range, warned: bool
) -> None:
    frame = dated(lambda year, month: f"{year}-{month:02}-15")
    frame = frame[pd.to_datetime(frame.date).dt.month.isin(months)]
    found = table(tmp_path, frame, "long", 'season_start = "04-01"\nseason_steps = 2\n')
    assert ("outside of the seasons" in warnings(found)) == warned
    if warned:
        assert "`season_start` and `season_steps`" in warnings(found)
    whole = table(tmp_path, frame, "long", 'season_start = "04-01"\nseason_steps = 6\n')
    assert "outside of the seasons" not in warnings(whole)
