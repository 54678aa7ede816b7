"""PatchTST, iTransformer, DLinear and TimesNet of the package `neuralforecast`, on the same windows.

Differences from this package's defaults: values are not scaled again per series. A training window that extends beyond
the training rows (padded with zeros) is left out. Training minimises MSE. The weights of the best validation score are
restored, while early stopping alone keeps the last ones. A training step draws `windows` windows at random from all
training windows, so no stride is needed. PatchTST, DLinear and TimesNet read one variate at a time, as in the package;
iTransformer reads all variates together. Validation and test windows are all windows of their part.
"""

from __future__ import annotations

import logging
import warnings
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from benchmarks.forecasting.data import Numbers, Series
from pipeline.errors import InputError

if TYPE_CHECKING:
    from neuralforecast import NeuralForecast


@dataclass(frozen=True)
class Recipe:
    """Training settings of one peer."""

    rates: tuple[float, ...]
    """Learning rates to try; the one with the best validation score counts."""
    windows: int
    """Windows per step, with one variate each; those of iTransformer have all variates."""
    steps: int = 1000
    """Maximum number of steps per learning rate."""
    check: int = 25
    """Steps between validation scores."""
    patience: int = 12
    """Stop after this many validation scores without a better one."""
    shape: dict[str, Any] = field(default_factory=dict)
    """Arguments of the model."""
    note: str = ""
    """Differences from the published settings, for the table."""


PATCHTST = {
    "encoder_layers": 3,
    "n_heads": 4,
    "hidden_size": 16,
    "linear_hidden_size": 128,
    "dropout": 0.3,
    "fc_dropout": 0.3,
    "revin_subtract_last": False,
}
ITRANSFORMER = {"hidden_size": 256, "d_ff": 256, "n_heads": 8, "e_layers": 2}
DLINEAR = {"moving_avg_window": 25}
TIMESNET = {
    "hidden_size": 16,
    "conv_hidden_size": 16,
    "top_k": 5,
    "num_kernels": 4,
    "encoder_layers": 2,
    "scaler_type": "standard",
}

# Published settings, by model:
# PatchTST      github.com/yuqinie98/PatchTST: illness.sh (patch 24, stride 2, rate 0.0025), etth1.sh (16, 8,
#               rate 0.0001). Those of the Time-Series-Library (width 1024 to 2048) do not fit two cores.
# iTransformer  github.com/thuml/iTransformer: iTransformer_ETTh1.sh (width 256, 2 layers, rate 0.0001); it has none for
#               ILI, so the same there.
# DLinear       github.com/cure-lab/LTSF-Linear: ili.sh (rate 0.01), etth1.sh (rate 0.005); moving average of 25.
# TimesNet      github.com/thuml/Time-Series-Library: TimesNet.sh of ILI (width 768, cut to 16 here), TimesNet_ETTh1.sh
#               (width 16, in convolutions 32, cut to 16 here); 6 kernels (4 here), top 5 periods, 2 layers, each
#               window scaled by its own mean and spread, as published; rate 0.001 instead of 0.0001, since its steps
#               are few here; so are those of PatchTST on ETTh1.
# Other files take the recipes of ETTh1.
RECIPES: dict[str, dict[str, Recipe]] = {
    "ili": {
        "PatchTST": Recipe((2.5e-3, 5e-4), windows=112, shape={**PATCHTST, "patch_len": 24, "stride": 2}),
        "iTransformer": Recipe((1e-4,), windows=32, shape=ITRANSFORMER),
        "DLinear": Recipe((1e-2,), windows=224, shape=DLINEAR),
        "TimesNet": Recipe(
            (1e-3,),
            64,
            steps=600,
            check=100,
            shape=TIMESNET,
            note="cut: width 16 instead of 768, 4 kernels instead of 6",
        ),
    },
    "etth1": {
        "PatchTST": Recipe(
            (1e-3,), 224, steps=1000, check=200, patience=3, shape={**PATCHTST, "patch_len": 16, "stride": 8}
        ),
        "iTransformer": Recipe((1e-4,), 32, steps=1000, check=200, patience=3, shape=ITRANSFORMER),
        "DLinear": Recipe((5e-3,), 224, steps=1000, check=200, patience=3, shape=DLINEAR),
        "TimesNet": Recipe(
            (1e-3,),
            64,
            steps=300,
            check=150,
            shape=TIMESNET,
            note="cut: convolutions of width 16, 4 kernels, 300 steps",
        ),
    },
}
PEERS = ("PatchTST", "iTransformer", "DLinear", "TimesNet")


@dataclass(frozen=True, eq=False)
class Forecast:
    """Forecasts [N,V,H] of every test window, steps taken, and the learning rate chosen on validation windows."""

    values: Numbers
    steps: int
    rate: float
    valid_mse: float
    windows: int
    note: str

    def record(self) -> dict[str, Any]:
        """Fields for the result row."""
        return {
            "steps": self.steps, "rate": self.rate, "valid_mse": self.valid_mse, "windows_a_step": self.windows,
            "note": self.note,
        }  # fmt: skip


def forecast(name: str, series: Series, horizon: int, seed: int) -> Forecast:
    """Train one peer once per learning rate, and forecast with the rate that is best on validation windows."""
    recipe = RECIPES.get(series.benchmark.name, RECIPES["etth1"])[name]
    tried = [_at_rate(name, recipe, rate, series=series, horizon=horizon, seed=seed) for rate in recipe.rates]
    return min(tried, key=lambda one: one.valid_mse)


def _at_rate(name: str, recipe: Recipe, rate: float, *, series: Series, horizon: int, seed: int) -> Forecast:
    from neuralforecast.losses.pytorch import (
        MSE,  # imported here, as the rest of the benchmark runs without the package
    )

    best = _best_weights()
    engine = _engine(name, recipe, rate, series=series, horizon=horizon, seed=seed, loss=MSE(), best=best)
    _, valid, test = series.rows
    frame = engine.cross_validation(
        long_frame(series), n_windows=None, step_size=1, val_size=valid, test_size=test, refit=False, verbose=False
    )
    frame = frame.sort_values(["unique_id", "cutoff", "ds"])
    _, truth = series.windows("test", horizon)
    count, variates = len(truth), len(series.variates)
    given, made = (
        frame[column].to_numpy(np.float64).reshape(variates, count, horizon).transpose(1, 0, 2)
        for column in ("y", name)
    )
    if not np.allclose(given, truth, atol=1e-6):
        raise AssertionError(f"{name}: neuralforecast has forecast other windows than those of the benchmark")
    fitted = engine.models[0]
    steps = fitted.train_trajectories[-1][0] + 1
    score = min(score for _, score in fitted.valid_trajectories)
    return Forecast(values=made, steps=steps, rate=rate, valid_mse=score, windows=recipe.windows, note=recipe.note)


def _engine(
    name: str, recipe: Recipe, rate: float, *, series: Series, horizon: int, seed: int, loss: Any, best: Any
) -> NeuralForecast:
    import neuralforecast.models
    from neuralforecast import NeuralForecast

    for logger in ("pytorch_lightning", "lightning_fabric", "lightning.pytorch"):
        logging.getLogger(logger).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="pytorch_lightning|lightning_fabric|torch|neuralforecast")
    chosen = {"scaler_type": "identity"} | recipe.shape
    model = getattr(neuralforecast.models, name)(
        h=horizon,
        input_size=series.benchmark.look_back,
        loss=loss,
        valid_loss=loss,
        learning_rate=rate,
        max_steps=recipe.steps,
        val_check_steps=recipe.check,
        early_stop_patience_steps=recipe.patience,
        batch_size=len(series.variates),
        windows_batch_size=recipe.windows,
        inference_windows_batch_size=256,
        training_data_availability_threshold=1.0,
        random_seed=seed,
        alias=name,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        callbacks=[best],
        **({"n_series": len(series.variates)} if name == "iTransformer" else {}),
        **chosen,
    )
    return NeuralForecast(models=[model], freq=1)


def _best_weights() -> Any:
    """A callback that restores the weights of the best validation score when training ends."""
    from pytorch_lightning.callbacks import Callback

    class BestWeights(Callback):  # type: ignore[misc]
        score, weights = float("inf"), None

        def on_validation_end(self, trainer: Any, module: Any) -> None:
            score = float(trainer.callback_metrics["ptl/val_loss"])
            if score < self.score:
                self.score = score
                self.weights = {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}

        def on_fit_end(self, trainer: Any, module: Any) -> None:
            module.load_state_dict(self.weights)

    return BestWeights()


def long_frame(series: Series) -> pd.DataFrame:
    """One row per variate and step, the format of neuralforecast; ids sort like the variates."""
    rows, variates = series.values.shape
    return pd.DataFrame(
        {
            "unique_id": np.repeat([f"{v:03d}" for v in range(variates)], rows),
            "ds": np.tile(np.arange(rows), variates),
            "y": series.values.T.reshape(-1),
        }
    )


def refuse_if_absent() -> None:
    """Raise InputError if `neuralforecast` is not installed."""
    if find_spec("neuralforecast") is None:
        raise InputError(
            "the peers need the package neuralforecast: `pip install -r requirements-benchmarks.txt`, or leave them "
            "out with --models."
        )
