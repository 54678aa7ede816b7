"""A slab is there completely or not at all, and what is read is what was written or an error."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorstore
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from cache import shard
from cache.spec import Spec, embedding_spec, image_spec
from cache.storage import CacheError
from cache.store import MissingRows, Store, content_digest
from pipeline.style import Style
from tests.cached_series import some_keys, some_rows

ENCODER = {"name": "test", "dim": 7}
STEPS = ("create", "data", "zarr.json", "rows.bin", "read back", "commit.json", "rename", "sync")


def folder_of(store):
    return store.root / store.namespace


@pytest.fixture(params=["images", "embeddings"])
def store(request, tmp_path):
    spec = image_spec(Style(size=32)) if request.param == "images" else embedding_spec(Style(), ENCODER)
    made = Store(tmp_path, spec)
    made.create()
    return made


def test_rows_come_back_in_the_order_asked_for_across_slabs(store):
    keys, rows = some_keys(30), some_rows(store.spec, 30)
    for part in (slice(0, 11), slice(11, 30)):
        store.write(keys[part], rows[part])
    order = np.random.default_rng(1).permutation(np.arange(30).repeat(2))
    np.testing.assert_array_equal(store.reader().read(keys[order]), rows[order])


def test_zarr_and_tensorstore_read_the_same_rows(store):
    keys, rows = some_keys(9), some_rows(store.spec, 9)
    store.write(keys, rows)
    (slab,) = store.slabs()
    np.testing.assert_array_equal(zarr.open_array(slab.path, mode="r")[:], rows)
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{slab.path}/"}}
    np.testing.assert_array_equal(tensorstore.open(spec, open=True).result().read().result(), rows)


def test_a_missing_key_is_an_error_and_never_a_row(store):
    store.write(some_keys(5), some_rows(store.spec, 5))
    with pytest.raises(MissingRows) as caught:
        store.reader().read(some_keys(3, seed=9))
    assert (caught.value.count, caught.value.wanted) == (3, 3)


@pytest.mark.parametrize("step", STEPS)
def test_a_crash_before_any_step_leaves_a_whole_slab_or_none(store, step):
    keys, rows = some_keys(6), some_rows(store.spec, 6)

    def crash(name):
        if name == {"data": shard.data_path(store.spec.kind)}.get(step, step):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.write(keys, rows, crash)
    committed = len(store.slabs())
    assert committed == (step == "sync")
    store.write(keys, rows)  # the next run
    np.testing.assert_array_equal(store.reader().read(keys), rows)
    assert len(store.slabs()) == 1


def test_the_steps_of_the_protocol_are_the_ones_that_are_tested(store):
    seen = []
    store.write(some_keys(2), some_rows(store.spec, 2), seen.append)
    assert tuple(seen) == tuple(shard.data_path(store.spec.kind) if step == "data" else step for step in STEPS)


def test_rows_of_another_type_are_kept_as_the_store_has_them_and_of_another_shape_refused(store):
    keys, rows = some_keys(3), some_rows(store.spec, 3)
    with pytest.raises(ValueError, match="expected"):
        store.write(keys, rows[..., :-1])
    store.write(keys, rows.astype(np.float64))
    np.testing.assert_array_equal(store.reader().read(keys), rows)


def test_writing_a_committed_slab_again_changes_nothing(store):
    keys, rows = some_keys(4), some_rows(store.spec, 4)
    store.write(keys, rows)
    before = {p: p.stat().st_mtime_ns for p in folder_of(store).rglob("*")}
    store.write(keys, rows)
    assert {p: p.stat().st_mtime_ns for p in folder_of(store).rglob("*")} == before


def test_of_two_racing_writers_one_wins_and_nothing_is_left_over(store):
    keys, rows = some_keys(4), some_rows(store.spec, 4)

    def race(step):
        if step == "rename":
            store.write(keys, rows)

    store.write(keys, rows, race)
    assert [p.name[0] == "." for p in (store.root / store.slab_folder).iterdir()] == [False]
    np.testing.assert_array_equal(store.reader().read(keys), rows)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_flipped_bit_in_any_file_is_an_error_or_harmless_but_never_another_row(tmp_path_factory, data):
    kind = data.draw(st.sampled_from(["images", "embeddings"]))
    spec = image_spec(Style(size=32)) if kind == "images" else embedding_spec(Style(), ENCODER)
    store = Store(tmp_path_factory.mktemp("flip"), spec)
    store.create()
    keys, rows = some_keys(3), some_rows(spec, 3)
    store.write(keys, rows)
    files = sorted(p for p in folder_of(store).rglob("*") if p.is_file())
    file = data.draw(st.sampled_from(files))
    raw = bytearray(file.read_bytes())
    bit = data.draw(st.integers(0, 8 * len(raw) - 1))
    raw[bit // 8] ^= 1 << bit % 8
    file.write_bytes(raw)
    try:
        (opened,) = Store.open_all(store.root, kind)
        read = opened.reader().read(keys)
    except (CacheError, MissingRows):
        return
    np.testing.assert_array_equal(read, rows)


@pytest.mark.parametrize("damage", ["truncate", "append", "swap", "delete"])
def test_a_damaged_data_file_is_an_error_that_names_it(store, damage):
    for seed in (0, 1):
        store.write(some_keys(3, seed), some_rows(store.spec, 3, seed))
    first, second = (Path(slab.path) / shard.data_path(store.spec.kind) for slab in store.slabs())
    raw = first.read_bytes()
    if damage == "truncate":
        first.write_bytes(raw[:-9])
    elif damage == "append":
        first.write_bytes(raw + b"x")
    elif damage == "swap":
        shutil.copy(second, first)
    else:
        first.unlink()
    reader = store.reader()
    with pytest.raises(CacheError, match=first.parents[2 if store.spec.kind == "embeddings" else 3].name):
        reader.read(reader.slabs[0].keys)


@given(st.permutations(range(12)), st.integers(1, 12))
@settings(max_examples=15, deadline=None)
def test_the_content_digest_does_not_depend_on_slabs_or_order(tmp_path_factory, order, slab_rows):
    spec = embedding_spec(Style(), ENCODER)
    keys, rows = some_keys(12), some_rows(spec, 12)
    digests = []
    for chunks in ([np.arange(12)], [np.array(order[i : i + slab_rows]) for i in range(0, 12, slab_rows)]):
        store = Store(tmp_path_factory.mktemp("digest"), spec)
        store.create()
        for chunk in chunks:
            store.write(keys[chunk], rows[chunk])
        digests.append(content_digest(store.slabs()))
    assert digests[0] == digests[1]


def test_the_content_digest_sees_one_changed_pixel(tmp_path):
    spec, keys = image_spec(Style(size=32)), some_keys(2)
    digests = set()
    for number in range(2):
        store = Store(tmp_path / str(number), spec)
        store.create()
        rows = some_rows(spec, 2)
        rows[1, 3, 3] += number
        store.write(keys, rows)
        digests.add(content_digest(store.slabs()))
    assert len(digests) == 2


@given(st.sampled_from(["fixed", "window"]), st.sampled_from(["numba", "agg"]), st.floats(1, 5), st.integers(1, 999))
def test_another_style_is_another_namespace_and_specs_survive_json(y_range, renderer, width, dim):
    style = Style(y_range=y_range, renderer=renderer, line_width=width)
    spec = embedding_spec(style, {"name": "a", "dim": dim})
    assert Spec.from_json(spec.to_json()) == spec
    other = embedding_spec(Style(y_range=y_range, renderer=renderer, line_width=width + 1), {"name": "a", "dim": dim})
    assert other.id != spec.id
    assert image_spec(style).id != image_spec(Style(y_range=y_range, renderer=renderer, line_width=width + 1)).id


def test_a_commit_record_of_another_format_is_refused(store):
    store.write(some_keys(2), some_rows(store.spec, 2))
    (record,) = folder_of(store).glob("slabs/*/commit.json")
    record.write_text(json.dumps(json.loads(record.read_text()) | {"format": 99}))
    with pytest.raises(CacheError, match="format 99, this program reads 1"):
        store.slabs()


def test_a_reader_made_before_a_fork_works_in_the_child(store):
    keys, rows = some_keys(5), some_rows(store.spec, 5)
    store.write(keys, rows)
    reader = store.reader()
    reader.read(keys)
    child = os.fork()
    if child == 0:
        os._exit(0 if np.array_equal(reader.read(keys[::-1]), rows[::-1]) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
