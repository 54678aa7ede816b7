"""The frozen features of a run's stage-1 model for each sample, as a table for other tools."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from model.completion_task import features
from model.timesclip import TimesCLIP
from pipeline.errors import InputError
from pipeline.splits import Fold
from pipeline.table import SeasonTable
from pipeline.windows import windows
from report.run import RunFolder
from stages.completion import completion_stage
from stages.inputs.fold_data import Pictures, Scales, assemble
from stages.yields.yield_forecaster import FEATURE_BATCH, Forecaster


def season_tokens(run: RunFolder, table: SeasonTable, pictures: Pictures | None) -> pd.DataFrame:
    """One row per fold, sample, variate and window: sample_id, place, year, fold, variate, window, f000, f001, ...

    The F numbers of a row are the tokens of one variate in one window, side by side. Folds have models of their own,
    so their numbers cannot be compared. Raises InputError if the run has no stage-1 model.
    """
    fitted = run.read_json("fitted.json")
    return pd.concat([_of_fold(run, table, fold, record, pictures) for fold, record in fitted.items()])


def _of_fold(
    run: RunFolder, table: SeasonTable, name: str, record: Mapping[str, Any], pictures: Pictures | None
) -> pd.DataFrame:
    every = np.arange(len(table))
    season = assemble(
        table,
        Fold(name, every[:0], every[:0], every),
        Scales.from_dict(record),
        framing=record["framing"],
        pictures=pictures,
    ).seasons[0]
    model = _model(run, name)
    names = [window.name for window in windows(table.steps, table.cut, record["framing"])][-len(season.windows) :]
    tables = []
    for window, label in zip(season.windows, names, strict=True):
        tokens = features(model, window, FEATURE_BATCH).numpy()  # [n,V,F]
        n, variates, size = tokens.shape
        about = {
            "sample_id": table.sample_id.repeat(variates),
            "place": table.place.repeat(variates),
            "year": table.year.repeat(variates),
            "fold": name,
            "variate": np.tile(table.variate_names, n),
            "window": label,
        }
        numbers = pd.DataFrame(tokens.reshape(n * variates, size), columns=[f"f{at:03d}" for at in range(size)])
        tables.append(pd.concat([pd.DataFrame(about), numbers], axis=1))
    return pd.concat(tables, ignore_index=True)


def _model(run: RunFolder, fold: str) -> TimesCLIP:
    result = run.read_json("result.json")
    if result["stage"] == 1:
        return completion_stage.load_model(run, fold)
    neural = Forecaster.load(run, fold).neural
    if neural is None:
        source = result.get("from")
        raise InputError(
            f"{run.path} holds no stage-1 model, as its learners read none. "
            + (f"Take the run that it started from: --run {source}" if source else "Take a stage-1 run.")
        )
    return neural.encoder
