"""No sample on two sides, no group on two sides, and the order of the rows does not matter."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import InputError
from pipeline.splits import FORWARD_TESTS, SPLITS, Fold, make_folds, refuse_shared_groups, resolve_split, thinned
from pipeline.table import SIDES, SeasonTable, Variate


@st.composite
def tables(draw):
    """year, place, sample_id of a full grid of places and years."""
    places, years = draw(st.integers(5, 9)), draw(st.integers(3, 7))
    year = np.repeat(np.arange(2010, 2010 + years), places * 2)
    place = np.tile(np.repeat([f"p{i}" for i in range(places)], 2), years)
    return year, place, np.array([f"{p}|{y}|{i}" for i, (p, y) in enumerate(zip(place, year, strict=True))])


@settings(max_examples=40, deadline=None)
@given(tables(), st.sampled_from(SPLITS), st.integers(0, 5), st.randoms())
def test_folds_are_disjoint_and_do_not_depend_on_row_order(table, split, seed, random):
    year, place, sample_id = table
    order = np.array(random.sample(range(len(year)), len(year)))
    sides = np.array(SIDES)[np.arange(len(year)) % 3]
    folds = make_folds(year, place, sample_id, split=split, seed=seed, assigned=sides)
    shuffled = make_folds(year[order], place[order], sample_id[order], split=split, seed=seed, assigned=sides[order])
    for fold, other in zip(folds, shuffled, strict=True):
        parts = [fold.train, fold.valid, fold.test]
        assert len(np.unique(np.concatenate(parts))) == sum(map(len, parts))
        for part, mixed in zip(parts, (other.train, other.valid, other.test), strict=True):
            assert set(sample_id[part]) == set(sample_id[order][mixed])


@settings(max_examples=40, deadline=None)
@given(tables(), st.sampled_from(["leave-year-out", "place"]))
def test_cross_validation_tests_every_sample_exactly_once(table, split):
    tested = np.concatenate([fold.test for fold in make_folds(*table, split)])  # type: ignore[call-arg]
    assert sorted(tested) == list(range(len(table[0])))


@settings(max_examples=40, deadline=None)
@given(tables(), st.sampled_from(["year", "forward"]))
def test_forward_splits_never_learn_from_a_later_year(table, split):
    year = table[0]
    folds = make_folds(*table, split)  # type: ignore[call-arg]
    assert len(folds) == (1 if split == "year" else min(FORWARD_TESTS, len(np.unique(year)) - 2))
    for fold in folds:
        assert year[fold.train].max() < year[fold.valid].min() <= year[fold.valid].max() < year[fold.test].min()
    assert year[folds[-1].test].max() == year.max()
    if split == "forward":
        every = make_folds(*table, split, chosen=("all",))  # type: ignore[call-arg]
        assert [fold.name for fold in every] == [str(y) for y in np.unique(year)[2:]]
        (first,) = make_folds(*table, split, chosen=(every[0].name,))  # type: ignore[call-arg]
        np.testing.assert_array_equal(first.train, every[0].train)
        with pytest.raises(InputError, match="1999"):
            make_folds(*table, split, chosen=("1999",))  # type: ignore[call-arg]


@settings(max_examples=40, deadline=None)
@given(tables(), st.sampled_from(["place", "leave-year-out"]))
def test_a_group_never_stands_on_two_sides(table, split):
    group = table[1] if split == "place" else table[0]
    for fold in make_folds(*table, split):  # type: ignore[call-arg]
        sides = [set(group[part].tolist()) for part in (fold.train, fold.valid, fold.test)]
        assert not sides[0] & sides[1] and not sides[0] & sides[2] and not sides[1] & sides[2]  # noqa: PT018
        assert fold.by_place == (split == "place")


@settings(max_examples=40, deadline=None)
@given(tables(), st.booleans())
def test_the_card_split_holds_places_out_if_they_are_new_and_their_years_are_not(table, by_place):
    year, place, sample_id = table
    number = np.unique(place, return_inverse=True)[1] if by_place else np.arange(len(year))
    sides = np.array(SIDES)[number % 3]
    (fold,) = make_folds(year, place, sample_id, split="card", assigned=sides)
    test = sides == "test"
    new_places, known_years = not {*place[test]} & {*place[~test]}, bool({*year[test]} & {*year[~test]})
    assert (fold.name, fold.by_place) == ("card", new_places and known_years)
    for side in SIDES:
        assert getattr(fold, side).tolist() == [i for i in range(len(year)) if sides[i] == side]


def test_a_table_without_sides_has_no_card_split():
    grid = (np.array([2020, 2020]), np.array(["a", "b"]), np.array(["v", "w"]))
    with pytest.raises(InputError, match=r"the table has none. Name the column .* at the top of the dataset card"):
        make_folds(*grid, "card")
    with pytest.raises(InputError, match="--split card: fold card has 0 samples to validate on"):
        make_folds(*(np.repeat(part, 2) for part in grid), "card", assigned=np.array(["train", "test"] * 2))  # type: ignore[call-arg]


def test_a_shared_group_is_named():
    fold = Fold("x", np.array([0]), np.array([1]), np.array([2]))
    with pytest.raises(ValueError, match="'b' is in train and in test"):
        refuse_shared_groups(fold, np.array(["b", "c", "b"]))


def test_too_few_years_places_or_samples_are_refused_with_advice():
    grid = (np.array([2020, 2020, 2021, 2021]), np.array(list("abab")), np.array(list("wxyz")))
    with pytest.raises(InputError, match=r"3 different years.*2020, 2021\. Add years, places or samples\.$"):
        make_folds(*grid, "year")
    with pytest.raises(InputError, match=r"5 different places.* has 2\. Add years"):
        make_folds(*grid, "place")
    year = np.array([2019, 2019, 2020, 2020, 2021])
    with pytest.raises(InputError, match=r"fold 2021 has 1 sample to test on \(year 2021\); at least 2"):
        make_folds(year, np.array(list("ababa")), np.array(list("vwxyz")), split="year")


def refusal(table, split):
    with pytest.raises(InputError) as caught:
        make_folds(table.year, table.place, table.sample_id, split=split)
    return str(caught.value)


def test_only_splits_that_fit_the_table_are_recommended():
    message = refusal(table_of([2021, 2022], 30), "year")
    assert message.endswith("the table has 2021, 2022. Use --split place, or add years, places or samples.")
    message = refusal(table_of(range(2018, 2023), 4), "place")
    assert "has 4. Use --split year, forward or leave-year-out, or add" in message
    message = refusal(table_of(range(2000, 2020), 1), "place")  # one row a year: no split by years fits
    assert "has 1. Use --split random (rows of one place and year may train and test" in message


def test_a_year_with_one_sample_is_named_with_the_folds_and_the_exclusion_that_avoid_it():
    whole = table_of(range(2016, 2022), 6)
    table = whole.rows(np.flatnonzero((whole.year != 2021) | (whole.place == "p0")))
    message = refusal(table, "leave-year-out")
    assert "fold 2016 has 1 sample to validate on (year 2021); at least 2 are needed. Use --folds " in message
    assert "Use --folds 2017,2018,2019,2020, leave year 2021 out ([[exclude]] with year = 2021 in" in message
    assert message.endswith("use --split place, or add years, places or samples.")
    rest = make_folds(
        table.year, table.place, table.sample_id, split="leave-year-out", chosen=("2017", "2018", "2019", "2020")
    )
    assert len(rest) == 4
    rest = table.rows(np.flatnonzero(table.year != 2021))
    assert len(make_folds(rest.year, rest.place, rest.sample_id, split="leave-year-out")) == 5


def test_a_place_with_one_sample_is_named():
    whole = table_of(range(2018, 2022), 6)
    held = np.flatnonzero((whole.place == "p0") | (whole.place == "p1"))
    held = np.setdiff1d(np.arange(len(whole)), held[1:])  # p0 has one sample, p1 none
    message = refusal(whole.rows(held), "place")
    assert "has 1 sample to " in message
    assert "(place p0); at least 2 are needed. Use --folds places-" in message
    assert "[[exclude]]" not in message  # four places are too few


@given(share=st.floats(0.01, 1.0), seed=st.integers(0, 99))
def test_a_share_keeps_some_training_and_validation_rows_and_every_test_row(share, seed):
    year, place = np.repeat(np.arange(2010, 2020), 12), np.tile([f"p{i}" for i in range(12)], 10)
    ids = np.array([f"{p}-{y}" for p, y in zip(place, year, strict=True)])
    (whole,) = make_folds(year, place, ids, split="year")
    (some,) = thinned((whole,), share, seed)
    assert np.array_equal(some.test, whole.test)
    for kept, rows in ((some.train, whole.train), (some.valid, whole.valid)):
        assert set(kept) <= set(rows)
        assert len(kept) == (len(rows) if share == 1 else max(2, round(share * len(rows))))
        assert (np.diff(kept) > 0).all()
    assert np.array_equal(some.train, thinned((whole,), share, seed)[0].train)


def table_of(years, places, rows=1):
    """A table with so many samples for each place and year."""
    year, place = (np.repeat(grid.ravel(), rows) for grid in np.meshgrid(years, [f"p{n}" for n in range(places)]))
    values = np.zeros((len(year), 1, 4), np.float32)
    return SeasonTable(
        name="t",
        values=values,
        observed=np.ones(values.shape, bool),
        target=np.ones(len(year)),
        sample_id=np.array([f"s{n}" for n in range(len(year))]),
        place=place,
        year=year.astype(np.int64),
        variates=(Variate("ndvi"),),
        step_days=10,
    )


@pytest.mark.parametrize(
    ("table", "wanted", "message"),
    [
        (table_of(range(2018, 2023), 3), "year", "takes year: the table has 5 years, 2018 to 2022"),
        (table_of([2022], 30), "place", "needs 3 different years (training, validation, test); the table has 2022"),
        (table_of([2021, 2022], 30), "place", "the table has 2021, 2022"),
        (table_of([2021, 2022], 4, rows=3), "random", "needs 5 different places; the table has 4; rows of one"),
    ],
)
def test_auto_takes_years_then_places_then_rows_and_says_why(table, wanted, message):
    split, said = resolve_split("auto", table)
    assert split == wanted
    assert said.startswith(f"--split auto takes {wanted}")
    assert message in said
    assert make_folds(table.year, table.place, table.sample_id, split=split)


def test_auto_passes_over_a_split_whose_folds_lack_samples():
    table = table_of([2018, 2019, 2020], 1)
    split, said = resolve_split("auto", table_of([2018, 2019, 2020], 30).rows(np.arange(61)))
    assert split == "year"
    assert said
    with pytest.raises(
        InputError, match=r"no split that fits: --split year: fold 2020 has 1 sample .*5 different places"
    ):
        resolve_split("auto", table)


def test_a_named_split_is_taken_as_it_stands():
    table = table_of([2020, 2021, 2022], 2)
    assert resolve_split("place", table) == ("place", "")
    assert resolve_split("auto", table, by_years="forward")[0] == "forward"
