"""This model on the same windows, by the files and commands of a user.

The windows become a wide table, one row per window, with a dataset card: `cut` is the look-back, `split` the column
with train, valid or test. `render_cache.py` and `train.py --stage 1` do the rest. Year and yield of a row are
placeholders (stage 1 reads neither). Values are standardised before they are written. train.py standardises them once
more, by the training windows, and returns its completion in the units of the table.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.forecasting.data import PARTS, Numbers, PartName, Series
from verdict.runner import slug

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path("runs", "forecasting")  # relative, as the results contain the commands
ENCODER = "efficientnet-lite0"


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
    note: str = ""
    """A note for the table."""


@dataclass(frozen=True)
class Strides:
    """Only every n-th window is drawn and used in training and validation. Every test window is used."""

    train: int = 1
    valid: int = 1

    def of(self, part: PartName) -> int:
        """The stride of a part."""
        return {"train": self.train, "valid": self.valid, "test": 1}[part]


DRAWN = {"ili": Strides(), "etth1": Strides(train=8, valid=8)}
READ = {"ili": Strides(), "etth1": Strides(valid=8)}  # for setups without pictures
FLAGS = {  # chosen on validation windows (docs/log.md)
    "ili": ("--epochs", "30", "--batch-size", "8", "--lr", "3e-4"),
    "etth1": ("--epochs", "8", "--patch", "16", "--stride", "8", "--lr", "5e-4", "--dropout", "0.3"),
}
LANGUAGE = ("--preset", "language-only")
WINDOW = ("--style.y-range", "window")
PICTURES = ("--preset", "timesclip", *WINDOW)
ALIGNED = (*PICTURES, "--picture-dropout", "1")
SETUPS = {
    "timesclip": Setup(("--preset", "timesclip")),
    "timesclip, y-range window": Setup(PICTURES, style=WINDOW),
    "timesclip, aligned only": Setup(ALIGNED, style=WINDOW, note="pictures are used in the alignment loss only"),
    "timesclip, aligned only, mean of three": Setup(
        ALIGNED, style=WINDOW, members=3, note="the forecasts of three seeds"
    ),
    "language-only": Setup(LANGUAGE, pictures=False),
    "language-only, mean of three": Setup(LANGUAGE, pictures=False, members=3, note="the forecasts of three seeds"),
}


def forecast(name: str, series: Series, horizon: int, seed: int) -> tuple[Numbers, dict[str, Any]]:
    """Train one setup. Returns its forecast of every test window [N,V,H], and fields for the result row."""
    setup, benchmark = SETUPS[name], series.benchmark.name
    strides = (DRAWN if setup.pictures else READ)[benchmark]
    every = f"-every-{strides.train}" if strides.train > 1 else ""
    card = write_card(series, horizon, strides, ROOT / FOLDER / f"{benchmark}-{horizon}{every}")
    shared = ["--data", str(card.relative_to(ROOT)), "--cache", str(FOLDER / "cache"), "--split", "card"]
    began = time.perf_counter()
    if setup.pictures:
        _run("render_cache.py", *shared, *setup.style, "--encoder", ENCODER)
    drawn = time.perf_counter()
    alone = name.partition(", mean of")[0]  # the setup of its members
    made, rows = [], []
    for member in range(setup.members * seed, setup.members * (seed + 1)):
        run = FOLDER / f"{benchmark}-{horizon}-{slug(alone)}-seed{member}"
        command = [
            "train.py",
            "--stage",
            "1",
            *shared,
            *setup.flags,
            *FLAGS[benchmark],
            "--seed",
            str(member),
            "--out",
            str(run),
        ]
        if not (ROOT / run / "result.json").is_file():
            _run(*command)
        made.append(read_predictions(ROOT / run / "predictions.parquet", series, horizon))
        history = [json.loads(line) for line in (ROOT / run / "metrics.jsonl").read_text().splitlines()]
        result = json.loads((ROOT / run / "result.json").read_text())
        rows.append((history[-1]["step"], min(line["valid"]["score"] for line in history), result["encoder"], command))
    steps, valid, encoders, commands = zip(*rows, strict=True)
    mean_forecast: Numbers = np.mean(made, axis=0)
    return mean_forecast, {
        "steps": sum(steps),
        "stride": strides.train,
        "valid_mse": float(np.mean(valid)),
        "seconds_render": round(drawn - began, 2),
        "encoder": encoders[0],
        "command": " ".join(["python", *commands[0]]),
        "note": setup.note,
        "ours": True,
    }


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
    """Run one command of the README; its output goes to standard error."""
    subprocess.run([sys.executable, *command], cwd=ROOT, check=True, stdout=sys.stderr)
