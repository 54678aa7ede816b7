"""Run slab calls on the workers of a running Dask cluster, and notice when the cluster goes away.

This uses Dask directly, because joblib's Dask backend has two faults. If the cluster has one thread, it draws in the
calling process. It notices a killed worker only by its own timeout (joblib 1.6, distributed 2026.8).
"""

from __future__ import annotations

import logging
import math
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from functools import partial
from itertools import islice
from queue import Empty, SimpleQueue
from typing import Any

from pipeline.errors import InputError

ANSWER = 10.0  # seconds for a scheduler to answer and to have a worker, as nannies restart dead ones
ASK_EVERY = 1.0  # seconds between queries of the number of threads, which take as long as submitting a job
WITHOUT_WORKERS = 30.0  # seconds that a cluster may have no worker during a run


@contextmanager
def connect(scheduler: str | None) -> Iterator[Any]:
    """A client of the scheduler. Raises ConnectionError if it does not answer or its workers run another program."""
    if scheduler is None:
        raise InputError("--backend dask needs --scheduler tcp://host:8786, the address of a running Dask scheduler.")
    try:
        from distributed import Client
    except ImportError as error:
        raise InputError("--backend dask needs the package: pip install distributed") from error
    with _quiet("distributed.client"):
        try:
            client = Client(scheduler, timeout=ANSWER / 2, set_as_default=False)
        except (OSError, ValueError) as error:
            raise ConnectionError(
                f"no Dask scheduler answers at {scheduler} ({error}); start one with `dask scheduler` and give its "
                "address as --scheduler tcp://host:8786."
            ) from error
        try:
            _require_same_program(client, scheduler)
            yield client
        finally:
            client.close(timeout=ANSWER / 2)


@contextmanager
def _quiet(name: str) -> Iterator[None]:
    """Without Dask's own log: it prints pages of stack traces for errors that are raised here as one sentence."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)


def drain(
    client: Any,
    call: Callable[[Any], Any],
    jobs: Iterator[Any],
    under_way: dict[int, Any],
    done: Callable[[Any], None],
    *,
    timeout: float,
) -> None:
    """Call `call(job)` on the workers for every job and `done(result)` here. `under_way` holds unfinished jobs.

    Raises KilledWorker, after all other jobs, if every worker that tried a job was lost. Raises TimeoutError of
    multiprocessing if no job ended within `timeout` seconds, and ConnectionError if the cluster is gone.
    """
    from distributed.scheduler import KilledWorker

    ended: SimpleQueue[int] = SimpleQueue()
    futures: dict[int, Any] = {}
    killed: Exception | None = None
    numbered = enumerate(jobs)
    threads, queried_at = 0, -math.inf
    try:
        while True:
            if time.monotonic() - queried_at > ASK_EVERY:
                threads, queried_at = sum(_threads(client).values()), time.monotonic()
            room = 2 * max(threads, 1) - len(futures)
            for number, job in islice(numbered, max(room, 0)):
                under_way[number] = job
                futures[number] = client.submit(call, job, pure=False)
                futures[number].add_done_callback(partial(_put, ended, number))
            if not futures:
                break
            number = _next(client, ended, timeout)
            try:
                result = futures.pop(number).result()
            except KilledWorker as error:
                killed = error
                continue
            except CancelledError as error:
                raise _gone(client) from error
            del under_way[number]
            done(result)
    except multiprocessing.TimeoutError:
        _end_processes(client, list(futures.values()))
        raise
    finally:
        if client.status == "running":
            client.cancel(list(futures.values()))
    if killed is not None:
        raise killed


def _put(ended: SimpleQueue[int], number: int, future: Any) -> None:
    ended.put(number)


def _next(client: Any, ended: SimpleQueue[int], timeout: float) -> int:
    """The number of the next job that ended."""
    started = with_workers = time.monotonic()
    while True:
        try:
            return ended.get(timeout=min(1.0, timeout))
        except Empty:
            now = time.monotonic()
            if _threads(client):
                with_workers = now
            if now - with_workers > WITHOUT_WORKERS:
                raise ConnectionError(
                    f"the Dask scheduler at {client.scheduler.address} has had no worker for {WITHOUT_WORKERS:.0f} s; "
                    f"start one with `dask worker {client.scheduler.address}`."
                ) from None
            if now - started > timeout:
                raise multiprocessing.TimeoutError from None


def _threads(client: Any) -> dict[str, int]:
    """The number of threads of every worker. Raises ConnectionError if the scheduler does not answer."""
    if client.status != "running":
        raise _gone(client)
    try:
        threads: dict[str, int] = client.sync(client.scheduler.ncores, workers=None, callback_timeout=ANSWER)
    except (OSError, CancelledError) as error:
        raise _gone(client) from error
    return threads


def _gone(client: Any) -> ConnectionError:
    return ConnectionError(f"the Dask scheduler at {client.scheduler.address} stopped or no longer answers.")


def _end_processes(client: Any, futures: list[Any]) -> None:
    """End the process of a call that hangs, which cannot be stopped otherwise. The nanny starts a new process."""
    keys = {future.key for future in futures}
    stuck = [worker for worker, own in client.processing().items() if keys & set(own)]
    client.cancel(futures)  # first, or the scheduler gives them to another worker
    if stuck:
        client.run(_end, workers=stuck, on_error="ignore")


def _end() -> None:
    os._exit(1)


def _program() -> int:
    """The version that a worker must share; it must be able to import this module."""
    from pipeline.style import RENDERER_VERSION

    return RENDERER_VERSION


def _require_same_program(client: Any, scheduler: str) -> None:
    end = time.monotonic() + ANSWER
    while not _threads(client) and time.monotonic() < end:
        time.sleep(0.2)
    if not _threads(client):
        raise ConnectionError(
            f"the Dask scheduler at {scheduler} has no workers; start one with `dask worker {scheduler}`."
        )
    answers = client.run(_program, on_error="return")
    try:
        answers[scheduler] = client.run_on_scheduler(_program)
    except ImportError as error:  # the scheduler unpickles jobs too
        answers[scheduler] = error
    for address, answer in answers.items():
        if answer != _program():
            raise ConnectionError(
                f"the Dask process at {address} does not run this program ({answer!r}); start scheduler and workers in "
                "its folder, at the same commit and with its packages: `PYTHONPATH=. dask scheduler`, "
                f"`PYTHONPATH=. dask worker {scheduler}`."
            )
