"""Keys are found where they are, and a plan is exactly what is missing."""

from unittest import mock

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cache.index import CHUNK, KeyIndex, first_of_each
from cache.plan import plan

# Few distinct halves, so that keys often share their first 64 bits, or only the leading ones of them.
key = st.tuples(st.sampled_from([0, 1, 2, 1 << 62, (1 << 62) + 1, (1 << 64) - 1]), st.integers(0, 3))
keys = st.lists(key, max_size=40)


def as_keys(pairs):
    return np.array(pairs, np.uint64).reshape(-1, 2).copy().view("V16").reshape(-1)


@given(st.lists(keys, max_size=4), keys)
def test_the_index_finds_what_a_dictionary_finds(slabs, wanted):
    expected = {}
    for s, slab in enumerate(slabs):
        for r, k in enumerate(slab):
            expected.setdefault(k, (s, r))
    index = KeyIndex.build([as_keys(slab) for slab in slabs])
    at = index.find(as_keys(wanted))
    found = [(int(index.slab[i]), int(index.row[i])) if i >= 0 else None for i in at]
    assert found == [expected.get(k) for k in wanted]
    assert len(index) == len(expected)


@given(keys, st.sampled_from([1, 3, CHUNK]))
def test_first_of_each_key_is_its_first_occurrence_in_key_order(pairs, chunk):
    with mock.patch("cache.index.CHUNK", chunk):
        positions = first_of_each(as_keys(pairs))
    assert [pairs[p] for p in positions] == sorted(set(pairs))
    assert all(pairs.index(pairs[p]) == p for p in positions)


@given(keys, keys, st.integers(1, 7), st.sampled_from([1, 3, CHUNK]))
def test_a_plan_holds_every_missing_key_once_whatever_the_slab_size(wanted, present, slab_rows, chunk):
    with mock.patch("cache.plan.CHUNK", chunk):
        made = plan(as_keys(wanted), KeyIndex.build([as_keys(present)]), slab_rows)
    slabs = list(made)
    planned = [wanted[p] for slab in slabs for p in slab]
    assert planned == sorted(set(wanted) - set(present))
    assert made.slabs == len(slabs)
    assert all(len(slab) <= slab_rows for slab in slabs)
    assert made.distinct == made.reused + len(planned) == len(set(wanted))
