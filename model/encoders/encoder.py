"""A loaded frozen encoder: ink and a colour in, one float16 vector a picture out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from model.encoders import efficientnet, huggingface, openclip, timm_zoo, tuned
from model.encoders.engine import EngineName, choose, compiled
from model.encoders.pixels import images
from model.encoders.spec import EncoderError, EncoderSpec

# Pictures a step. On 2 CPU cores 16 keeps the activations of EfficientNet-Lite0 in cache: 24.6 pictures a core
# second, against 22 at 8, 23.5 at 32, 19 at 64, 17 at 128.
CPU_BATCH, GPU_BATCH = 16, 256


def load(spec: EncoderSpec, engine: EngineName = "auto") -> Encoder:
    """The encoder of a resolved spec, in float32, frozen. Raises EncoderError where weights or engine do not fit."""
    runs, device, _ = choose(engine)
    net = tower(spec)
    if runs == "openvino":
        return Encoder(spec, compiled(net, spec.size, CPU_BATCH), device)
    return Encoder(spec, net.to(device).to(memory_format=torch.channels_last), device)


def tower(spec: EncoderSpec) -> torch.nn.Module:
    """images [n,3,S,S], normalised -> features [n,D], in float32, frozen. Raises EncoderError as `load` does."""
    if spec.base is not None:
        return tuned.put_into(tower(spec.base), spec)
    families = {"open_clip": openclip, "transformers": huggingface, "timm": timm_zoo}
    family = families.get(spec.name.partition(":")[0], efficientnet)
    net: torch.nn.Module = family.tower(spec)
    return net.float().eval().requires_grad_(False)


@dataclass(frozen=True)
class Encoder:
    """`tower` maps normalised images [n,3,S,S] on `device` to features [n,D]; n is at most the batch."""

    spec: EncoderSpec
    tower: Callable[[torch.Tensor], torch.Tensor]
    device: str = "cpu"

    def encode(
        self,
        ink: NDArray[np.uint8] | torch.Tensor,
        rgb: NDArray[np.uint8] | torch.Tensor,
        batch: int | None = None,
    ) -> NDArray[np.float16]:
        """ink [n,224,224] uint8 (0 paper, 255 full ink), rgb [n,3] uint8 line colours -> [n,D] float16.

        Every row depends on its own picture alone (to 1e-3, whatever the batch). Raises EncoderError when a
        feature is not finite in float16.
        """
        ink, rgb = torch.as_tensor(ink), torch.as_tensor(rgb)
        if ink.ndim != 3 or ink.dtype != torch.uint8 or rgb.shape != (len(ink), 3) or rgb.dtype != torch.uint8:
            raise ValueError(
                f"ink must be uint8 [n,H,W] and rgb uint8 [n,3]; got {ink.dtype} {tuple(ink.shape)} and "
                f"{rgb.dtype} {tuple(rgb.shape)}"
            )
        batch = batch or (CPU_BATCH if self.device == "cpu" else GPU_BATCH)
        rows = np.empty((len(ink), self.spec.dim), np.float16)
        for start in range(0, len(ink), batch):
            stop = start + batch
            rows[start:stop] = self._features(ink[start:stop], rgb[start:stop])
        if not np.isfinite(rows).all():
            row = int(np.nonzero(~np.isfinite(rows).all(axis=1))[0][0])
            raise EncoderError(
                f"Encoder {self.spec.name} gives a feature that is not finite in float16 for picture {row} of "
                f"{len(rows)}. Its weights ({self.spec.location}) are damaged or do not suit this input."
            )
        return rows

    @torch.inference_mode()
    def _features(self, ink: torch.Tensor, rgb: torch.Tensor) -> NDArray[np.float16]:
        features = self.tower(self.images(ink, rgb))
        if features.ndim != 2 or features.shape[1] != self.spec.dim:
            raise EncoderError(
                f"Encoder {self.spec.name} gives features {list(features.shape)}, expected [n,{self.spec.dim}]."
            )
        rows: NDArray[np.float16] = features.to(torch.float16).cpu().numpy()
        return rows

    def images(self, ink: torch.Tensor, rgb: torch.Tensor) -> torch.Tensor:
        """As the tower takes them, on its device: [n,H,W] and [n,3] uint8 -> [n,3,S,S] float32."""
        return images(self.spec, ink.to(self.device), rgb.to(self.device))
