"""A dead or hanging worker costs a retry, and in the end one named job: never the run, never an endless wait."""

import subprocess
import sys
import time

import pytest

from cache.workers import MOST_RETRIES, Pool
from pipeline.errors import InputError
from tests.failing_work import failing_work as work


def run(folder, fates, **pool):
    results = []
    given_up = Pool(**{"workers": 2} | pool).run(
        work, [(str(folder), i, f) for i, f in enumerate(fates)], results.append
    )
    return sorted(results), given_up


def tries(folder, number):
    return len(list(folder.glob(f"{number}-*")))


def test_a_worker_that_dies_once_costs_nothing(tmp_path):
    results, given_up = run(tmp_path, ["", "", "dies once", "", "", ""])
    assert results == [0, 1, 2, 3, 4, 5]
    assert given_up == []


@pytest.mark.slow
def test_a_job_that_kills_its_worker_is_given_up_after_three_retries_and_the_rest_is_done(tmp_path):
    results, given_up = run(tmp_path, ["", "dies", "", "", "dies", ""])
    assert results == [0, 2, 3, 5]
    assert sorted(one.job[1] for one in given_up) == [1, 4]
    assert all("died" in one.reason for one in given_up)
    for number in (1, 4):  # the first of the two deaths may have come before the other one began
        assert tries(tmp_path, number) in (MOST_RETRIES, MOST_RETRIES + 1)


@pytest.mark.slow
def test_a_job_that_hangs_is_given_up_and_nothing_waits_for_ever(tmp_path):
    started = time.monotonic()
    results, given_up = run(tmp_path, ["", "hangs", ""], timeout=1.0)
    assert results == [0, 2]
    assert [one.reason for one in given_up] == ["it did not end in time"]
    assert time.monotonic() - started < 60


def test_an_error_that_would_meet_every_job_ends_the_run(tmp_path):
    with pytest.raises(OSError, match="No space left"):
        run(tmp_path, ["", "fails", *[""] * 40])


@pytest.mark.parametrize(
    ("scheduler", "said"), [(None, "needs --scheduler"), ("tcp://127.0.0.1:9", "no Dask scheduler")]
)
def test_a_scheduler_that_is_not_there_is_bad_input(monkeypatch, scheduler, said):
    pytest.importorskip("distributed")
    monkeypatch.setattr("cache.dask_workers.ANSWER", 2.0)
    with pytest.raises(InputError, match=said):
        Pool(2, "dask", scheduler).refuse_unless_ready()


@pytest.mark.parametrize("code", [0, 1])
def test_a_process_whose_exit_handlers_hang_ends_with_its_code_and_its_last_words(code):
    """After a worker died with a lock, loky's exit handler hangs; the last words are in a buffer until then."""
    hang = "import atexit, time; from cache import workers; atexit.register(time.sleep, 100); "
    leave = f"workers.EXIT_PATIENCE = 0.5; print('last words'); workers.leave({code})"
    command = [sys.executable, "-c", hang + leave]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert (ended.returncode, ended.stdout) == (code, "last words\n")
