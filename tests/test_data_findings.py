"""What the page of the data says of joined sources, of several files, and of values that look wrong."""

from datetime import date

import numpy as np
import pandas as pd
import pytest

from pipeline.findings import describe_findings
from pipeline.provenance import KeyCount
from pipeline.sources import read
from pipeline.sources.files_read import files_read
from report.data.__main__ import main
from report.data.page import page
from report.data.summary import summarise
from tests.conftest import CARD, small_seasons
from tests.data_pages import numbers_of, saved


def sources(folder):
    """A card of three sources that do not quite meet: a place has no soil, one no series, a year no yield."""
    series = pd.DataFrame(
        [{"place": place, "date": date(year, 4, 1 + step), "ndvi": 0.3 + 0.01 * step + 0.05 * number}
         for number, place in enumerate(("a", "b", "c")) for year in (2018, 2019, 2020) for step in range(12)]
    )  # fmt: skip
    yields = pd.DataFrame([{"place": place, "year": year, "t": 4.0 + year % 7 + ord(place) / 100}
                           for place in ("a", "b", "d") for year in (2018, 2019)])  # fmt: skip
    soil = pd.DataFrame({"place": ["a", "d"], "clay": [1.0, 2.0], "lat": [50.0, 51.0], "lon": [8.0, 9.0]})
    for name, frame in (("series", series), ("yields", yields), ("soil", soil)):
        frame.to_csv(folder / f"{name}.csv", index=False)
    (folder / "card.toml").write_text(
        'name = "t"\nplace = "place"\nstep_days = 1\nseason_start = "04-01"\nseason_steps = 12\nharvest = "08-01"\n'
        '[[sources]]\nfiles = "series.csv"\ndate = "date"\nvariates = [{ name = "ndvi" }]\n'
        '[[sources]]\nfiles = "yields.csv"\nyear = "year"\ntarget = { column = "t", unit = "t/ha" }\n'
        '[[sources]]\nfiles = "soil.csv"\nstatic = ["clay"]\nlatitude = "lat"\nlongitude = "lon"\n'
    )
    return folder / "card.toml"


def findings_of(card):
    return {one.card_line: one for one in summarise(read(card), str(card)).findings}


# Files and joins


def test_sources_report_what_met_and_what_was_lost(tmp_path):
    table = read(sources(tmp_path))
    series, yields, soil, places = table.sources
    assert (series.label, series.keys, series.met.number) == ("series.csv", 9, 4)
    assert series.unmet == KeyCount(5, ("a 2020", "b 2020", "c 2018", "c 2019", "c 2020"))
    assert (yields.met.number, yields.unmet.names(1), yields.lost_places) == (4, "d 2018, ...", 1)
    assert (soil.kind, soil.unmet.first, soil.lacking.first) == ("places", ("d",), ("b",))
    assert places.holds == "positions"
    sentences = {one.sentence: one for one in summarise(table, str(tmp_path / "card.toml")).findings}
    (lost,) = (one for text, one in sentences.items() if "of series.csv (ndvi) have no match" in text)
    assert (lost.severity, lost.card_line) == ("warning", '[[sources]]\nplace = "<column>"')
    (lost,) = (one for text, one in sentences.items() if "of yields.csv (yield) have no match" in text)
    assert lost.severity == "note"
    found = describe_findings(sentences.values())
    assert "not in the table (a 2020, b 2020, c 2018, ...). In the dataset card" in found
    assert "...." not in found


def test_every_file_is_named_with_what_it_gives(tmp_path, small_card):
    found = {one.path.name: (one.gives, one.gives_series) for one in files_read(str(sources(tmp_path)))}
    assert found == {
        "card.toml": ("dataset card", False),
        "series.csv": ("ndvi", True),
        "yields.csv": ("yield", False),
        "soil.csv": ("clay, positions", False),
    }
    one = files_read(str(small_card))[1]
    assert (one.gives, one.bytes) == ("series and yields", (small_card.parent / "seasons.csv").stat().st_size)


def test_samples_know_their_file_and_are_compared_by_it(tmp_path):
    frame = small_seasons()
    frame[frame.year < 2019].to_csv(tmp_path / "early.csv", index=False)
    late = frame[frame.year >= 2019].copy()
    late.to_csv(tmp_path / "late.csv", index=False)
    (tmp_path / "card.toml").write_text(CARD.replace('["seasons.csv"]', '["early.csv", "late.csv"]'))
    table = read(tmp_path / "card.toml")
    assert table.files == ("early.csv", "late.csv")
    np.testing.assert_array_equal(table.file, (table.year >= 2019).astype(int))
    np.testing.assert_array_equal(table.rows(np.array([5, 3])).file, table.file[[5, 3]])
    seen = summarise(table, str(tmp_path / "card.toml"))
    bands = [column for column in late.columns if column.startswith("ndvi_")]
    assert seen.series[0].by_file[1].median == pytest.approx(np.nanmedian(late[bands]))
    assert "file-0" in numbers_of(page(seen))


def test_a_file_for_each_year_is_not_drawn_twice(tmp_path):
    for year, rows in small_seasons().groupby("year"):
        rows.to_csv(tmp_path / f"s{year}.csv", index=False)
    (tmp_path / "card.toml").write_text(CARD.replace("seasons.csv", "s*.csv"))
    text = page(summarise(read(tmp_path / "card.toml"), str(tmp_path / "card.toml")))
    assert "Each file holds one year" in text
    assert "file-0" not in numbers_of(text)


# Findings of real tables, on the page


def test_yields_of_minus_9999_are_on_the_page_with_the_line_that_settles_them(tmp_path):
    frame = small_seasons()
    frame.loc[[3, 50], "yield_t_ha"] = -9999
    card = saved(tmp_path, frame)
    found = findings_of(card)["missing = [-9999]"]
    assert (found.severity, found.sentence[:25]) == ("warning", "2 yields of -9999 are rea")
    text = page(summarise(read(card), str(card)))
    assert '<li class="is-warning"><b>warning</b>2 yields of -9999' in text
    assert '<pre tabindex="0">missing = [-9999]</pre>' in text
    settled = saved(tmp_path, frame, "missing = [-9999]\n" + CARD)
    assert "missing = [-9999]" not in findings_of(settled)


def test_copied_labels_are_on_the_page(tmp_path):
    frame = small_seasons()
    frame["yield_t_ha"] = frame.groupby("year").yield_t_ha.transform("mean").round(3)
    card = saved(tmp_path, frame)
    found = findings_of(card)['[target] group = "<column>"']
    assert found.severity == "warning"
    text = page(summarise(read(card), str(card)))
    assert "84 rows have a yield, with 7 distinct values" in text
    assert "They are treated as 7 measured yields." in text


def test_the_first_line_has_the_median_yield_which_shows_a_wrong_unit(tmp_path, capsys):
    frame = small_seasons()
    card = saved(tmp_path, frame)
    assert main(["--data", str(card), "--out", str(tmp_path / "data.html")]) == 0
    first = capsys.readouterr().out.splitlines()[0]
    assert first.endswith(f"Median yield {frame.yield_t_ha.median():.3g} t/ha.")


def test_a_year_in_another_unit_is_refused_and_nothing_is_written(tmp_path, capsys):
    frame = small_seasons()
    frame.loc[frame.year == 2018, "yield_t_ha"] *= 1000
    card = saved(tmp_path, frame)
    assert main(["--data", str(card), "--out", str(tmp_path / "data.html")]) == 2
    said = capsys.readouterr().err
    assert said.startswith("report.data: ")
    assert said.count("\n") == 1
    assert "kg/ha" in said
    assert not (tmp_path / "data.html").exists()


def test_positions_that_cannot_be_read_are_a_warning(tmp_path):
    frame = small_seasons().assign(lat=50.0, lon=400.0)
    card = saved(tmp_path, frame, 'latitude = "lat"\nlongitude = "lon"\n' + CARD)
    seen = summarise(read(card), str(card))
    assert seen.positions is None
    assert any(one.severity == "warning" and "so there is no map" in one.sentence for one in seen.findings)
