"""The part of a model after the embeddings as ONNX, checked against torch before it is kept."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from model.finetuning import SeasonForecaster
from model.seasons import HalfSeason, Season
from model.timesclip import FeatureNorm, TimesCLIP
from model.training.errors import Refused

PACKAGES = ("onnx", "onnxruntime", "onnxscript")
TOLERANCE = 1e-5  # largest difference from torch, in standardised units
HALVES = ("first", "second")


class Forecasting(nn.Module):
    """Both half seasons -> the standardised yield anomaly [B]: the mean over the heads."""

    halves = HALVES

    def __init__(self, forecaster: SeasonForecaster) -> None:
        super().__init__()
        self.forecaster, self.config = forecaster, forecaster.encoder.config

    def forward(self, *inputs: Tensor) -> Tensor:
        """values, observed [B,V,W] and, with vision, embeddings [B,V,D] of the first, then of the second half."""
        size = len(inputs) // 2
        halves = [_half(inputs[:size]), _half(inputs[size:])]
        mean: Tensor = self.forecaster(Season(halves[0], halves[1])).mean(0)
        return mean


class Completion(nn.Module):
    """The first half season -> the standardised second half [B,V,H]."""

    halves = HALVES[:1]

    def __init__(self, encoder: TimesCLIP) -> None:
        super().__init__()
        self.encoder, self.config = encoder, encoder.config

    def forward(self, *inputs: Tensor) -> Tensor:
        """values, observed [B,V,W] and, with vision, embeddings [B,V,D]."""
        half = _half(inputs)
        completion: Tensor = self.encoder(half.values, half.observed, half.embeddings).completion
        return completion


def refuse_unless_installed() -> None:
    """Raises Refused, with the command that installs them, where a package is missing."""
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise Refused(
            f"the ONNX export needs {' and '.join(missing)}: pip install {' '.join(PACKAGES)}, or leave ONNX out with "
            "--no-onnx."
        )


def write_onnx(part: Forecasting | Completion, path: Path) -> float:
    """Write the part, run it by onnxruntime on seasons of 1 and 7 samples; returns the largest difference from torch.

    Raises Refused, and keeps no file, when that is above 1e-5.
    """
    part = _without_checks(part).eval()
    names = [f"{half}_{name}" for half in part.halves for name in _names(part)]
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
    """Largest absolute difference between onnxruntime and torch on made seasons."""
    import onnxruntime

    inputs = _inputs(part, samples, seed=samples)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [found.name for found in session.get_inputs()]
    (found,) = session.run(None, {name: tensor.numpy() for name, tensor in zip(names, inputs, strict=True)})
    with torch.no_grad():
        return float(np.abs(found - part(*inputs).numpy()).max())


def _names(part: Forecasting | Completion) -> tuple[str, ...]:
    return ("values", "observed", "embeddings") if part.config.use_vision else ("values", "observed")


def _inputs(part: Forecasting | Completion, samples: int, seed: int) -> tuple[Tensor, ...]:
    """Made seasons with gaps, as the part takes them."""
    rng = torch.Generator().manual_seed(seed)
    shape = (samples, part.config.variates, part.config.window)
    inputs: list[Tensor] = []
    for _ in part.halves:
        observed = torch.rand(shape, generator=rng) > 0.2
        inputs += [torch.where(observed, torch.randn(shape, generator=rng), 0), observed]
        if part.config.use_vision:
            inputs.append(torch.randn(*shape[:2], part.config.vision_dim, generator=rng))
    return tuple(inputs)


def _half(inputs: tuple[Tensor, ...]) -> HalfSeason:
    return HalfSeason(inputs[0], inputs[1], inputs[2] if len(inputs) > 2 else None)


def _without_checks(part: Forecasting | Completion) -> Forecasting | Completion:
    """A copy whose norms do not ask whether they were fitted: a graph cannot raise."""
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
