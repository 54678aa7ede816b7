"""python -m benchmarks.whole: render_cache.py from start to end, as a user runs it, against its two hard limits.

Without an encoder: compressing the same planes in memory, on as many cores. With an encoder: the bare encoder loop over
the same pictures in memory, with the same threads.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
from numcodecs import zstd
from numpy.typing import NDArray

from benchmarks.drawing import Row, row, seasons
from cache import shard
from cache.catalog import entries
from cache.fill import colours
from cache.run_log import past_runs
from cache.storage import open_storage
from cache.store import Store
from model.encoders import encode, resolve
from pipeline.render import draw
from pipeline.style import Style

VARIATES, STEPS = 7, 36
LARGER, BARE = 1_500, 1_024  # samples of the larger table, 14 pictures each; pictures of the bare loop
CORES = len(os.sched_getaffinity(0))
PROGRAM = Path(__file__).parents[1] / "render_cache.py"


def measure() -> list[Row]:
    """Takes about five minutes, most of it for the encoder."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as folder:
        return [
            *drawing_alone(Path(folder), (750, 7_500, 75_000)),
            *with_encoder(Path(folder), ("demo/card.toml", _table(Path(folder), LARGER))),
        ]


def drawing_alone(folder: Path, samples: tuple[int, ...]) -> list[Row]:
    """--encoder none on tables with `samples` samples, 14 pictures each."""
    planes = draw(*_half_seasons(1024 * CORES), Style())
    with joblib.Parallel(n_jobs=CORES, backend="threading") as threads:
        compressed = len(planes) / min(_compress(threads, planes) for _ in range(4))
    rows = []
    for number in samples:
        data = _table(folder, number)
        cache = folder / f"cache{number}"
        started = time.perf_counter()
        peak = _render("--data", data, "--cache", cache, "--encoder", "none", "--workers", str(CORES))
        rate = 2 * VARIATES * number / (time.perf_counter() - started)
        name = f"render_cache.py --encoder none, {2 * VARIATES * number} pictures, {peak:.0f} MB in its main process"
        rows.append(row(name, rate, "pictures/s", f"zstd {shard.ZSTD_LEVEL} of the planes in memory", compressed))
    return rows


def with_encoder(folder: Path, tables: Sequence[str | Path]) -> Iterator[Row]:
    """Render tables from nothing, against embedding BARE of their pictures in a loop, before and after the program."""
    spec = resolve("auto")
    encode(spec, np.zeros((64, 224, 224), np.uint8), np.zeros((64, 3), np.uint8))  # converted, as after a first run
    for number, data in enumerate(tables):
        cache = folder / f"embedded{number}"
        _render("--data", data, "--cache", cache, "--encoder", "none", "--workers", str(CORES))
        (entry,), (store,) = entries(str(cache)), Store.open_all(cache, "images")
        ink = store.reader().read(entry.keys.reshape(-1)[:BARE])
        rgb = np.ascontiguousarray(colours((BARE // VARIATES + 1, VARIATES)).reshape(-1, 3)[:BARE])
        shutil.rmtree(cache)
        before = _seconds(partial(encode, spec, ink, rgb))
        printed: list[str] = []
        taken = _seconds(partial(_render, "--data", data, "--cache", cache, "--workers", str(CORES), printed=printed))
        loop = 2 * BARE / (before + _seconds(partial(encode, spec, ink, rgb)))
        name = f"render_cache.py with {spec.name}, {entry.keys.size} pictures"
        yield row(name, entry.keys.size / taken, "pictures/s", "the bare encoder loop in memory", loop)
        fixed = taken - entry.keys.size / loop
        yield row(f"{name}: seconds beside the loop", fixed, "s", "the bare encoder loop", entry.keys.size / loop)
        (estimated,) = re.findall(r"^estimate: (\d+) s", "".join(printed), re.MULTILINE)
        stages = past_runs(open_storage(str(cache)))[-1].stages
        spent = sum(stage["seconds"] for stage in stages.values())
        yield row(f"{name}: estimate before the work", float(estimated), "s", "what drawing and embedding took", spent)


def _seconds(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def _half_seasons(number: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    values, observed = seasons(number)
    return np.ascontiguousarray(values[:, : STEPS // 2]), np.ascontiguousarray(observed[:, : STEPS // 2])


def _compress(threads: joblib.Parallel, planes: NDArray[np.uint8]) -> float:
    def part(rows: NDArray[np.uint8]) -> int:
        return sum(len(zstd.compress(plane, shard.ZSTD_LEVEL)) for plane in rows)

    started = time.perf_counter()
    threads(joblib.delayed(part)(rows) for rows in np.array_split(planes, CORES))
    return time.perf_counter() - started


def _table(folder: Path, samples: int) -> Path:
    """A wide Parquet table without a card: four years, one file per year."""
    target = folder / f"seasons{samples}"
    target.mkdir()
    for year in range(4):
        n = samples // 4 + (year < samples % 4)
        values, observed = seasons(n * VARIATES)
        values = np.where(observed, values + np.float32(year * 1e-3), np.nan).reshape(n, VARIATES * STEPS)
        names = [f"b{variate}_{step:02d}" for variate in range(VARIATES) for step in range(STEPS)]
        frame = pd.DataFrame(values, columns=names)
        frame.insert(0, "field", [f"f{i}" for i in range(n)])
        frame[f"y{2019 + year}"] = 5.0
        frame.to_parquet(target / f"{2019 + year}.parquet")
    return target


def _render(*flags: Any, printed: list[str] | None = None) -> float:
    """Run the program. Returns the peak memory of its main process in MB (VmHWM, as ru_maxrss starts at our own peak).

    printed: receives the output of the program.
    """
    command, peak = [sys.executable, str(PROGRAM), *map(str, flags)], 0.0
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        while process.poll() is None:
            peak = max(peak, _megabytes(process.pid))
            time.sleep(0.02)
        log.seek(0)
        text = log.read().decode()
        if process.returncode:
            raise SystemExit(f"{command}\n{text}")
        if printed is not None:
            printed.append(text)
    return peak


def _megabytes(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    lines = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(lines[0].split()[1]) / 1e3 if lines else 0.0  # none if it has just ended


if __name__ == "__main__":
    for line in measure():
        print(json.dumps(line), flush=True)
