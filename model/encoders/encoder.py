"""A loaded frozen encoder: ink and a colour in, one float16 vector a picture out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from model.encoders import efficientnet, huggingface, openclip, timm_zoo
from model.encoders.engine import EngineName, choose, compiled
from model.encoders.spec import EncoderError, EncoderSpec

# Pictures a step. On 2 CPU cores 16 keeps the activations of EfficientNet-Lite0 in cache: 24.6 pictures a core
# second, against 22 at 8, 23.5 at 32, 19 at 64, 17 at 128.
CPU_BATCH, GPU_BATCH = 16, 256


def load(spec: EncoderSpec, engine: EngineName = "auto") -> Encoder:
    """The encoder of a resolved spec, in float32, frozen. Raises EncoderError where weights or engine do not fit."""
    families = {"open_clip": openclip, "transformers": huggingface, "timm": timm_zoo}
    family = families.get(spec.name.partition(":")[0], efficientnet)
    runs, device, _ = choose(engine)
    net = family.tower(spec).eval().requires_grad_(False)
    if runs == "openvino":
        return Encoder(spec, compiled(net.float(), spec.size, CPU_BATCH), device)
    net = net.to(device=device, dtype=torch.float32, memory_format=torch.channels_last)
    return Encoder(spec, net, device)


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
        """Coloured ink on white, normalised for the tower: [n,H,W] and [n,3] uint8 -> [n,3,S,S] float32.

        pixel = (255 - ink * (255 - rgb) / 255) / 255, then (pixel - mean) / std: one multiply-add a channel.
        """
        device = self.device
        mean = torch.tensor(self.spec.mean, device=device)
        std = torch.tensor(self.spec.std, device=device)
        plane = self._resized(ink.to(device, torch.float32))
        slope = (rgb.to(device, torch.float32) - 255) / (255 * 255 * std)
        # [n,H,W,3] seen as [n,3,H,W] is channels_last without a copy.
        image = torch.addcmul((1 - mean) / std, plane[..., None], slope[:, None, None, :])
        return image.permute(0, 3, 1, 2)

    def _resized(self, plane: torch.Tensor) -> torch.Tensor:
        size = (self.spec.size, self.spec.size)
        if plane.shape[1:] == size:
            return plane
        # Ink and pixel are affine to each other, so one plane is resized instead of three.
        resized = functional.interpolate(plane[:, None], size, mode="bicubic", antialias=True)
        return resized[:, 0].clamp(0, 255)
