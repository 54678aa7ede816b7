"""Rows near enough to training places for positions to help: the same in cross-fitting and in the forecast."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from model.cross_fitting import parts_of
from model.learners.features import Features
from model.learners.tabular import GP_NO_YEAR, GP_POSITIONS, Tabular, TabularRows
from pipeline.splits import Fold
from stages.inputs.fold_data import Reading
from stages.inputs.positions import positions_help
from stages.yields.cross_fitting import CrossFit, placed_rows
from stages.yields.yield_forecaster import Anomalies
from stages.yields.yield_learners import LabelledRows, LeftOutPart


class NoMap:
    """Stands for the feature map, which these learners only keep."""

    names = ()


def placed_table(positions, years=3):
    """A table of one row per place and year, as far as cross-fitting reads it. positions [P,2]."""
    places = len(positions)
    place, year = np.repeat(np.arange(places), years).astype(str), np.tile(np.arange(years), places) + 2000
    target = np.random.default_rng(0).normal(5, 1, len(place))
    return SimpleNamespace(
        place=place, year=year, target=target, position=np.repeat(positions, years, 0), group=np.arange(len(place))
    )


def test_places_of_test_rows_do_not_switch_positions_on():
    at = np.column_stack([np.arange(20) / 10, np.full(20, 40.0)])
    at[8:12] = np.nan  # of 12 training places, 8 have a position; the 8 test places all have one
    table = placed_table(at)
    rows = np.arange(60)
    fold = Fold("places-1", rows[:30], rows[30:36], rows[36:], by_place=True)
    assert not positions_help(table, fold)
    table.position[24:36] = 1.0
    assert positions_help(table, fold)


def cross_fit(table, seed=0):
    """Forecasts of all rows by two learners, the one with positions nearly exact within reach of the others."""
    rows, rng = np.arange(len(table.place)), np.random.default_rng(seed)
    part = parts_of(table.place)
    parts = []
    for number in np.unique(part).tolist():
        fitted, out = (LabelledRows(at, at * 0.0, at * 0.0) for at in (rows[part != number], rows[part == number]))
        parts.append(LeftOutPart(number, fitted, out))
    placed = placed_rows(table, rows, parts)
    anomaly = table.target - 5
    members = {
        GP_NO_YEAR: Anomalies.of((0.8 * anomaly + rng.normal(0, 0.3, len(rows)))[:, None]),
        GP_POSITIONS: Anomalies.of(np.where(placed, anomaly, rng.normal(0, 3, len(rows)))[:, None]),
    }
    return CrossFit(
        prepared=SimpleNamespace(table=table), readings=[Reading(0, None, False)], rows=rows, group=table.place,
        part=part, offset=np.full(len(rows), 5.0), members=[members], placed=placed,
    ), parts  # fmt: skip


def test_left_out_rows_are_placed_as_the_forecaster_places_new_rows():
    rng = np.random.default_rng(0)
    at = np.column_stack([rng.uniform(10, 12, 40), rng.uniform(40, 42, 40)])
    at[:3], at[3:5] = [100.0, -40.0], np.nan  # far from the others, and unknown
    table = placed_table(at)
    table.position[:9, 1] += np.repeat(np.arange(3) * 30, 3)  # and far from each other
    cross, parts = cross_fit(table)
    assert not cross.placed[:15].any()
    assert cross.placed.mean() > 0.8
    for one in parts:
        fitted, left_out = table.position[one.fit.rows], one.left_out.rows
        features = Features({"numbers": torch.zeros(len(fitted), 1)}, np.zeros((len(fitted), 1)))
        rows = TabularRows(features, table.place[one.fit.rows], table.year[one.fit.rows], np.zeros(len(fitted)), fitted)
        learner = Tabular.fit(NoMap, rows, table.target[one.fit.rows], (GP_POSITIONS,), blocks=())
        np.testing.assert_array_equal(learner.within_reach(table.position[left_out]), cross.placed[left_out])
    fit = cross.fit_of(0, "pooled")
    assert fit.unplaced is not None
    assert fit.weights[GP_POSITIONS] > fit.weights[GP_NO_YEAR]  # rows out of reach have no say
    assert fit.margin < 0.5 * fit.unplaced.margin
    assert fit.unplaced.weights[GP_POSITIONS] == 0


@pytest.mark.parametrize(("placed", "interval"), [(0, "pooled"), (6, "pooled"), (0, "year"), (14, "year")])
def test_positions_get_no_weight_if_too_few_rows_are_placed_for_a_margin(placed, interval):
    table = placed_table(np.column_stack([np.arange(14) / 10, np.full(14, 50.0)]))
    cross, _ = cross_fit(table)
    near = np.argsort(table.year, kind="stable")[:placed]  # of one year
    fit = replace(cross, placed=np.isin(cross.rows, near)).fit_of(0, interval)
    assert fit.weights[GP_POSITIONS] == 0
    assert fit.unplaced is None
    assert np.isfinite(fit.margin)
