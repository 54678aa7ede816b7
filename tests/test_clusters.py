"""Workers elsewhere draw and embed what processes here would; what dies costs a retry or a sentence, never a wait."""

import os
import signal
import threading
import time
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import render_cache
from cache.__main__ import collect
from cache.fill import ImageWork
from cache.store import Store, content_digest
from cache.workers import Pool
from pipeline.errors import InputError
from tests.cached_series import STYLE, block
from tests.failing_work import failing_work
from tests.jobs import WRITES, job
from tests.servers import ROOT, dask_cluster, free_port, slow_pid, tiny_card, wait_until
from verdict.dask_runner import run_on_dask
from verdict.runner import costs_of

pytestmark = pytest.mark.slow

pytest.importorskip("distributed")
ENCODER = "efficientnet-lite0"
WATCHDOG = 180  # seconds after which a test that waits is killed with everything it started


@pytest.fixture(autouse=True)
def watchdog():
    """Ends a test that would wait for ever, also one that waits inside a library."""

    def end():
        os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Timer(WATCHDOG, end)
    timer.start()
    yield
    timer.cancel()


@pytest.fixture(scope="module")
def dask(tmp_path_factory):
    with dask_cluster(tmp_path_factory.mktemp("dask") / "cluster") as cluster:
        yield cluster


@pytest.fixture(scope="module")
def card(tmp_path_factory):
    return tiny_card(tmp_path_factory.mktemp("tiny") / "data")


@pytest.fixture(scope="module")
def by_loky(tmp_path_factory, card):
    """The cache that two processes here fill."""
    cache = tmp_path_factory.mktemp("loky") / "cache"
    assert render_cache.main(["--data", str(card), "--cache", str(cache), "--encoder", ENCODER]) == 0
    return cache


@pytest.fixture
def small_slabs(monkeypatch):
    """Six slabs of pictures instead of one: enough for workers to be started."""
    monkeypatch.setattr(ImageWork.of, "__defaults__", (4,))


def render(card, cache, *arguments):
    return render_cache.main(["--data", str(card), "--cache", str(cache), "--encoder", ENCODER, *arguments])


def vectors(cache):
    (store,) = Store.open_all(cache, "embeddings")
    reader = store.reader()
    keys = np.concatenate([slab.keys for slab in reader.slabs])
    keys = keys[np.argsort(keys.view("S16"))]
    return keys, reader.read(keys).astype(np.float32)


def filled_by_one(root):
    work = ImageWork.of(root, STYLE, [block(samples=60)], 4)
    work.run(Pool(1, "sequential"), lambda rows: None)
    return content_digest(work.store.slabs())


def test_dask_workers_draw_and_embed_what_processes_here_do(dask, card, by_loky, tmp_path, small_slabs, capsys):
    cache = tmp_path / "cache"
    assert render(card, cache, "--backend", "dask", "--scheduler", dask.address) == 0, capsys.readouterr().err
    assert "24 drawn, 0 reused; 24 embedded, 0 reused" in capsys.readouterr().out
    assert collect(cache)["content_digest"] == collect(by_loky)["content_digest"]
    (keys, found), (expected_keys, expected) = vectors(cache), vectors(by_loky)
    np.testing.assert_array_equal(keys, expected_keys)
    np.testing.assert_allclose(found, expected, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("workers", [1, 2, 16])
def test_the_content_is_that_of_any_number_of_processes(by_loky, card, tmp_path, small_slabs, workers):
    cache = tmp_path / "cache"
    assert render(card, cache, "--workers", str(workers), "--encoder", "none") == 0
    assert collect(cache)["content_digest"] == collect(by_loky)["content_digest"]


def test_the_work_is_done_by_the_workers_and_not_here(dask, tmp_path):
    pids = set()
    assert Pool(2, "dask", dask.address).run(slow_pid, [None] * 20, pids.add) == []
    assert pids <= set(dask.worker_pids())


def test_a_relative_cache_is_the_one_of_the_command_and_not_of_the_workers(dask, card, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = sorted(dask.log.parent.iterdir())
    assert render(card, "here", "--encoder", "none", "--backend", "dask", "--scheduler", dask.address) == 0
    assert collect(tmp_path / "here")["images"] == 24
    assert sorted(dask.log.parent.iterdir()) == before


def test_workers_that_do_not_see_the_cache_end_the_run(dask, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    work = ImageWork.of("relative", STYLE, [block()], 16)
    with pytest.raises(Exception, match="every worker needs the same cache"):
        work.run(Pool(2, "dask", dask.address), lambda rows: None)
    assert not (dask.log.parent / "relative").exists()


def test_a_worker_killed_in_the_middle_costs_nothing(dask, tmp_path):
    work = ImageWork.of(tmp_path / "dask", STYLE, [block(samples=60)], 4)
    killed = []

    def kill_one(rows):
        if not killed:
            killed.append(dask.worker_pids()[0])
            os.kill(killed[0], signal.SIGKILL)

    filled = work.run(Pool(2, "dask", dask.address), kill_one)
    assert killed
    assert filled.given_up == ()
    assert content_digest(work.store.slabs()) == filled_by_one(tmp_path / "one")


def test_a_job_that_kills_its_workers_is_given_up_and_the_rest_is_done(dask, tmp_path):
    results = []
    jobs = [(str(tmp_path), number, fate) for number, fate in enumerate(["", "dies", "", "dies once", "", ""])]
    given_up = Pool(2, "dask", dask.address).run(failing_work, jobs, results.append)
    assert sorted(results) == [0, 2, 3, 4, 5]
    assert [(one.job[1], one.reason) for one in given_up] == [(1, "its worker died (out of memory, or killed)")]


def test_a_job_that_hangs_is_given_up_and_its_worker_is_free_again(dask, tmp_path):
    wait_until(lambda: len(dask.worker_pids()) == 2, 20, "two workers")
    results = []
    jobs = [(str(tmp_path), number, fate) for number, fate in enumerate(["", "hangs", ""])]
    given_up = Pool(2, "dask", dask.address, timeout=3).run(failing_work, jobs, results.append)
    assert sorted(results) == [0, 2]
    assert [one.reason for one in given_up] == ["it did not end in time"]
    assert Pool(2, "dask", dask.address, timeout=20).run(slow_pid, [None] * 4, results.append) == []


def refused(capsys, card, cache, *arguments):
    assert render(card, cache, "--encoder", "none", "--backend", "dask", *arguments) == 2
    message = capsys.readouterr().err
    assert not Path(cache).exists()
    assert len(message) < 600
    assert len(message.strip().splitlines()) == 1
    return message


def test_a_scheduler_that_is_not_there_is_bad_input_and_nothing_is_written(card, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("cache.dask_workers.ANSWER", 2.0)
    address = f"tcp://127.0.0.1:{free_port()}"
    assert address in refused(capsys, card, tmp_path / "cache", "--scheduler", address)
    assert "--scheduler tcp://" in refused(capsys, card, tmp_path / "cache")
    assert "nonsense" in refused(capsys, card, tmp_path / "cache", "--scheduler", "nonsense")


def test_a_scheduler_without_workers_is_bad_input_and_nothing_is_written(card, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("cache.dask_workers.ANSWER", 2.0)
    with dask_cluster(tmp_path / "cluster", workers=0) as cluster:
        message = refused(capsys, card, tmp_path / "cache", "--scheduler", cluster.address)
    assert f"dask worker {cluster.address}" in message


def test_workers_that_cannot_import_the_program_are_bad_input(card, tmp_path, capsys):
    with dask_cluster(tmp_path / "cluster", workers=1, path=None) as cluster:
        message = refused(capsys, card, tmp_path / "cache", "--scheduler", cluster.address)
    assert "does not run this program" in message


@pytest.mark.parametrize("victim", ["scheduler", "workers"])
def test_a_cluster_that_dies_in_the_middle_ends_the_run_and_what_is_committed_stays(
    card, by_loky, tmp_path, small_slabs, monkeypatch, capsys, victim
):
    monkeypatch.setattr("cache.dask_workers.WITHOUT_WORKERS", 2.0)
    cache = tmp_path / "cache"
    with dask_cluster(tmp_path / "cluster", workers=1) as cluster:
        pids = set()
        Pool(2, "dask", cluster.address).run(slow_pid, [None] * 3, pids.add)
        assert pids == set(cluster.worker_pids())  # also where the cluster has one thread

        @contextmanager
        def kill_it(name, total):
            def advance(rows):
                for dead in [cluster.scheduler] if victim == "scheduler" else cluster.nannies:
                    if dead.poll() is None:
                        os.killpg(dead.pid, signal.SIGKILL)

            yield advance

        with monkeypatch.context() as patch:
            patch.setattr(render_cache, "stage_progress", kill_it)
            started = time.monotonic()
            assert render(card, cache, "--encoder", "none", "--backend", "dask", "--scheduler", cluster.address) == 1
    message = capsys.readouterr().err
    assert time.monotonic() - started < 15
    assert cluster.address in message
    assert "Committed work is safe" in message
    assert len(message.strip().splitlines()) == 2
    assert render(card, cache, "--encoder", "none", "--workers", "1") == 0
    assert collect(cache)["content_digest"] == collect(by_loky)["content_digest"]


@pytest.mark.skipif(find_spec("ray") is not None, reason="Ray is installed")
def test_ray_that_is_not_installed_is_bad_input(card, tmp_path, capsys):
    assert render(card, tmp_path / "cache", "--encoder", "none", "--backend", "ray") == 2
    assert "pip install ray" in capsys.readouterr().err
    assert not (tmp_path / "cache").exists()


needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="the package ray is not installed")


@pytest.fixture(scope="module")
def ray():
    """A Ray of two workers on loopback, started by this process."""
    import ray

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")
        patch.setenv("OMP_NUM_THREADS", "1")
        environment = {"env_vars": {"PYTHONPATH": str(ROOT)}}
        ray.init(num_cpus=2, include_dashboard=False, logging_level="error", runtime_env=environment)
        yield ray
        ray.shutdown()


@needs_ray
def test_ray_workers_draw_and_embed_what_processes_here_do(ray, card, by_loky, tmp_path, small_slabs, capsys):
    assert render(card, tmp_path / "cache", "--backend", "ray") == 0, capsys.readouterr().err
    assert "24 drawn, 0 reused; 24 embedded, 0 reused" in capsys.readouterr().out
    assert collect(tmp_path / "cache")["content_digest"] == collect(by_loky)["content_digest"]


@needs_ray
def test_a_ray_worker_killed_in_the_middle_costs_nothing(ray, tmp_path):
    work, pids, killed = ImageWork.of(tmp_path / "ray", STYLE, [block(samples=60)], 4), set(), []
    assert Pool(2, "ray").run(slow_pid, [None] * 20, pids.add) == []
    assert os.getpid() not in pids

    def kill_one(rows):
        if not killed:
            killed.append(pids.pop())
            os.kill(killed[0], signal.SIGKILL)

    assert work.run(Pool(2, "ray"), kill_one).given_up == ()
    assert killed
    assert content_digest(work.store.slabs()) == filled_by_one(tmp_path / "one")


@needs_ray
def test_a_job_that_kills_its_ray_workers_is_given_up_and_the_rest_is_done(ray, tmp_path):
    results = []
    jobs = [(str(tmp_path), number, fate) for number, fate in enumerate(["", "dies", "", "dies once", "", ""])]
    given_up = Pool(2, "ray").run(failing_work, jobs, results.append)
    assert sorted(results) == [0, 2, 3, 4, 5]
    assert [(one.job[1], one.reason) for one in given_up] == [(1, "its worker died (out of memory, or killed)")]


@needs_ray
def test_a_job_that_hangs_in_ray_is_given_up_and_the_rest_is_done(ray, tmp_path):
    results = []
    jobs = [(str(tmp_path), number, fate) for number, fate in enumerate(["", "hangs", ""])]
    given_up = Pool(2, "ray", timeout=3).run(failing_work, jobs, results.append)
    assert sorted(results) == [0, 2]
    assert [one.reason for one in given_up] == ["it did not end in time"]


def test_dask_without_its_package_is_bad_input(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "distributed", None)
    with pytest.raises(InputError, match="pip install distributed"):
        Pool(2, "dask", "tcp://127.0.0.1:1").refuse_unless_ready()


KILLS_ITS_WORKER_ONCE = (
    "import os, signal, time; killed = out.parent / 'killed'; first = not killed.exists(); killed.touch(); "
    "first and os.kill(os.getppid(), signal.SIGKILL); time.sleep(1); " + WRITES
)


def test_runs_of_a_verdict_are_made_elsewhere_through_failures_and_killed_workers(tmp_path, dask):
    good = job(tmp_path / "good", WRITES, WRITES)
    bad = job(tmp_path / "bad", "print('the last line\\n'); raise SystemExit(3)", WRITES)
    deadly = job(tmp_path / "deadly", KILLS_ITS_WORKER_ONCE, WRITES)
    (failure,) = run_on_dask([bad, good, deadly], dask.address)
    assert (failure.code, failure.line, failure.job.arm) == (3, "the last line", bad.arm)
    assert good.done
    assert deadly.done
    assert [cost["step"] for cost in costs_of(good)] == ["stage1", "stage2"]
    assert (tmp_path / "deadly" / "killed").exists()
    assert run_on_dask([good, deadly], dask.address) == []  # nothing is left to do
    nowhere = f"tcp://127.0.0.1:{free_port()}"
    with pytest.raises(ConnectionError, match="no Dask scheduler answers"):
        run_on_dask([bad], nowhere)
