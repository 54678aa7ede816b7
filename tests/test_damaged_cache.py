"""Damaged and malicious files of a cache: an error or a missing row, never another row, and no pickle is opened."""

import contextlib
import json
import os
import pickle
import resource
import time
from pathlib import Path

import numpy as np
import pytest
from numcodecs import zstd

import render_cache
from cache.__main__ import main as cache_main
from cache.catalog import entries
from cache.fill import EmbeddingWork
from cache.fsck import check
from cache.gc import garbage, sweep
from cache.run_log import past_runs
from cache.spec import embedding_spec
from cache.storage import CacheError, open_storage
from cache.store import MissingRows, Store, content_digest
from cache.workers import Pool
from tests.cached_series import STYLE, block, fill
from tests.conftest import CARD, small_seasons


@pytest.fixture
def whole(tmp_path):
    """A cache with every kind of file: two slabs of pictures, two of vectors, a catalogue entry, a run."""
    root = tmp_path / "whole"
    small_seasons().query("year >= 2020").to_csv(tmp_path / "seasons.csv", index=False)
    (tmp_path / "card.toml").write_text(CARD)
    flags = ["--data", str(tmp_path / "card.toml"), "--cache", str(root), "--encoder", "none", "--workers", "1"]
    assert render_cache.main([*flags, "--style.size", "32"]) == 0
    work, _ = fill(root, [block(samples=8)])
    spec = embedding_spec(STYLE, {"name": "random", "dim": 4})
    vectors = EmbeddingWork.of(root, STYLE, spec, work.blocks, 16)
    vectors.run(
        Pool(1, "sequential"), lambda ink, rgb: np.tile(ink.mean((1, 2))[:, None], 4).astype("f2"), lambda n: None
    )
    return root


def everything(root):
    """All that can be read of a cache, as far as it can be read: name -> bytes."""
    found = {}
    storage = open_storage(str(root))
    for kind in ("images", "embeddings"):
        for namespace in storage.namespaces(kind):
            with contextlib.suppress(CacheError):
                store = Store.open(root, namespace)
                for number, slab in enumerate(store.slabs()):
                    with contextlib.suppress(CacheError):
                        rows = store.reader().read_slab(number, np.arange(slab.commit.rows))
                        found |= {
                            (namespace, key.tobytes()): row.tobytes() for key, row in zip(slab.keys, rows, strict=True)
                        }
    with contextlib.suppress(CacheError):
        found |= {
            ("entry", entry.file): (entry.name, entry.keys.tobytes(), *entry.sample_id) for entry in entries(root)
        }
    with contextlib.suppress(CacheError):
        found |= {("run", repr(done)): None for done in past_runs(storage)}
    return found


def files(root):
    return sorted(path for path in root.rglob("*") if path.is_file())


@pytest.mark.slow
def test_no_flipped_bit_in_any_file_gives_another_row_or_entry(whole):
    sound, rng = everything(whole), np.random.default_rng(0)
    assert len(sound) > 150
    kinds = {
        path.name if path.parent.name not in ("datasets", "history") else path.parent.name for path in files(whole)
    }
    assert kinds == {"0", "zarr.json", "rows.bin", "commit.json", "spec.json", "datasets", "history"}
    for path in files(whole):
        data = path.read_bytes()
        for _ in range(10):
            damaged = bytearray(data)
            damaged[rng.integers(len(data))] ^= 1 << rng.integers(8)
            path.write_bytes(damaged)
            found = everything(whole)
            assert found.items() <= sound.items(), path
        path.write_bytes(data)
    assert everything(whole) == sound


@pytest.mark.slow
@pytest.mark.parametrize("harm", ["cut", "append", "empty", "delete"])
def test_a_file_that_is_cut_or_longer_or_gone_gives_no_other_row(whole, harm):
    sound = everything(whole)
    for path in files(whole):
        data = path.read_bytes()
        if harm == "delete":
            path.unlink()
        else:
            path.write_bytes({"cut": data[: len(data) // 2], "append": data + b"\0", "empty": b""}[harm])
        found = everything(whole)
        assert found.items() <= sound.items(), path
        if path.parent.name not in ("datasets", "history") or harm != "delete":
            assert check(whole, full=True) != [], path
        path.write_bytes(data)


def test_a_slab_whose_record_is_gone_is_a_problem_and_rebuilt_by_the_next_run(tmp_path):
    work, _ = fill(tmp_path, [block()])
    digest = content_digest(work.store.slabs())
    record = next(tmp_path.glob("images/*/slabs/*/commit.json"))
    rows = json.loads(record.read_text())["rows"]
    record.unlink()
    assert [problem.what.endswith("no commit record") for problem in check(tmp_path)] == [True]
    again, filled = fill(tmp_path, [block()])
    assert filled.written == rows
    assert content_digest(again.store.slabs()) == digest
    assert check(tmp_path, full=True) == []


def test_files_of_two_slabs_that_change_places_give_no_other_row(whole):
    sound = everything(whole)
    one, two = sorted(whole.glob("images/*/slabs/*"))[:2]
    assert one.parent == two.parent
    for name in ("c/0/0/0", "rows.bin", "commit.json", "zarr.json"):
        first, second = (one / name).read_bytes(), (two / name).read_bytes()
        (one / name).write_bytes(second)
        (two / name).write_bytes(first)
        assert everything(whole).items() <= sound.items(), name
        (one / name).write_bytes(first)
        (two / name).write_bytes(second)
    assert everything(whole) == sound


class Opened:
    """What a pickle can do: leave a mark where it was opened."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


@pytest.mark.slow
def test_a_pickle_is_never_opened_wherever_a_file_is_read(whole, tmp_path):
    mark = tmp_path / "opened"
    bad = pickle.dumps(Opened(mark))
    as_array = tmp_path / "bad.npz"
    np.savez(
        as_array, meta=np.array([Opened(mark)], object), sample_id=np.array(["a"]), keys=np.zeros((1, 1, 1, 16), "u1")
    )
    for path in files(whole):
        data = path.read_bytes()
        for content in (bad, as_array.read_bytes()):
            path.write_bytes(content)
            everything(whole)
            check(whole, full=True)
            cache_main(["gc", "--cache", str(whole)])
        path.write_bytes(data)
    assert not mark.exists()
    pickle.loads(bad)
    assert mark.exists()  # it would have worked


def test_links_out_of_the_cache_are_not_followed(whole, tmp_path):
    """A file, a slab, a namespace: what lies behind the link is never read as a row."""
    outside = tmp_path / "outside"
    for path in [*whole.glob("images/*/slabs/*/rows.bin"), *whole.glob("images/*/slabs/*"), *whole.glob("images/*")]:
        path.rename(outside)
        path.symlink_to(outside)
        inside = {key: value for key, value in everything(whole).items() if key[0].startswith("images")}
        name = str(path.relative_to(whole).parent)
        if path.parent.name == "images":
            assert not any(key[0].endswith(path.name) for key in inside)
        else:
            assert check(whole) != [], name
        path.unlink()
        outside.rename(path)
    assert check(whole, full=True) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"rows": 2**40}, {"rows": -1}, {"rows": 1.5}, {"rows": "3"}, {"rows": True}, {"data_bytes": -1},
        {"data_bytes": 2**60}, {"format": "1"}, {"extra": 1}, [1], "x", None,
    ],
)  # fmt: skip
def test_absurd_records_are_refused_at_once(whole, wrong):
    path = next(whole.glob("images/*/slabs/*/commit.json"))
    (keys,) = (slab.keys for slab in Store.open_all(whole, "images")[0].slabs() if slab.path == str(path.parent))
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | wrong if isinstance(wrong, dict) else wrong))
    started = time.monotonic()
    assert check(whole, full=True) != []
    assert time.monotonic() - started < 2
    with pytest.raises(CacheError, match="fsck --repair"):
        Store.open(whole, f"images/{path.parents[2].name}").reader().read(keys)


@pytest.mark.parametrize(
    "wrong", [{"shape": [10**9, 10**9]}, {"shape": [-1, 32]}, {"shape": "x"}, {"kind": "pickles"}, {"format": 2}, []]
)
def test_absurd_specs_are_refused_at_once(whole, wrong):
    path = next(whole.glob("images/*/spec.json"))
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | wrong if isinstance(wrong, dict) else wrong))
    with pytest.raises(CacheError, match=r"spec\.json"):
        Store.open_all(whole, "images")


def test_json_nested_without_end_is_refused(whole):
    for path in [next(whole.glob("images/*/slabs/*/commit.json")), next(whole.glob("images/*/spec.json"))]:
        data = path.read_bytes()
        path.write_text("[" * 100_000)
        assert check(whole) != []
        path.write_bytes(data)


def test_a_bomb_in_a_shard_is_refused_before_it_is_unpacked(tmp_path):
    """A chunk that claims the right keys and unpacks to 4 GB: refused by the size in its frame."""
    work, _ = fill(tmp_path, [block(samples=4)], slab_rows=16)
    (slab,) = work.store.slabs()
    path = Path(slab.path) / "c" / "0" / "0" / "0"
    data = bytearray(path.read_bytes())
    bomb = zstd.compress(np.zeros(1 << 26, np.uint8), 1)
    offset, size = np.frombuffer(data[-(16 * 12 + 4) : -4], "<u8").reshape(-1, 2)[0].tolist()
    data[offset : offset + size] = bomb[:size].ljust(size, b"\0")
    path.write_bytes(data)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(CacheError, match=r"a row of 67108864 bytes, 1024 expected"):
        work.store.reader().read(slab.keys)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 40_000


@pytest.mark.slow
def test_a_bomb_in_a_catalogue_entry_is_refused(whole):
    (path,) = whole.glob("datasets/*.npz")
    with path.open("wb") as file:
        np.savez_compressed(file, meta=np.zeros(1 << 28, "u1"))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(CacheError, match="compressed"):
        entries(whole)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 40_000


def test_a_missing_row_stays_a_miss_after_damage(whole):
    for path in whole.glob("images/*/slabs/*"):
        open_storage(str(whole)).set_aside(str(path.relative_to(whole)))
    store = next(store for store in Store.open_all(whole, "images") if store.spec.shape == (32, 32))
    with pytest.raises(MissingRows):
        store.reader().read(block(samples=8).keys.reshape(-1))


def test_an_empty_leftover_of_a_killed_run_is_no_problem_and_never_takes_slabs_with_it(whole):
    """A run killed between making its hidden folder and writing its first file."""
    for slabs in whole.glob("*/*/slabs"):
        (slabs / ".left").mkdir()
    (whole / "images" / ".half" / "slabs").mkdir(parents=True)
    sound = everything(whole)
    assert check(whole, full=True) == []
    sweep(whole, [item for item in garbage(whole, 0) if "killed" in item.why])
    assert everything(whole) == sound
    assert not list(whole.glob("*/*/slabs/.left"))


def test_a_header_of_a_catalogue_entry_that_reads_less_is_found(whole):
    (path,) = whole.glob("datasets/*.npz")
    data = path.read_bytes()
    at = data.index(b"<U", data.index(b"sample_id.npy")) + 2
    for width in range(ord("1"), data[at]):
        path.write_bytes(data[:at] + bytes([width]) + data[at + 1 :])
        with pytest.raises(CacheError, match="datasets"):
            entries(whole)
