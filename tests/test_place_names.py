"""One normal form of names: equal names stay one place, different ones never merge."""

from __future__ import annotations

import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import InputError
from pipeline.sources.names.near_names import near_names
from pipeline.sources.names.place_names import (
    find_place,
    lost_zeros,
    normal_name,
    normal_names,
    restore_zeros,
    restore_zeros_like,
    without_zeros,
)

# Whole words of letters and marks, so that what a test adds is all that differs.
words = st.text(st.characters(categories=("Lu", "Ll", "Lo", "Nd"), max_codepoint=0x24F), min_size=1, max_size=8)
names = st.lists(words, min_size=1, max_size=3).map(" ".join).map(lambda text: unicodedata.normalize("NFC", text))
blanks = st.text(" \u00a0\u2003", max_size=3)


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(names, blanks, blanks, st.text(" \u00a0", min_size=1, max_size=3), st.sampled_from(["NFC", "NFD"]))
def test_equal_names_stay_one_place(name: str, before: str, after: str, inside: str, form: str) -> None:
    written = unicodedata.normalize(form, before + name.replace(" ", inside) + after)  # type: ignore[arg-type]
    assert normal_name(written) == normal_name(name) == name
    assert normal_name(name + "\0\0\0") == name


@settings(max_examples=200, deadline=None)
@given(names, names)
def test_different_names_never_merge(one: str, other: str) -> None:
    assert (normal_name(one) == normal_name(other)) == (one == other)


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(st.text(max_size=12))
def test_the_normal_form_is_stable(text: str) -> None:
    assert normal_name(normal_name(text).rstrip("\0")) == normal_name(text).rstrip("\0")


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10**9), st.integers(1, 3))
def test_a_number_with_a_decimal_point_is_the_same_number(number: int, zeros: int) -> None:
    assert normal_name(f"{number}.{'0' * zeros}") == str(number)
    assert normal_name(f"{number}.5") == f"{number}.5"


@pytest.mark.parametrize("name", ["Adams\tCounty", "a\nb", "1.0.0", "v1.0", "007", "", "1e5"])
def test_what_is_left_alone(name: str) -> None:
    assert normal_name(name) == name


def test_names_that_are_normal_keep_their_order_and_others_share_a_code() -> None:
    kept, codes = normal_names(np.array(["b", "a"]))
    assert (kept.tolist(), codes.tolist()) == (["b", "a"], [0, 1])
    merged, codes = normal_names(np.array(["b ", "a", "b"]))
    assert (merged.tolist(), codes.tolist()) == (["b", "a"], [0, 1, 0])


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 99_999), min_size=1, max_size=8, unique=True), st.data())
def test_lost_zeros_come_back_whatever_year_lost_them(numbers: list[int], data: st.DataObject) -> None:
    full = [f"{number:05d}" for number in numbers]
    lossy = data.draw(st.lists(st.booleans(), min_size=3, max_size=3))
    year = np.repeat([2020, 2021, 2022], len(full))
    place = np.array([without_zeros(name) if lost else name for lost in lossy for name in full])
    restored, found = restore_zeros(place, year, "t.csv")
    if all(lossy):
        assert restored.tolist() == place.tolist()
    else:
        assert restored.tolist() == full * 3
        assert bool(found) == (restored != place).any()


def test_two_spellings_in_one_year_are_a_question() -> None:
    with pytest.raises(InputError, match=r"t\.csv: places '1001' and '01001' both occur in 2020"):
        restore_zeros(np.array(["01001", "1001"]), np.array([2020, 2020]), "t.csv")


@pytest.mark.parametrize("names", [["01", "1", "001"], ["01", "1", "12345"], ["a01", "a1"], ["1", "2"], []])
def test_names_that_are_no_codes_of_a_register_are_left_alone(names: list[str]) -> None:
    assert lost_zeros(names) == {}


def test_lost_zeros_of_codes_of_two_levels_come_back() -> None:
    full = ["01", "01001", "09", "09161", "11", "11000"]
    assert lost_zeros([*full, "1", "1001", "9161"]) == {"1": "01", "1001": "01001", "9161": "09161"}
    place = np.array([*full, *map(without_zeros, full)])
    restored, (found,) = restore_zeros(place, np.repeat([2020, 2021], len(full)), "t.csv")
    assert restored.tolist() == full * 2
    assert "names of 4 places of 4 rows" in found.sentence
    with pytest.raises(InputError, match="places '1001' and '01001' both occur in 2020"):
        restore_zeros(np.array(["01", "01001", "1001"]), np.full(3, 2020), "t.csv")


def test_a_history_takes_the_spelling_of_the_table_unless_it_knows_both() -> None:
    known = np.array(["01001", "17019"])
    names, found = restore_zeros_like(np.array(["1001", "17019"]), known, "the history")
    assert names.tolist() == ["01001", "17019"]
    assert "1 places of the history" in found[0].sentence
    names, found = restore_zeros_like(np.array(["1001", "01001"]), known, "the history")
    assert (names.tolist(), found) == (["1001", "01001"], ())


def test_names_that_differ_in_capitals_are_reported_and_numbers_of_plots_are_not() -> None:
    (found,) = near_names(["Adams", "ADAMS", "St. Clair", "St Clair", "Cook"])
    assert found.severity == "warning"
    assert "2 groups" in found.sentence
    assert near_names(["1-1", "11", "1 1 1", "a", "b"]) == ()


def test_a_geometry_is_found_under_the_same_number() -> None:
    assert find_place({"01001": 1}, "1001") == "01001"
    assert find_place({"01001": 1, "1001": 2}, "1001") == "1001"
    assert find_place({"01001": 1, "001001": 2}, "1001") is None
    assert find_place({"Adams": 1}, "adams") is None
