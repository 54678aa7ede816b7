"""Complete seasons with initial weights alone, without training on the table."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from model.completion_task import complete
from model.config import TimesCLIPConfig
from model.initial_weights import InitialWeights, Start
from model.presets import PRESETS
from model.timesclip import TimesCLIP
from pipeline.errors import InputError
from pipeline.scaling import Scaler, y_ranges
from pipeline.splits import Fold
from pipeline.style import Style
from pipeline.table import SeasonTable
from stages.completion.completion_stage import model_config
from stages.inputs.fold_data import FoldData, Pictures, Scales, assemble
from stages.inputs.initial_weights import level_map

BATCH = 256
PRESET = PRESETS["timesclip"]


def scales_before_cut(table: SeasonTable) -> Scales:
    """Scales and y-ranges of all samples by their steps before the cut: nothing that is completed enters."""
    every = np.arange(len(table))
    before = table.observed & (np.arange(table.steps) < table.cut)
    lows, highs = [v.low for v in table.variates], [v.high for v in table.variates]
    none = np.zeros(0, np.int64)
    return replace(
        Scales.fit(table, Fold("all", every, none, none)),
        scaler=Scaler.fit(table.values, before, every),
        ranges=y_ranges(table.values, before, every, lows, highs),
    )


def seasons_to_complete(table: SeasonTable, scales: Scales, pictures: Pictures) -> FoldData:
    """All samples with their pictures, in these scales."""
    none = np.zeros(0, np.int64)
    return assemble(
        table, Fold("all", np.arange(len(table)), none, none), scales, framing=PRESET.framing, pictures=pictures
    )


def untrained_config(data: FoldData) -> TimesCLIPConfig:
    """The config of a model that is not trained on the table: it reads no drivers, as weights for them are missing."""
    return replace(model_config(data, PRESET), drivers=0)


def require_known_steps(table: SeasonTable) -> None:
    """Raise InputError if the steps before the cut are fewer than a patch."""
    if table.cut < PRESET.patch:
        raise InputError(
            f"{table.name}: `cut` is {table.cut}, so only {table.cut} steps are known; completing without training "
            f"needs at least {PRESET.patch}. Set a later `cut` in the dataset card, or use finer steps (season_steps)."
        )


def complete_seasons(data: FoldData, style: Style, weights: InitialWeights) -> NDArray[np.float64]:
    """The completed steps [N,V,H] of every sample, in the variates' own units.

    A completion reads the sample's steps and pictures before the cut, and the scales of the table. NaN for a variate of
    a sample that was not observed before the cut. Missing steps are read as in pretraining.
    """
    config = replace(untrained_config(data), filled=weights.largest.filled)
    return completed_by(Start(weights, level_map(data.scales, style)).build(config), data)


def completed_by(model: TimesCLIP, data: FoldData) -> NDArray[np.float64]:
    """The model's completions [N,V,H] in the variates' own units; NaN for series without a value before the cut."""
    completed, _ = complete(model, data.seasons[0].first, BATCH)
    present = data.seasons[0].first.present.numpy()[:, :, None]
    return np.where(present, data.scales.scaler.inverse(completed.numpy()), np.nan)


def completion_rows(table: SeasonTable, completed: NDArray[np.float64]) -> pd.DataFrame:
    """sample_id, place, year, variate, step, measured (NaN where it was not), completed; one row per step.

    Values are float32, as the table's are, so that a CSV file has them in their shortest form: 0.815.
    """
    n, v, h = completed.shape
    sample, variate, step = (axis.ravel() for axis in np.indices((n, v, h)))
    measured = np.where(table.observed, table.values, np.nan)[:, :, table.cut :]
    return pd.DataFrame(
        {
            "sample_id": table.sample_id[sample],
            "place": table.place[sample],
            "year": table.year[sample],
            "variate": np.array(table.variate_names)[variate],
            "step": step + table.cut,
            "measured": measured.ravel().astype(np.float32),
            "completed": completed.ravel().astype(np.float32),
        }
    )
