"""A loaded frozen encoder: ink and a colour in, one float16 embedding per picture out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.encoders.backends import CPU_BATCH, Encode, EngineName, by_openvino, by_torch, choose
from model.encoders.spec import EncoderError, EncoderSpec

GPU_BATCH = 256  # pictures per batch
QUEUE = 1024  # pictures per call of OpenVINO, which splits them into batches itself


def load(spec: EncoderSpec, engine: EngineName = "auto") -> Encoder:
    """The encoder of a resolved spec, in float32, frozen. Raises EncoderError if weights or engine do not fit."""
    runs, device, _ = choose(engine)
    if runs == "openvino":
        return Encoder(spec, by_openvino(spec), QUEUE)
    return Encoder(spec, by_torch(spec, device), CPU_BATCH if device == "cpu" else GPU_BATCH)


@dataclass(frozen=True)
class Encoder:
    """`run` maps ink [n,H,W] and line colours [n,3], both uint8, to features [n,D]; n is at most `batch`."""

    spec: EncoderSpec
    run: Encode
    batch: int = CPU_BATCH

    def encode(self, ink: NDArray[np.uint8], rgb: NDArray[np.uint8], batch: int | None = None) -> NDArray[np.float16]:
        """ink [n,224,224] uint8 (0 paper, 255 full ink), rgb [n,3] uint8 line colours -> [n,D] float16.

        Every row depends on its own picture alone (to 1e-3, for any batch size). Raises EncoderError if a feature is
        not finite in float16.
        """
        if ink.ndim != 3 or ink.dtype != np.uint8 or rgb.shape != (len(ink), 3) or rgb.dtype != np.uint8:
            raise ValueError(
                f"ink must be uint8 [n,H,W] and rgb uint8 [n,3]; got {ink.dtype} {ink.shape} and "
                f"{rgb.dtype} {rgb.shape}"
            )
        batch = batch or self.batch
        rows = np.empty((len(ink), self.spec.dim), np.float16)
        for start in range(0, len(ink), batch):
            features = self.run(ink[start : start + batch], rgb[start : start + batch])
            if features.shape[1:] != (self.spec.dim,):
                raise EncoderError(
                    f"Encoder {self.spec.name} gives features {list(features.shape)}, expected [n,{self.spec.dim}]."
                )
            with np.errstate(over="ignore"):  # values that do not fit become infinite, and raise below
                rows[start : start + batch] = features
        if not np.isfinite(rows).all():
            row = int(np.nonzero(~np.isfinite(rows).all(axis=1))[0][0])
            raise EncoderError(
                f"Encoder {self.spec.name} gives a feature that is not finite in float16 for picture {row} of "
                f"{len(rows)}. Its weights ({self.spec.location}) are damaged or do not suit this input."
            )
        return rows
