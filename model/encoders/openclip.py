"""CLIP image towers of open_clip, by hub tag, weight file or folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model.encoders import hub
from model.encoders.spec import (
    BY_PATH,
    OPENAI_MEAN,
    OPENAI_STD,
    EncoderError,
    EncoderSpec,
    channels,
    file_digest,
    folder_digest,
    weights_of,
)  # fmt: skip

if TYPE_CHECKING:
    import torch

# The default CLIP, spelled out so that resolving it from the local cache needs neither open_clip nor torch.
DEFAULT = "open_clip:ViT-B-32/laion2b_s34b_b79k"
DEFAULT_REPO = "laion/CLIP-ViT-B-32-laion2B-s34B-b79K"
HUB_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
# open_clip's own order of choice in a folder (open_clip.factory), which `local-dir:` follows when it loads.
FOLDER_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors",
                "open_clip_pytorch_model.bin", "open_clip_pytorch_model.pth",
                "model.safetensors", "pytorch_model.bin", "pytorch_model.pth", "model.pth")  # fmt: skip


def resolve(name: str) -> EncoderSpec:
    """`open_clip:<arch>/<tag>`, `open_clip:<arch>/<file>` or `open_clip:<arch>/<folder>`.

    A folder with open_clip_config.json describes its own architecture, so <arch> may be a name that open_clip does not
    know. Feature: the projected image embedding, not normalised. Raises EncoderError.
    """
    arch, _, where = name.partition(":")[2].partition("/")
    if not arch or not where:
        raise EncoderError(
            f"Encoder {name!r} is incomplete: write <arch>/<tag, weight file or folder> after the colon, "
            f"for example {DEFAULT}."
        )
    path = Path(where).expanduser()
    if path.is_dir():
        return _from_folder(name, arch, path)
    if path.is_file():
        return _spec(name, arch, _known(name, arch), pixels=_usual_preprocessing(arch), path=path)
    return _from_tag(name, arch, where)


def _from_tag(name: str, arch: str, tag: str) -> EncoderSpec:
    if name == DEFAULT:
        return EncoderSpec(
            name=name, label=name, dim=512, size=224, mean=OPENAI_MEAN, std=OPENAI_STD, reason=f"{name} was asked for.",
            **_located(hub.fetch(f"Encoder {name}", DEFAULT_REPO, HUB_FILES)),
        )  # fmt: skip
    import open_clip

    model_cfg, tag_cfg = _known(name, arch), open_clip.get_pretrained_cfg(arch, tag)
    if not tag_cfg:
        raise EncoderError(
            f"Encoder {name}: {tag!r} is neither a file or folder here nor weights that open_clip knows for "
            f"{arch}, which are: {', '.join(open_clip.list_pretrained_tags_by_model(arch))}."
        )
    repo, _, filename = tag_cfg["hf_hub"].rpartition("/")
    path = hub.fetch(f"Encoder {name}", repo, (filename,) if filename else HUB_FILES)
    return _spec(name, arch, model_cfg, pixels=tag_cfg, path=path, label=name)


def _from_folder(name: str, arch: str, folder: Path) -> EncoderSpec:
    import open_clip

    weights = _weights_in(name, folder)
    config_file = folder / "open_clip_config.json"
    config = json.loads(config_file.read_text(encoding="utf-8")) if config_file.is_file() else {}
    if arch in open_clip.list_models():
        preprocessing = config.get("preprocess_cfg") or _usual_preprocessing(arch)
        return _spec(name, arch, _known(name, arch), pixels=preprocessing, path=weights)
    if "model_cfg" not in config:
        raise EncoderError(
            f"Encoder {name}: open_clip knows no architecture {arch!r}, and no {config_file} with a `model_cfg` "
            "describes one. Name an architecture of open_clip.list_models() or add the file."
        )
    spec = _spec(name, arch, config["model_cfg"], pixels=config.get("preprocess_cfg", {}), path=weights)
    located: dict[str, Any] = {"location": str(folder), "weights_digest": folder_digest([config_file, weights])}
    return EncoderSpec(**{**vars(spec), **located})


def _weights_in(name: str, folder: Path) -> Path:
    for filename in FOLDER_FILES:
        if (folder / filename).is_file():
            return folder / filename
    files = [p for p in sorted(folder.iterdir()) if p.suffix in (".safetensors", ".bin", ".pth", ".pt")]
    if len(files) != 1:
        raise EncoderError(
            f"Encoder {name}: {folder} must hold exactly one weight file (or one called {FOLDER_FILES[0]}); "
            f"found {[p.name for p in files] or 'none'}. Name the file itself."
        )
    return files[0]


def _known(name: str, arch: str) -> dict[str, Any]:
    import open_clip

    config: dict[str, Any] | None = open_clip.get_model_config(arch)
    if config is None:
        raise EncoderError(
            f"Encoder {name}: open_clip knows no architecture {arch!r}. Its names are listed by "
            "python -c 'import open_clip; print(open_clip.list_models())'."
        )
    return config


def _usual_preprocessing(arch: str) -> dict[str, Any]:
    """Mean and std that all published weights of this architecture share; a bare file does not hold them."""
    import open_clip

    tags = open_clip.list_pretrained_tags_by_model(arch)
    configs = [open_clip.get_pretrained_cfg(arch, tag) for tag in tags]
    shared = {(tuple(c["mean"]), tuple(c["std"])) for c in configs}
    if len(shared) != 1:
        return {}
    mean, std = shared.pop()
    return {"mean": mean, "std": std}


def _spec(
    name: str, arch: str, model: dict[str, Any], *, pixels: dict[str, Any], path: Path, label: str = ""
) -> EncoderSpec:
    size = model["vision_cfg"].get("image_size", 224)
    return EncoderSpec(
        name=name,
        label=label or f"open_clip:{arch}/{BY_PATH}",
        dim=int(model["embed_dim"]),
        size=int(size if isinstance(size, int) else size[0]),
        mean=channels(pixels.get("mean", OPENAI_MEAN)),
        std=channels(pixels.get("std", OPENAI_STD)),
        reason=f"{name} was asked for.",
        **_located(path),
    )


def _located(path: Path) -> dict[str, Any]:
    return {"location": str(path), "weights_digest": file_digest(path)}


def tower(spec: EncoderSpec) -> torch.nn.Module:
    """images [n,3,S,S], normalised -> projected image embeddings, not normalised [n,D]."""
    visual: torch.nn.Module = model(spec).visual
    return visual


def model(spec: EncoderSpec) -> Any:
    """The whole CLIP of a resolved spec, both towers. Raises EncoderError if weights and architecture differ."""
    import open_clip

    arch, _, tag = spec.name.partition(":")[2].partition("/")
    with weights_of(spec.name, spec.location):
        if Path(spec.location).is_dir():
            return open_clip.create_model(f"local-dir:{spec.location}", require_pretrained=True)
        # OpenAI's and a few other weights were trained with QuickGELU. The tag records it, the architecture may not,
        # and open_clip only warns.
        quick_gelu = bool(open_clip.get_pretrained_cfg(arch, tag).get("quick_gelu", False))
        return open_clip.create_model(arch, spec.location, force_quick_gelu=quick_gelu)
