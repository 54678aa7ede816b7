"""Uses readers after a fork, as the workers of a data loader do, while other threads of the parent also read."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.soak.data import block
from benchmarks.soak.process import call
from cache.fill import ImageWork
from cache.spec import image_spec
from cache.storage import CacheError
from cache.store import Reader, Store
from cache.workers import Pool
from pipeline.render import draw
from pipeline.style import Style

STYLE = Style(size=32)
SERIES, SLAB_ROWS = 256, 16
AT_A_TIME = 32  # rows
WATCHDOG = 20.0  # seconds for one child
MOST_HANGS = 3  # more would show nothing new
RIGHT, WRONG, FAILED = 0, 1, 2  # exit codes of a child


def measure(folder: Path, forks: int, seed: int, opening: bool = True) -> dict[str, Any]:
    """Fork one process `forks` times. Returns counts; `problems` is empty if every child read the right rows in time.

    `opening`: a thread of the parent creates readers meanwhile. A lock that it holds at a fork stays locked in the
    child.
    """
    root = folder / "cache"
    ImageWork.of(root, STYLE, [_series(seed)], SLAB_ROWS).run(Pool(1, "sequential"), lambda rows: None)
    child = call(folder, fork_and_read, root, forks, seed, opening)
    code = child.wait(10 + (WATCHDOG + 1) * (MOST_HANGS + 1) + forks)
    result = child.result()
    problems = [] if code == 0 and result else [f"the parent ended with {code}: {child.output()[-1000:]}"]
    problems += [f"{key}: {result[key]}" for key in ("wrong", "failed", "hung") if result.get(key)]
    return {"part": "forks", **result, "problems": problems}


def fork_and_read(root: str, forks: str, seed: str, opening: str) -> None:
    """The parent: one thread reads with the reader that children inherit, one creates readers, the main one forks."""
    store, series = Store(root, image_spec(STYLE)), _series(int(seed))
    keys, pictures = series.keys.reshape(-1), draw(series.values[:, 0], series.observed[:, 0], STYLE)
    reader, counts, stop = store.reader(), Counter(forks=0, right=0, wrong=0, failed=0, hung=0), threading.Event()
    half = keys[: len(keys) // 2]
    reader.read(half)  # these slabs are open before the fork; the others are opened after it

    def keep_reading() -> None:
        while not stop.is_set():
            reader.read(half[:AT_A_TIME])

    def keep_opening() -> None:
        while not stop.is_set():
            len(store.reader().index)

    targets = (keep_reading, keep_opening) if opening == "True" else (keep_reading,)
    threads = [threading.Thread(target=target, daemon=True) for target in targets]
    for thread in threads:
        thread.start()
    for number in range(int(forks)):
        counts["forks"] += 1
        pid = os.fork()
        if pid == 0:
            os._exit(_child(reader, store, keys, pictures, np.random.default_rng([int(seed), number])))
        counts[_outcome(pid)] += 1
        if counts["hung"] >= MOST_HANGS:
            break
    stop.set()
    for thread in threads:
        thread.join()
    print(json.dumps(counts))


def _child(reader: Reader, store: Store, keys: Any, pictures: Any, rng: np.random.Generator) -> int:
    """Read with the parent's reader, and with a new one."""
    try:
        for mine in (reader, store.reader()):
            chosen = rng.integers(0, len(keys), AT_A_TIME)
            if not np.array_equal(mine.read(keys[chosen]), pictures[chosen]):
                return WRONG
    except (CacheError, OSError):
        return FAILED
    return RIGHT


def _outcome(pid: int) -> str:
    """The outcome of a child. A child that hangs is killed."""
    end = time.monotonic() + WATCHDOG
    while time.monotonic() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            code = os.waitstatus_to_exitcode(status)
            return {RIGHT: "right", WRONG: "wrong"}.get(code, "failed")
        time.sleep(0.001)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return "hung"


def _series(seed: int) -> Any:
    return block(SERIES, STYLE, seed)
