"""Run idempotent slab calls: in processes here (loky, by joblib), or on the workers of a Dask or Ray cluster.

A call ends in a committed slab or changes nothing, so it can be repeated after its worker died. Calls that were in
progress when a worker died are retried one at a time, so that a slab that kills its worker harms no other slab. After
three such retries the slab is given up and named, and the rest continues.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NoReturn

from cache import dask_workers, ray_workers
from pipeline.errors import InputError

Backend = Literal["loky", "threading", "sequential", "dask", "ray"]
Drain = Callable[[int, Iterator[Any], dict[int, Any]], None]  # workers, jobs, unfinished jobs; raises if a worker dies
MOST_RETRIES = 3
EXIT_PATIENCE = 20.0  # seconds


@dataclass(frozen=True)
class RetriesExhausted:
    """A job that killed its worker in every retry, or did not end in time."""

    job: Any
    reason: str


@dataclass(frozen=True)
class Pool:
    """The workers: `workers` of a joblib backend, or a running Dask or Ray at the address `scheduler`."""

    workers: int = 2
    backend: Backend = "loky"
    scheduler: str | None = None
    timeout: float = 900.0  # seconds without any finished job until workers count as hanging

    @property
    def elsewhere(self) -> bool:
        """Whether workers are on other machines: they then embed too, and relative paths are invalid for them."""
        return self.backend in ("dask", "ray")

    def run(self, call: Callable[..., Any], jobs: Iterable[Any], done: Callable[[Any], None]) -> list[RetriesExhausted]:
        """Call `call(job)` for every job and `done(result)` for every result, in any order.

        Returns the jobs that were given up. Any other exception of a call ends the run, since every job would raise it.
        """
        remaining, given_up = iter(jobs), list[RetriesExhausted]()
        with self._engine(call, done) as (most, drain):
            while True:
                under_way: dict[int, Any] = {}
                try:
                    drain(most, remaining, under_way)
                    return given_up
                except self._deaths() as error:
                    self._stop()
                    for job in under_way.values():
                        reason = self._alone(drain, job, _reason(error))
                        given_up += [RetriesExhausted(job, reason)] if reason else []

    def refuse_unless_ready(self) -> None:
        """Raise InputError, before anything is written, if a cluster does not answer or has no workers."""
        try:
            with self._engine(_nothing, _nothing):
                pass
        except ConnectionError as error:
            raise InputError(str(error)) from error

    def _drain(
        self, call: Callable[..., Any], done: Callable[[Any], None], workers: int, jobs: Iterator[Any],
        under_way: dict[int, Any],
    ) -> None:  # fmt: skip
        if workers == 1 or self.backend == "sequential":  # in this process, without an engine
            for job in jobs:
                done(call(job))
            return
        import joblib

        def numbered_jobs() -> Iterator[Any]:
            for number, job in enumerate(jobs):
                under_way[number] = job
                yield joblib.delayed(_numbered)(call, number, job)

        parallel = joblib.Parallel(
            n_jobs=workers,
            return_as="generator_unordered",
            pre_dispatch="2*n_jobs",
            batch_size=1,
            timeout=self.timeout,
        )
        for number, result in parallel(numbered_jobs()):
            del under_way[number]
            done(result)

    def _alone(self, drain: Drain, job: Any, reason: str) -> str:
        """Retry a suspect job alone. Returns the reason if it was given up, else ""."""
        for _ in range(MOST_RETRIES):
            try:
                drain(2, iter([job]), {})  # with one worker, joblib would run it in this process
                return ""
            except self._deaths() as error:
                self._stop()
                reason = _reason(error)
        return reason

    def _deaths(self) -> tuple[type[Exception], ...]:
        """The exceptions raised if a worker dies or a job does not end."""
        if self.backend == "dask":
            from distributed.scheduler import KilledWorker  # raised after Dask has tried three workers

            return KilledWorker, multiprocessing.TimeoutError
        if self.backend == "ray":
            from ray.exceptions import WorkerCrashedError

            return WorkerCrashedError, multiprocessing.TimeoutError
        from joblib.externals.loky.process_executor import TerminatedWorkerError

        return TerminatedWorkerError, multiprocessing.TimeoutError

    def _stop(self) -> None:
        if self.backend == "loky":
            from joblib.externals.loky import get_reusable_executor

            get_reusable_executor().shutdown(wait=True, kill_workers=True)

    @contextmanager
    def _engine(self, call: Callable[..., Any], done: Callable[[Any], None]) -> Iterator[tuple[int, Drain]]:
        """The number of workers to start, and the function that runs jobs on them."""
        if self.backend == "dask":
            with dask_workers.connect(self.scheduler) as client:
                yield (
                    0,
                    lambda _, jobs, under_way: dask_workers.drain(
                        client, call, jobs, under_way, done, timeout=self.timeout
                    ),
                )
            return
        if self.backend == "ray":
            with ray_workers.connect(self.scheduler) as ray:
                yield (
                    0,
                    lambda _, jobs, under_way: ray_workers.drain(
                        ray, call, jobs, under_way, done, timeout=self.timeout
                    ),
                )
            return
        if self.workers == 1 or self.backend == "sequential":
            yield 1, partial(self._drain, call, done)
            return
        import joblib

        with joblib.parallel_config(backend=self.backend):
            yield self.workers, partial(self._drain, call, done)


def leave(code: int) -> NoReturn:
    """End a process that used a pool, within EXIT_PATIENCE, after everything is committed and printed.

    If a worker is killed while it holds a lock of loky's queues, loky's exit handler waits for ever. This happens once
    in about 200 kills of `make soak`.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    watchdog = threading.Timer(EXIT_PATIENCE, os._exit, (code,))
    watchdog.daemon = True
    watchdog.start()
    sys.exit(code)


def _numbered(call: Callable[..., Any], number: int, job: Any) -> tuple[int, Any]:
    return number, call(job)


def _nothing(job: Any) -> None:
    pass


def _reason(error: Exception) -> str:
    if isinstance(error, multiprocessing.TimeoutError):
        return "it did not end in time"
    return "its worker died (out of memory, or killed)"
