"""From ink to what a tower takes: coloured on white, resized, normalised."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from model.encoders.spec import EncoderSpec


def images(spec: EncoderSpec, ink: Tensor, rgb: Tensor) -> Tensor:
    """Coloured ink on white, normalised for the tower: [n,H,W] and [n,3] uint8 -> [n,3,S,S] float32.

    pixel = (255 - ink * (255 - rgb) / 255) / 255, then (pixel - mean) / std: one multiply-add a channel.
    """
    mean = torch.tensor(spec.mean, device=ink.device)
    std = torch.tensor(spec.std, device=ink.device)
    plane = _resized(ink.to(torch.float32), spec.size)
    slope = (rgb.to(torch.float32) - 255) / (255 * 255 * std)
    # [n,H,W,3] seen as [n,3,H,W] is channels_last without a copy.
    image = torch.addcmul((1 - mean) / std, plane[..., None], slope[:, None, None, :])
    return image.permute(0, 3, 1, 2)


def _resized(plane: Tensor, side: int) -> Tensor:
    size = (side, side)
    if plane.shape[1:] == size:
        return plane
    # Ink and pixel are affine to each other, so one plane is resized instead of three.
    resized = functional.interpolate(plane[:, None], size, mode="bicubic", antialias=True)
    return resized[:, 0].clamp(0, 255)
