"""Run idempotent slab calls on joblib's backends: worker processes here (loky), or an engine on many machines.

A call ends in a committed slab or has done nothing, so a call whose worker died is simply made again. Calls that were
under way when a worker died are tried again one at a time, so that a slab that kills its worker takes no other one with
it; after three tries it is given up by name, and the rest goes on.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import joblib
from joblib.externals.loky import get_reusable_executor
from joblib.externals.loky.process_executor import TerminatedWorkerError

from pipeline.errors import InputError

Backend = Literal["loky", "threading", "sequential", "dask", "ray"]
MOST_TRIES = 3


@dataclass(frozen=True)
class GivenUp:
    """A job that killed its worker three times, or did not end in time."""

    job: Any
    reason: str


@dataclass(frozen=True)
class Pool:
    """Who does the work: `workers` of a joblib backend; `scheduler` is the address of a running Dask or Ray."""

    workers: int = 2
    backend: Backend = "loky"
    scheduler: str | None = None
    timeout: float = 900.0  # seconds without any finished job, after which workers are taken to hang

    @property
    def elsewhere(self) -> bool:
        """Whether workers are other machines: then they embed too, and relative paths mean nothing to them."""
        return self.backend in ("dask", "ray")

    def run(self, call: Callable[..., Any], jobs: Iterable[Any], done: Callable[[Any], None]) -> list[GivenUp]:
        """Call `call(job)` for every job and `done(result)` for every result, in any order.

        Returns the jobs that were given up. Any other exception of a call ends the run: it would meet every job.
        """
        remaining, given_up = iter(jobs), list[GivenUp]()
        with self._backend() as most:
            while True:
                under_way: dict[int, Any] = {}
                try:
                    self._drain(most, call, remaining, under_way, done)
                    return given_up
                except self._deaths() as error:
                    self._stop()
                    for job in under_way.values():
                        reason = self._alone(call, job, done, 1, _reason(error))
                        given_up += [GivenUp(job, reason)] if reason else []

    def _drain(
        self, workers: int, call: Callable[..., Any], jobs: Iterator[Any], under_way: dict[int, Any],
        done: Callable[[Any], None],
    ) -> None:  # fmt: skip
        def handed_out() -> Iterator[Any]:
            for number, job in enumerate(jobs):
                under_way[number] = job
                yield joblib.delayed(_numbered)(call, number, job)

        timeout = None if workers == 1 or self.backend == "sequential" else self.timeout
        parallel = joblib.Parallel(
            n_jobs=workers,
            return_as="generator_unordered",
            pre_dispatch="2*n_jobs",
            batch_size=1,
            timeout=timeout,
        )
        for number, result in parallel(handed_out()):
            del under_way[number]
            done(result)

    def _alone(self, call: Callable[..., Any], job: Any, done: Callable[[Any], None], tries: int, why: str) -> str:
        """Try a suspect by itself; returns why it was given up, or nothing."""
        while tries < MOST_TRIES:
            tries += 1
            try:
                self._drain(2, call, iter([job]), {}, done)  # joblib would make a single worker of this very process
                return ""
            except self._deaths() as error:
                self._stop()
                why = _reason(error)
        return why

    def _deaths(self) -> tuple[type[Exception], ...]:
        """What joblib raises when a worker dies or a job does not end."""
        if self.backend == "dask":
            from distributed.scheduler import KilledWorker  # after it has tried on three workers by itself

            return KilledWorker, multiprocessing.TimeoutError
        return TerminatedWorkerError, multiprocessing.TimeoutError

    def _stop(self) -> None:
        if self.backend == "loky":
            get_reusable_executor().shutdown(wait=True, kill_workers=True)

    @contextmanager
    def _backend(self) -> Iterator[int]:
        """The joblib configuration; gives the number of workers to ask for."""
        if self.backend == "dask":
            client = _dask_client(self.scheduler)
            with client, joblib.parallel_config(backend="dask"):
                yield len(client.scheduler_info()["workers"])
            return
        if self.backend == "ray":
            _register_ray(self.scheduler)
            with joblib.parallel_config(backend="ray"):
                yield -1
            return
        with joblib.parallel_config(backend=self.backend):
            yield self.workers


def _numbered(call: Callable[..., Any], number: int, job: Any) -> tuple[int, Any]:
    return number, call(job)


def _reason(error: Exception) -> str:
    if isinstance(error, multiprocessing.TimeoutError):
        return "it did not end in time"
    return "its worker died (out of memory, or killed)"


def _dask_client(scheduler: str | None) -> Any:
    if scheduler is None:
        raise InputError("--backend dask needs --scheduler tcp://host:8786, the address of a running Dask scheduler.")
    try:
        from distributed import Client
    except ImportError as error:
        raise InputError("--backend dask needs the package: pip install distributed") from error
    try:
        client = Client(scheduler, timeout=5)
    except OSError as error:
        raise InputError(
            f"no Dask scheduler answers at {scheduler} ({error}); start one with `dask scheduler`."
        ) from error
    if not client.scheduler_info()["workers"]:
        client.close()
        raise InputError(f"the Dask scheduler at {scheduler} has no workers; start one with `dask worker {scheduler}`.")
    return client


def _register_ray(address: str | None) -> None:
    try:
        import ray
        from ray.util.joblib import register_ray
    except ImportError as error:
        raise InputError("--backend ray needs the package: pip install ray") from error
    ray.init(address=address, ignore_reinit_error=True)
    register_ray()
