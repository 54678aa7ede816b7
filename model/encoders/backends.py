"""Backends that run an image tower: OpenVINO on a CPU, or torch if OpenVINO has no wheel. A GPU always runs torch.

Both compute in float32 and differ by about 1e-5, less than the resolution of float16, so their embeddings share a
namespace.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from model.encoders.openvino_cache import FILES, is_whole, keep, place
from model.encoders.spec import EncoderError, EncoderSpec

# Ink [n,H,W] and colours [n,3], both uint8, to embeddings [n,D].
Encode = Callable[[NDArray[np.uint8], NDArray[np.uint8]], NDArray[np.floating[Any]]]
EngineName = Literal["auto", "torch", "openvino"]
# Pictures per batch of torch on a CPU. On 2 cores a batch of 16 keeps the activations of EfficientNet-Lite0 in the
# processor's cache: 24.6 pictures per core and second, against 22 at 8, 23.5 at 32, 19 at 64, 17 at 128.
CPU_BATCH = 16
# Pictures per batch of OpenVINO. On 2 cores, EfficientNet-Lite0 and three rounds: 195 to 202 pictures per second at 2
# with 4 batches ready, 181 to 200 at 1, 163 to 192 at 4, 155 to 169 at 16 with 2 batches ready. ViT-S/14: 17 at 2, 16
# at 16. The embeddings are the same to the last bit.
OPENVINO_BATCH = 2
# Batches that OpenVINO computes side by side, each on a share of the threads. They do not wait for each other after
# every layer. On 2 cores: 48.9 pictures per core and second, against 44.9 if both threads compute one batch.
MOST_STREAMS = 8
WORTH_IT = 1000  # pictures; below this, converting the tower (three to six seconds, once) does not pay off
INSTALL = "pip install -r requirements.txt"
GPU_FILES = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg", "/dev/nvhost-gpu")  # NVIDIA, AMD, WSL, Jetson


def choose(
    name: EngineName, rows: int = WORTH_IT, spec: EncoderSpec | None = None
) -> tuple[Literal["torch", "openvino"], str, str]:
    """Engine, torch device, and a line with the reason, for `rows` pictures by this encoder.

    Raises EncoderError if OpenVINO is requested and not installed.
    """
    installed = importlib.util.find_spec("openvino") is not None
    if name == "openvino" and not installed:
        raise EncoderError(
            f"--engine openvino needs the package openvino, which is not installed. Run: {INSTALL}. It leaves OpenVINO "
            "out on platforms without a wheel (Linux on ARM, macOS on Intel): use --engine torch there."
        )
    if name != "openvino" and (gpu := gpu_name()):
        return "torch", "cuda", f"torch on {gpu}"
    ready = installed and spec is not None and is_whole(place(spec))
    if name == "torch" or not installed or (name == "auto" and rows < WORTH_IT and not ready):
        hint = f"; OpenVINO is faster but not installed ({INSTALL})" if not installed and rows >= WORTH_IT else ""
        return "torch", "cpu", f"torch on the CPU, {threads()} threads{hint}"
    first = "" if ready else "; the first time it converts the network, which takes some seconds"
    return "openvino", "cpu", f"OpenVINO {version('openvino')} on the CPU, {threads()} threads{first}"


def gpu_name() -> str:
    """Name of the GPU that torch can use, or "". Torch takes a second to load, so device files are checked first."""
    if not any(Path(file).exists() for file in GPU_FILES):
        return ""
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else ""


def threads() -> int:
    """Number of compute threads: OMP_NUM_THREADS, or one per processor that this process may use."""
    return int(os.environ.get("OMP_NUM_THREADS", "").partition(",")[0] or len(os.sched_getaffinity(0)))


def silent_openvino() -> Any:
    """The module openvino, imported without its telemetry.

    By default the import sends usage statistics to the vendor and writes an identifier below the home folder. Without
    the package openvino_telemetry, OpenVINO uses its own stub.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None makes the import fail
    import openvino

    return openvino


def by_torch(spec: EncoderSpec, device: str) -> Encode:
    """A function by torch on a device: ink [n,H,W] and colours [n,3], both uint8 -> features [n,D] float32."""
    import torch

    from model.encoders.encoder_module import build_module, resized

    net = build_module(spec).to(device).to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def encode(ink: NDArray[np.uint8], rgb: NDArray[np.uint8]) -> NDArray[np.floating[Any]]:
        plane, colour = (torch.from_numpy(part).to(device).float() for part in (ink, rgb))
        features: NDArray[np.float32] = net(resized(plane, spec.size), colour).cpu().numpy()
        return features

    return encode


def by_openvino(spec: EncoderSpec) -> Encode:
    """The same function by OpenVINO on this CPU. Loads torch only to convert the network, once, and to resize.

    Raises EncoderError if OpenVINO cannot convert the network.
    """
    openvino = silent_openvino()
    core, folder = openvino.Core(), place(spec)
    network = core.read_model(folder / FILES[0]) if is_whole(folder) else _converted(spec, folder)
    streams = min(threads(), MOST_STREAMS)
    settings = {
        "NUM_STREAMS": streams,
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": threads(),
    }
    jobs = 2 * streams  # a stream that has finished a batch finds the next one ready
    queue = openvino.AsyncInferQueue(core.compile_model(network, "CPU", settings), jobs)

    def encode(ink: NDArray[np.uint8], rgb: NDArray[np.uint8]) -> NDArray[np.floating[Any]]:
        batches: dict[int, NDArray[np.float32]] = {}

        def done(request: Any, start: int) -> None:
            batches[start] = request.get_output_tensor(0).data.copy()  # the next request overwrites it

        queue.set_callback(done)
        try:
            for start in range(0, len(ink), OPENVINO_BATCH):
                plane = ink[start : start + OPENVINO_BATCH].astype(np.float32)
                if plane.shape[1:] != (spec.size, spec.size):
                    plane = _resized(plane, spec.size)
                queue.start_async([plane, rgb[start : start + OPENVINO_BATCH].astype(np.float32)], start)
        finally:  # after Ctrl-C, too: a request that calls back into a Python that has ended aborts the process
            queue.wait_all()
        return np.concatenate([batches[start] for start in sorted(batches)])

    return encode


def _resized(plane: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    import torch

    from model.encoders.encoder_module import resized

    result: NDArray[np.float32] = resized(torch.from_numpy(plane), side).numpy()
    return result


def _converted(spec: EncoderSpec, folder: Path) -> Any:
    """OpenVINO's network of this encoder, converted from torch's and saved for the next run."""
    from model.encoders.encoder_module import build_module

    openvino = silent_openvino()
    network = converted(build_module(spec), spec.size)
    keep(folder, lambda file: openvino.save_model(network, file, compress_to_fp16=False))
    return network


def converted(module: Any, size: int) -> Any:
    """Convert a torch module of (ink [n,S,S], colours [n,3]), float32, to an OpenVINO network. Raises EncoderError."""
    import torch

    openvino = silent_openvino()
    shapes = [(-1, size, size), (-1, 3)]
    example = tuple(torch.zeros(2, *shape[1:]) for shape in shapes)
    with warnings.catch_warnings():
        # The tracer warns that some values depend on the input's size, which is fixed here, and that torch.export will
        # replace it. torch.export takes three times as long, and its network is half as fast (OpenVINO 2026.4).
        warnings.simplefilter("ignore")
        try:
            return openvino.convert_model(module, example_input=example, input=shapes)
        except (RuntimeError, openvino.frontend.OpConversionFailure) as error:
            reason = " ".join(str(error).split())[:300]
            raise EncoderError(f"OpenVINO cannot convert this encoder ({reason}). Use --engine torch.") from error
