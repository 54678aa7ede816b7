"""Precision of the forward pass: fp32, bf16, or fp16 with a scaler. Weights, loss and optimizer stay in fp32."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import torch
from torch import Tensor, nn

from model.training.errors import Refused

PrecisionName = Literal["auto", "fp32", "bf16", "fp16"]
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Precision:
    """One precision on one device. fp16 gradients are scaled up before the backward pass and down before clipping."""

    def __init__(self, name: str, device: torch.device, start_scale: float = 2.0**16) -> None:
        self.name, self.device = name, device
        self.scaler = torch.amp.GradScaler(device.type, init_scale=start_scale, enabled=name == "fp16")

    def autocast(self) -> AbstractContextManager[Any]:
        """Context of a forward pass."""
        if self.name == "fp32":
            return nullcontext()
        return torch.autocast(self.device.type, DTYPES[self.name])

    def backward(self, loss: Tensor) -> None:
        """Add the gradient of the loss, scaled for fp16."""
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]

    def step(self, optimizer: torch.optim.Optimizer, parameters: list[nn.Parameter], clip: float) -> bool:
        """Unscale, clip, step.

        Returns whether a step was taken: after an overflow of scaled gradients it is skipped.
        """
        self.scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(parameters, clip)
        before = self.scaler.get_scale()
        self.scaler.step(optimizer)
        self.scaler.update()
        return self.scaler.get_scale() >= before


def choose(name: PrecisionName, device: torch.device) -> Precision:
    """The requested precision, or for `auto` the fastest suitable one of the device.

    auto: bf16 on GPUs with bf16 units (compute capability 8), fp16 on those with fp16 units (7), else fp32. On a CPU it
    is always fp32: AVX512-BF16 saves about a tenth of a step at the width of these models, and results would depend on
    the kind of CPU. Raises Refused if the device has no instructions for the requested precision.
    """
    if name == "auto":
        return Precision(_best(device), device)
    if name == "fp16" and device.type != "cuda":
        raise Refused(
            "--precision fp16 needs a CUDA GPU, but this run is on the CPU. Use --precision fp32, or leave it out."
        )
    if name == "bf16" and not does_bf16(device):
        raise Refused(
            f"--precision bf16: {describe(device)} has no bf16 instructions (AVX512-BF16, AMX-BF16 or a GPU of compute "
            "capability 8), and emulating them is slower than fp32. Use --precision fp32, or leave it out."
        )
    return Precision(name, device)


def does_bf16(device: torch.device) -> bool:
    """Whether the device multiplies bf16 in hardware."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))


def describe(device: torch.device) -> str:
    """The device by name."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "this CPU"


def _best(device: torch.device) -> str:
    if device.type != "cuda":
        return "fp32"
    if does_bf16(device):
        return "bf16"
    return "fp16" if torch.cuda.get_device_capability(device) >= (7, 0) else "fp32"
