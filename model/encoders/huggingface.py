"""Image towers of the transformers library: CLIP, ViT and DINOv2, by folder or hub id."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model.encoders import hub
from model.encoders.spec import (
    BY_PATH,
    HALF,
    IMAGENET_MEAN,
    IMAGENET_STD,
    OPENAI_MEAN,
    OPENAI_STD,
    EncoderError,
    EncoderSpec,
    channels,
    folder_digest,
    weights_of,
)  # fmt: skip

if TYPE_CHECKING:
    import torch

# Channel statistics of each family's own image processor, used when preprocessor_config.json is absent.
USUAL = {
    "clip": (OPENAI_MEAN, OPENAI_STD),
    "clip_vision_model": (OPENAI_MEAN, OPENAI_STD),
    "vit": (HALF, HALF),
    "dinov2": (IMAGENET_MEAN, IMAGENET_STD),
}


def resolve(name: str) -> EncoderSpec:
    """`transformers:<folder>` or `transformers:<hub id>`. Raises EncoderError.

    Feature: for CLIP the projected image embedding, not normalised; for a CLIP vision tower saved without its
    projection the pooled output; for ViT and DINOv2 the class token after the last layer norm.
    """
    folder = folder_of(name)
    config = _read(name, folder / "config.json")
    kind = str(config.get("model_type"))
    if kind not in USUAL:
        raise EncoderError(
            f"Encoder {name}: {folder / 'config.json'} is of type {kind!r}; this project reads image features "
            f"of {', '.join(USUAL)}."
        )
    vision = config.get("vision_config", config)
    pixels = folder / "preprocessor_config.json"
    statistics = _read(name, pixels) if pixels.is_file() else {}
    mean, std = USUAL[kind]
    return EncoderSpec(
        name=name,
        label=f"transformers:{kind} at {BY_PATH}" if _given(name).is_dir() else name,
        dim=_dim(config, vision),
        size=int(vision.get("image_size", 224)),
        mean=channels(statistics.get("image_mean", mean)),
        std=channels(statistics.get("image_std", std)),
        weights_digest=folder_digest([folder / "config.json", *weights_in(name, folder)]),
        location=str(folder),
        reason=f"{name} was asked for.",
    )


def folder_of(name: str) -> Path:
    """The folder on this machine with the model of `<kind>:<folder or hub id>`; downloads it if needed.

    Raises EncoderError.
    """
    where = name.partition(":")[2]
    if not where:
        raise EncoderError(f"Encoder {name!r} is incomplete: write a folder or a hub id after the colon.")
    return _given(name) if _given(name).is_dir() else _from_hub(name, where)


def _given(name: str) -> Path:
    return Path(name.partition(":")[2]).expanduser()


def _from_hub(name: str, repo: str) -> Path:
    if repo.count("/") > 1 or repo.startswith(("/", ".", "~")):
        raise EncoderError(f"Encoder {name}: there is no folder {repo}. Give an existing folder or a hub id.")
    config = hub.fetch(f"Encoder {name}", repo, ("config.json",))
    hub.fetch(f"Encoder {name}", repo, ("model.safetensors", "pytorch_model.bin"))
    extra = "preprocessor_config.json"
    if hub.cached(repo, (extra,)) is None and hub.obstacle(repo, extra) is None:
        hub.fetch(f"Encoder {name}", repo, (extra,))
    return config.parent


def _read(name: str, path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise EncoderError(f"Encoder {name}: {path} is missing; give a folder written by save_pretrained.")
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def weights_in(name: str, folder: Path) -> list[Path]:
    """The weight files of a folder that save_pretrained wrote. Raises EncoderError."""
    files = sorted(folder.glob("model*.safetensors")) or sorted(folder.glob("pytorch_model*.bin"))
    if not files:
        raise EncoderError(f"Encoder {name}: {folder} holds neither model.safetensors nor pytorch_model.bin.")
    return files


def _projected(config: dict[str, Any]) -> bool:
    return config["model_type"] == "clip" or "CLIPVisionModelWithProjection" in config.get("architectures", [])


def _dim(config: dict[str, Any], vision: dict[str, Any]) -> int:
    if _projected(config):
        return int(config.get("projection_dim", 512))
    return int(vision.get("hidden_size", 768))


def tower(spec: EncoderSpec) -> torch.nn.Module:
    """images [n,3,S,S], normalised -> features [n,D], as chosen in `resolve`."""
    import torch
    import transformers

    config = _read(spec.name, Path(spec.location) / "config.json")
    kind = config["model_type"]

    class ImageFeatures(torch.nn.Module):
        """The vector of the model's output that is the picture's embedding."""

        def __init__(self, model: torch.nn.Module) -> None:
            super().__init__()
            self.model = model

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            if kind == "clip":
                pooled: torch.Tensor = self.model.get_image_features(pixel_values=images).pooler_output  # type: ignore[operator]
                return pooled
            output = self.model(pixel_values=images)
            if _projected(config):
                return torch.as_tensor(output.image_embeds)
            # transformers would give a ViT saved without pooler a random one, so the class token is used.
            token = output.pooler_output if kind == "clip_vision_model" else output.last_hidden_state[:, 0]
            return torch.as_tensor(token)

    with weights_of(spec.name, spec.location):
        options = {"add_pooling_layer": False} if kind == "vit" else {}
        architecture = {
            "clip": transformers.CLIPModel,
            "clip_vision_model": transformers.CLIPVisionModelWithProjection
            if _projected(config)
            else transformers.CLIPVisionModel,
            "vit": transformers.ViTModel,
            "dinov2": transformers.Dinov2Model,
        }[kind]
        model = architecture.from_pretrained(
            spec.location, local_files_only=True, dtype=torch.float32, weights_only=True, **options
        )
    return ImageFeatures(model)
