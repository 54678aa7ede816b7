"""Stage 1 on one fold: train the completion, then read its test rows once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.baselines import climatology, persistence
from model.completion import SeasonRows, complete, evaluate, train_completion
from model.metrics import completion_metrics
from model.presets import Preset
from model.timesclip import TimesCLIP, TimesCLIPConfig
from model.training.loop import Fit, Trainer
from model.training.sampling import balancing_weights
from pipeline.errors import InputError
from pipeline.table import SeasonTable
from stages.prepare import Prepared


@dataclass(frozen=True, eq=False)
class Completed:
    """What one fold of stage 1 came to.

    truth and guesses (`model`, `persistence`, `climatology`) [n,V,W] are standardised by the fold's training rows;
    selection [V,V] are the variate-selection weights averaged over test samples.
    """

    prepared: Prepared
    model: TimesCLIP
    fit: Fit
    alignment: float | None
    truth: NDArray[np.float64]
    observed: NDArray[np.bool_]
    guesses: dict[str, NDArray[np.float64]]
    selection: NDArray[np.float64] | None


def run_fold(prepared: Prepared, preset: Preset, dropout: float, trainer: Trainer, balance: bool) -> Completed:
    """Train on the training rows, choose the epoch on the validation rows, then complete the test rows."""
    fold, table = prepared.fold, prepared.table
    config = model_config(prepared, preset, dropout)
    seasons = [season.to(trainer.processes.device) for season in prepared.seasons]
    device = seasons[0].first.values.device
    train, valid, test = (torch.from_numpy(rows).to(device) for rows in (fold.train, fold.valid, fold.test))
    weights = balancing_weights(table.target[fold.train]) if balance else None
    model, fit = train_completion(config, SeasonRows(seasons, train, weights), valid, trainer, f"{fold.name}/train")
    size = trainer.schedule.batch_size
    completed, selection = complete(model, seasons[0].first.rows(test), size)
    cut = table.steps // 2
    scaled = prepared.scaler.apply(table.values)
    typical = climatology(scaled[fold.train], table.observed[fold.train], cut)
    return Completed(
        prepared,
        model,
        fit,
        evaluate(model, seasons[0], test, size).get("alignment"),
        scaled[fold.test][:, :, cut:],
        table.observed[fold.test][:, :, cut:],
        {
            "model": completed.numpy().astype(np.float64),
            "persistence": persistence(scaled[fold.test], table.observed[fold.test], cut),
            "climatology": np.broadcast_to(typical, (len(fold.test), *typical.shape)),
        },
        None if selection is None else selection.numpy().astype(np.float64),
    )


def refuse_short_seasons(table: SeasonTable, preset: Preset) -> None:
    """Raises InputError when half a season is shorter than a patch."""
    steps, patch = -(-table.steps // 2), TimesCLIPConfig.patch
    if preset.use_language and steps < patch:
        raise InputError(
            f"{table.name} has {table.steps} steps a season, so {steps} in a half; a patch needs {patch}. "
            f"Use finer steps (season_steps of at least {2 * patch - 1}) or --preset vision-only."
        )


def model_config(prepared: Prepared, preset: Preset, dropout: float) -> TimesCLIPConfig:
    """The architecture that the table and the cached vectors ask for."""
    first = prepared.seasons[0].first
    return TimesCLIPConfig(
        variates=first.values.shape[1],
        window=first.values.shape[2],
        horizon=first.values.shape[2],
        vision_dim=0 if first.embeddings is None else first.embeddings.shape[2],
        use_vision=preset.use_vision,
        use_language=preset.use_language,
        use_alignment=preset.use_alignment,
        dropout=dropout,
    )


def predictions(outcomes: Sequence[Completed]) -> pd.DataFrame:
    """sample_id, variate, step, split, y_true, y_pred in the variate's own unit, for every observed test step."""
    frames = []
    for outcome in outcomes:
        table, fold = outcome.prepared.table, outcome.prepared.fold
        row, variate, step = np.nonzero(outcome.observed)
        native = outcome.prepared.scaler.inverse(outcome.guesses["model"])
        frames.append(
            pd.DataFrame(
                {
                    "sample_id": table.sample_id[fold.test][row],
                    "variate": np.array(table.variate_names)[variate],
                    "step": step + table.steps // 2,
                    "split": "test",
                    "fold": fold.name,
                    "y_true": table.values[fold.test][row, variate, step + table.steps // 2].astype(np.float64),
                    "y_pred": native[row, variate, step],
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


def scores(outcomes: Sequence[Completed], seed: int) -> tuple[dict[str, float], dict[str, dict[str, float]], None]:
    """Metrics of the model and of each baseline, over the test rows of all folds together. No baseline draws lots."""
    observed = np.concatenate([outcome.observed for outcome in outcomes])
    names = outcomes[0].prepared.table.variate_names
    truth = np.concatenate([o.prepared.scaler.inverse(o.truth) for o in outcomes])
    standardised = np.concatenate([outcome.truth for outcome in outcomes])
    rows: dict[str, dict[str, float]] = {}
    for name in outcomes[0].guesses:
        scaled = np.concatenate([outcome.guesses[name] for outcome in outcomes])
        native = np.concatenate([o.prepared.scaler.inverse(o.guesses[name]) for o in outcomes])
        error = (scaled - standardised)[observed]
        rows[name] = completion_metrics(truth, native, observed, data_range(outcomes), names)
        rows[name] |= {"mse_standardised": float(np.mean(error**2)), "mae_standardised": float(np.abs(error).mean())}
    metrics = rows.pop("model")
    aligned = [outcome.alignment for outcome in outcomes if outcome.alignment is not None]
    if aligned:
        metrics["alignment"] = float(np.mean(aligned))
    return metrics, rows, None


def data_range(outcomes: Sequence[Completed]) -> NDArray[np.float64]:
    """Maximum minus minimum [V] of the observed training values, in native units; the mean over folds."""
    ranges: list[list[float]] = []
    for outcome in outcomes:
        table, train = outcome.prepared.table, outcome.prepared.fold.train
        seen = (
            np.where(table.observed[train], table.values[train], np.nan)
            .transpose(1, 0, 2)
            .reshape(len(table.variates), -1)
        )
        ranges.append([float(np.ptp(v[~np.isnan(v)])) if (~np.isnan(v)).any() else 1.0 for v in seen])
    mean: NDArray[np.float64] = np.mean(ranges, axis=0)
    return np.maximum(mean, 1e-12)


def fitted(outcome: Completed) -> dict[str, Any]:
    """What a later stage or a prediction needs beside the weights."""
    prepared = outcome.prepared
    return {
        "scaler": prepared.scaler.to_dict(),
        "ranges": prepared.ranges.tolist(),
        "model": asdict(outcome.model.config),
        "best_epoch": outcome.fit.best_epoch,
        "selection": None if outcome.selection is None else outcome.selection.tolist(),
    }


def weights(outcomes: Sequence[Completed]) -> dict[str, Tensor]:
    """The model of every fold, by name."""
    return {
        f"{outcome.prepared.fold.name}/encoder.{name}": tensor
        for outcome in outcomes
        for name, tensor in outcome.model.state_dict().items()
    }
