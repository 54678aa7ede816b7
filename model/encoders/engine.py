"""What runs an image tower: torch, or OpenVINO on a CPU where it is installed (2 to 3 times as fast there).

Both compute in float32 and differ by about 1e-5, less than float16 keeps, so their vectors share a namespace.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable
from importlib.metadata import version
from typing import TYPE_CHECKING, Literal

from model.encoders.spec import EncoderError

if TYPE_CHECKING:
    import torch

EngineName = Literal["auto", "torch", "openvino"]
WORTH_IT = 1000  # pictures; converting a tower takes three to six seconds
INSTALL = "pip install -r requirements-fast.txt"


def choose(name: EngineName, rows: int = WORTH_IT) -> tuple[Literal["torch", "openvino"], str, str]:
    """Engine, torch device, and a line that says why, for so many pictures.

    Raises EncoderError where OpenVINO is asked for and not there.
    """
    import torch

    there = importlib.util.find_spec("openvino") is not None
    if name == "openvino" and not there:
        raise EncoderError(f"--engine openvino needs the package. Run: {INSTALL}")
    if name != "openvino" and torch.cuda.is_available():
        return "torch", "cuda", f"torch on {torch.cuda.get_device_name()}"
    if name == "torch" or not there or (name == "auto" and rows < WORTH_IT):
        hint = f"; OpenVINO is faster on a CPU: {INSTALL}" if not there and rows >= WORTH_IT else ""
        return "torch", "cpu", f"torch on the CPU, {torch.get_num_threads()} threads{hint}"
    return "openvino", "cpu", f"OpenVINO {version('openvino')} on the CPU, {torch.get_num_threads()} threads"


def compiled(tower: torch.nn.Module, size: int, batch: int) -> Callable[[torch.Tensor], torch.Tensor]:
    """The tower, images [n,3,S,S] float32 -> features [n,D], compiled for this CPU in float32; n is at most `batch`.

    Raises EncoderError where OpenVINO cannot convert it.
    """
    import openvino
    import torch

    example = torch.zeros(batch, 3, size, size)
    with warnings.catch_warnings():
        # The tracer warns of what depends on the input's size, which is fixed here, and that torch.export is to follow
        # it: that takes three times as long to convert and gives a network half as fast (OpenVINO 2026.4).
        warnings.simplefilter("ignore")
        try:
            network = openvino.convert_model(tower, example_input=example, input=[(-1, 3, size, size)])
        except (RuntimeError, openvino.frontend.OpConversionFailure) as error:
            reason = " ".join(str(error).split())[:300]
            raise EncoderError(f"OpenVINO cannot convert this encoder ({reason}). Use --engine torch.") from error
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
    }
    request = openvino.Core().compile_model(network, "CPU", settings).create_infer_request()

    def run(images: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(request.infer([images.contiguous().numpy()])[0].copy())

    return run
