"""Run slab calls as tasks of a running Ray, or of one that is started here.

This uses Ray directly, because its joblib backend returns results only when all are done (Ray 2.60, joblib 1.6).
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

from pipeline.errors import InputError


@contextmanager
def connect(address: str | None) -> Iterator[Any]:
    """The module ray, connected. Raises ConnectionError if the head does not answer, InputError without the package."""
    try:
        import ray
    except ImportError as error:
        raise InputError("--backend ray needs the package: pip install ray") from error
    try:
        ray.init(address=address, ignore_reinit_error=True, log_to_driver=False, logging_level="error")
    except ConnectionError as error:
        raise ConnectionError(
            f"no Ray head answers at {address} ({error}); start one with `PYTHONPATH=. ray start --head`."
        ) from error
    yield ray


def drain(
    ray: Any,
    call: Callable[[Any], Any],
    jobs: Iterator[Any],
    under_way: dict[int, Any],
    done: Callable[[Any], None],
    *,
    timeout: float,
) -> None:
    """Call `call(job)` on the workers for every job and `done(result)` here. `under_way` holds unfinished jobs.

    Raises WorkerCrashedError of Ray, after all other jobs, if a job lost its worker. Raises TimeoutError of
    multiprocessing if no job ended within `timeout` seconds.
    """
    from ray.exceptions import WorkerCrashedError

    task = ray.remote(max_retries=0)(call)  # cache/workers.py retries a job that kills its worker, alone
    room = 2 * max(1, int(ray.cluster_resources().get("CPU", 1)))
    numbered, futures, killed = enumerate(jobs), dict[Any, int](), None
    try:
        while True:
            for number, job in islice(numbered, room - len(futures)):
                under_way[number] = job
                futures[task.remote(job)] = number
            if not futures:
                break
            ended, _ = ray.wait(list(futures), timeout=timeout)
            if not ended:
                raise multiprocessing.TimeoutError
            number = futures.pop(ended[0])
            try:
                result = ray.get(ended[0])
            except WorkerCrashedError as error:
                killed = error
                continue
            del under_way[number]
            done(result)
    finally:
        for future in futures:
            ray.cancel(future, force=True)
    if killed is not None:
        raise killed
