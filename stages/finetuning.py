"""Stage 3 on one fold: the encoder and the heads of a stage-2 run learn on together; forecasts as in stage 2."""

from __future__ import annotations

import copy

import numpy as np
import torch

from model.completion import SeasonRows
from model.finetuning import FinetuningTask, LabelledSeason, SeasonForecaster
from model.offset import Offset
from model.timesclip import TimesCLIP, TimesCLIPConfig
from model.training.loop import Trainer
from model.training.placement import placed
from model.training.sampling import balancing_weights
from model.yields import AnomalyScale, YieldEnsemble, conformal_radius
from pipeline.errors import InputError
from report.run import RunFolder
from stages.forecasting import Forecast, Forecaster, Rows, SeenSeasons, anomaly_of, known_in
from stages.prepare import Prepared


def run_fold(prepared: Prepared, source: RunFolder, trainer: Trainer, balance: bool) -> Forecast:
    """Fine-tune on the training rows; the validation rows choose epoch and interval; then again on both for that long.

    Both start from the stage-2 weights that saw no validation label. Offset and scale of the anomaly are those that
    stage 2 took from the training rows. The test rows are read after that, once.
    """
    table, fold, device = prepared.table, prepared.fold, trainer.processes.device
    start = load_start(source, fold.name)
    record = source.read_json("fitted.json")[fold.name]["forecaster"]
    offset, level = Offset.from_dict(record["offset"]), record["level"]
    seasons = placed(prepared.seasons, device)

    known = known_in(table, fold, fold.train)
    anomaly = anomaly_of(table, fold.train, offset, known, own=True)
    scale = AnomalyScale.fit(anomaly)

    def task(
        model: SeasonForecaster, rows: Rows, anomaly: torch.Tensor, valid: LabelledSeason | None
    ) -> FinetuningTask:
        weights = balancing_weights(table.target[rows]) if balance else None
        learnt = SeasonRows(seasons, torch.from_numpy(rows).to(device), weights)
        return FinetuningTask(model, learnt, anomaly.to(device), valid, trainer.schedule.batch_size)

    model = copy.deepcopy(start).to(device)
    torch.manual_seed(trainer.seed)
    at = torch.from_numpy(fold.valid).to(device)
    wanted = scale.apply(anomaly_of(table, fold.valid, offset, known, own=False)).to(device)
    judged = LabelledSeason(seasons[0].rows(at), wanted)
    fit = trainer.fit(task(model, fold.train, scale.apply(anomaly), judged), f"{fold.name}/train")
    chosen = Forecaster(model.yields, scale, offset, known, 0.0, level)
    valid_forecast = SeenSeasons.of(model.encoder, table, seasons[0]).forecast(chosen, fold.valid)
    radius = conformal_radius(table.target[fold.valid] - valid_forecast)
    first = model.yields

    learnt = np.sort(np.concatenate([fold.train, fold.valid]))
    known = known_in(table, fold, learnt)
    if not fit.interrupted:
        model = copy.deepcopy(start).to(device)
        torch.manual_seed(trainer.seed)
        anomaly = anomaly_of(table, learnt, offset, known, own=True)
        trainer.refit(task(model, learnt, scale.apply(anomaly), None), f"{fold.name}/refit", fit.best_epoch)
    forecaster = Forecaster(model.yields, scale, offset, known, radius, level)
    test = SeenSeasons.of(model.encoder, table, seasons[0]).forecast(forecaster, fold.test)
    return Forecast(prepared, model.encoder, forecaster, fit, learnt, valid_forecast, test, first)


def load_start(source: RunFolder, fold: str) -> SeasonForecaster:
    """Encoder and heads of a fold of a stage-2 run as they were before validation labels were learnt."""
    record = source.read_json("fitted.json")[fold]
    encoder = TimesCLIP(TimesCLIPConfig(**record["model"]))
    encoder.load_state_dict(source.read_weights(f"{fold}/encoder."))
    weights = source.read_weights(f"{fold}/first.")
    if not weights:
        raise InputError(f"{source.path} keeps no heads from before the refit; run `python train.py --stage 2` again.")
    members, level = record["forecaster"]["members"], record["forecaster"]["level"]
    heads = YieldEnsemble(members, 2 * encoder.config.feature_dim, encoder.config.variates, level)
    heads.load_state_dict(weights)
    return SeasonForecaster(encoder, heads)
