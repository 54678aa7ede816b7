"""Training on cached pictures, compared with training without the cache, in one run.

python -m benchmarks.training          about three minutes; writes 1.5 GB into a folder that it deletes
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from benchmarks.drawing import Row, fastest, figures_saved_one_by_one, row, seasons
from benchmarks.embedding import eager_loop, efficientnet_as_published
from cache.fill import colours
from cache.spec import embedding_spec
from cache.store import Store
from model.completion_task import CompletionTask, SeasonRows
from model.config import TimesCLIPConfig
from model.encoders import resolve
from model.encoders.backends import choose
from model.encoders.encoder import load
from model.encoders.encoder_module import EncoderModule
from model.season_tensors import SeasonTensors, WindowTensors, cut_window
from model.timesclip import TimesCLIP
from model.training.optim import Schedule
from model.training.trainer import Trainer
from model.yield_head import HeadShape, YieldRows, refit_head
from pipeline.keys import colour_keys
from pipeline.render import draw
from pipeline.series import fold_ranges, series_blocks
from pipeline.sources import read
from pipeline.splits import make_folds
from pipeline.style import Style

SAMPLES, VARIATES, STEPS, DIM = 512, 7, 36, 1280  # as in the demo: seven variates, embedded by EfficientNet-Lite0
ROUNDS = 5
MEMBERS = 5  # yield heads of an ensemble
MANY, FEW_VARIATES, WIDE = 100_000, 5, 512  # 10^5 samples and 10^6 series of 512-d embeddings
# Anonymous memory, because the kernel can drop the pages of mapped slab files. torch.optim imports torch._dynamo late.
PROGRAM = """
import sys, threading, time
import torch._dynamo
import train
from stages.runs import epoch_log
peak = 0
def watch():
    global peak
    while True:
        lines = open("/proc/self/status").read().splitlines()
        peak = max([peak, *(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))])
        time.sleep(0.02)
threading.Thread(target=watch, daemon=True).start()
started = time.perf_counter()
class First:
    told = False
def on_step(self, phase, epoch, step, steps):
    if not First.told:
        First.told = True
        print("first step", time.perf_counter() - started, flush=True)
epoch_log.EpochLog.on_step = on_step
code = train.main(sys.argv[1:])
print("peak", peak)
sys.exit(code)
"""


def measure() -> list[Row]:
    """The rows of the trainer."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as folder:
        return [*epochs(), heads(), *large_table(Path(folder))]


def epochs() -> list[Row]:
    """Stage-1 epochs: from the cache, on tensors in memory, without pictures, and with all work inside the loop."""
    numbers, masks = seasons(SAMPLES * VARIATES)
    values = numbers.reshape(SAMPLES, VARIATES, STEPS)
    observed = masks.reshape(SAMPLES, VARIATES, STEPS)
    vectors = np.random.default_rng(0).normal(size=(2, SAMPLES, VARIATES, DIM)).astype(np.float16)
    half = STEPS // 2
    standardised = values.astype(np.float64)
    cached = SeasonTensors(  # as the reader returns them
        cut_window(standardised, observed, (0, half, half), vectors[0]),
        cut_window(standardised, observed, (half, STEPS, STEPS), vectors[1]),
    )
    memory = SeasonTensors(_contiguous(cached.first), _contiguous(cached.second))
    blind = SeasonTensors(memory.first.without_pictures(), memory.second.without_pictures())
    runs = [_epoch(season) for season in (cached, memory, blind)]
    from_cache, in_memory, language = _interleaved(runs)
    plots = SAMPLES * VARIATES  # stage 1 reads the first half of each season
    figure = (
        fastest(lambda: figures_saved_one_by_one(values[:4, :, : STEPS // 2].reshape(-1, STEPS // 2), Style()), 1) / 28
    )
    inside = [_inside(name, from_cache, plots * figure, plots * seen) for name, seen in encoders(values, observed)]
    return [
        row("stage-1 epoch on the cache", SAMPLES / from_cache, "samples/s", "tensors in memory", SAMPLES / in_memory),
        row("stage-1 epoch, both modalities", from_cache, "s", "language only, same size", language),
        *inside,
    ]


def heads() -> Row:
    """Training steps of stage 2: five heads in one ensemble, against five trainings of one head."""
    torch.manual_seed(0)
    shape = HeadShape(3 * 64 + STEPS // 2 + 2, VARIATES, plain=STEPS // 2 + 2)
    features, present = torch.randn(SAMPLES, VARIATES, shape.width), torch.ones(SAMPLES, VARIATES, dtype=torch.bool)
    rows = YieldRows(features, present, torch.randn(SAMPLES))
    trainer, epochs = Trainer(Schedule(epochs=5)), 5

    def train(members: int) -> object:
        return refit_head(members, shape, [rows], trainer=trainer, phase="bench/refit", epochs=epochs)

    alone, together = _interleaved([lambda: [train(1) for _ in range(MEMBERS)], lambda: train(MEMBERS)])
    steps = epochs * trainer.schedule.steps(SAMPLES)
    return row(
        f"a step of stage 2 with {MEMBERS} heads", together / steps * 1e3, "ms", "five trainings of one head",
        alone / steps * 1e3,
    )  # fmt: skip


def encoders(values: NDArray[np.float32], observed: NDArray[np.bool_]) -> list[tuple[str, float]]:
    """Seconds per picture of efficientnet-lite0, in a simple loop (eager float32 torch), then by our encoder."""
    numbers = np.ascontiguousarray(values[:10, :, : STEPS // 2]).reshape(-1, STEPS // 2)
    masks = np.ascontiguousarray(observed[:10, :, : STEPS // 2]).reshape(-1, STEPS // 2)
    ink, rgb = draw(numbers, masks, Style()), np.ascontiguousarray(colours((10, VARIATES)).reshape(-1, 3))
    spec, plain = resolve("efficientnet-lite0"), efficientnet_as_published().eval()
    images = (
        EncoderModule(spec, plain).images(torch.from_numpy(ink).float(), torch.from_numpy(rgb).float()).contiguous()
    )
    engine, ours = choose("auto")[0], load(spec)
    return [
        ("eager float32 torch", fastest(lambda: eager_loop(plain, images, len(ink)), 2) / len(ink)),
        (f"our encoder by {engine}", fastest(lambda: ours.encode(ink, rgb), 2) / len(ink)),
    ]


def _inside(encoder: str, training: float, drawing: float, encoding: float) -> Row:
    seconds = f"{drawing:.0f} s drawing + {encoding:.0f} s encoding + {training:.2f} s training"
    reference = f"plt.subplots and savefig a plot, then {encoder}, inside the loop, {torch.get_num_threads()} threads"
    rate = SAMPLES / training
    return row(f"stage-1 epoch, cached ({seconds} if inside)", rate, "samples/s", reference,
               SAMPLES / (training + drawing + encoding))  # fmt: skip


def large_table(folder: Path) -> list[Row]:
    """train.py on 10^5 samples and 10^6 cached embeddings: seconds to its first step, and its peak memory."""
    return _measured(folder, *_cached_table(folder))


def _measured(folder: Path, data: Path, cache: Path) -> list[Row]:
    command = [sys.executable, "-c", PROGRAM, "--stage", "1", "--data", str(data), "--cache", str(cache),
               "--epochs", "1", "--batch-size", "512", "--out", str(folder / "run")]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[1])
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    figures = {line.rpartition(" ")[0]: float(line.rpartition(" ")[2])
            for line in done.stdout.splitlines() if line.startswith(("first step", "peak"))}  # fmt: skip
    table = MANY * FEW_VARIATES * 2 * WIDE * 2
    return [
        row("start to first step after imports, 10^5 samples cached", figures["first step"], "s", "the limit", 10.0),
        row("peak anonymous memory of train.py, 10^6 series of 512-d embeddings", figures["peak"] / 1e6, "MB",
            "the embedding table + 1 GB", table / 1e6 + 1e3),
    ]  # fmt: skip


def _epoch(season: SeasonTensors) -> Callable[[], object]:
    """One epoch of stage 1 on three quarters of the samples, without validation."""
    torch.manual_seed(0)
    pictures = [half.embeddings for half in (season.first, season.second) if half.embeddings is not None]
    dim, window = (DIM if pictures else 0), season.first.values.shape[2]
    model = TimesCLIP(TimesCLIPConfig(VARIATES, window, window, vision_dim=dim, use_vision=bool(pictures)))
    model.fit_features(pictures)
    task = CompletionTask(model, SeasonRows([season.to_complete()], torch.arange(SAMPLES)), torch.arange(0), 64)
    trainer = Trainer(Schedule(epochs=1))
    return lambda: trainer.refit(task, "bench/refit", 1)


def _interleaved(runs: list[Callable[[], object]]) -> list[float]:
    """Seconds of the fastest round of each, in alternating rounds, so that other work disturbs all alike."""
    best = [float("inf")] * len(runs)
    for _ in range(ROUNDS):
        best = [min(before, fastest(run, 1)) for before, run in zip(best, runs, strict=True)]
    return best


def _contiguous(window: WindowTensors) -> WindowTensors:
    assert window.embeddings is not None
    copied = window.embeddings.clone(memory_format=torch.contiguous_format)
    return WindowTensors(window.values.clone(), window.observed.clone(), copied, start=window.start)


def _cached_table(folder: Path) -> tuple[Path, Path]:
    """A wide Parquet table, one file per year, and a cache with random embeddings for every one of its series."""
    data, cache = folder / "seasons", folder / "cache"
    data.mkdir()
    for year in range(4):
        values, observed = seasons(MANY // 4 * FEW_VARIATES)
        shifted = np.where(observed, values + np.float32(year * 1e-3), np.nan).reshape(MANY // 4, -1)
        names = [f"b{variate}_{step:02d}" for variate in range(FEW_VARIATES) for step in range(STEPS)]
        frame = pd.DataFrame(shifted, columns=names)
        frame.insert(0, "field", [f"f{i}" for i in range(len(frame))])
        frame[f"y{2019 + year}"] = 5.0 + values.reshape(len(frame), -1).mean(1)
        frame.to_parquet(data / f"{2019 + year}.parquet")
    table = read(str(data))
    fold = make_folds(table.year, table.place, table.sample_id, split="year")[0]
    store = Store(cache, embedding_spec(Style(), {"name": "random", "dim": WIDE, "weights_digest": "random"}))
    store.create()
    rng = np.random.default_rng(0)
    for block in series_blocks(table, fold_ranges(table, fold), Style()):
        keys = colour_keys(block.keys.reshape(-1), colours(block.keys.shape).reshape(-1, 3))
        keys = np.unique(keys)
        for start in range(0, len(keys), 8192):
            part = keys[start : start + 8192]
            store.write(part, rng.standard_normal((len(part), WIDE), np.float32).astype(np.float16))
    return data, cache


if __name__ == "__main__":
    for line in measure():
        print(line, flush=True)
