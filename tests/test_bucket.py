"""A cache in a bucket holds what a folder would, and a store that fails ends in one paragraph within seconds.

The server is a real process that speaks S3. Of gs:// and az:// only the address is tested: nothing here speaks them.
"""

import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import urllib.request
import uuid
from contextlib import contextmanager
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from joblib.externals.loky import get_reusable_executor

import render_cache
import train
from cache.__main__ import collect
from cache.__main__ import main as cache_main
from cache.catalog import entries
from cache.fill import ImageWork, wanted_keys
from cache.fsck import check
from cache.gc import garbage, sweep
from cache.spec import image_spec
from cache.storage import RECORD, Bucket, CacheError, Folder, open_storage
from cache.store import Store, content_digest, slabs_of
from cache.workers import Pool
from tests.cached_series import STYLE, block, some_keys, some_rows
from tests.gc_beside_a_run import (
    INSTANTS,
    SLAB_ROWS,
    STEPS,
    collect_garbage,
    meeting,
    refuse_unless_whole,
    run_in_steps,
)
from tests.servers import ROOT, free_port, process, s3_server, s3_settings, tiny_card, wait_until

pytestmark = pytest.mark.slow

pytest.importorskip("obstore")
pytest.importorskip("moto")
ENCODER = "efficientnet-lite0"
WATCHDOG = 180


@pytest.fixture(autouse=True)
def watchdog():
    """Ends a test that would wait for ever."""
    timer = threading.Timer(WATCHDOG, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    yield
    timer.cancel()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with s3_server(tmp_path_factory.mktemp("s3")) as (endpoint, _):
        yield endpoint


@pytest.fixture
def cache(server, monkeypatch):
    """The address of a cache in a fresh bucket."""
    for name, value in s3_settings(server).items():
        monkeypatch.setenv(name, value)
    get_reusable_executor().shutdown(wait=True, kill_workers=True)  # workers of other tests have other settings
    return new_bucket(server)


def new_bucket(server):
    name = f"b{uuid.uuid4().hex}"
    urllib.request.urlopen(urllib.request.Request(f"{server}/{name}", method="PUT"), timeout=10)
    return f"s3://{name}/some/prefix"


@pytest.fixture(scope="module")
def card(tmp_path_factory):
    return tiny_card(tmp_path_factory.mktemp("tiny") / "data")


@pytest.fixture
def small_slabs(monkeypatch):
    """Six slabs of pictures instead of one: enough for workers to be started."""
    monkeypatch.setattr(ImageWork.of, "__defaults__", (4,))


def render(card, cache, *arguments):
    return render_cache.main(["--data", str(card), "--cache", str(cache), "--encoder", ENCODER, *arguments])


def by_one_process(root, samples):
    work = ImageWork.of(root, STYLE, [block(samples=samples)], 8)
    work.run(Pool(1, "sequential"), lambda rows: None)
    return work.store


def test_every_command_works_on_a_bucket_as_on_a_folder(cache, card, tmp_path, small_slabs, capsys):
    folder = tmp_path / "folder"
    for root in (folder, cache):
        assert render(card, root, "--workers", "2") == 0, capsys.readouterr().err
    assert render(card, cache, "--workers", "2") == 0
    assert "0 drawn, 24 reused; 0 embedded, 24 reused" in capsys.readouterr().out

    stats = []
    for root in (str(folder), cache):
        assert cache_main(["stats", "--cache", root, "--json"]) == 0
        stats.append(json.loads(capsys.readouterr().out))
        assert cache_main(["show", "--cache", root, "--out", str(tmp_path / f"{len(stats)}.png")]) == 0
        assert cache_main(["fsck", "--cache", root, "--full"]) == 0
        assert cache_main(["fsck", "--cache", root, "--sample", "0.5", "--data", str(card)]) == 0
        assert cache_main(["gc", "--cache", root, "--min-age", "0", "--apply"]) == 0
        assert "0 items" in capsys.readouterr().out
    same = ("content_digest", "images", "series", "slabs", "committed", "unfinished", "image_bytes", "embeddings")
    assert {name: stats[0][name] for name in same} == {name: stats[1][name] for name in same}
    assert (tmp_path / "1.png").read_bytes() == (tmp_path / "2.png").read_bytes()

    arguments = ["--stage", "1", "--epochs", "1", "--data", str(card), "--cache", cache]
    assert train.main([*arguments, "--out", str(tmp_path / "run")]) == 0, capsys.readouterr().err


def test_the_address_of_a_folder_is_the_folder(card, tmp_path, capsys):
    address = (tmp_path / "a cache").as_uri()
    assert render(card, address, "--encoder", "none") == 0
    assert render(card, tmp_path / "a cache", "--encoder", "none") == 0
    assert "0 drawn, 24 reused" in capsys.readouterr().out
    assert collect(address) == collect(tmp_path / "a cache")


@pytest.mark.parametrize("address", ["gs://bucket/some/prefix", "az://container/prefix", "s3://bucket"])
def test_bucket_addresses_are_buckets_and_pickle_as_addresses(address):
    storage = open_storage(address)
    assert isinstance(storage, Bucket)
    assert pickle.loads(pickle.dumps(storage)).root == address
    assert storage.where("a/b") == f"{address}/a/b"


@pytest.mark.parametrize("address", ["s3://", "gs:///", "memory:///x", "http://x/y", "file://folder", "zz://a/b"])
def test_other_addresses_are_bad_input(card, address, capsys):
    assert render(card, address, "--encoder", "none") == 2
    assert f"{address} is not an address of a cache" in capsys.readouterr().err


def test_what_is_committed_is_read_back_and_the_folder_has_the_same_digest(cache, tmp_path):
    store = by_one_process(cache, 40)
    keys = wanted_keys([block(samples=40)])
    folder = by_one_process(str(tmp_path), 40)
    np.testing.assert_array_equal(store.reader().read(keys), folder.reader().read(keys))
    assert content_digest(store.slabs()) == content_digest(folder.slabs())


@pytest.mark.parametrize("step", ["create", "c/0/0/0", "zarr.json", "rows.bin", "read back", RECORD])
def test_a_crash_before_any_step_leaves_nothing_visible_and_gc_removes_the_rest(cache, step):
    store = Store(cache, image_spec(STYLE))
    store.create()
    whole, other = some_keys(5), some_keys(5, seed=1)
    store.write(whole, some_rows(store.spec, 5))

    def crash(name):
        if name == step:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.write(other, some_rows(store.spec, 5, seed=1), crash)
    assert [list(slab.keys) for slab in store.slabs()] == [list(whole)]
    assert check(cache, full=True) == []
    left = len(slabs_of(store.storage)) - 1
    assert left == (step not in ("create", "c/0/0/0"))
    killed = [item for item in garbage(cache, -60) if "killed" in item.why]
    sweep(cache, killed)
    assert bool(killed) == bool(left)
    assert len(slabs_of(store.storage)) == 1
    store.write(other, some_rows(store.spec, 5, seed=1))
    np.testing.assert_array_equal(store.reader().read(other), some_rows(store.spec, 5, seed=1))


DRAW = """
import sys
sys.path.insert(0, sys.argv[1])
import tests.cached_series as t
from cache.fill import ImageWork
from cache.workers import Pool
work = ImageWork.of(sys.argv[2], t.STYLE, [t.block(samples=int(sys.argv[3]))], 8)
work.run(Pool(int(sys.argv[4]), sys.argv[5]), lambda rows: None)
"""


def test_a_run_killed_with_its_workers_resumes_to_the_same_content(cache, tmp_path):
    with process("-c", DRAW, ROOT, cache, 80, 2, "loky", cwd=tmp_path) as running:
        wait_until(lambda: len(list(open_storage(cache).commits("images"))) > 3, 30, "a third slab")
        assert running.poll() is None, "it ended before it was killed"
    committed = len(open_storage(cache).commits("images"))
    assert check(cache, full=True) == []
    work = ImageWork.of(cache, STYLE, [block(samples=80)], 8)
    assert 0 < len(work.plan.missing) < work.plan.distinct
    work.run(Pool(1, "sequential"), lambda rows: None)
    assert content_digest(work.store.slabs()) == content_digest(by_one_process(str(tmp_path / "one"), 80).slabs())
    sweep(cache, [item for item in garbage(cache, -60) if "killed" in item.why])
    assert slabs_of(work.store.storage) == set(work.store.storage.commits(work.store.slab_folder))
    assert committed < len(work.store.slabs())


def test_two_runs_that_race_leave_one_content(cache, tmp_path):
    command = ("-c", DRAW, ROOT, cache, 40, 1, "sequential")
    with process(*command, cwd=tmp_path) as one, process(*command, cwd=tmp_path) as two:
        assert [one.wait(40), two.wait(40)] == [0, 0]
    store = Store(cache, image_spec(STYLE))
    assert content_digest(store.slabs()) == content_digest(by_one_process(str(tmp_path), 40).slabs())
    assert len(store.reader().index) == block(samples=40).keys.size
    assert check(cache, full=True) == []


def test_a_slab_that_two_runs_commit_at_once_is_read_once(cache):
    store = Store(cache, image_spec(STYLE))
    store.create()
    keys, rows = some_keys(5), some_rows(store.spec, 5)
    store.write(keys, rows, lambda step: store.write(keys, rows) if step == RECORD else None)
    assert len(store.slabs()) == 2
    assert len(store.reader().index) == 5
    np.testing.assert_array_equal(store.reader().read(keys), rows)


@pytest.mark.parametrize("damage", ["data", "rows.bin", "gone"])
def test_a_damaged_object_is_an_error_and_repaired_by_the_next_run(cache, damage):
    store = by_one_process(cache, 20)
    digest, storage = content_digest(store.slabs()), store.storage
    name = f"{store.slabs()[1].folder}/{'rows.bin' if damage == 'rows.bin' else 'c/0/0/0'}"
    if damage == "gone":
        storage.remove(name)
    else:
        data = bytearray(storage.read(name))
        data[20] ^= 1
        storage.replace(name, bytes(data))
    with pytest.raises(CacheError, match=r"s3://.*fsck --repair"):
        store.reader().read(wanted_keys([block(samples=20)]))
    assert len(check(cache, full=True)) == 1
    assert cache_main(["fsck", "--cache", cache, "--full", "--repair"]) == 0
    assert content_digest(by_one_process(cache, 20).slabs()) == digest


def test_a_full_check_downloads_a_slab_once(cache, monkeypatch):
    by_one_process(cache, 2)
    work = ImageWork.of(cache, STYLE, [block(samples=60)], 1024)
    work.run(Pool(1, "sequential"), lambda rows: None)
    read: list[str] = []
    plain = Bucket.read
    monkeypatch.setattr(Bucket, "read", lambda self, name: read.append(name) or plain(self, name))
    assert check(cache, full=True) == []
    assert len(read) == len(set(read))


def refused(capsys, seconds, *commands):
    """Runs entry points that must fail; returns what they said."""
    for command in commands:
        started = time.monotonic()
        assert command() in (1, 2)
        assert time.monotonic() - started < seconds
        message = capsys.readouterr().err
        assert "s3://" in message
        assert "AWS_ENDPOINT_URL" in message
        assert "Traceback" not in message
        assert len(message.strip().splitlines()) <= 2
        assert len(message) < 1200
        yield message


def commands(card, cache, tmp_path):
    return (
        lambda: render(card, cache, "--encoder", "none"),
        lambda: cache_main(["stats", "--cache", cache]),
        lambda: train.main(["--stage", "1", "--data", str(card), "--cache", cache, "--out", str(tmp_path / "run")]),
    )


def test_a_bucket_that_does_not_exist_is_one_paragraph(cache, card, tmp_path, capsys):
    cache = f"s3://b{uuid.uuid4().hex}/prefix"
    for message in refused(capsys, 10, *commands(card, cache, tmp_path)):
        assert cache in message
        assert "NoSuchBucket" in message
    assert not (tmp_path / "run").exists()


def test_no_credentials_are_one_paragraph(cache, card, tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setattr("cache.bucket.PATIENCE", timedelta(seconds=1))
    for message in refused(capsys, 15, *commands(card, cache, tmp_path)[:1]):
        assert "AWS_ACCESS_KEY_ID" in message


def test_a_server_that_is_down_is_one_paragraph_with_its_address(card, tmp_path, capsys, monkeypatch):
    address = f"http://127.0.0.1:{free_port()}"
    for name, value in s3_settings(address).items():
        monkeypatch.setenv(name, value)
    for message in refused(capsys, 15, *commands(card, f"s3://b{uuid.uuid4().hex}/x", tmp_path)[:1]):
        assert address in message


def test_a_server_that_goes_away_in_the_middle_ends_the_run(card, tmp_path, capsys, monkeypatch, small_slabs):
    get_reusable_executor().shutdown(wait=True)  # the workers of earlier tests have another environment
    with s3_server(tmp_path) as (endpoint, running):
        for name, value in s3_settings(endpoint).items():
            monkeypatch.setenv(name, value)
        cache = new_bucket(endpoint)

        @contextmanager
        def kill_it(name, total):
            def advance(rows):
                running.kill()

            yield advance

        monkeypatch.setattr(render_cache, "stage_progress", kill_it)
        for message in refused(capsys, 20, lambda: render(card, cache, "--encoder", "none", "--workers", "2")):
            assert endpoint in message
            assert "Committed work is safe" in message


def test_a_bucket_without_its_package_is_bad_input(card, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "obstore.store", None)
    assert render(card, f"s3://b{uuid.uuid4().hex}/x", "--encoder", "none") == 2
    assert "pip install obstore" in capsys.readouterr().err


def test_a_folder_needs_no_obstore(tmp_path):
    code = "import sys, cache.store, cache.fill; print('obstore' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
    assert isinstance(open_storage(str(tmp_path)), Folder)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, INSTANTS), min_size=STEPS, max_size=STEPS).map(sorted))
def test_gc_beside_a_run_takes_nothing_of_a_bucket_that_the_run_has_claimed(server, cache, instants):
    """As in a folder (test_gc.py): the slabs are there from before, and nobody has claimed them."""
    root, series = new_bucket(server), block(samples=8)
    ImageWork.of(root, STYLE, [series], SLAB_ROWS).run(Pool(1, "sequential"), lambda rows: None)
    with meeting(run_in_steps(root, series), instants):
        collect_garbage(root)
    refuse_unless_whole(root, series)
    assert len(entries(root)) == 1
