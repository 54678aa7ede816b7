"""Memory and open descriptors of a long run, and of a reader of a growing cache, must not grow."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.soak.data import block
from benchmarks.soak.process import WATCHDOG, Child, call, not_flat, quarters, resources
from cache.fill import ImageWork
from cache.fsck import check
from cache.spec import image_spec
from cache.store import Store
from cache.workers import Pool
from pipeline.render import draw
from pipeline.style import Style

STYLE, SMALL = Style(size=224), Style(size=32)
WORKERS = 2
SLABS = 400  # in the long run
GROWING_ROWS, AT_FIRST = 16, 64  # rows per slab of the growing cache, and slabs before the reader starts
AT_A_TIME = 16  # rows per call of the reader
SAMPLED = 0.05  # seconds between samples
Samples = list[tuple[float, int]]  # megabytes, descriptors


def measure_run(folder: Path, series: int, seed: int) -> dict[str, Any]:
    """Watch the driver and the workers of a run over `series` series at 224 px, in many slabs."""
    root = folder / "cache"
    child = call(folder, run, root, series, -(-series // SLABS), seed)
    driver, workers, most = Samples(), Samples(), 0
    while child.running:
        if not any(root.glob("images/*/slabs/[!.]*")):
            time.sleep(SAMPLED)
            continue
        driver_now, workers_now = resources(child.process.pid), [resources(pid) for pid in child.workers()]
        alive_now = [one for one in workers_now if one]
        if driver_now and len(alive_now) == WORKERS:  # neither starting nor ending
            driver.append(driver_now)
            workers.append((max(one[0] for one in alive_now), max(one[1] for one in alive_now)))
            most = max(most, len(alive_now))
        time.sleep(SAMPLED)
    code, result = child.wait(), child.result()
    problems = [] if code == 0 else [f"the run ended with {code}: {child.output()[-500:]}"]
    if problems or len(driver) < 4:
        return {"part": "growth", "problems": [*problems, f"{len(driver)} samples"]}
    row = {"driver": quarters(driver), "workers": quarters(workers)}
    problems += [f"{name}: {problem}" for name, of in row.items() for problem in not_flat(of)]
    if result["written"] != result["distinct"]:
        problems.append(f"{result['written']} of {result['distinct']} pictures written")
    problems += [problem.what for problem in check(root)]
    return {"part": "growth", "series": series, "samples": len(driver), **result, **row, "problems": problems}


def run(root: str, series: str, slab_rows: str, seed: str) -> None:
    """The long run, in a separate process."""
    blocks = [block(int(series), STYLE, int(seed))]
    work = ImageWork.of(root, STYLE, blocks, int(slab_rows))
    filled = work.run(Pool(WORKERS), lambda rows: None)
    print(json.dumps({"slabs": work.plan.slabs, "written": filled.written, "distinct": filled.distinct}))


def measure_reader(folder: Path, seconds: float, seed: int) -> dict[str, Any]:
    """Read random committed rows while another process commits more."""
    root = folder / "cache"
    first = ImageWork.of(root, SMALL, [block(AT_FIRST * GROWING_ROWS, SMALL, seed)], GROWING_ROWS)
    first.run(Pool(1, "sequential"), lambda rows: None)
    stop = folder / "stop"
    writer, reader = call(folder, grow, root, stop, seed), call(folder, read, root, stop, seed)
    samples, end = Samples(), 0.0
    while writer.running and reader.running and (not end or time.monotonic() < end):
        if not end and reader.output():  # it prints when it begins
            end = time.monotonic() + seconds
        if end and (sample := resources(reader.process.pid)):
            samples.append(sample)
        time.sleep(SAMPLED)
    stop.touch()
    problems, results = list[str](), dict[str, Any]()
    for name, child in (("writer", writer), ("reader", reader)):
        results |= _ended(name, child, problems)
    of = quarters(samples) if samples else {}
    problems += not_flat(of) if of else ["no samples"]
    problems += [f"wrong rows: {results['wrong']}"] if results.get("wrong") else []
    problems += [problem.what for problem in check(root)]
    return {"part": "growing", "samples": len(samples), **results, "reader": of, "problems": problems}


def grow(root: str, stop: str, seed: str) -> None:
    """Commit slab after slab until a signal stops it."""
    slabs, style = AT_FIRST, SMALL
    while not Path(stop).exists():
        blocks = [block(GROWING_ROWS, style, _seed(int(seed), slabs))]
        ImageWork.of(root, style, blocks, GROWING_ROWS).run(Pool(1, "sequential"), lambda rows: None)
        slabs += 1
        time.sleep(0.02)  # about fifteen slabs per second, to leave time for the reader
    print(json.dumps({"slabs": slabs}))


def read(root: str, stop: str, seed: str) -> None:
    """Read random rows by an old reader and by a new one each time, and draw every row of the first slabs again."""
    first = block(AT_FIRST * GROWING_ROWS, SMALL, int(seed))
    keys, pictures = first.keys.reshape(-1), draw(first.values[:, 0], first.observed[:, 0], SMALL)
    store, rng = Store(root, image_spec(SMALL)), np.random.default_rng(int(seed))
    old, rows, wrong, newest = store.reader(), 0, 0, 0
    old.read(keys)  # opens every file of this reader
    print("begin", flush=True)
    while not Path(stop).exists():
        new = store.reader()
        newest = len(new.slabs)
        slab = int(rng.integers(newest))
        new.read(new.slabs[slab].keys[:AT_A_TIME])
        for reader in (old, new):
            chosen = rng.integers(0, len(keys), AT_A_TIME)
            wrong += int((reader.read(keys[chosen]) != pictures[chosen]).any((1, 2)).sum())
            rows += AT_A_TIME
    print(json.dumps({"rows_read": rows, "wrong": wrong, "slabs_seen": newest}))


def _seed(seed: int, slab: int) -> int:
    return 1_000_003 * (seed + 1) + slab


def _ended(name: str, child: Child, problems: list[str]) -> dict[str, Any]:
    code = child.wait(WATCHDOG)
    if code != 0:
        problems.append(f"the {name} ended with {code}: {child.output()[-500:]}")
    return child.result()
