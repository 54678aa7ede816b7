"""Processes of `make soak`: each is in its own group, watched through /proc, killed, and cleaned up."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
SEMAPHORES = Path("/dev/shm")  # holds loky's named semaphores, which a killed group cannot unlink
WATCHDOG = 120.0  # seconds after which a process that should have ended counts as hanging
PAGE = os.sysconf("SC_PAGE_SIZE")
_started: list[Child] = []


@dataclass(frozen=True)
class Child:
    """A started program: the leader of its group, its output, and the folder of its temporary files."""

    process: subprocess.Popen[bytes]
    log: Path

    @property
    def running(self) -> bool:
        """Whether the leader is still running."""
        return self.process.poll() is None

    def members(self) -> list[int]:
        """Living processes of its group, without the leader."""
        pids = []
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                state, _, group = _stat(int(folder.name))[:3]
                if int(group) == self.process.pid != int(folder.name) and state != "Z":
                    pids.append(int(folder.name))
        return pids

    def workers(self) -> list[int]:
        """The living worker processes of loky in its group."""
        pids = []
        for pid in self.members():
            with contextlib.suppress(OSError):  # it has ended since it was listed
                if b"popen_loky" in _read(pid, "cmdline"):
                    pids.append(pid)
        return pids

    def signal_group(self, number: signal.Signals) -> None:
        """Send a signal to the leader and everything that it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def wait(self, seconds: float = WATCHDOG) -> int | None:
        """The exit code, once the whole group has ended.

        After a time-out the group is killed and the result is None.
        """
        end = time.monotonic() + seconds
        try:
            code = self.process.wait(seconds)
            while self.members() and time.monotonic() < end:
                time.sleep(0.005)
        except subprocess.TimeoutExpired:
            code = None
        self.signal_group(signal.SIGKILL)
        self.process.wait()
        for left in SEMAPHORES.glob(f"sem.loky-{self.process.pid}-*"):
            left.unlink(missing_ok=True)
        return code

    def output(self) -> str:
        """The output so far, both streams."""
        return self.log.read_text(errors="replace")

    def result(self) -> dict[str, Any]:
        """The JSON object of its last line; empty if it was killed before it printed one."""
        lines = self.output().splitlines()
        if lines and lines[-1].startswith("{") and lines[-1].endswith("}"):
            record: dict[str, Any] = json.loads(lines[-1])
            return record
        return {}


def start(folder: Path, *command: object) -> Child:
    """Run a command of this project in a new session. `folder` holds its output and temporary files."""
    (folder / "joblib").mkdir(parents=True, exist_ok=True)
    log = folder / f"log-{time.monotonic_ns()}"
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "JOBLIB_TEMP_FOLDER": str(folder / "joblib"),  # otherwise killed runs would leave their files in memory
        "PYTHONPATH": str(ROOT),
    }
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, *map(str, command)],
            stdout=out,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            env=environment,
            start_new_session=True,
        )
    _started.append(Child(process, log))
    return _started[-1]


def end_all() -> None:
    """Kill everything that is still running, as nothing waits for it after Ctrl-C or an error."""
    for child in _started:
        if child.running:
            child.wait(0)
    _started.clear()


def call(folder: Path, function: Callable[..., None], *arguments: object) -> Child:
    """Run a function of a module in a separate process; its arguments are passed as text.

    By `-c`, so that workers of loky have no main module to import first.
    """
    name, module = function.__name__, function.__module__
    code = f"import sys\nfrom cache.workers import leave\nfrom {module} import {name} as f\nf(*sys.argv[1:])\nleave(0)"
    return start(folder, "-c", code, *arguments)


def alive(pid: int) -> bool:
    """Whether the process exists and is not a zombie."""
    try:
        return _stat(pid)[0] != "Z"
    except OSError:
        return False


def resources(pid: int) -> tuple[float, int] | None:
    """Megabytes of resident memory and open descriptors of a process; None if it has ended."""
    try:
        pages = int(_read(pid, "statm").split()[1])
        return pages * PAGE / 1e6, len(os.listdir(f"/proc/{pid}/fd"))
    except (OSError, IndexError):
        return None


def quarters(samples: list[tuple[float, int]]) -> dict[str, float]:
    """Medians over the first and the last quarter of samples (megabytes, descriptors), in order of time."""
    table = np.array(samples).reshape(-1, 2)
    size = max(1, len(table) // 4)
    names = ("rss_mb_first", "fds_first", "rss_mb_last", "fds_last")
    medians = [*np.median(table[:size], 0), *np.median(table[-size:], 0)]
    return {name: round(float(value), 1) for name, value in zip(names, medians, strict=True)}


def not_flat(of: dict[str, float]) -> list[str]:
    """Reasons why these quarters are not flat. Growth by 10 % and 20 MB, and by 16 descriptors, is allowed."""
    problems = []
    if of["rss_mb_last"] > 1.1 * of["rss_mb_first"] + 20:
        problems.append(f"memory grew from {of['rss_mb_first']} to {of['rss_mb_last']} MB")
    if of["fds_last"] > of["fds_first"] + 16:
        problems.append(f"open descriptors grew from {of['fds_first']} to {of['fds_last']}")
    return problems


def _stat(pid: int) -> list[str]:
    """State, parent, group and so on. They follow the process name, which may contain anything."""
    return _read(pid, "stat").decode(errors="replace").rpartition(")")[2].split()


def _read(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except ProcessLookupError as error:  # it ended while the file was being read
        raise FileNotFoundError(str(error)) from error
