"""SIGKILL at random instants: a worker of a run, a whole run, the whole program. What is committed stays and is whole.

The three kinds run side by side, each in folders of its own. After every kill the slabs are checked in full; every
few kills the run is let go on to its end, and its content must be that of an undisturbed run.
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
from pipeline.render import Style

STYLE = Style(size=32)  # small, so that a full check takes little beside a run
SERIES, SLAB_ROWS = 2048, 16  # of a run: 128 slabs, some 0.6 s of drawing
SAMPLES = 2000  # of the table of the program: 28,000 pictures in 7 slabs
A_RUN = 2  # workers killed in one run: the third death would rightly give a slab up
A_ROUND = 8  # groups killed before a run is let through
ANYWHERE = 0.2  # this share of kills falls anywhere from the start of the process, the others while slabs appear
KINDS = ("worker", "group", "program")  # one worker of a run, a run with its workers, render_cache.py with its workers
STARTING, A_SLAB = 2.0, 0.03  # seconds, about, until the first slab of a run, and for a slab
POLL = 0.01  # seconds between looks at a run
Begin = Callable[[Path], Child]  # a cache -> the run that fills it


@dataclass
class Lane:
    """Kills of one kind: what they met so far and what went wrong."""

    folder: Path
    begin: Begin
    kills: int  # that have to hit
    rng: np.random.Generator
    digest: str  # of the content of an undisturbed run
    slabs: int  # of it
    standing: set[str] = field(default_factory=set)  # the slabs at the last look
    counts: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    @property
    def missing(self) -> int:
        """Kills that still have to hit a run before its end; nothing once something is wrong, or always too late."""
        enough = self.problems or self.counts["kills"] > 2 * self.kills + 10
        return 0 if enough else self.kills - self.counts["hit"]

    def fresh(self) -> Path:
        """A cache that is not there yet."""
        self.counts["rounds"] += 1
        self.standing = set()
        return self.folder / f"cache{self.counts['rounds']}"

    def pause(self, child: Child, root: Path) -> None:
        """Wait for a random instant of a run: among its slabs, so that a busy machine changes nothing, or anywhere."""
        before, started = slabs(root), time.monotonic()
        anywhere = self.rng.random() < ANYWHERE or before == self.slabs
        end = started + (self.rng.uniform(0, STARTING) if anywhere else WATCHDOG)
        target = self.slabs + 1 if anywhere else int(self.rng.integers(before + 1, self.slabs + 1))
        while child.running and slabs(root) < target and time.monotonic() < end:
            time.sleep(POLL)
        if time.monotonic() > started + WATCHDOG:
            self.problems.append(f"a run hangs at {slabs(root)} of {self.slabs} slabs: {child.said()[-500:]}")
        time.sleep(self.rng.uniform(0, A_SLAB))

    def look(self, root: Path, before: set[str]) -> None:
        """After a kill: every slab whole; of those right before it, and at the last look, none gone."""
        self.counts["looks"] += 1
        self.problems += [f"damaged: {problem.what}" for problem in check(root, full=True)]
        now = committed(root)
        self.problems += [f"gone: {slab}" for slab in sorted((self.standing | before) - now)]
        self.standing = now

    def finish(self, root: Path, child: Child) -> None:
        """A run that goes on to its end has the content of the undisturbed one."""
        code, before = child.wait(), len(self.problems)
        if code != 0:
            what = "hangs" if code is None else f"ended with {code}"
            self.problems.append(f"a run that should have gone on {what}: {child.said()[-500:]}")
        self.counts["finished"] += 1
        self.look(root, set())
        if len(self.problems) == before and digest(root) != self.digest:
            self.problems.append("the content differs from that of an undisturbed run")
        shutil.rmtree(root, ignore_errors=True)


def measure(folder: Path, kills: int, seed: int, kinds: Sequence[str] = KINDS) -> dict[str, Any]:
    """The kinds side by side, an equal share of the kills each. Row of counts; `problems` is empty if all is well."""
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
    """`ImageWork.run` by two workers; and the same cache filled in this process."""
    undisturbed = folder / "undisturbed-work"
    ImageWork.of(undisturbed, STYLE, [block(SERIES, STYLE)], SLAB_ROWS).run(Pool(1, "sequential"), lambda rows: None)
    return lambda root: call(folder, draw, root, SERIES), undisturbed


def _program(folder: Path) -> tuple[Begin, Path]:
    """render_cache.py with two workers; and the cache of one that ran to its end."""
    table, undisturbed = write_table(folder / "table", SAMPLES), folder / "undisturbed-program"
    flags = ["--data", table, "--encoder", "none", "--workers", 2, "--style.size", STYLE.size]

    def begin(root: Path) -> Child:
        return start(folder, ROOT / "render_cache.py", "--cache", root, *flags)

    child = begin(undisturbed)
    if child.wait() != 0:
        raise RuntimeError(f"the undisturbed run failed: {child.said()}")
    return begin, undisturbed


def draw(root: str, series: str) -> None:
    """The run that is killed; prints when it ended, what it gave up and how often it saw a worker die."""
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
    """One random worker at a time, twice a run; the run goes on to its end by itself."""
    while lane.missing:
        root, kills = lane.fresh(), list[float]()
        child = lane.begin(root)
        for _ in range(min(A_RUN, lane.missing)):
            lane.pause(child, root)
            lane.counts["kills"] += 1
            if (at := _kill_a_worker(lane, child, root)) is not None:
                kills.append(at)
        lane.finish(root, child)
        said = child.result()
        lane.counts["hit"] += sum(at < said.get("ended", 0.0) for at in kills)
        lane.counts["noticed"] += said.get("deaths", 0)
        lane.problems += [f"given up: {line}" for line in said.get("given_up", [])]


def _kill_a_worker(lane: Lane, child: Child, root: Path) -> float | None:
    """Returns when; None if there was none left to kill. The run stands still while its slabs are checked."""
    end = time.monotonic() + WATCHDOG
    while child.running and time.monotonic() < end:
        workers = child.workers()
        if not workers:  # they are being started again after the last kill
            time.sleep(POLL)
            continue
        victim = int(lane.rng.choice(workers))
        child.signal_group(signal.SIGSTOP)
        before = committed(root)
        hit = alive(victim)
        if hit:
            os.kill(victim, signal.SIGKILL)
        at = time.monotonic()
        lane.look(root, before)
        child.signal_group(signal.SIGCONT)
        if hit:
            return at
    return None


def kill_groups(lane: Lane) -> None:
    """Leader and workers at once, in run after run on the same cache, until a run is let through."""
    while lane.missing:
        root, left = lane.fresh(), A_ROUND
        while left and lane.missing and len(committed(root)) < lane.slabs:
            child = lane.begin(root)
            lane.pause(child, root)
            before = committed(root)
            child.signal_group(signal.SIGKILL)
            lane.counts["kills"] += 1
            lane.counts["hit"] += child.wait() == -signal.SIGKILL and not ended(child)
            lane.look(root, before)
            left -= 1
        lane.finish(root, lane.begin(root))


def ended(child: Child) -> bool:
    """Whether a run of either kind has said its last line."""
    return bool(child.result()) or "; took " in child.said()


def slabs(root: Path) -> int:
    """How many slabs a cache shows; cheap, to follow a run."""
    return sum(not name.startswith(".") for folder in root.glob("images/*/slabs") for name in os.listdir(folder))


def committed(root: Path) -> set[str]:
    """The committed slabs of a cache, by their place in it."""
    return {str(path.parent.relative_to(root)) for path in root.glob("images/*/slabs/[!.]*/commit.json")}


def digest(root: Path) -> str:
    """The content of a cache."""
    return content_digest([slab for store in Store.open_all(root, "images") for slab in store.slabs()])
