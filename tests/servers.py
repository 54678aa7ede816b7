"""Real processes for tests: a Dask scheduler with workers on loopback, and cleaning up whatever the test does."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.conftest import CARD, small_seasons

ROOT = Path(__file__).resolve().parents[1]
HOST = "127.0.0.1"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


@contextmanager
def process(*command: object, **given) -> Iterator[subprocess.Popen]:
    """A process in a session of its own; it and all its children are killed at the end."""
    command = [sys.executable, *map(str, command)]  # type: ignore[assignment]
    started = subprocess.Popen(command, start_new_session=True, preexec_fn=_die_with_the_tests, **given)
    try:
        yield started
    finally:
        with suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGKILL)
        started.wait(10)


def _die_with_the_tests() -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def wait_until(true, seconds: float, what: str) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"{what} did not happen within {seconds} s"
        time.sleep(0.05)


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


@dataclass
class Cluster:
    address: str
    log: Path
    scheduler: subprocess.Popen
    nannies: list[subprocess.Popen] = field(default_factory=list)

    def worker_pids(self) -> list[int]:
        """The processes that do the work: children of the nannies."""
        tasks = [task for nanny in self.nannies for task in Path(f"/proc/{nanny.pid}/task").glob("*/children")]
        pids = [pid for task in tasks for pid in task.read_text().split()]
        return [int(pid) for pid in pids if b"spawn_main" in _command(pid)]


def _command(pid: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        return b""


@contextmanager
def dask_cluster(folder: Path, workers: int = 2, path: Path | None = ROOT, **environment: str) -> Iterator[Cluster]:
    """A scheduler and `workers` workers of one thread, with another working directory than the test."""
    folder.mkdir()
    port = free_port()
    address = f"tcp://{HOST}:{port}"
    env = os.environ | {
        "OMP_NUM_THREADS": "1",
        "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1",
        "DASK_TEMPORARY_DIRECTORY": str(folder),
    }
    env = env | environment | {"PYTHONPATH": str(path or "")}
    log = folder / "log"
    with log.open("wb") as out, ExitStack() as stack:
        given = {"cwd": folder, "env": env, "stdout": out, "stderr": out}
        web = ("--dashboard-address", f"{HOST}:0", "--no-dashboard")
        command = ("-m", "distributed.cli.dask_scheduler", "--host", HOST, "--port", port, *web)
        cluster = Cluster(address, log, stack.enter_context(process(*command, **given)))
        for _ in range(workers):
            command = ("-m", "distributed.cli.dask_worker", address, "--nthreads", 1, "--host", HOST, *web)  # type: ignore[assignment]
            cluster.nannies.append(stack.enter_context(process(*command, **given)))
        wait_until(lambda: log.read_text().count("Scheduler at:") == 1, 30, "a scheduler")
        wait_until(lambda: log.read_text().count("Register worker") >= workers, 30, f"{workers} workers")
        yield cluster


def tiny_card(folder: Path) -> Path:
    """A card of 2 places x 3 years: 24 pictures."""
    folder.mkdir(parents=True)
    seasons = small_seasons()
    seasons = seasons[seasons["place"].isin([f"field{place}" for place in range(2)]) & (seasons["year"] >= 2020)]
    seasons.to_csv(folder / "seasons.csv", index=False)
    (folder / "card.toml").write_text(CARD)
    return folder / "card.toml"


def slow_pid(job: object) -> int:
    """A job that says which process did it."""
    time.sleep(0.02)
    return os.getpid()


@contextmanager
def s3_server(folder: Path) -> Iterator[tuple[str, subprocess.Popen]]:
    """A server that speaks S3: its address and its process."""
    port = free_port()
    with (folder / "s3.log").open("wb") as out:
        command = ("-m", "moto.server", "-H", HOST, "-p", port)
        with process(*command, cwd=folder, stdout=out, stderr=out) as server:
            wait_until(lambda: answers(port), 30, "a listening S3 server")
            yield f"http://{HOST}:{port}", server


def s3_settings(endpoint: str) -> dict[str, str]:
    """The environment that reaches a bucket there, and no other machine."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
        "AWS_ALLOW_HTTP": "true",
        "AWS_METADATA_ENDPOINT": "http://127.0.0.1:9",  # where credentials are looked for when there are none
    }
