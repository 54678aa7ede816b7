"""Large tables of vectors lie in files without a name."""

import errno
import mmap
import os
import tempfile

import numpy as np
import pytest

from cache import memmap
from cache.memmap import scratch_array
from cache.spec import embedding_spec
from cache.store import Store
from pipeline.errors import InputError
from pipeline.style import Style

F2 = np.dtype("<f2")


@pytest.fixture
def small(monkeypatch, tmp_path):
    """Every array is large, and the folder for temporary files is `tmp_path`."""
    monkeypatch.setattr(memmap, "IN_MEMORY", 1)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def anonymous_bytes():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("RssAnon"))


def test_a_large_array_is_written_and_read_as_any_other_and_leaves_no_file(small):
    array = scratch_array((7, 3, 5), F2)
    array[:] = np.arange(105).reshape(7, 3, 5)
    assert array.dtype == F2
    np.testing.assert_array_equal(array[::-1].reshape(-1), np.arange(105).reshape(7, 15)[::-1].reshape(-1))
    assert os.listdir(small) == []


def test_a_large_array_is_not_anonymous_memory(small):
    before = anonymous_bytes()
    array = scratch_array((32, 1 << 20), np.dtype("u1"))
    array[:] = 1
    assert anonymous_bytes() - before < 8 << 20


def test_a_full_disk_is_told_before_anything_is_written(small, monkeypatch):
    def full(descriptor, start, size):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(InputError, match=r"needs 2\.0 GB in .*No space left.*TMPDIR"):
        scratch_array((1000, 1000, 1000), F2)


def test_a_small_array_is_no_file(monkeypatch):
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: pytest.fail("a file was made"))
    assert scratch_array((3, 4), F2).shape == (3, 4)


def test_the_store_gathers_into_a_scratch_array_what_it_gathers_into_memory(small, tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("cache"), embedding_spec(Style(), {"name": "random", "dim": 6}))
    store.create()
    rng = np.random.default_rng(0)
    keys = np.frombuffer(rng.bytes(16 * 9), "V16")
    store.write(keys, rng.normal(size=(9, 6)).astype(np.float16))
    order = rng.permutation(9)
    found = store.reader().read(keys[order], scratch_array)
    assert isinstance(found.base.base.obj, mmap.mmap)
    np.testing.assert_array_equal(found, store.reader().read(keys[order]))
