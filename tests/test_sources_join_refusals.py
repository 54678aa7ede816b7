"""Several sources of one card that do not fit together: refused, with the file, the line and the value."""

import re

import pandas as pd
import pytest

from pipeline.errors import InputError
from tests.joined_sources import (
    CALENDAR,
    HEAD,
    SOIL,
    TARGET,
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


@pytest.mark.parametrize(
    ("rows", "more", "told"),
    [
        ([["p1", 400, 280]], "", r"calendar.csv, line 2, column sos: '400' is not a day; write a day of the year"),
        ([["p1", "13-45", 280]], "", "'13-45' is not a day"),
        ([["p1", 91, 280], ["p1", 92, 280]], "", "place p1 has a season from .* and another from"),
        ([["p1", 91, 280]], ", days_before = 300", "runs from 20.*, 300 days earlier .* is 490 days"),
        ([["zz", 91, 280]], "", "no place of the series is in the `calendar`"),
        ([["p1", "", 280]], "", "the cell is empty"),
    ],
)
def test_a_calendar_that_cannot_be_meant_is_refused(folder, frames, rows, more, told):
    cut(folder, frames, "ndvi")
    pd.DataFrame(rows, columns=["place", "sos", "eos"]).to_csv(folder / "calendar.csv", index=False)
    with pytest.raises(InputError, match=told):
        read_card(folder, 'name = "t"\nstep_days = 10\n' + dated("ndvi") + TARGET + CALENDAR.format(keys="", more=more))


@pytest.mark.parametrize(
    ("days", "told"),
    [
        (
            (10, 28),
            r"columns sos and eos: 10 and 28 would be read as days.*above 28.*dekads \(1 to 36\).*dekad 10 begins",
        ),
        ((31, 12), r"dekads \(1 to 36\)"),
        ((4, 10), r"months \(1 to 12\).*month 4 begins on 04-01"),
    ],
)
def test_a_calendar_of_dekads_or_months_is_no_calendar_of_days(folder, frames, days, told):
    cut(folder, frames, "ndvi")
    text = 'name = "t"\nstep_days = 10\n' + dated("ndvi") + TARGET + CALENDAR.format(keys="", more="")

    def read_calendar(*rows):
        pd.DataFrame(rows, columns=["place", "sos", "eos"]).to_csv(folder / "calendar.csv", index=False)
        return read_card(folder, text)

    with pytest.raises(InputError, match=told):
        read_calendar(*([place, *days] for place in ("p1", "p2", "p3")))
    whole = [["p1", "04-01", "10-10"], ["p2", "04-01", "10-10"], ["p3", 91, 283]]
    assert read_calendar(*whole).observed.all()
    assert read_calendar(["p1", 10, 36], ["p2", 10, 36], ["p3", 91, 283]).place.tolist() == ["p3"] * 4


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (HEAD + dated("ndvi") + TARGET + 'format = "excel"', "`sources entry 2 format` is 'excel'; it must be 'wide'"),
        (HEAD + dated("ndvi") + TARGET + "encoding = 8", "`sources entry 2 encoding` is 8"),
        ('format = "long"\n' + HEAD + dated("ndvi") + TARGET, "`format` stands beside .*leave it out"),
        ('static = ["clay"]\n' + HEAD + dated("ndvi") + TARGET, "`static` stands beside .*write it in the source"),
        (HEAD + TARGET, "No source has `variates`"),
        (HEAD + dated("ndvi") + TARGET + TARGET, "yields.csv and yields.csv both have `target`"),
        (HEAD + dated("ndvi") + SOIL + SOIL + TARGET, "static column clay is named twice"),
        (HEAD + dated("ndvi") + dated("ndvi") + TARGET, "Variate ndvi is named twice"),
        (HEAD + '[[sources]]\nfiles = "a.csv"\n' + dated("ndvi"), "The source 'a.csv' gives nothing"),
        (HEAD + dated("ndvi") + TARGET.replace('year = "year"\n', ""), "has a `target` and needs `year`"),
        (HEAD + dated("ndvi").replace('date = "date"', ""), "needs one of `date` and `step`"),
        (HEAD + dated("ndvi", keys='scale = 2') + TARGET, "`sources entry 1 scale` is not known"),
        (HEAD + dated("ndvi") + TARGET + CALENDAR.format(keys="", more=""), "Both `season_start` and the `calendar`"),
        (HEAD + dated("ndvi"), "no source has a `target`"),
    ],
)  # fmt: skip
def test_a_card_of_sources_that_cannot_be_meant_is_refused(folder, frames, text, told):
    cut(folder, frames, "ndvi")
    pd.DataFrame([["p1", 91, 280]], columns=["place", "sos", "eos"]).to_csv(folder / "calendar.csv", index=False)
    with pytest.raises(InputError) as error:
        read_card(folder, text)
    assert re.search(told, str(error.value)), str(error.value)


def test_two_soils_of_one_place_are_refused_with_both_rows(folder, frames):
    cut(folder, frames, "ndvi")
    pd.DataFrame({"place": ["p1", "p1"], "clay": [1.0, 2.0]}).to_csv(folder / "soil.csv", index=False)
    with pytest.raises(
        InputError, match=r"soil.csv, line 3, column clay: place p1 has 2 here and 1 before \(.*line 2\)"
    ):
        read_card(folder, HEAD + dated("ndvi") + TARGET + SOIL)


def test_a_mark_that_no_card_names_is_refused_behind_an_offset(folder, frames):
    stored = frames[0][["place", "date", "ndvi"]].assign(ndvi=lambda rows: rows.ndvi * 200 + 50)
    stored.loc[[3, 4], "ndvi"] = 255
    stored.to_csv(folder / "ndvi.csv", index=False)
    form = ", scale = 0.005, offset = -0.25, low = 0, high = 1 }]"
    with pytest.raises(InputError, match=r"ndvi.csv, line 5, column ndvi: 255 stands in 2 cells of this variate"):
        read_card(folder, HEAD + dated("ndvi").replace(" }]", form) + TARGET)


def test_two_spellings_of_one_year_in_one_source_are_refused(folder, frames):
    cut(folder, frames, "ndvi")
    _, yields, _ = frames
    twice = yields.assign(place=yields.place.replace({"p1": "1001", "p2": "01001", "p3": "17019"}))
    twice.to_csv(folder / "yields.csv", index=False)
    with pytest.raises(InputError, match=r"yields.csv: places '1001' and '01001' both occur in 2018"):
        read_card(folder, HEAD + dated("ndvi") + TARGET)


def test_days_of_the_year_are_no_steps_of_a_source_either(folder, frames):
    series = frames[0]
    days = series[["place", "year", "ndvi"]].assign(step=series.step * 10 + 91)
    days.to_csv(folder / "ndvi.csv", index=False)
    source = dated("ndvi").replace('date = "date"', 'year = "year"\nstep = "step"')
    with pytest.raises(InputError, match="column step counts to step"):
        read_card(folder, HEAD + source + TARGET)
    with pytest.raises(InputError, match=r"`step_year` stands beside .*write it in the source"):
        read_card(folder, 'step_year = "season"\n' + HEAD + source + TARGET)
