"""SIGKILL at random times: to a worker of a run, a whole run, the whole program. Committed slabs must stay whole.

The three kinds run side by side, each in its own folders. After every kill the slabs are checked in full. Every few
kills the run may finish, and its content must equal that of an undisturbed run.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.soak.data import block, write_table
from benchmarks.soak.process import ROOT, WATCHDOG, Child, alive, call, start
from cache.fill import ImageWork
from cache.fsck import check
from cache.store import Store, content_digest
from cache.workers import Pool
from pipeline.style import Style

STYLE = Style(size=32)  # small, so that a full check is short compared with a run
SERIES, SLAB_ROWS = 2048, 16  # per run: 128 slabs, about 0.6 s of drawing
SAMPLES = 2000  # in the program's table: 28,000 pictures in 7 slabs
A_RUN = 2  # workers killed per run; a third death would make the run give a slab up, as it should
A_ROUND = 8  # groups killed before a run may finish
ANYWHERE = 0.2  # share of kills at any time since the start of the process; the others happen while slabs appear
KINDS = ("worker", "group", "program")  # one worker of a run, a run with its workers, render_cache.py with its workers
STARTING, A_SLAB = 2.0, 0.03  # approximate seconds until the first slab of a run, and per slab
POLL = 0.01  # seconds between checks of a run
Begin = Callable[[Path], Child]  # a cache -> the run that fills it


@dataclass
class Lane:
    """Kills of one kind: their effects so far, and the problems."""

    folder: Path
    begin: Begin
    kills: int  # that must hit a run before its end
    rng: np.random.Generator
    digest: str  # of the content of an undisturbed run
    slabs: int  # of it
    standing: set[str] = field(default_factory=set)  # the slabs at the last check
    counts: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    @property
    def missing(self) -> int:
        """Kills that must still hit a run before its end; 0 after a problem, or if too many kills came too late."""
        enough = self.problems or self.counts["kills"] > 2 * self.kills + 10
        return 0 if enough else self.kills - self.counts["hit"]

    def fresh(self) -> Path:
        """The path of a new cache."""
        self.counts["rounds"] += 1
        self.standing = set()
        return self.folder / f"cache{self.counts['rounds']}"

    def pause(self, child: Child, root: Path) -> None:
        """Wait for a random time in a run: after a random number of slabs, for independence of load, or any time."""
        before, started = slabs(root), time.monotonic()
        anywhere = self.rng.random() < ANYWHERE or before == self.slabs
        end = started + (self.rng.uniform(0, STARTING) if anywhere else WATCHDOG)
        target = self.slabs + 1 if anywhere else int(self.rng.integers(before + 1, self.slabs + 1))
        while child.running and slabs(root) < target and time.monotonic() < end:
            time.sleep(POLL)
        if time.monotonic() > started + WATCHDOG:
            self.problems.append(f"a run hangs at {slabs(root)} of {self.slabs} slabs: {child.output()[-500:]}")
        time.sleep(self.rng.uniform(0, A_SLAB))

    def check(self, root: Path, before: set[str]) -> None:
        """After a kill, check that every slab is whole, and that none is gone since the check before it."""
        self.counts["looks"] += 1
        self.problems += [f"damaged: {problem.what}" for problem in check(root, full=True)]
        now = committed(root)
        self.problems += [f"gone: {slab}" for slab in sorted((self.standing | before) - now)]
        self.standing = now

    def finish(self, root: Path, child: Child) -> None:
        """Check that a finished run has the content of the undisturbed one."""
        code, before = child.wait(), len(self.problems)
        if code != 0:
            what = "hangs" if code is None else f"ended with {code}"
            self.problems.append(f"a run that should have finished {what}: {child.output()[-500:]}")
        self.counts["finished"] += 1
        self.check(root, set())
        if len(self.problems) == before and digest(root) != self.digest:
            self.problems.append("the content differs from that of an undisturbed run")
        shutil.rmtree(root, ignore_errors=True)


def measure(folder: Path, kills: int, seed: int, kinds: Sequence[str] = KINDS) -> dict[str, Any]:
    """Run the kinds side by side, with equal shares of the kills.

    Returns counts; `problems` is empty if all is well.
    """
    lanes = {}
    for number, name in enumerate(kinds):
        begin, undisturbed = (_program if name == "program" else _work)(folder)
        share, rng = (kills + number) // len(kinds), np.random.default_rng([seed, number])
        lanes[name] = Lane(folder / name, begin, share, rng, digest(undisturbed), len(committed(undisturbed)))
    with ThreadPoolExecutor(len(lanes)) as threads:
        started = [
            threads.submit(kill_workers if name == "worker" else kill_groups, lane) for name, lane in lanes.items()
        ]
        for done in started:
            done.result()
    counts = {name: dict(lane.counts) for name, lane in lanes.items()}
    total = {name: sum(lane.counts[name] for lane in lanes.values()) for name in ("kills", "hit")}
    problems = [f"{name}: {problem}" for name, lane in lanes.items() for problem in lane.problems]
    return {"part": "kills", **total, **counts, "problems": problems}


def _work(folder: Path) -> tuple[Begin, Path]:
    """`ImageWork.run` by two workers, and the same cache filled in this process."""
    undisturbed = folder / "undisturbed-work"
    ImageWork.of(undisturbed, STYLE, [block(SERIES, STYLE)], SLAB_ROWS).run(Pool(1, "sequential"), lambda rows: None)
    return lambda root: call(folder, draw, root, SERIES), undisturbed


def _program(folder: Path) -> tuple[Begin, Path]:
    """render_cache.py with two workers, and the cache of a finished one."""
    table, undisturbed = write_table(folder / "table", SAMPLES), folder / "undisturbed-program"
    flags = ["--data", table, "--encoder", "none", "--workers", 2, "--style.size", STYLE.size]

    def begin(root: Path) -> Child:
        return start(folder, ROOT / "render_cache.py", "--cache", root, *flags)

    child = begin(undisturbed)
    if child.wait() != 0:
        raise RuntimeError(f"the undisturbed run failed: {child.output()}")
    return begin, undisturbed


def draw(root: str, series: str) -> None:
    """The run to be killed. Prints when it ended, what it gave up, and how many deaths of workers it noticed."""
    deaths = 0

    class Counting(Pool):
        def _stop(self) -> None:
            nonlocal deaths
            deaths += 1
            super()._stop()

    work = ImageWork.of(root, STYLE, [block(int(series), STYLE)], SLAB_ROWS)
    filled = work.run(Counting(2), lambda rows: None)
    print(json.dumps({"ended": time.monotonic(), "given_up": filled.given_up, "deaths": deaths}))


def kill_workers(lane: Lane) -> None:
    """Kill one random worker at a time, twice per run. The run must then finish by itself."""
    while lane.missing:
        root, kills = lane.fresh(), list[float]()
        child = lane.begin(root)
        for _ in range(min(A_RUN, lane.missing)):
            lane.pause(child, root)
            lane.counts["kills"] += 1
            if (at := _kill_a_worker(lane, child, root)) is not None:
                kills.append(at)
        lane.finish(root, child)
        result = child.result()
        lane.counts["hit"] += sum(at < result.get("ended", 0.0) for at in kills)
        lane.counts["noticed"] += result.get("deaths", 0)
        lane.problems += [f"given up: {line}" for line in result.get("given_up", [])]


def _kill_a_worker(lane: Lane, child: Child, root: Path) -> float | None:
    """Returns the time of the kill, or None if no worker was left. The run is stopped while its slabs are checked."""
    end = time.monotonic() + WATCHDOG
    while child.running and time.monotonic() < end:
        workers = child.workers()
        if not workers:  # they are restarting after the last kill
            time.sleep(POLL)
            continue
        victim = int(lane.rng.choice(workers))
        child.signal_group(signal.SIGSTOP)
        before = committed(root)
        hit = alive(victim)
        if hit:
            os.kill(victim, signal.SIGKILL)
        at = time.monotonic()
        lane.check(root, before)
        child.signal_group(signal.SIGCONT)
        if hit:
            return at
    return None


def kill_groups(lane: Lane) -> None:
    """Kill leader and workers at once, in run after run on the same cache, until a run may finish."""
    while lane.missing:
        root, left = lane.fresh(), A_ROUND
        while left and lane.missing and len(committed(root)) < lane.slabs:
            child = lane.begin(root)
            lane.pause(child, root)
            before = committed(root)
            child.signal_group(signal.SIGKILL)
            lane.counts["kills"] += 1
            lane.counts["hit"] += child.wait() == -signal.SIGKILL and not ended(child)
            lane.check(root, before)
            left -= 1
        lane.finish(root, lane.begin(root))


def ended(child: Child) -> bool:
    """Whether a run of either kind has printed its last line."""
    return bool(child.result()) or "; took " in child.output()


def slabs(root: Path) -> int:
    """Number of slabs in a cache; cheap, so that a run can be followed."""
    return sum(not name.startswith(".") for folder in root.glob("images/*/slabs") for name in os.listdir(folder))


def committed(root: Path) -> set[str]:
    """The committed slabs of a cache, by their path in it."""
    return {str(path.parent.relative_to(root)) for path in root.glob("images/*/slabs/[!.]*/commit.json")}


def digest(root: Path) -> str:
    """The digest of a cache's content."""
    return content_digest([slab for store in Store.open_all(root, "images") for slab in store.slabs()])
