"""The average of offsets weighs each by its likelihood on rehearsed years; other rehearsals select one."""

import json
import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.offset import KnownYields, Offset
from model.offset_choice import AVERAGED, Candidate, ChosenOffset, Rehearsal, choose_offset
from report.run_page.sentences import fold_sentences

YEARS = np.arange(2000, 2012)


def panel(seed=0, places=30, shock=1.0):
    """Place means, year shocks and noise, t/ha."""
    rng = np.random.default_rng(seed)
    place, year = np.repeat([f"p{i}" for i in range(places)], len(YEARS)), np.tile(YEARS, places)
    target = 5 + np.repeat(rng.normal(0, 1, places), len(YEARS)) + rng.normal(0, 0.5, len(year))
    return KnownYields(
        place, year, target + np.tile(rng.normal(0, shock, len(YEARS)), places), np.ones(len(year), bool)
    )


def part(known, rows):
    return KnownYields(known.place[rows], known.year[rows], known.target[rows], known.label[rows])


def by_year(known):
    years = ((part(known, known.year != one), part(known, known.year == one)) for one in np.unique(known.year))
    return [Rehearsal(others, now.place, now.year, now.target) for others, now in years]


def slow_weights(chosen, rehearsals):
    """The formula of the module, one candidate at a time."""
    kinds = [one.offset.kind for one in chosen.candidates]
    likelihood = [
        (one.rmse**2) ** (-len(rehearsals) / 2) / kinds.count(one.offset.kind) if one.offset.kind in AVERAGED else 0.0
        for one in chosen.candidates
    ]
    return [one / sum(likelihood) for one in likelihood]


@given(st.integers(0, 50), st.integers(2, 12), st.floats(0, 2))
def test_weights_agree_with_their_slow_twin_and_the_average_lies_within_its_members(seed, places, shock):
    known = panel(seed, places, shock)
    rehearsals = by_year(known)
    chosen = choose_offset(rehearsals)
    np.testing.assert_allclose(
        [one.weight for one in chosen.candidates], slow_weights(chosen, rehearsals), rtol=1e-6, atol=1e-12
    )
    at = known.place[:20], known.year[:20]
    parts = [one.offset.predict(known, *at) for one in chosen.used]
    found = chosen.predict(known, *at)
    assert (found <= np.max(parts, 0) + 1e-9).all()
    assert (found >= np.min(parts, 0) - 1e-9).all()


def test_a_kind_that_is_clearly_better_gets_the_weight_and_the_choice_survives_json():
    known = panel()
    chosen = choose_offset(by_year(known), mixed=known)
    assert chosen.kind == "average"
    assert {one.offset.kind for one in chosen.used} <= set(AVERAGED)
    weight = {kind: sum(one.weight for one in chosen.used if one.offset.kind == kind) for kind in AVERAGED}
    assert weight["mean"] < 0.05  # places differ by as much as years
    assert sum(weight.values()) == pytest.approx(1)
    assert ChosenOffset.from_dict(json.loads(json.dumps(chosen.to_dict()))) == chosen
    flat = [Rehearsal(r.known, r.place, r.year, np.full(len(r.target), r.known.target.mean())) for r in by_year(known)]
    assert choose_offset(flat, mixed=known).used[0].offset.kind == "mean"


def test_a_single_year_weighs_the_kinds_almost_equally():
    known = panel()
    chosen = choose_offset(by_year(known)[:1], mixed=known)
    weight = {kind: sum(one.weight for one in chosen.used if one.offset.kind == kind) for kind in AVERAGED}
    assert all(0.1 < one < 0.3 for one in weight.values())


def test_a_rehearsal_of_several_years_selects_the_candidate_with_the_lowest_error():
    place, year = np.repeat(["a", "b", "c"], 20), np.tile(np.arange(2000, 2020), 3)
    target = year * 0.1 - 198 + np.repeat([0.0, 1.0, 2.0], 20)
    known = KnownYields(place, year, target, np.ones(60, bool))
    valid = Rehearsal(known, np.array(["a", "b", "c"]), np.array([2020, 2020, 2021]), np.array([4.0, 5.0, 6.1]))
    chosen = choose_offset([valid])
    assert chosen.kind == "place-trend"
    assert chosen.used[0].rmse == min(one.rmse for one in chosen.candidates)
    assert ChosenOffset.from_dict(json.loads(json.dumps(chosen.to_dict()))) == chosen


def test_a_kind_and_a_window_that_were_asked_for_are_used_alone():
    chosen = choose_offset(by_year(panel()), "place", 5)
    assert [(one.offset.kind, one.offset.window, one.weight) for one in chosen.candidates] == [("place", 5, 1.0)]


def test_perfect_rehearsals_do_not_divide_by_zero():
    known = KnownYields(np.array(["a"] * 4), np.arange(2000, 2004), np.full(4, 3.0), np.ones(4, bool))
    chosen = choose_offset(by_year(known))
    assert sum(one.weight for one in chosen.candidates) == pytest.approx(1)
    assert chosen.predict(known, np.array(["a"]), np.array([2010])) == pytest.approx(3.0)


def test_a_choice_of_an_earlier_version_is_read():
    """Its candidates have no weights."""
    candidates = [["mean", None, 1.0], ["place", None, 0.9], ["place", 10, 0.8], ["mixed", None, 0.9]]
    record = {"kind": "place", "window": 10, "candidates": candidates}
    assert ChosenOffset.from_dict(record).used == [Candidate(Offset("place", 10), 0.8, 1.0)]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({}, r"an average of offsets \((mixed|place|place-shrunk|place-trend) 0\.\d\d, "),
        ({"kind": "place", "window": 5}, "the offset place of 5 years"),
    ],
)
def test_the_page_names_the_weights_or_the_selected_kind(asked, said):
    known = panel()
    record = choose_offset(by_year(known), mixed=known, **asked).to_dict()
    (sentence,) = fold_sentences({}, {"0": {"forecaster": {"offset": record}}}, {})
    assert math.isclose(sum(one[3] for one in record["candidates"]), 1)
    assert re.search(said, sentence)
