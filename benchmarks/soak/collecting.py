"""One process renders, one reads, one collects garbage without a minimum age. Slabs in use must stay and be right.

`gc --min-age 0` may delete the half-written slab of the renderer, as its help warns. The renderer then ends with exit
code 1, and the same command resumes it. Such disturbances are counted, but they are not losses.
"""

from __future__ import annotations

import contextlib
import io
import json
import time
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

import render_cache
from benchmarks.soak.data import write_table
from benchmarks.soak.process import WATCHDOG, call
from cache.__main__ import main as cache_main
from cache.catalog import entries
from cache.fsck import check
from cache.index import Keys
from cache.spec import image_spec
from cache.storage import CacheError
from cache.store import MissingRows, Reader, Store
from pipeline.render import draw
from pipeline.series import fold_variants
from pipeline.sources import read as read_table
from pipeline.splits import make_folds
from pipeline.style import Style

SIZE = 32  # px
SAMPLES = 40  # per table: 560 pictures
KEPT, PASSING = "kept", 3  # one table stays in the catalogue; PASSING others come, go and come back
PAUSE = 0.5  # longest pause between two collections, in seconds
TRIES = 50  # per look: gc may delete an unused slab between listing and reading
AT_A_TIME = 32  # rows
PUT_BACK = 5.0  # seconds until gc must have restored what a run has claimed
LINE = 200  # characters of the last message in the result


def measure(folder: Path, seconds: float, seed: int, passing: int = PASSING) -> dict[str, Any]:
    """Run three processes for `seconds` seconds. Returns counts; `problems` is empty if nothing was lost or wrong.

    With few passing tables, one comes back while gc still hides its slab; with many, long after.
    """
    for number, name in enumerate((KEPT, *map(str, range(passing)))):
        write_table(folder / name, SAMPLES, 1000 * seed + number)
    root = folder / "cache"
    problems = [] if _render(folder, KEPT)[0] == 0 else ["the first run failed"]
    children = {part.__name__: call(folder, part, folder, seconds, seed) for part in (write, look, collect)}
    counts: dict[str, Any] = {}
    for name, child in children.items():
        code = child.wait(seconds + WATCHDOG)
        result = child.result()
        if code != 0 or not result:
            problems.append(f"{name} ended with {code}: {child.output()[-1000:]}")
        problems += [f"{name}: {key} {number}" for key, number in result.items() if key in ("wrong", "lost") and number]
        counts[name] = result
    problems += [f"at the end: {problem.what}" for problem in check(root, full=True)]
    final = Counter(wrong=0, lost=0)
    _compare(Store(root, image_spec(Style(size=SIZE))).reader(), *_pictures(folder, KEPT), final)
    problems += [f"at the end: {key} {number}" for key, number in final.items() if key != "rows" and number]
    return {"part": "gc", **counts, "problems": problems}


def write(folder: str, seconds: str, seed: str) -> None:
    """Render the passing tables one after another, check that all pictures are there, then forget the tables."""
    root, counts, last = Path(folder) / "cache", Counter(wrong=0, lost=0), ""
    end = time.monotonic() + float(seconds)
    passing = sorted(path.name for path in Path(folder).iterdir() if path.name.isdigit())
    store = Store(root, image_spec(Style(size=SIZE)))
    while time.monotonic() < end:
        name = passing[counts["runs"] % len(passing)]
        code, printed = _render(Path(folder), name)
        counts["runs"] += 1
        if code:
            counts["disturbed"] += 1
            last = printed.splitlines()[-2][:LINE]
            if code != 1 or "Committed work is safe; run the same command again to continue." not in printed:
                raise SystemExit(f"exit code {code}: {printed}")
            continue  # its entry may exist, but is not yet valid
        _compare_soon(store, *_pictures(Path(folder), name), counts)
        for entry in entries(root):
            if entry.name == name:
                (root / entry.file).unlink()
    print(json.dumps(counts | {"last": last}))


def look(folder: str, seconds: str, seed: str) -> None:
    """Read random rows of the table that stays, by a new reader every time."""
    root, rng, counts = Path(folder) / "cache", np.random.default_rng(int(seed)), Counter(wrong=0, lost=0)
    end = time.monotonic() + float(seconds)
    keys, pictures = _pictures(Path(folder), KEPT)
    store = Store(root, image_spec(Style(size=SIZE)))
    while time.monotonic() < end:
        chosen = rng.integers(0, len(keys), AT_A_TIME)
        _compare(_open(store, counts), keys[chosen], pictures[chosen], counts)
        counts["looks"] += 1
    print(json.dumps(counts))


def collect(folder: str, seconds: str, seed: str) -> None:
    """Run `python -m cache gc --apply --min-age 0` repeatedly, with pauses in which a run can finish."""
    rng, counts, last = np.random.default_rng(int(seed)), Counter[str](), ""
    end = time.monotonic() + float(seconds)
    while time.monotonic() < end:
        code, printed = _quietly(cache_main, ["gc", "--cache", f"{folder}/cache", "--apply", "--min-age", "0"])
        counts["runs"] += 1
        if code == 1:
            counts["ended with 1"] += 1
            last = printed.splitlines()[-1][:LINE]
        counts["deleted"] += sum("no data set refers to it" in line for line in printed.splitlines())
        if code not in (0, 1):
            raise SystemExit(f"exit code {code}: {printed}")
        time.sleep(rng.uniform(0, PAUSE))
    print(json.dumps(counts | {"last": last}))


def _compare(reader: Reader, keys: Keys, pictures: Any, counts: Counter[str]) -> None:
    try:
        counts["wrong"] += int((reader.read(keys) != pictures).any((1, 2)).sum())
        counts["rows"] += len(keys)
    except MissingRows as error:
        counts["lost"] += error.count
    except CacheError:
        counts["lost"] += len(keys)


def _compare_soon(store: Store, keys: Keys, pictures: Any, counts: Counter[str]) -> None:
    """`_compare`, repeated while gc hides a slab: gc restores it when it finds the run's claim."""
    end = time.monotonic() + PUT_BACK
    while True:
        latest = Counter[str](wrong=0, lost=0)
        _compare(_open(store, counts), keys, pictures, latest)
        if not latest["lost"] or time.monotonic() > end:
            break
        counts["out of sight"] += 1
        time.sleep(0.02)
    counts.update(latest)


def _open(store: Store, counts: Counter[str]) -> Reader:
    """A reader; retried if gc deletes an unused slab while the slabs are listed."""
    for _ in range(TRIES):
        try:
            return store.reader()
        except CacheError:
            counts["disturbed"] += 1
    raise SystemExit(f"no reader after {TRIES} tries")


@lru_cache(maxsize=32)
def _pictures(folder: Path, name: str) -> tuple[Keys, Any]:
    """Every key of a table [n] and its picture [n,H,W], drawn in this process."""
    table, style = read_table(str(folder / name)), Style(size=SIZE)
    folds = make_folds(table.year, table.place, table.sample_id, split="year", seed=0)
    blocks = [block for variant in fold_variants(table, folds, style) for block in variant]
    series = [block.select(np.arange(block.keys.size)) for block in blocks]
    keys = np.concatenate([block.keys.reshape(-1) for block in blocks])
    return keys, np.concatenate([draw(values, observed, style) for values, observed in series])


def _render(folder: Path, name: str) -> tuple[int, str]:
    flags = ["--data", str(folder / name), "--cache", str(folder / "cache"), "--encoder", "none", "--workers", "1"]
    return _quietly(render_cache.main, [*flags, "--style.size", str(SIZE)])


def _quietly(program: Any, flags: Sequence[str]) -> tuple[int, str]:
    """Exit code and all output of a program."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        code: int = program(flags)
    return code, printed.getvalue()
