"""Run jobs of the matrix on the workers of a Dask cluster, which share the folder under the same name."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from cache.dask_workers import connect, drain
from verdict.runner import Failure, Job, Runner


def run_on_dask(jobs: Sequence[Job], scheduler: str) -> list[Failure]:
    """Run the jobs, like `Runner.run_all`. Raises ConnectionError if no cluster answers or it goes away.

    If a worker dies, Dask starts its job again. The job then waits for a process that is still running, or resumes the
    run. A job that lost several workers is a failure. After Ctrl-C, running jobs continue, and the next matrix uses
    their runs.
    """
    from distributed.scheduler import KilledWorker

    waiting = [in_full(job) for job in jobs if not job.done]
    under_way: dict[int, tuple[Job, str]] = {}
    ended: list[Failure | None] = []
    numbered = [(job, f"{at}/{len(waiting)}") for at, job in enumerate(waiting, 1)]
    with connect(scheduler) as client:
        try:
            drain(client, partial(run_here, Path.cwd()), iter(numbered), under_way, ended.append, timeout=math.inf)
        except KilledWorker:
            lost = [job for job, _ in under_way.values()]
            ended += [Failure(job, job.steps[0], 1, "the Dask workers that tried it died") for job in lost]
    failures = [failure for failure in ended if failure is not None]
    failed = {failure.job.folder for failure in failures}
    missing = [job for job in waiting if not job.done and job.folder not in failed]
    line = "its run is not in this folder: workers need the folder under the same name"
    return failures + [Failure(job, job.steps[0], 1, line) for job in missing]


def in_full(job: Job) -> Job:
    """The same job with absolute folders, because a worker may run in another folder."""
    steps = tuple(replace(step, folder=step.folder.resolve()) for step in job.steps)
    return replace(job, folder=job.folder.resolve(), steps=steps)


def run_here(working_folder: Path, numbered: tuple[Job, str]) -> Failure | None:
    """Run one job on a worker, in the folder from which the matrix was started."""
    job, number = numbered
    if not working_folder.is_dir():
        line = f"a worker has no folder {working_folder}: workers need the folder under the same name"
        return Failure(job, job.steps[0], 1, line)
    return Runner(working_folder).run(job, dict(os.environ), number)
