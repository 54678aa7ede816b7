"""Export the part of a model after the embeddings as ONNX, checked against torch before the file is kept."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from model.config import TimesCLIPConfig
from model.joint_finetuning import SeasonForecaster
from model.norms import FeatureNorm
from model.season_tensors import SeasonTensors, WindowTensors
from model.timesclip import TimesCLIP
from model.training.errors import Refused

PACKAGES = ("onnx", "onnxruntime", "onnxscript")
TOLERANCE = 1e-5  # largest difference from torch, in standardised units
WINDOWS = ("first", "second")


class Forecasting(nn.Module):
    """Windows of a season -> the standardised anomaly [B], or [B,O] with quantiles: the mean over the heads."""

    def __init__(self, forecaster: SeasonForecaster) -> None:
        super().__init__()
        self.forecaster, self.config = forecaster, forecaster.encoder.config
        self.shape = forecaster.yields.shape
        self.windows = WINDOWS[-self.shape.windows :]

    def forward(self, *inputs: Tensor) -> Tensor:
        """Per window: values, observed [B,V,W] and, if the model reads them, embeddings [B,V,D], drivers [B,R,2T].

        Then static [B,S], if there is any.
        """
        static = inputs[-1] if self.shape.static else None
        size = len(_names(self.config))
        windows = [
            _window(self.config, inputs[at * size : (at + 1) * size], self._start(at))
            for at in range(len(self.windows))
        ]
        season = SeasonTensors(windows[0], windows[-1], None if len(windows) == 2 else self.config.steps, static)
        mean: Tensor = self.forecaster(season).mean(0)
        return mean if self.shape.outputs > 1 else mean[:, 0]

    def lengths(self) -> tuple[int, ...]:
        """Steps of each window."""
        return (self.config.first, self.config.window)[-len(self.windows) :]

    def _start(self, at: int) -> int:
        return self.config.first * at


class Completion(nn.Module):
    """The first window of a season -> the standardised rest of the season [B,V,H]."""

    windows = WINDOWS[:1]

    def __init__(self, encoder: TimesCLIP) -> None:
        super().__init__()
        self.encoder, self.config = encoder, encoder.config

    def forward(self, *inputs: Tensor) -> Tensor:
        """values, observed [B,V,W] and, if the model reads them, embeddings [B,V,D] and drivers [B,R,2T]."""
        completion: Tensor = self.encoder(*_window(self.config, inputs, 0).inputs()).completion
        return completion

    def lengths(self) -> tuple[int, ...]:
        """Steps of the window."""
        return (self.config.first,)


def require_packages() -> None:
    """Raise Refused, with the command that installs them, if packages are missing."""
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise Refused(
            f"the ONNX export needs {' and '.join(missing)}: pip install {' '.join(PACKAGES)}, or leave ONNX out with "
            "--no-onnx."
        )


def write_onnx(part: Forecasting | Completion, path: Path) -> float:
    """Write the part and run it by onnxruntime on 1 and 7 samples. Returns the largest difference from torch.

    If that is above 1e-5, deletes the file and raises Refused.
    """
    part = _without_checks(part).eval()
    names = [f"{window}_{name}" for window in part.windows for name in _names(part.config)]
    names += ["static"] if isinstance(part, Forecasting) and part.shape.static else []
    shapes = tuple({0: torch.export.Dim("batch", min=1)} for _ in names)
    with _quietly(), torch.no_grad():
        program = torch.onnx.export(
            part,
            _inputs(part, 4, seed=0),
            dynamo=True,
            dynamic_shapes=(shapes,),
            input_names=names,
            output_names=["anomaly" if isinstance(part, Forecasting) else "completion"],
            verbose=False,
        )
    if program is None:
        raise RuntimeError("torch.onnx.export returned nothing")
    program.save(path)
    worst = max(difference(part, path, samples) for samples in (1, 7))
    if not worst <= TOLERANCE:
        path.unlink()
        raise Refused(f"{path.name} differs from torch by {worst:.1e}, more than {TOLERANCE:.0e}; nothing is exported.")
    return worst


def difference(part: Forecasting | Completion, path: Path, samples: int) -> float:
    """Largest absolute difference between onnxruntime and torch on synthetic seasons."""
    import onnxruntime

    inputs = _inputs(part, samples, seed=samples)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]
    (output,) = session.run(None, {name: tensor.numpy() for name, tensor in zip(names, inputs, strict=True)})
    with torch.no_grad():
        return float(np.abs(output - part(*inputs).numpy()).max())


def _names(config: TimesCLIPConfig) -> tuple[str, ...]:
    """Names of the tensors of one window."""
    pictures = ("embeddings",) if config.use_vision else ()
    return ("values", "observed", *pictures, *(("drivers",) if config.drivers else ()))


def _inputs(part: Forecasting | Completion, samples: int, seed: int) -> tuple[Tensor, ...]:
    """Synthetic seasons with gaps, as the inputs of the part."""
    rng, config = torch.Generator().manual_seed(seed), part.config
    inputs: list[Tensor] = []
    for steps in part.lengths():
        shape = (samples, config.variates, steps)
        observed = torch.rand(shape, generator=rng) > 0.2
        inputs += [torch.where(observed, torch.randn(shape, generator=rng), 0), observed]
        if config.use_vision:
            inputs.append(torch.randn(*shape[:2], config.vision_dim, generator=rng))
        if config.drivers:
            mask = (torch.rand(samples, config.drivers, config.steps, generator=rng) > 0.2).float()
            inputs.append(torch.cat([mask * torch.randn(mask.shape, generator=rng), mask], -1))
    if isinstance(part, Forecasting) and part.shape.static:
        inputs.append(torch.randn(samples, part.shape.static, generator=rng))
    return tuple(inputs)


def _window(config: TimesCLIPConfig, inputs: Sequence[Tensor], start: int) -> WindowTensors:
    """One window from its tensors."""
    named = dict(zip(_names(config), inputs, strict=True))
    return WindowTensors(named["values"], named["observed"], named.get("embeddings"), named.get("drivers"), start)


def _without_checks(part: Forecasting | Completion) -> Forecasting | Completion:
    """A copy whose norms do not check that they are fitted, because a graph cannot raise."""
    part = copy.deepcopy(part)
    for norm in part.modules():
        if isinstance(norm, FeatureNorm):
            del norm._buffers["fitted"]
            norm.__dict__["fitted"] = True
    return part


@contextmanager
def _quietly() -> Iterator[None]:
    """Without the exporter's notes, and without the fused attention of eval mode, which has no ONNX operator."""
    fast, level = torch.backends.mha.get_fastpath_enabled(), logging.getLogger("onnxscript").level
    torch.backends.mha.set_fastpath_enabled(False)
    logging.getLogger("onnxscript").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*The axis name: batch will not be used", category=UserWarning)
        try:
            yield
        finally:
            torch.backends.mha.set_fastpath_enabled(fast)
            logging.getLogger("onnxscript").setLevel(level)
