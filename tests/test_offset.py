"""The offset reads only permitted yields: no own label, history before the year only, nothing of held-out rows."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.mixed_effects import Variances, forecast
from model.offset import (
    MOST_YEARS,
    OFFSETS,
    SLOPE_RIDGE,
    KnownYields,
    Offset,
    known_yields,
    shrinkage,
)

VARIANCES = Variances(trend=0.2, smooth=0.1, shock=0.15, place=0.5, slope=0.1, drift=0.08, error=0.2)

entry = st.tuples(st.sampled_from("abc"), st.integers(2000, 2008), st.floats(0.5, 9), st.booleans())
entries = st.lists(entry, min_size=1, max_size=25, unique_by=lambda e: (e[0], e[1]))
asked = st.lists(st.tuples(st.sampled_from("abcd"), st.integers(2000, 2010)), min_size=1, max_size=8)


UNITS = st.sampled_from(["none", "year", "place", "yield"])


def unit_of(place, year, number, *, by):
    """The code of what is held out together with a row, `number` being that of its yield."""
    return {"none": -1, "year": year, "place": ord(place), "yield": number}[by]


def as_known(rows, by="none"):
    place, year, target, label = zip(*rows, strict=True)
    unit = [unit_of(p, y, n, by=by) if is_label or by == "place" else -1 for n, (p, y, _, is_label) in enumerate(rows)]
    return KnownYields(np.array(place), np.array(year), np.array(target), np.array(label), np.array(unit))


def slow_shrinkage(rows):
    """Variance within places over the variance between their means beyond chance."""
    places = {p: [t for q, _, t in rows if q == p] for p, *_ in rows}
    means = {p: sum(ts) / len(ts) for p, ts in places.items()}
    free = sum(len(ts) - 1 for ts in places.values())
    if len(places) < 2 or free < 1:
        return 0.0
    within = sum((t - means[p]) ** 2 for p, ts in places.items() for t in ts) / free
    centre = sum(means.values()) / len(means)
    chance = within * sum(1 / len(ts) for ts in places.values()) / len(places)
    between = sum((m - centre) ** 2 for m in means.values()) / (len(means) - 1) - chance
    return min(within / between, MOST_YEARS) if between > 0 else MOST_YEARS


def slow(kind, window, rows, query, by):
    """One query (place, year, number of its yield) by loops over what is known."""
    place, year, _ = query
    own = unit_of(*query, by=by)
    left = [by == "none" or unit_of(p, y, n, by=by) != own for n, (p, y, *_) in enumerate(rows)]
    labels = [t for _, _, t, label in rows if label]
    overall = sum(labels) / len(labels)
    if kind in ("none", "mean"):
        return 0.0 if kind == "none" else overall
    seen = [(p, y, t) for (p, y, t, label), keep in zip(rows, left, strict=True)
            if (keep and label) or (not label and y < year and (keep or by != "place"))]  # fmt: skip
    if kind == "mixed":
        if not seen:
            return overall
        names, years, yields = (np.array(column) for column in zip(*seen, strict=True))
        return forecast(VARIANCES, (names, years, yields), np.array([place]), np.array([year]))[0]
    usable = [(y, t) for p, y, t in seen if p == place and (window is None or abs(y - year) <= window)]
    if not usable:
        return overall
    if kind == "place-shrunk":
        allowed = [(p, y, t) for p, y, t, label in rows if label or y < year]
        years = slow_shrinkage(allowed)
        return (sum(t for _, t in usable) + years * overall) / (len(usable) + years)
    mean = sum(t for _, t in usable) / len(usable)
    before = [(y, t) for y, t in usable if y < year]
    if kind == "last" and before:
        latest = [t for y, t in before if y == max(before)[0]]
        return sum(latest) / len(latest)
    if kind == "place-trend" and len(usable) >= 3:
        centre = sum(y for y, _ in usable) / len(usable)
        spread = sum((y - centre) ** 2 for y, _ in usable) + SLOPE_RIDGE
        return mean + sum((y - centre) * t for y, t in usable) / spread * (year - centre)
    return mean


@settings(max_examples=300, deadline=None)
@given(entries, asked, st.sampled_from(OFFSETS), st.sampled_from([None, 1, 3]), UNITS)
def test_every_kind_agrees_with_its_slow_twin(rows, queries, kind, window, by):
    if kind == "mixed" and by in ("place", "yield"):
        by = "year"  # the mixed-effects model is for held-out years alone
    rows = [*rows, ("z", 2004, 3.0, True)]  # there is always a label
    queries = [(p, y, n % len(rows)) for n, (p, y) in enumerate(queries)]
    place, year, _ = (np.array(column) for column in zip(*queries, strict=True))
    unit = None if by == "none" else np.array([unit_of(*query, by=by) for query in queries])
    fast = Offset(kind, window, variances=VARIANCES).predict(as_known(rows, by), place, year, unit=unit)
    expected = [slow(kind, window, rows, query, by) for query in queries]
    np.testing.assert_allclose(fast, expected, rtol=1e-9)


@settings(max_examples=150, deadline=None)
@given(entries, st.sampled_from(["last", "place", "place-trend", "mixed"]), st.floats(0.5, 99), UNITS)
def test_no_label_reaches_its_own_anomaly(rows, kind, other, by):
    """The mean of all labels, and what is shrunk towards it, is one number for all rows."""
    rows = [(p, y, t, True) for p, y, t, _ in rows]
    by = "year" if kind == "mixed" or by == "none" else by
    row = rows[0]
    own = unit_of(row[0], row[1], 0, by=by)
    units = [unit_of(p, y, n, by=by) for n, (p, y, *_) in enumerate(rows)]
    if all(unit == own or (kind != "mixed" and p != row[0]) for (p, *_), unit in zip(rows, units, strict=True)):
        return  # nothing else is known of the place: the offset is the mean of all labels
    changed = [(row[0], row[1], other, True), *rows[1:]]
    at, unit = (np.array([row[0]]), np.array([row[1]])), np.array([own])
    offset = Offset(kind, None, variances=VARIANCES)
    one, two = (offset.predict(as_known(each, by), *at, unit=unit) for each in (rows, changed))
    np.testing.assert_allclose(one, two, rtol=1e-9)


@pytest.mark.parametrize("kind", ["mean", "place", "place-shrunk", "last", "place-trend", "mixed"])
def test_history_of_the_forecast_year_and_later_changes_no_offset(kind):
    labels = [(p, y, 3.0 + n + 0.1 * y % 1, True) for n, p in enumerate("abc") for y in (2015, 2016, 2017)]
    past = [(p, y, 3.3 + n, False) for n, p in enumerate("abcd") for y in range(2008, 2014)]
    late = [(p, 2018 + n % 3, 40.0 + n, False) for n, p in enumerate("defd")]
    at = np.array(list("abcdx")), np.full(5, 2018)
    known, more = as_known(labels + past), as_known(labels + past + late)
    np.testing.assert_array_equal(more.before(2018).target, known.target)
    one, two = (Offset(kind, None, variances=VARIANCES).predict(each, *at) for each in (known, more))
    np.testing.assert_allclose(one, two, rtol=1e-9)


def test_history_of_held_out_rows_and_places_is_hidden():
    labels = (np.array(["a"]), np.array([2001]), np.array([1.0]))
    history = (np.array(["a", "a", "a", "b", "b"]), np.array([1999, 2001, 2002, 1999, 2002]), np.arange(5.0))
    held_out = (np.array(["a", "b"]), np.array([2002, 2002]))
    known = known_yields(labels, history, held_out, hide_places=False)
    pairs = list(zip(known.place.tolist(), known.year.tolist(), known.label.tolist(), strict=True))
    assert pairs == [("a", 2001, True), ("a", 1999, False), ("b", 1999, False)]
    strict = known_yields(labels, history, (np.array(["b"]), np.array([2002])), hide_places=True)
    assert "b" not in strict.place.tolist()
    again = KnownYields.from_dict(json.loads(json.dumps(known.to_dict())))
    np.testing.assert_array_equal(again.target, known.target)


def test_a_place_nobody_knows_gets_the_mean_of_all():
    known = as_known([("a", 2000, 2.0, True), ("b", 2000, 4.0, True)])
    for kind in ("last", "place", "place-trend"):
        found = Offset(kind, None).predict(known, np.array(["new"]), np.array([2001]))
        assert found == pytest.approx([3.0])


def test_places_with_few_years_are_forecast_better_when_their_mean_is_shrunk():
    """200 places of level N(5, 0.5), 3 years of noise N(0, 1): the squared error falls from 1/3 to that of Bayes."""
    rng = np.random.default_rng(0)
    level = rng.normal(5, 0.5, 200)
    place, year = np.repeat([f"p{i}" for i in range(200)], 3), np.tile([2001, 2002, 2003], 200)
    known = KnownYields(place, year, np.repeat(level, 3) + rng.normal(size=600), np.ones(600, bool))
    assert 2 < shrinkage(known.place, known.target) < 8  # within 1 over between 0.25 is 4 years
    asked = np.array([f"p{i}" for i in range(200)]), np.full(200, 2004)
    error = {
        kind: np.mean((Offset(kind, None).predict(known, *asked) - level) ** 2) for kind in ("place", "place-shrunk")
    }
    assert error["place-shrunk"] < 0.6 * error["place"]


def test_places_that_do_not_differ_get_the_mean_of_all():
    known = as_known([(p, y, 4.0 + (y - 2001), True) for p in "abc" for y in (2000, 2001, 2002)])
    assert shrinkage(known.place, known.target) == MOST_YEARS
    told = Offset("place-shrunk", None).predict(known, np.array(["a"]), np.array([2003]))
    assert told == pytest.approx(4.0, abs=1e-5)
