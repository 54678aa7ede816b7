"""The rows of docs/pretraining.md: one file per table and seed, from runs of train.py and from weights alone."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

import render_cache
import train
from benchmarks.runs import CARDS, ENCODER, ROOT, command
from cache.embeddings import encoder_of
from model.completion_task import alignment_by_pairs, complete
from model.linear_completion import LinearCompletion
from model.metrics import completion_metrics
from model.timesclip import TimesCLIP
from pipeline.sources import read
from pipeline.splits import Fold, SplitName, make_folds
from pipeline.style import Style
from pipeline.table import SeasonTable
from report.run import RunFolder, commit, hardware
from stages.completion.completion_stage import load_model, model_config
from stages.completion.zero_shot import PRESET, complete_seasons, scales_before_cut, seasons_to_complete
from stages.inputs.fold_data import FoldData, Pictures, prepare
from stages.inputs.initial_weights import find_initial

TABLES = ("demo", "illinois_soybean", "zambia_maize", "cybench_maize_ES")
SPLIT: SplitName = "year"
FOLDER = ROOT / "benchmarks" / "results" / "pretraining"
RUNS = Path("runs", "pretraining")


@dataclass(frozen=True, eq=False)
class Ready:
    """A table with its pictures, ready for models: `data` is scaled by the training rows of `fold`."""

    table: SeasonTable
    fold: Fold
    pictures: Pictures
    data: FoldData


def table_and_fold(name: str) -> tuple[SeasonTable, Fold]:
    """A table and its only fold."""
    table = read(str((ROOT / CARDS[name]).resolve()))
    return table, make_folds(
        table.year,
        table.place,
        table.sample_id,
        split=SPLIT,
        seed=0,
        assigned=table.assigned,
        chosen=(),
        group=table.group,
    )[0]


def gather(name: str, cache: str) -> Ready:
    """Read a table and gather its vectors, which render_cache.py has made."""
    table, fold = table_and_fold(name)
    pictures = Pictures.find(
        cache, Style(), table, encoder=ENCODER, command="python render_cache.py", framing=PRESET.framing
    )
    return Ready(table, fold, pictures, prepare(table, fold, PRESET.framing, pictures=pictures))


def make_row(name: str, seed: int, cache: str, named: str) -> dict[str, Any]:
    """All scores of one table and seed. named: the weights, as --init takes them."""
    if seed == 0:
        command(render_cache.main, "--data", CARDS[name], "--split", SPLIT, "--encoder", ENCODER, "--cache", cache)
    ready = gather(name, cache)
    encoder = encoder_of(ready.pictures.store)
    initial = find_initial(named, model_config(ready.data, PRESET), encoder, Style())
    start = initial.start(ready.data.scales, Style())
    if start is None:
        raise SystemExit(f"{name}: {initial.sentence}")
    untrained = replace(model_config(ready.data, PRESET), filled=start.weights.largest.filled)
    models = {"without fine-tuning": start.build(untrained).eval()}
    runs, seconds = {}, {}
    for title, flag in (("from scratch", "none"), ("fine-tuned", named)):
        folder = RUNS / f"{name}-{flag if flag in ('none', 'auto') else 'given'}-seed{seed}"
        began = time.perf_counter()
        runs[title] = both_stages(name, seed, cache, init=flag, folder=folder)
        seconds[title] = time.perf_counter() - began
        models[title] = load_model(RunFolder(ROOT / folder / "stage1"), ready.fold.name)
    return {
        "table": name,
        "seed": seed,
        "rows": {part: len(getattr(ready.fold, part)) for part in ("train", "valid", "test")},
        "window": ready.table.cut,
        "alignment": {title: alignment_of(model, ready) for title, model in models.items()},
        "completion": completions(models, ready, initial.weights),
        "yield": {title: yields_of(run) for title, run in runs.items()},
        "epochs": {title: epochs_of(run.path.parent / "stage1") for title, run in runs.items()},
        "seconds": seconds,
        "initial_weights": initial.record(),
        "commit": commit(),
        "hardware": hardware(),
    }


def both_stages(name: str, seed: int, cache: str, *, init: str, folder: Path, more: tuple[str, ...] = ()) -> RunFolder:
    """Stage 1 and stage 2 by train.py, unless they are there. more: further flags of both. Returns the stage-2 run."""
    common = ["--data", CARDS[name], "--split", SPLIT, "--cache", cache, "--seed", str(seed), *more]
    one, two = folder / "stage1", folder / "stage2"
    if not (ROOT / one / "result.json").is_file():
        command(train.main, "--stage", "1", *common, "--init", init, "--out", str(one))
    if not (ROOT / two / "result.json").is_file():
        command(train.main, "--stage", "2", *common, "--learner", "neural", "--from", str(one), "--out", str(two))
    return RunFolder(ROOT / two)


def alignment_of(model: TimesCLIP, ready: Ready) -> dict[str, dict[str, float]]:
    """alignment_56, retrieval_56 and their floors by part of the fold."""
    parts = {part: torch.from_numpy(getattr(ready.fold, part)) for part in ("train", "valid", "test")}
    first = ready.data.seasons[0].first
    return {part: alignment_by_pairs(model, first.rows(rows), 256) for part, rows in parts.items()}


def completions(models: Mapping[str, TimesCLIP], ready: Ready, weights: Any) -> dict[str, dict[str, float]]:
    """RMSE over range of each completion on validation and test rows."""
    data, table, fold = ready.data, ready.table, ready.fold
    scaler = data.scales.scaler
    guesses = {}
    for title, model in models.items():
        completed, _ = complete(model, data.seasons[0].first, 256)
        guesses[title] = scaler.inverse(completed.numpy())
    scales = scales_before_cut(table)
    zero_shot = seasons_to_complete(table, scales, ready.pictures)
    completed_at_once = complete_seasons(zero_shot, Style(), weights)
    guesses["complete.py"] = np.where(np.isnan(completed_at_once), scales.scaler.mean[:, None], completed_at_once)
    guesses |= simple_completions(table, fold)
    season, (train, valid) = data.seasons[0], (torch.from_numpy(rows) for rows in (fold.train, fold.valid))
    ridge = LinearCompletion.fit(season, train, valid)
    guesses["ridge"] = scaler.inverse(ridge(season.first.values, season.first.observed).numpy())
    span = span_of(table, fold)
    parts = {"valid": fold.valid, "test": fold.test}
    scores = {
        title: {part: rmse_over_range(table, rows, guess, span) for part, rows in parts.items()}
        for title, guess in guesses.items()
    }
    if table.name.startswith("demo"):
        scores["floor: the noise that was added"] = {p: demo_floor(table, rows, span) for p, rows in parts.items()}
    return scores


def span_of(table: SeasonTable, fold: Fold) -> NDArray[np.float64]:
    """[V]: the range of each variate's observed training values."""
    rows = fold.train
    return np.array([np.ptp(table.values[rows, v][table.observed[rows, v]]) for v in range(len(table.variates))])


def rmse_over_range(
    table: SeasonTable, rows: NDArray[np.int64], guess: NDArray[np.float64], span: NDArray[np.float64]
) -> float:
    """The metric of stage 1 over the observed steps of some rows from the cut on. guess [N,V,H]."""
    truth = table.values[rows][:, :, table.cut :].astype(np.float64)
    seen = table.observed[rows][:, :, table.cut :]
    return completion_metrics(truth, guess[rows], seen, span, table.variate_names)["rmse_over_range"]


def simple_completions(table: SeasonTable, fold: Fold) -> dict[str, NDArray[np.float64]]:
    """Persistence and climatology (of training rows) for all samples [N,V,H]."""
    values = np.where(table.observed, table.values, np.nan).astype(np.float64)
    before = pd.DataFrame(values[:, :, : table.cut].reshape(-1, table.cut)).ffill(axis=1).iloc[:, -1].to_numpy()
    typical = np.nanmean(values[fold.train], 0)
    level = np.nanmean(values[fold.train], (0, 2))
    typical = np.where(np.isnan(typical), level[:, None], typical)
    last = before.reshape(values.shape[:2])
    last = np.where(np.isnan(last), typical[:, table.cut - 1], last)
    shape = (*values.shape[:2], table.steps - table.cut)
    return {
        "persistence": np.broadcast_to(last[:, :, None], shape),
        "climatology": np.broadcast_to(typical[:, table.cut :], shape),
    }


def demo_floor(table: SeasonTable, rows: NDArray[np.int64], span: NDArray[np.float64]) -> float:
    """RMSE over range of a forecast that knows everything of the demo's steps but the noise of each observation.

    Noise of the bands as in pipeline/simulate.py; that of the indices follows by drawing it again, 32 times.
    """
    from pipeline.simulate import VIEW_FLOOR, VIEW_NOISE

    rng = np.random.default_rng(0)
    order = {name: at for at, name in enumerate(table.variate_names)}
    values = table.values[rows][:, :, table.cut :].astype(np.float64)
    bands = [values[:, order[name]] for name in ("blue", "red", "NIR", "SWIR1")]
    squares = np.zeros_like(values)
    for _ in range(32):
        noisy = [(b + rng.normal(size=b.shape) * np.hypot(VIEW_NOISE * b, VIEW_FLOOR)).clip(0.005, 1.0) for b in bands]
        blue, red, nir, _ = noisy
        again = {"blue": blue, "red": red, "NIR": nir, "SWIR1": noisy[3], "ndvi": (nir - red) / (nir + red),
                 "evi": 2.5 * (nir - red) / (nir + 6 * red - 7.5 * blue + 1), "RVI": nir / red}  # fmt: skip
        for name, series in again.items():
            squares[:, order[name]] += (series - values[:, order[name]]) ** 2 / 32
    seen = table.observed[rows][:, :, table.cut :]
    return float(np.sqrt(np.mean((squares / span[:, None] ** 2)[seen])))


def yields_of(run: RunFolder) -> dict[str, dict[str, float]]:
    """RMSE in t/ha of the neural heads, the learner that reads tokens, and of the offset alone.

    left out: training and validation rows, forecast by heads that were not fitted on their group. test: test rows, with
    the share of the anomaly that the left-out rows support.
    """
    rows = run.read_predictions("left_out.parquet").pivot(index="sample_id", columns="learner", values="y_pred")
    known = run.read_predictions("left_out.parquet").groupby("sample_id")["y_true"].first().reindex(rows.index)
    return {
        "left out": {name: rmse(rows[name], known) for name in ("neural", "offset")},
        "test": {"neural": float(run.read_json("result.json")["metrics"]["rmse"])},
    }


def rmse(forecast: pd.Series[float], truth: pd.Series[float]) -> float:
    """Root mean squared error, t/ha."""
    return float(np.sqrt(np.mean((forecast.to_numpy() - truth.to_numpy()) ** 2)))


def epochs_of(path: Path) -> int:
    """Epochs of a stage-1 run."""
    return len(RunFolder(path).metrics())


def save_row(row: Mapping[str, Any], path: Path) -> None:
    """Write one row to its file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(row, indent=1) + "\n")


def saved_rows(folder: Path) -> list[dict[str, Any]]:
    """Every saved row, by table and seed."""
    rows = [json.loads(path.read_text()) for path in folder.glob("*-seed*.json")]
    return sorted(rows, key=lambda row: (TABLES.index(row["table"]), row["seed"]))
