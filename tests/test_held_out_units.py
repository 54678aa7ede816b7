"""What a fold holds out as a whole decides which rows are left out together, and what offset training rows have."""

from dataclasses import replace

import numpy as np
import pytest

from model.offset import KnownYields, Offset
from model.offset_choice import Candidate, ChosenOffset
from pipeline.splits import Fold, make_folds
from predict import in_training
from stages.yields.fold_offset import fold_offset, groups_of, held_out_unit, known_in, offset_without_own, rehearsals
from tests.made_seasons import made


def table_of(place, year, target=None):
    table = made(steps=4, samples=len(place))
    place, year = np.asarray(place), np.asarray(year)
    names = np.array([f"{n}" for n in range(len(place))])
    target = np.arange(len(place), dtype=float) if target is None else target
    return replace(table, place=place, year=year, sample_id=names, target=target, group=np.arange(len(place)))


def assigned(table, sides):
    (fold,) = make_folds(table.year, table.place, table.sample_id, "card", assigned=np.asarray(sides))
    return fold


def only(kind):
    return ChosenOffset((Candidate(Offset(kind, None), 0.0, 1.0),))


def test_a_card_whose_validation_rows_share_years_with_training_rows_still_holds_out_its_test_year():
    rng = np.random.default_rng(0)
    place, year = np.tile([f"p{n}" for n in range(20)], 8), np.repeat(np.arange(2010, 2018), 20)
    shock = rng.normal(0, 1.2, 8)[year - 2010]
    table = table_of(place, year, 5 + shock + rng.normal(0, 0.3, 160))
    fold = assigned(table, np.where(year == 2017, "test", np.where(rng.random(160) < 0.2, "valid", "train")))
    rows = np.sort(np.concatenate([fold.train, fold.valid]))
    assert held_out_unit(table, fold) == "year"
    np.testing.assert_array_equal(groups_of(table, fold, rows), year[rows])
    cases = rehearsals(table, fold)
    assert [np.unique(case.year).tolist() for case in cases] == [[one] for one in range(2011, 2017)]
    assert all((case.known.year < case.year.min()).all() for case in cases)
    anomaly = table.target[rows] - offset_without_own(table, fold, fold_offset(table, fold), rows)
    assert anomaly.std() > 0.6  # the shocks of the years are in it, as in that of the test year


def test_plots_that_occur_once_do_not_make_a_split_by_years_one_by_places():
    year = np.repeat(np.arange(2015, 2023), 6)
    table = table_of([f"plot{n}" for n in range(48)], year)
    fold = assigned(table, np.where(year == 2022, "test", np.where(year == 2021, "valid", "train")))
    assert not fold.by_place
    assert held_out_unit(table, fold) == "year"
    assert fold_offset(table, fold, "mixed").kind == "mixed"


def test_new_places_are_held_out_even_if_validation_rows_share_places_with_training_rows():
    place, year = np.repeat([f"p{n}" for n in range(12)], 5), np.tile(np.arange(2018, 2023), 12)
    table = table_of(place, year)
    sides = np.where(np.isin(place, ["p0", "p1"]), "test", np.where(np.arange(60) % 4 == 0, "valid", "train"))
    fold = assigned(table, sides)
    assert fold.by_place
    assert held_out_unit(table, fold) == "place"
    for case in rehearsals(table, fold):
        assert not {*case.place} & {*case.known.place}


@pytest.mark.parametrize(("split", "unit"), [("year", "year"), ("forward", "year"), ("leave-year-out", "year"),
                                             ("place", "place"), ("random", "yield")])  # fmt: skip
def test_the_unit_of_every_split(split, unit):
    table = table_of(np.repeat([f"p{n}" for n in range(12)], 5), np.tile(np.arange(2018, 2023), 12))
    for fold in make_folds(table.year, table.place, table.sample_id, split):
        assert held_out_unit(table, fold) == unit


def test_anomalies_of_a_random_split_are_as_large_in_training_as_in_test_rows():
    """One year, farms that differ: without the farm's other fields, anomalies would be the differences of farms."""
    rng = np.random.default_rng(1)
    place = np.repeat(list("abcd"), 20)
    level = rng.normal(6, 2, 4)[np.repeat(np.arange(4), 20)]
    table = table_of(place, np.full(80, 2020), level + rng.normal(0, 0.3, 80))
    (fold,) = make_folds(table.year, table.place, table.sample_id, "random")
    rows = np.sort(np.concatenate([fold.train, fold.valid]))
    offset = only("place")
    known = known_in(table, fold, rows)
    test = table.target[fold.test] - offset.predict(known, table.place[fold.test], table.year[fold.test])
    trained = table.target[rows] - offset_without_own(table, fold, offset, rows)
    assert trained.std() == pytest.approx(test.std(), rel=0.5)
    assert trained.std() < 0.5
    changed = replace(table, target=np.where(np.arange(80) == rows[0], 99.0, table.target))
    assert offset_without_own(changed, fold, offset, rows)[0] == offset_without_own(table, fold, offset, rows)[0]


def test_the_offset_of_a_training_place_is_that_of_a_place_nobody_knows():
    table = table_of(np.repeat([f"p{n}" for n in range(12)], 5), np.tile(np.arange(2018, 2023), 12))
    fold = make_folds(table.year, table.place, table.sample_id, "place")[0]
    rows = np.sort(np.concatenate([fold.train, fold.valid]))
    found = offset_without_own(table, fold, only("place"), rows)
    np.testing.assert_allclose(found, table.target[rows].mean())


@pytest.mark.parametrize("n", range(6, 12))
def test_a_random_split_of_few_rows_has_two_of_each_side(n):
    ids = np.array([f"s{i}" for i in range(n)])
    (fold,) = make_folds(np.full(n, 2020), ids, ids, "random")
    assert min(len(rows) for rows in (fold.train, fold.valid, fold.test)) >= 2
    assert sorted(np.concatenate([fold.train, fold.valid, fold.test]).tolist()) == list(range(n))


def test_a_fold_without_validation_rows_has_a_unit():
    empty = np.arange(0)
    table = table_of(["a", "b"], [2020, 2021])
    assert held_out_unit(table, Fold("x", np.array([0]), empty, np.array([1]))) == "year"


def test_a_year_of_the_history_is_no_training_year():
    table = table_of(["a", "a", "b"], [2015, 2021, 2021])
    known = KnownYields(np.array(["a", "a"]), np.array([2021, 2015]), np.array([3.0, 4.0]), np.array([True, False]))
    fitted = {"2022": {"forecaster": {"known": known.to_dict()}}}
    assert in_training(table, fitted).tolist() == [False, True, False]
