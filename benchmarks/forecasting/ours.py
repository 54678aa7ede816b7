"""This model on the same windows, by the files and commands of a user.

The windows become a wide table, one row per window, with a dataset card: `cut` is the look-back, `split` the column
with train, valid or test. `render_cache.py` and `train.py --stage 1` do the rest. Year and yield of a row are
placeholders (stage 1 reads neither). Values are standardised before they are written. train.py standardises them once
more, by the training windows, and returns its completion in the units of the table.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.forecasting.data import PARTS, Benchmark, Numbers, PartName, Series
from pipeline.errors import InputError
from verdict.runner import slug

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path("runs", "forecasting")  # relative, as the results contain the commands
ENCODER = "efficientnet-lite0"
WEIGHTS = "model/weights/efficientnet-lite0.safetensors"
LONGEST = 52  # steps of look-back or forecast that these weights serve


@dataclass(frozen=True)
class Setup:
    """One way to train this model."""

    flags: tuple[str, ...]
    """Flags for train.py, in addition to data, split, seed and folder."""
    pictures: bool = True
    """Whether the model reads pictures."""
    style: tuple[str, ...] = ()
    """Flags for render_cache.py."""
    members: int = 1
    """Runs, each with its own seed, whose mean is the forecast."""
    pretrained: bool = False
    """Whether stage 1 starts from the packaged weights, at horizons that they serve."""
    note: str = ""
    """A note for the table."""

    def start(self, benchmark: Benchmark, horizon: int) -> tuple[str, ...]:
        """The flags of the start: the packaged weights, or none."""
        served = self.pretrained and max(benchmark.look_back, horizon) <= LONGEST
        return ("--init", WEIGHTS if served else "none")


@dataclass(frozen=True)
class Strides:
    """Only every n-th window is drawn and used in training and validation. Every test window is used."""

    train: int = 1
    valid: int = 1

    def of(self, part: PartName) -> int:
        """The stride of a part."""
        return {"train": self.train, "valid": self.valid, "test": 1}[part]


MOST_READ = {"train": 9000, "valid": 350}  # windows, of other files than ILI
MOST_DRAWN = {"train": 1100, "valid": 350}
SHORT = ("--epochs", "30", "--batch-size", "8", "--lr", "3e-4")
LONG = ("--epochs", "8", "--patch", "16", "--stride", "8", "--lr", "5e-4", "--dropout", "0.3")
YEARS = ("--epochs", "20", "--patch", "12", "--stride", "6", "--batch-size", "16", "--lr", "5e-4")
FLAGS = {("ili", 36): SHORT, ("ili", 104): YEARS}  # by look-back; chosen on validation windows (docs/log.md)
LANGUAGE = ("--preset", "language-only")
WINDOW = ("--style.y-range", "window")
PICTURES = ("--preset", "timesclip", *WINDOW)
ALIGNED = (*PICTURES, "--picture-dropout", "1")
ALONE = {
    "language-only": Setup(LANGUAGE, pictures=False),
    "language-only, pretrained": Setup((*LANGUAGE, *WINDOW), pictures=False, pretrained=True),
    "timesclip": Setup(("--preset", "timesclip")),
    "timesclip, pretrained": Setup(("--preset", "timesclip"), pretrained=True),
    "timesclip, y-range window": Setup(PICTURES, style=WINDOW),
    "timesclip, y-range window, pretrained": Setup(PICTURES, style=WINDOW, pretrained=True),
    "timesclip, aligned only": Setup(ALIGNED, style=WINDOW),
    "timesclip, aligned only, pretrained": Setup(ALIGNED, style=WINDOW, pretrained=True),
}
AVERAGED = ("language-only", "language-only, pretrained", "timesclip, aligned only")
SETUPS = ALONE | {
    f"{name}, mean of three": replace(ALONE[name], members=3, note="the forecasts of three seeds") for name in AVERAGED
}


def fits(model: str, benchmark: Benchmark) -> bool:
    """Whether a model can be trained on a task: the packaged weights must serve its look-back and one of its horizons.

    Where they serve the look-back and some horizons, the others start from scratch, and the page says so.
    """
    pretrained = model in SETUPS and SETUPS[model].pretrained
    return not pretrained or max(benchmark.look_back, min(benchmark.horizons)) <= LONGEST


def strides(series: Series, horizon: int, pictures: bool) -> Strides:
    """All windows of ILI; of longer series as many as a small machine can train on."""
    if series.benchmark.name == "ili":
        return Strides()
    most = MOST_DRAWN if pictures else MOST_READ
    return Strides(**{part: -(-len(series.starts(part, horizon)) // most[part]) for part in ("train", "valid")})


def flags_of(benchmark: Benchmark) -> tuple[str, ...]:
    """Flags of train.py for a task; a look-back shorter than a long patch takes the usual patches."""
    known = FLAGS.get((benchmark.name, benchmark.look_back))
    return known or (LONG if benchmark.look_back >= 48 and benchmark.name != "ili" else SHORT)


def forecast(name: str, series: Series, horizon: int, seed: int) -> tuple[Numbers, dict[str, Any]]:
    """Train one setup. Returns its forecast of every test window [N,V,H], and fields for the result row."""
    setup, benchmark = SETUPS[name], series.benchmark
    stride = strides(series, horizon, setup.pictures)
    every = f"-every-{stride.train}" if stride.train > 1 else ""
    task = f"{slug(benchmark.name)}-{benchmark.look_back}-{horizon}{every}-{series.digest[:8]}"
    card = write_card(series, horizon, stride, ROOT / FOLDER / task)
    shared = ["--data", str(card.relative_to(ROOT)), "--cache", str(FOLDER / "cache"), "--split", "card"]
    began = time.perf_counter()
    if setup.pictures:
        _run("render_cache.py", *shared, *setup.style, "--encoder", ENCODER)
    drawn = time.perf_counter()
    flags = ("--stage", "1", *shared, *setup.flags, *flags_of(benchmark), *setup.start(benchmark, horizon))
    runs = [_trained(task, flags, setup.members * seed + member) for member in range(setup.members)]
    mean_forecast: Numbers = np.mean(
        [read_predictions(ROOT / run / PREDICTED, series, horizon) for run in runs], axis=0
    )
    logs = [[json.loads(line) for line in (ROOT / run / "metrics.jsonl").read_text().splitlines()] for run in runs]
    result = json.loads((ROOT / runs[0] / "result.json").read_text())
    return mean_forecast, {
        "steps": sum(log[-1]["step"] for log in logs),
        "stride": stride.train,
        "valid_mse": float(np.mean([min(line["valid"]["score"] for line in log) for log in logs])),
        "seconds_render": round(drawn - began, 2),
        "encoder": result["encoder"],
        "initial_weights": result["initial_weights"],
        "command": " ".join(["python", "train.py", *flags, "--seed", str(setup.members * seed)]),
        "note": setup.note,
        "ours": True,
    }


PREDICTED = "predictions.parquet"


def _trained(task: str, flags: tuple[str, ...], seed: int) -> Path:
    """The run folder of one training, relative to the root. An equal one is resumed if it stopped, else reused."""
    digest = hashlib.sha256("\0".join(flags).encode()).hexdigest()[:8]
    run = FOLDER / f"run-{task}-{digest}-seed{seed}"
    if (ROOT / run / "result.json").is_file():
        return run
    if (ROOT / run / "config.json").is_file():
        _run("train.py", "--resume", str(run))
    else:
        _run("train.py", *flags, "--seed", str(seed), "--out", str(run))
    return run


def write_card(series: Series, horizon: int, strides: Strides, folder: Path) -> Path:
    """Write windows.parquet and card.toml of one task. Returns the card's path."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [_rows(series, part, horizon, strides.of(part)) for part in PARTS]
    pd.concat(rows, ignore_index=True).to_parquet(folder / "windows.parquet", index=False)
    names = variate_names(series)
    lines = [
        f'name = "{series.benchmark.name}-{horizon}"',
        'format = "wide"',
        'files = ["windows.parquet"]',
        'place = "place"',
        'year = "year"',
        'sample_id = "window"',
        'split = "side"',
        f"cut = {series.benchmark.look_back}",
        "first_step = 0",
        "step_days = 1  # placeholder: nothing here depends on the length of a step",
        "",
        "[target]",
        'column = "placeholder"',
        'unit = "t/ha"',
        *(line for name in names for line in ("", "[[variates]]", f'name = "{name}"')),
    ]
    path = folder / "card.toml"
    path.write_text("\n".join(lines) + "\n")
    return path


def variate_names(series: Series) -> list[str]:
    """v00, v01, ...: the names in the file contain blanks and percent signs."""
    return [f"v{number:02d}" for number in range(len(series.variates))]


def _rows(series: Series, part: PartName, horizon: int, stride: int) -> pd.DataFrame:
    past, future = (numbers[::stride] for numbers in series.windows(part, horizon))
    both = np.concatenate([past, future], axis=-1)
    steps = both.shape[-1]
    columns = [f"{name}_{step}" for name in variate_names(series) for step in range(steps)]
    frame = pd.DataFrame(both.reshape(len(both), -1), columns=columns)
    window = [f"{part}-{number:06d}" for number in range(0, stride * len(both), stride)]
    labels = pd.DataFrame({"window": window, "place": "series", "year": 2000, "side": part, "placeholder": 1.0})
    return pd.concat([labels, frame], axis=1)


def read_predictions(path: Path, series: Series, horizon: int) -> Numbers:
    """predictions.parquet of a stage-1 run -> [N,V,H] in the order of the test windows. Raises ValueError for gaps."""
    frame = pd.read_parquet(path).sort_values(["sample_id", "variate", "step"])
    names = [f"test-{number:06d}" for number in range(len(series.starts("test", horizon)))]
    shape = (len(names), len(series.variates), horizon)
    if len(frame) != np.prod(shape) or sorted(set(frame["sample_id"])) != names:
        raise ValueError(f"{path} holds {len(frame)} forecasts, but {np.prod(shape)} of {shape[0]} windows are needed")
    made: Numbers = frame["y_pred"].to_numpy(np.float64).reshape(shape)
    return made


def _run(*command: str) -> None:
    """Run one command of the README; its output goes to standard error. Raises InputError if it fails."""
    done = subprocess.run([sys.executable, *command], cwd=ROOT, stdout=sys.stderr, check=False)
    if done.returncode:
        raise InputError(f"`python {' '.join(command)}` ended with exit code {done.returncode}; its message is above.")
