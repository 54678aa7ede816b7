"""Stage 1 on one fold: train the completion, then complete the test rows once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.baselines import climatology, persistence
from model.completion_task import (
    SeasonRows,
    alignment_by_pairs,
    complete,
    evaluate,
    mix_in_ridge,
    train_completion,
)
from model.config import TimesCLIPConfig
from model.encoders.trainable import Tower
from model.initial_weights import Start
from model.linear_completion import LinearCompletion
from model.metrics import completion_metrics
from model.presets import Preset
from model.season_tensors import SeasonTensors
from model.timesclip import TimesCLIP
from model.training.device_memory import move_to_device
from model.training.sampling import balancing_weights
from model.training.trainer import Fit, Trainer
from model.vision_finetuning import VisionFinetuning, train_with_tower
from pipeline.errors import InputError
from pipeline.style import Style
from pipeline.table import SeasonTable
from pipeline.windows import windows
from report.run import RunFolder
from stages.inputs.fold_data import FoldData
from stages.inputs.initial_weights import Initial
from stages.stage import StageResults


@dataclass(frozen=True, eq=False)
class CompletionOutcome:
    """Result of stage 1 on one fold.

    truth and guesses (`model`, `ridge`, `persistence`, `climatology`) [n,V,W] are standardised by the fold's training
    rows.
    selection [V,V]: variate-selection weights, averaged over test samples. tower: the fine-tuned image tower, if any.
    """

    prepared: FoldData
    model: TimesCLIP
    fit: Fit
    alignment: dict[str, float]
    truth: NDArray[np.float64]
    observed: NDArray[np.bool_]
    guesses: dict[str, NDArray[np.float64]]
    selection: NDArray[np.float64] | None
    tower: Tower | None = None

    @property
    def interrupted(self) -> bool:
        """Whether training was stopped before its end."""
        return self.fit.interrupted


@dataclass(frozen=True, eq=False)
class CompletionStage:
    """Stage 1; see `Stage`.

    vision: a trainable image tower and its pictures; None: cached embeddings are read. initial: the weights to start
    from, if any, for pictures in this style.
    """

    preset: Preset
    balance: bool
    vision: VisionFinetuning | None = None
    initial: Initial | None = None
    style: Style = field(default_factory=Style)
    outcomes: list[CompletionOutcome] = field(default_factory=list)

    def train_fold(self, prepared: FoldData, trainer: Trainer) -> CompletionOutcome:
        """See `Stage`."""
        start = None if self.initial is None else self.initial.start(prepared.scales, self.style)
        self.outcomes.append(
            complete_fold(prepared, self.preset, trainer, balance=self.balance, vision=self.vision, start=start)
        )
        return self.outcomes[-1]

    def results(self, seed: int) -> StageResults:
        """See `Stage`. No baseline of this stage is random."""
        metrics, baselines = scores(self.outcomes)
        return StageResults(metrics=metrics, baselines=baselines, predictions=predictions(self.outcomes))

    def weights(self) -> dict[str, Tensor]:
        """The weights of every fold's model, by name."""
        return {
            f"{outcome.prepared.fold.name}/encoder.{name}": tensor
            for outcome in self.outcomes
            for name, tensor in outcome.model.state_dict().items()
        }

    def fitted(self) -> dict[str, dict[str, Any]]:
        """See `Stage`."""
        return {
            outcome.prepared.fold.name: {
                **outcome.prepared.scales.to_dict(),
                "framing": outcome.prepared.framing,
                "model": outcome.model.describe(),
                "best_epoch": outcome.fit.best_epoch,
                "selection": None if outcome.selection is None else outcome.selection.tolist(),
                "ridge_weight": ridge_weight(outcome),
            }
            for outcome in self.outcomes
        }


def complete_fold(
    prepared: FoldData,
    preset: Preset,
    trainer: Trainer,
    *,
    balance: bool,
    vision: VisionFinetuning | None = None,
    start: Start | None = None,
) -> CompletionOutcome:
    """Train on the training rows, then complete the test rows. Validation rows select the epoch and weigh ridge.

    vision: a trainable image tower and its pictures. Without it, cached embeddings are used, and the model begins with
    `start`, if it is given.
    """
    fold, table = prepared.fold, prepared.table
    config = replace(model_config(prepared, preset), linear=preset.use_language)
    seasons = move_to_device(prepared.to_complete(), trainer.processes.device)
    device = seasons[0].first.values.device
    train, valid, test = (torch.from_numpy(rows).to(device) for rows in (fold.train, fold.valid, fold.test))
    weights = balancing_weights(table.target[fold.train]) if balance else None
    training_rows, phase, size = SeasonRows(seasons, train, weights), f"{fold.name}/train", trainer.schedule.batch_size
    if vision is None:
        model, fit = train_completion(config, training_rows, valid, trainer=trainer, phase=phase, start=start)
    else:
        model, fit = train_with_tower(config, training_rows, valid, trainer=trainer, phase=phase, vision=vision)

    def gathered(rows: Tensor) -> SeasonTensors:
        return seasons[0].rows(rows) if vision is None else vision.embedded(seasons[0], rows, size)

    ridge = LinearCompletion.fit(seasons[0], train, valid)
    mix_in_ridge(model, ridge, gathered(valid), size)
    tested = gathered(test)
    completed, selection = complete(model, tested.first, size)
    scaled = prepared.scales.scaler.apply(table.values)
    typical = climatology(scaled[fold.train], table.observed[fold.train], table.cut)
    metrics = evaluate(model, tested, torch.arange(len(test), device=device), batch_size=size)
    return CompletionOutcome(
        prepared=prepared,
        model=model,
        fit=fit,
        alignment={name: metrics[name] for name in ("alignment", "false_negatives") if name in metrics}
        | alignment_by_pairs(model, tested.first, size),
        truth=scaled[fold.test][:, :, table.cut :],
        observed=(table.observed[fold.test] & prepared.scales.scaler.known[:, None])[:, :, table.cut :],
        guesses={
            "model": completed.numpy().astype(np.float64),
            "ridge": ridge(tested.first.values, tested.first.observed).cpu().numpy().astype(np.float64),
            "persistence": persistence(scaled[fold.test], table.observed[fold.test], table.cut),
            "climatology": np.broadcast_to(typical, (len(fold.test), *typical.shape)),
        },
        selection=None if selection is None else selection.numpy().astype(np.float64),
        tower=None if vision is None else vision.tower,
    )


def ridge_weight(outcome: CompletionOutcome) -> float | None:
    """The weight of ridge in the completion; None if the model has no ridge."""
    return None if outcome.model.linear is None else float(outcome.model.linear.mixing_weight[0])


def refuse_short_seasons(table: SeasonTable, preset: Preset) -> None:
    """Raise InputError if the first window is shorter than a patch."""
    first, _ = windows(table.steps, table.cut, preset.framing)
    if preset.use_language and first.length < preset.patch:
        cut = "" if table.cut == table.steps // 2 else f", as `cut` in the dataset card is {table.cut}"
        raise InputError(
            f"{table.name} has {table.steps} steps per season, so {first.length} in its {first.name}{cut}; a patch "
            f"needs {preset.patch}. Use --patch {first.length}, finer steps (season_steps of at least "
            f"{2 * preset.patch}), or --preset vision-only."
        )


def refuse_unobserved_rest(prepared: Sequence[FoldData]) -> None:
    """Raise InputError if no validation row of a fold, or no test row of any, is observed from the cut on.

    Validation rows select the epoch by the error there, and test rows are scored by it.
    """
    sides = [(f"validation row of fold {one.fold.name}", [(one, one.fold.valid)]) for one in prepared]
    for which, rows in [*sides, ("test row", [(one, one.fold.test) for one in prepared])]:
        if any(
            (one.table.observed[at] & one.scales.scaler.known[:, None])[..., one.table.cut :].any() for one, at in rows
        ):
            continue
        table = prepared[0].table
        raise InputError(
            f"{table.name}: no {which} is observed from step {table.cut + 1} to {table.steps}, which stage 1 completes "
            f"from steps 1 to {table.cut}. Rows of other years or places may be observed there: choose another --split "
            "or --folds. If seasons of this table end earlier, name an earlier `cut` in the dataset card."
        )


def model_config(prepared: FoldData, preset: Preset) -> TimesCLIPConfig:
    """The architecture of the preset, with the sizes of the table and of the cached embeddings."""
    table, (season, *_) = prepared.table, prepared.seasons
    return TimesCLIPConfig(
        variates=len(table.variates),
        window=max(season.first.values.shape[2], season.second.values.shape[2]),
        horizon=table.steps - table.cut,
        start=season.first.values.shape[2],
        vision_dim=0 if season.first.embeddings is None else season.first.embeddings.shape[2],
        drivers=len(table.driver_names),
        steps=table.steps,
        step_days=table.step_days,
        filled=True,
        **preset.parts(),
    )


def predictions(outcomes: Sequence[CompletionOutcome]) -> pd.DataFrame:
    """sample_id, variate, step, split, y_true, y_pred in the variate's own unit, for every observed test step."""
    frames = []
    for outcome in outcomes:
        table, fold = outcome.prepared.table, outcome.prepared.fold
        row, variate, step = np.nonzero(outcome.observed)
        native = outcome.prepared.scales.scaler.inverse(outcome.guesses["model"])
        frames.append(
            pd.DataFrame(
                {
                    "sample_id": table.sample_id[fold.test][row],
                    "variate": np.array(table.variate_names)[variate],
                    "step": step + table.cut,
                    "split": "test",
                    "fold": fold.name,
                    "y_true": table.values[fold.test][row, variate, step + table.cut].astype(np.float64),
                    "y_pred": native[row, variate, step],
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


def scores(outcomes: Sequence[CompletionOutcome]) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """Metrics of the model and of each baseline over the test rows of all folds together."""
    observed = np.concatenate([outcome.observed for outcome in outcomes])
    names = outcomes[0].prepared.table.variate_names
    truth = np.concatenate([o.prepared.scales.scaler.inverse(o.truth) for o in outcomes])
    standardised = np.concatenate([outcome.truth for outcome in outcomes])
    rows: dict[str, dict[str, float]] = {}
    for name in outcomes[0].guesses:
        scaled = np.concatenate([outcome.guesses[name] for outcome in outcomes])
        native = np.concatenate([o.prepared.scales.scaler.inverse(o.guesses[name]) for o in outcomes])
        error = (scaled - standardised)[observed]
        rows[name] = completion_metrics(truth, native, observed, data_range(outcomes), names)
        rows[name] |= {"mse_standardised": float(np.mean(error**2)), "mae_standardised": float(np.abs(error).mean())}
    metrics = rows.pop("model")
    for name in outcomes[0].alignment:
        metrics[name] = float(np.mean([outcome.alignment[name] for outcome in outcomes]))
    return metrics, rows


def data_range(outcomes: Sequence[CompletionOutcome]) -> NDArray[np.float64]:
    """Maximum minus minimum [V] of the observed training values, in native units; the mean over folds."""
    ranges: list[list[float]] = []
    for outcome in outcomes:
        table, train = outcome.prepared.table, outcome.prepared.fold.train
        observed = (
            np.where(table.observed[train], table.values[train], np.nan)
            .transpose(1, 0, 2)
            .reshape(len(table.variates), -1)
        )
        ranges.append([float(np.ptp(v[~np.isnan(v)])) if (~np.isnan(v)).any() else 1.0 for v in observed])
    mean: NDArray[np.float64] = np.mean(ranges, axis=0)
    return np.maximum(mean, 1e-12)


def load_model(run: RunFolder, fold: str) -> TimesCLIP:
    """The frozen model of one fold of a stage-1 run."""
    model = TimesCLIP.described(run.read_json("fitted.json")[fold]["model"])
    model.load_state_dict(run.read_weights(f"{fold}/encoder."))
    return model.eval().requires_grad_(False)
