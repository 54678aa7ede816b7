"""What the page of the data shows, each summary of a table against a simple count."""

from dataclasses import replace
from datetime import date

import numpy as np
import pandas as pd
import pytest

from pipeline.findings import Finding, by_severity
from pipeline.render import colourise, draw
from pipeline.scaling import y_ranges
from pipeline.sources import read
from pipeline.sources.geometry import Shapes
from pipeline.style import PALETTE, Style
from report.data.charts import presence_charts, step_axis, year_axis
from report.data.findings import copy_findings, folds_of, range_findings
from report.data.places import positions_of, presence_of
from report.data.plots import Range, describe_ranges, plots_of, ranges_of
from report.data.season import describe_season, season_steps, step_starts
from report.data.series import furthest, observed_shares, spreads
from report.data.yields import copies_of, yields_of
from tests.data_pages import made


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
