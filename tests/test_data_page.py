"""The page of the data: each summary against a simple count, the command, and the page in a real browser."""

import html
import json
import re
import subprocess
import sys
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import render_cache
from pipeline.findings import Finding, by_severity
from pipeline.provenance import KeyCount
from pipeline.render import PALETTE, Style, colourise, draw
from pipeline.scaling import y_ranges
from pipeline.sources import read
from pipeline.sources.files_read import files_read
from pipeline.sources.geometry import Shapes
from pipeline.table import SeasonTable, Variate
from report.data.__main__ import main
from report.data.charts import charts_of, presence_charts, step_axis, year_axis
from report.data.findings import copy_findings, folds_of, range_findings
from report.data.page import headline, page, write_data_page
from report.data.places import positions_of, presence_of
from report.data.plots import Range, describe_ranges, plots_of, ranges_of
from report.data.season import describe_season, season_steps, step_starts
from report.data.series import furthest, observed_shares, spreads
from report.data.summary import summarise
from report.data.yields import copies_of, yields_of
from report.interactive import as_json
from tests.browser import NEEDS, opened
from tests.conftest import CARD, small_seasons

ROOT = Path(__file__).resolve().parents[1]
MOST_BYTES = 6_000_000


def made(n=60, variates=2, steps=10, places=6, seed=0, **changes):
    """A table of random numbers with gaps, `places` places and as many years as it takes."""
    rng = np.random.default_rng(seed)
    values = rng.normal(0.5, 0.1, (n, variates, steps)).astype(np.float32)
    values[rng.random(values.shape) < 0.3] = np.nan
    keys = {
        "name": "made",
        "values": values,
        "observed": ~np.isnan(values),
        "target": rng.gamma(20, 0.25, n),
        "sample_id": np.array([f"s{row:06d}" for row in range(n)]),
        "place": np.array([f"p{row % places}" for row in range(n)]),
        "year": 2001 + np.arange(n) // places,
        "variates": tuple(Variate(f"v{v}", "K") for v in range(variates)),
        "step_days": 10.0,
    }
    return SeasonTable(**{**keys, **changes})


def numbers_of(text):
    """The charts of a page, as its script takes them."""
    return json.loads(re.search(r"^const drawn = (.*);$", text, re.M)[1])


def saved(folder, frame, card=CARD):
    """A card beside a table of seasons."""
    frame.to_csv(folder / "seasons.csv", index=False)
    (folder / "card.toml").write_text(card)
    return folder / "card.toml"


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


# ---- summaries


@pytest.mark.parametrize("bins", [3, 4, 10, 74])
def test_shares_observed_are_those_of_a_loop_over_cells(bins):
    table = made()
    found = observed_shares(table, bins)
    assert len(found.first_steps) <= bins
    for y, year in enumerate(found.years):
        for v in range(2):
            for b, first in enumerate(found.first_steps):
                cells = table.observed[table.year == year, v, first : first + found.steps]
                assert found.share[v, y, b] == pytest.approx(cells.mean())
    assert found.of_all_years[1, 0] == pytest.approx(table.observed[:, 1, : found.steps].mean())


def test_drivers_come_after_the_variates():
    drivers = np.ones((60, 1, 10), np.float32)
    drivers[:, :, 5:] = np.nan
    table = made(drivers=drivers, drivers_observed=~np.isnan(drivers), driver_names=("rain",),
                 driver_units=("mm",), drivers_known=np.array([False]))  # fmt: skip
    found = observed_shares(table)
    assert found.names == ("v0", "v1", "rain")
    np.testing.assert_allclose(found.of_all_years[2], [1] * 5 + [0] * 5)


def test_spreads_are_the_quantiles_of_what_each_group_has_observed():
    table = made()
    values = table.values[:, 0].copy()
    values[table.year == 2003] = np.nan
    found = spreads(values, table.year)
    assert [one.group for one in found] == [year for year in range(2001, 2011) if year != 2003]
    frame = pd.DataFrame(values.astype(float)).assign(year=table.year).melt("year").dropna()
    for one in found:
        mine = frame.loc[frame.year == one.group, "value"]
        assert (one.rows, one.values) == (6, len(mine))
        np.testing.assert_allclose(one.quantiles, mine.quantile([0.05, 0.25, 0.5, 0.75, 0.95]))


def test_of_many_groups_those_with_the_furthest_medians_are_taken():
    found = spreads(np.array([5.0, 5, 9, 5.1, 1, 5]), np.arange(6))
    assert [one.group for one in furthest(found, 2)] == [2, 4]


def test_outliers_are_named_by_place_year_and_value():
    table = made()
    target = table.target.copy()
    target[[7, 31]] = 40.0, 25.0
    found = yields_of(replace(table, target=target)).outliers
    frame = pd.DataFrame({"place": table.place, "year": table.year, "t": target})
    quartiles = frame.groupby("year").t.quantile([0.25, 0.75]).unstack().loc[frame.year].to_numpy()
    size = quartiles[:, 1] - quartiles[:, 0]
    beyond = (frame.t < quartiles[:, 0] - 1.5 * size) | (frame.t > quartiles[:, 1] + 1.5 * size)
    wanted = {(row.place, row.year, row.t) for row in frame[beyond].itertuples()}
    assert {(one.place, one.year, one.value) for one in found} == wanted
    assert {(one.place, one.year, one.value) for one in found} >= {("p1", 2002, 40.0), ("p1", 2006, 25.0)}
    assert [one.ranges for one in found] == sorted((one.ranges for one in found), reverse=True)


def test_rows_distinct_yields_and_groups_are_counted_by_year():
    target = np.round(made().target, 0)
    group = np.arange(60) // 2
    labels = yields_of(made(target=target, group=group)).labels
    frame = pd.DataFrame({"year": made().year, "t": target, "group": group}).groupby("year")
    assert [one.distinct for one in labels] == frame.t.nunique().tolist()
    assert [one.rows for one in labels] == frame.t.size().tolist()
    assert [one.groups for one in labels] == frame.group.nunique().tolist()


def test_a_table_without_yields_has_no_yield_charts():
    table = made(target=np.full(60, np.nan))
    found = yields_of(table)
    assert (found.labelled, found.by_year, found.outliers, found.labels) == (0, (), (), ())


def test_a_copied_season_is_an_error_if_a_fold_would_test_and_learn_from_it():
    table = made()
    values = table.values.copy()
    values[59] = values[0]  # the last year and the first
    table = replace(table, values=values, observed=~np.isnan(values))
    (copy,) = copies = copies_of(table)
    assert (copy.sample, copy.same_as) == ("s000059", "s000000")
    assert (copy.value, copy.other) == (table.target[59], table.target[0])
    folds, _, found = folds_of(table, "year", 0)
    assert found == ()
    (finding,) = copy_findings(table, copies, folds)
    assert finding.severity == "error"
    assert "'s000059' and 's000000'" in finding.sentence
    values = made().values.copy()
    values[1] = values[0]  # both in the first year
    table = replace(table, values=values, observed=~np.isnan(values))
    (finding,) = copy_findings(table, copies_of(table), folds)
    assert (finding.severity, finding.card_line.splitlines()[1]) == ("warning", 'sample_id = "s000001"')


def test_a_table_that_cannot_be_split_has_an_error():
    folds, sentence, (finding,) = folds_of(made(n=2, places=2), "auto", 0)
    assert (folds, sentence, finding.severity) == ((), "", "error")
    assert "finds no split" in finding.sentence


def test_values_outside_of_a_y_range_are_a_warning_with_the_range_that_holds_them():
    one = Range("ndvi", "1", low=0.2, high=0.8, from_card=True, lowest=-0.11, highest=0.93, outside=0.05)
    (finding,) = range_findings([one, replace(one, name="evi", outside=0.02)])
    assert finding.severity == "warning"
    assert finding.card_line == '[[variates]]\nname = "ndvi"\nlow = -0.2\nhigh = 1'


def test_findings_stand_with_the_worst_first():
    found = [Finding("note", "a"), Finding("warning", "b"), Finding("error", "c"), Finding("warning", "d")]
    assert [one.sentence for one in by_severity(found)] == ["c", "b", "d", "a"]


def test_presence_is_a_cross_table_of_places_and_years():
    table = made()
    table = table.rows(np.flatnonzero((table.place != "p3") | (table.year > 2004)))
    found = presence_of(table)
    cross = pd.crosstab(table.place, table.year) > 0
    np.testing.assert_array_equal(found.present, cross.to_numpy())
    assert found.by_year.tolist() == cross.sum().tolist()
    assert found.new_by_year.tolist() == [5, 0, 0, 0, 1, 0, 0, 0, 0, 0]
    assert found.some(2).places.tolist() == ["p0", "p5"]
    assert [chart.id for chart in presence_charts(found)] == ["places-count", "places"]


def test_places_that_are_in_every_year_are_not_drawn_one_by_one():
    (count,) = presence_charts(presence_of(made()))
    assert count.note == "Every place has a sample in every year."


def test_positions_are_points_or_the_middle_of_a_shape():
    table = made(places=3)
    square = [[[0.0, 10.0], [4.0, 10.0], [4.0, 12.0], [0.0, 12.0], [0.0, 10.0]]]
    shapes = Shapes(False, {"p0": {"type": "Point", "coordinates": [7.0, 50.0]},
                            "p2": {"type": "Polygon", "coordinates": square}})  # fmt: skip
    found = positions_of(table, shapes)
    assert (found.names, found.known, found.lost) == (("p0", "p2"), 2, 1)
    assert (found.longitude.tolist(), found.latitude.tolist()) == ([7.0, 2.0], [50.0, 11.0])
    np.testing.assert_allclose(found.mean_yield, [table.target[table.place == p].mean() for p in ("p0", "p2")])
    assert found.years.tolist() == [20, 20]


def test_steps_have_dates_and_lead_times():
    table = made(season_start="04-01", harvest_days=90.0)
    assert step_starts(table)[:3] == (date(2001, 4, 1), date(2001, 4, 11), date(2001, 4, 21))
    steps = season_steps(table, most=5)
    assert [one.steps for one in steps] == [2, 4, 5, 6, 8, 10]
    assert [one.lead_days for one in steps] == [90 - 10 * step for step in (2, 4, 5, 6, 8, 10)]
    assert [one.until for one in steps][:2] == [date(2001, 4, 20), date(2001, 5, 10)]
    assert describe_season(table) == (
        "The season has 10 steps of 10 days, from 1 April to 9 July. The harvest is 90 days after the start."
    )


def test_steps_of_months_and_dekads_start_with_the_calendar():
    months = made(season_start="10-01", step_days=365.25 / 12)
    assert step_starts(months)[:5] == (date(2001, 10, 1), date(2001, 11, 1), date(2001, 12, 1), date(2002, 1, 1),
                                       date(2002, 2, 1))  # fmt: skip
    assert "to 31 July of the next year" in describe_season(months)
    dekads = made(season_start="02-01", step_days=365.25 / 36)
    assert step_starts(dekads)[2:4] == (date(2001, 2, 21), date(2001, 3, 1))


def test_places_with_seasons_of_their_own_have_no_dates():
    table = made(season_start="each place's own start", days_to_harvest=np.linspace(80, 120, 60))
    assert step_starts(table) == ()
    assert "100 days after the start in the median place (80 to 120)" in describe_season(table)
    assert step_axis(table)["ticktext"][0] == "0"


def test_y_ranges_are_those_of_training_rows_and_plots_are_drawn_by_the_renderer(small_card):
    table = read(small_card)
    folds, _, _ = folds_of(table, "year", 0)
    spans = ranges_of(table, folds)
    np.testing.assert_array_equal(
        spans, y_ranges(table.values, table.observed, folds[0].train, [-0.2, None], [1.0, None])
    )
    ndvi, nir = describe_ranges(table, spans)
    assert (ndvi.low, ndvi.high, ndvi.from_card, nir.from_card) == (-0.2, 1.0, True, False)
    seen = table.values[:, 1][table.observed[:, 1]]
    assert (nir.lowest, nir.highest) == (seen.min(), seen.max())
    assert nir.outside == pytest.approx(((seen < spans[1, 0]) | (seen > spans[1, 1])).mean())
    style = Style(size=64)
    plots = plots_of(table, spans, style, "halves")
    assert len(plots) == 8
    one = plots[3]
    assert (one.variate, one.window, one.first, one.last) == ("NIR", "second-half", 6, 11)
    row = table.sample_id.tolist().index(one.sample)
    unit = (table.values[row, 1, 6:] - np.float32(spans[1, 0])) / np.float32(spans[1, 1] - spans[1, 0])
    ink = draw(unit[None].astype(np.float32), table.observed[row, 1, 6:][None], style)
    difference = np.asarray(one.image).astype(int) - colourise(ink, PALETTE[[1]])[0].astype(int)
    assert np.abs(difference).max() <= 16  # the last bits of the division


@pytest.mark.parametrize(("years", "step"), [((2018, 2020), 1), ((2003, 2020), 2), ((1950, 2020), 10)])
def test_years_have_whole_and_few_ticks(years, step):
    axis = year_axis(years)
    assert (axis["dtick"], axis["tickformat"]) == (step, "d")


def test_a_page_holds_no_number_that_json_cannot():
    assert as_json({"a": [1.0, float("nan"), (float("inf"), "b")]}) == {"a": [1.0, None, [None, "b"]]}


# ---- files and joins


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


# ---- findings of real tables, on the page


def findings_of(card):
    return {one.card_line: one for one in summarise(read(card), str(card)).findings}


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


# ---- the page and the commands


@pytest.mark.slow
def test_a_large_table_is_summarised_and_says_so(tmp_path):
    table = made(n=100_000, variates=3, steps=36, places=9_000)
    (tmp_path / "t.csv").write_text("")
    seen = summarise(table, str(tmp_path / "t.csv"))
    write_data_page(seen, tmp_path / "data.html")
    text = (tmp_path / "data.html").read_text()
    assert len(text.encode()) < MOST_BYTES
    assert "a sample of 1,500 of 100,000 rows" in text
    assert "A sample of 60 of 9,000 places" in text
    assert headline(seen) == (
        "100,000 samples of 9,000 places in 12 years (2001 to 2012), all with a yield; 3 variates on 36 steps."
    )
    points = sum(len(trace.get("x", [])) for chart in numbers_of(text).values() for trace in chart["data"])
    assert points < 5_000


def test_names_of_the_data_cannot_become_part_of_the_page(tmp_path):
    frame = small_seasons()
    frame.loc[frame.place == "field3", "place"] = "</script><b>x"
    frame.loc[frame.place == "field4", "place"] = "--blue"
    card = saved(tmp_path, frame)
    text = page(summarise(read(card), str(card)))
    assert "</script><b>x" not in text
    assert "\\u003c/script>\\u003cb>x" in text.replace("\\u003e", ">")


@pytest.mark.slow
def test_the_command_writes_a_page_that_needs_no_network(small_card, tmp_path):
    command = [sys.executable, "-m", "report.data", "--data", str(small_card), "--out", str(tmp_path / "data.html")]
    for _ in range(2):  # an earlier page is replaced
        ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=True)
    assert ran.stdout.startswith("small: 84 samples of 12 places in 7 years (2016 to 2022), all with a yield; ")
    assert ran.stdout.endswith(f"page: {tmp_path / 'data.html'}\n")
    text = (tmp_path / "data.html").read_text()
    assert len(text.encode()) < MOST_BYTES
    own = text.split("<script>")[0]
    assert not re.search(r'(?:src|href)="(?!data:|#)', own)
    assert own.count("data:image/png;base64") == 8
    for words in ("seasons.csv", read(small_card).fingerprint(), "--split auto takes year"):
        assert words in own


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--data", "nowhere.csv"], "nowhere.csv"),
        (["--out", "data.pdf"], ".html"),
        (["--out", "no/folder/data.html"], "no/folder"),
    ],
)
def test_bad_input_ends_in_a_paragraph_and_exit_2(small_card, tmp_path, capsys, monkeypatch, flags, words):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    assert main(["--data", str(small_card), *flags]) == 2
    said = capsys.readouterr().err
    assert said.startswith("report.data: ")
    assert words in said
    assert sorted(tmp_path.iterdir()) == before


def test_a_table_to_be_forecast_is_shown_without_yields(tmp_path, capsys):
    card = saved(tmp_path, small_seasons().drop(columns="yield_t_ha"))
    flags = ["--data", str(card), "--out", str(tmp_path / "data.html")]
    assert main(flags) == 2
    assert main([*flags, "--for-prediction"]) == 0
    assert "without yields" in capsys.readouterr().out
    text = (tmp_path / "data.html").read_text()
    assert "No yield is known." in text
    assert "yields" not in numbers_of(text)


def test_a_dry_run_writes_the_page_and_prints_its_path(small_card, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    flags = ["--data", str(small_card), "--encoder", "none", "--cache", str(tmp_path / "cache"), "--dry-run"]
    assert render_cache.main(flags) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("data.html: the contents of the table")
    assert "small: the data" in (tmp_path / "data.html").read_text()
    assert not (tmp_path / "cache").exists()
    (tmp_path / "data.html").unlink()
    (tmp_path / "data.html").mkdir()
    assert render_cache.main(flags) == 0
    assert "data.html could not be written" in capsys.readouterr().err


def test_a_page_that_cannot_be_written_leaves_nothing(small_card, tmp_path):
    (tmp_path / "data.html").mkdir()
    with pytest.raises(OSError, match=r"data\.html could not be written"):
        write_data_page(summarise(read(small_card), str(small_card)), tmp_path / "data.html")
    assert [path.name for path in tmp_path.glob("*data*")] == ["data.html"]


# ---- the browser

MARKS = ".boxlayer path.box, .heatmaplayer image, .scatterlayer .point, .barlayer .point"
PROBE = """
window.addEventListener("load", () => setTimeout(() => {
  const out = {width: innerWidth, needs: document.documentElement.scrollWidth, marks: {}, cut: [], colours: []};
  for (const chart of document.querySelectorAll(".chart")) {
    out.marks[chart.id] = chart.querySelectorAll("MARKS").length;
    const whole = chart.getBoundingClientRect();
    for (const text of chart.querySelectorAll("svg text")) {
      const at = text.getBoundingClientRect();
      if (at.width && (at.left < whole.left - 1 || at.right > whole.right + 1 || at.bottom > whole.bottom + 1))
        out.cut.push(chart.id + ": " + text.textContent);
    }
  }
  for (const part of document.querySelectorAll("h1, h2, h3, h4, p, li, dd, figure, img, .scroll, .chart"))
    if (part.getBoundingClientRect().right > innerWidth + 1) out.cut.push(part.outerHTML.slice(0, 80));
  const list = document.querySelector("select[data-chart]");
  list.selectedIndex = 2; list.dispatchEvent(new Event("change"));
  out.chosen = document.getElementById("chart-" + list.dataset.chart).data.map(trace => trace.visible);
  parent.postMessage(JSON.stringify(out), "*");
}, 1500));
""".replace("MARKS", MARKS)
FRAME = """<!doctype html><html><body style="margin:0"><script>
addEventListener("message", event => {
  const pre = document.createElement("pre"); pre.id = "probe"; pre.textContent = event.data;
  document.body.append(pre);
});
</script><iframe src="inner.html" width="WIDTH" height="2000" style="border:0"></iframe></body></html>"""


def shown(text, folder, width):
    """What the probe finds in a page that is `width` pixels wide (a window of Chromium has at least 500)."""
    (folder / "inner.html").write_text(text.replace("</body>", f"<script>{PROBE}</script></body>"))
    (folder / "frame.html").write_text(FRAME.replace("WIDTH", str(width)))
    dom, console = opened(folder / "frame.html", folder)
    return json.loads(html.unescape(re.search(r'<pre id="probe">(.*?)</pre>', dom, re.S)[1])), console


@pytest.fixture(scope="module")
def rich(tmp_path_factory):
    """The page of a table with everything: two files, positions, history of a kind, long names, outliers."""
    folder = tmp_path_factory.mktemp("rich")
    frame = small_seasons()
    frame["place"] = "a municipality with a long name " + frame["place"]
    number = frame["place"].str.extract(r"(\d+)$")[0].astype(float)
    frame = frame.assign(lat=48 + number / 10, lon=8 + (number % 4) / 7)
    frame.loc[5, "yield_t_ha"] = 19.0
    frame, number = frame.drop(index=17), number.drop(17)
    frame[number < 6].to_csv(folder / "first_half_of_the_municipalities.csv", index=False)
    frame[number >= 6].to_csv(folder / "b.csv", index=False)
    card = 'latitude = "lat"\nlongitude = "lon"\nharvest = "08-15"\n' + CARD
    (folder / "card.toml").write_text(
        card.replace('["seasons.csv"]', '["first_half_of_the_municipalities.csv", "b.csv"]')
    )
    return summarise(read(folder / "card.toml"), str(folder / "card.toml"))


@pytest.mark.slow
@NEEDS
@pytest.mark.parametrize("width", [400, 1280])
def test_the_page_loads_without_an_error_and_nothing_is_cut_off(rich, tmp_path, width):
    found, console = shown(page(rich), tmp_path, width)
    assert console == []
    charts = [chart.id for several in charts_of(rich).values() for chart in several]
    assert {*charts} == {"observed", "observed-years", "year-0", "year-1", "file-0", "file-1", "yields", "places-count",
                         "places", "map"}  # fmt: skip
    assert {name for name, marks in found["marks"].items() if marks} == {f"chart-{name}" for name in charts}
    assert found["marks"]["chart-year-0"] == 7
    assert found["marks"]["chart-file-0"] == 2
    assert found["marks"]["chart-map"] == 12
    assert found["marks"]["chart-yields"] == 7 + 83 + len(rich.yields.outliers)
    assert found["cut"] == []
    assert found["needs"] <= found["width"] <= width
    assert found["chosen"] == [False, False, True]
