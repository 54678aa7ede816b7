"""The encoder as one torch module, from ink and a colour to features: run by torch, or converted for OpenVINO."""

from __future__ import annotations

import torch
from torch.nn import functional

from model.encoders import efficientnet, finetuned, huggingface, openclip, timm_models
from model.encoders.spec import EncoderSpec

FAMILIES = {"open_clip": openclip, "transformers": huggingface, "timm": timm_models}


class EncoderModule(torch.nn.Module):
    """Colours the ink, normalises the images and runs `tower`: normalised images [n,3,S,S] -> features [n,D]."""

    white: torch.Tensor  # [3], a pixel without ink, normalised
    scale: torch.Tensor  # [3], divides ink * (rgb - 255)

    def __init__(self, spec: EncoderSpec, tower: torch.nn.Module) -> None:
        super().__init__()
        mean, std = torch.tensor(spec.mean), torch.tensor(spec.std)
        self.register_buffer("white", (1 - mean) / std)
        self.register_buffer("scale", 255 * 255 * std)
        self.tower = tower

    def images(self, plane: torch.Tensor, rgb: torch.Tensor) -> torch.Tensor:
        """Coloured ink on white, normalised for the tower: [n,S,S] and [n,3] float32 -> [n,3,S,S].

        pixel = (255 - ink * (255 - rgb) / 255) / 255, then (pixel - mean) / std: one multiply-add per channel.
        """
        slope = (rgb - 255) / self.scale
        # A [n,S,S,3] array viewed as [n,3,S,S] is channels_last without a copy.
        return torch.addcmul(self.white, plane[..., None], slope[:, None, None, :]).permute(0, 3, 1, 2)

    def forward(self, plane: torch.Tensor, rgb: torch.Tensor) -> torch.Tensor:
        """Ink [n,S,S] and line colours [n,3], 0 to 255 in float32 -> features [n,D]."""
        features: torch.Tensor = self.tower(self.images(plane, rgb))
        return features


def build_module(spec: EncoderSpec) -> EncoderModule:
    """The module of a resolved spec, in float32, frozen. Raises EncoderError if its weights do not fit."""
    return EncoderModule(spec, tower(spec)).eval()


def tower(spec: EncoderSpec) -> torch.nn.Module:
    """images [n,3,S,S], normalised -> features [n,D], in float32, frozen.

    Raises EncoderError as `build_module` does.
    """
    if spec.base is not None:
        return finetuned.put_into(tower(spec.base), spec)
    net: torch.nn.Module = FAMILIES.get(spec.name.partition(":")[0], efficientnet).tower(spec)
    return net.float().eval().requires_grad_(False)


def resized(plane: torch.Tensor, side: int) -> torch.Tensor:
    """Ink [n,H,W] float32 -> [n,side,side], bicubic and anti-aliased; unchanged if it has this size.

    A pixel is an affine function of ink, so one plane is resized instead of three.
    """
    if plane.shape[1:] == (side, side):
        return plane
    return functional.interpolate(plane[:, None], (side, side), mode="bicubic", antialias=True)[:, 0].clamp(0, 255)
