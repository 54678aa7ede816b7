"""Plan and run the jobs of the verdict. Each is a command that a user could type, in a process of its own.

A process runs in the folder from which the matrix was started, so that relative paths have the same meaning in both.

    <out>/matrix.json                          settings that all runs share; another matrix rejects the folder
    <out>/<arm>/seed<k>/stage1, stage2         run folders of train.py;  <out>/maps/seed<k>: of verdict.kernel_baselines
    <out>/<arm>/seed<k>/log.txt, costs.jsonl   its output; seconds and peak memory of every process

A finished run is used, a stopped one is resumed, a new one is started. A worker holds a lock on its job, which the
job's process inherits. If the matrix is killed and the process lives on, the next matrix waits for it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from joblib import Parallel, delayed

from pipeline.errors import InputError
from report.run import RunFolder
from verdict.arms import Arm, Flags

ROOT = Path(__file__).resolve().parents[1]
MAPS = "maps"


@dataclass(frozen=True)
class Step:
    """One process: its name, its run folder, and the command (after `python`) that creates the folder."""

    name: str
    folder: Path
    command: Flags
    resumable: bool = True

    @property
    def done(self) -> bool:
        """Whether the run is complete."""
        run = RunFolder(self.folder)
        return (self.folder / "result.json").is_file() and not run.read_json("result.json").get("interrupted", False)

    @property
    def to_run(self) -> Flags:
        """The command to run now: from the beginning, or from the last checkpoint."""
        if self.resumable and (self.folder / "checkpoints" / "started.json").is_file():
            return ("train.py", "--resume", str(self.folder))
        return self.command


@dataclass(frozen=True)
class Job:
    """The steps of one arm and seed, in order."""

    arm: str
    seed: int
    folder: Path
    steps: tuple[Step, ...]

    @property
    def done(self) -> bool:
        """Whether all steps are done."""
        return all(step.done for step in self.steps)


@dataclass(frozen=True)
class Failure:
    """A step with an exit code other than 0, and the last line of its output."""

    job: Job
    step: Step
    code: int
    line: str


@dataclass
class Runner:
    """Runs jobs side by side, in `working_folder`. `stop` ends running jobs and starts no more."""

    working_folder: Path = field(default_factory=Path.cwd)
    stopped: bool = False
    running: set[int] = field(default_factory=set)

    def run_all(self, jobs: Sequence[Job], workers: int) -> list[Failure]:
        """Run the jobs that are not done, and return the failures."""
        waiting = [job for job in jobs if not job.done]
        threads = {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // workers))} if workers > 1 else {}
        environment = threads | os.environ
        with self._ending():
            ended = Parallel(n_jobs=workers, backend="threading")(
                delayed(self.run)(job, environment, f"{at}/{len(waiting)}") for at, job in enumerate(waiting, 1)
            )
        return [failure for failure in ended if failure is not None]

    @contextlib.contextmanager
    def _ending(self) -> Iterator[None]:
        """Ends the processes if anything ends the block early."""
        try:
            yield
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Send SIGTERM to every process. It ends at once and keeps its checkpoints."""
        self.stopped = True
        for pid in list(self.running):
            with contextlib.suppress(ProcessLookupError):  # it has just ended
                os.kill(pid, signal.SIGTERM)

    def run(self, job: Job, environment: Mapping[str, str], number: str) -> Failure | None:
        """Run one job. The first step that fails ends it."""
        job.folder.mkdir(parents=True, exist_ok=True)
        with (job.folder / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print(f"{number} {job.arm}, seed {job.seed}: waiting for another matrix or a process it left running")
                fcntl.flock(lock, fcntl.LOCK_EX)
            for step in job.steps:
                if step.done or self.stopped:
                    continue
                began = time.perf_counter()
                code = self.run_step(job, step, environment, lock.fileno())
                print(f"{number} {job.arm}, seed {job.seed}, {step.name}: "
                      f"{'done' if code == 0 else f'exit {code}'} in {time.perf_counter() - began:.0f} s")  # fmt: skip
                if code:
                    return Failure(job=job, step=step, code=code, line=last_line(job.folder / "log.txt"))
        return None

    def run_step(self, job: Job, step: Step, environment: Mapping[str, str], lock: int) -> int:
        """Run one process. Records its seconds and peak memory, and returns its exit code."""
        command = step.to_run
        if command == step.command and step.folder.exists():
            shutil.rmtree(step.folder)  # it never reached its first checkpoint
        began = time.perf_counter()
        with (job.folder / "log.txt").open("ab") as log:
            log.write(f"$ {typed(command, self.working_folder)}\n".encode())
            log.flush()
            process = subprocess.Popen(
                process_of(command),
                cwd=self.working_folder,
                env=importing_from_root(environment),
                stdout=log,
                stderr=log,
                pass_fds=(lock,),
                start_new_session=True,  # Ctrl-C reaches the matrix, which then ends its processes
            )
            self.running.add(process.pid)
            _, status, used = os.wait4(process.pid, 0)
            self.running.discard(process.pid)
            process.returncode = os.waitstatus_to_exitcode(status)
        cost = {
            "step": step.name,
            "resumed": command != step.command,
            "seconds": time.perf_counter() - began,
            "peak_mb": used.ru_maxrss / 1024,
            "code": process.returncode,
        }
        with (job.folder / "costs.jsonl").open("a") as file:
            file.write(json.dumps(cost) + "\n")
        return process.returncode


def process_of(command: Flags) -> list[str]:
    """The arguments of the process for a command of the matrix. They work in any folder.

    `-P` keeps modules of the working folder out of the import path. The project's own come from `importing_from_root`.
    """
    program, *flags = command
    if program.startswith("-"):
        return [sys.executable, "-P", program, *flags]
    return [sys.executable, str(ROOT / program), *flags]


def importing_from_root(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a process, with the project folder first in its import path."""
    paths = [str(ROOT), environment.get("PYTHONPATH", "")]
    return dict(environment) | {"PYTHONPATH": os.pathsep.join(path for path in paths if path)}


def typed(command: Flags, working_folder: Path) -> str:
    """A command of the matrix as a user would type it in this folder. In the project folder: `python train.py ...`."""
    root = Path(os.path.relpath(ROOT, working_folder.resolve()))
    program, *flags = command
    if not program.startswith("-"):
        return shlex.join(["python", str(root / program), *flags])
    return ("" if root == Path() else f"PYTHONPATH={shlex.quote(str(root))} ") + shlex.join(["python", *command])


def plan(out: Path, arms: Sequence[Arm], seeds: Sequence[int], common: Flags, encoder: str) -> list[Job]:
    """All jobs, one seed after another, so that a matrix that ends early can compare the finished seeds."""
    jobs = []
    for seed in seeds:
        for arm in arms:
            folder = out / slug(arm.name) / f"seed{seed}"
            own = () if arm.value("--encoder") else ("--encoder", encoder)
            flags = (*common, *own, *arm.flags, "--seed", str(seed))
            one, two = folder / "stage1", folder / "stage2"
            first = ("train.py", "--stage", "1", *flags, "--out", str(one))
            second = ("train.py", "--stage", "2", *flags, *arm.second, "--from", str(one), "--out", str(two))
            steps = (
                Step(name="stage1", folder=one, command=first),
                Step(name="stage2", folder=two, command=second),
            )
            jobs.append(Job(arm=arm.name, seed=seed, folder=folder, steps=steps))
    return jobs


def maps_plan(out: Path, seeds: Sequence[int], common: Flags, encoder: str) -> list[Job]:
    """The jobs of verdict.kernel_baselines: all its maps at once, one job per seed."""
    jobs = []
    for seed in seeds:
        folder = out / MAPS / f"seed{seed}"
        run = folder / "run"
        command = (
            "-m",
            "verdict.kernel_baselines",
            *common,
            "--encoder",
            encoder,
            "--seed",
            str(seed),
            "--out",
            str(run),
        )
        step = Step(name="maps", folder=run, command=command, resumable=False)
        jobs.append(Job(arm=MAPS, seed=seed, folder=folder, steps=(step,)))
    return jobs


def require_same_matrix(out: Path, shared: Mapping[str, Any]) -> None:
    """Raise InputError if the folder holds other files, or a matrix with other settings."""
    if (out / "matrix.json").is_file():
        for name, before in RunFolder(out).read_json("matrix.json").items():
            if before != shared.get(name):
                raise InputError(
                    f"--out {out} holds a matrix with {name} {before}, but this one has {shared.get(name)}. Their runs "
                    "cannot be compared. Name another --out, or use the same setting."
                )
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"--out {out} exists, is not empty and is not a matrix (no matrix.json); name another folder.")


def claim(out: Path, shared: Mapping[str, Any]) -> None:
    """Create the matrix folder, or continue it. Raises InputError as `require_same_matrix` does."""
    require_same_matrix(out, shared)
    path = out / "matrix.json"
    if path.is_file():
        return
    out.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(shared, indent=1) + "\n")
    temporary.rename(path)


def costs_of(job: Job) -> list[dict[str, Any]]:
    """The cost of every process of the job, in order."""
    path = job.folder / "costs.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def last_line(path: Path) -> str:
    """The last line of a log that is not empty."""
    lines = [line for line in path.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else ""


def slug(name: str) -> str:
    """A folder name for an arm."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", name).strip("-")
