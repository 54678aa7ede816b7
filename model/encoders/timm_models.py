"""Image towers of timm, by name, with weights from the hub or a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from model.encoders import hub
from model.encoders.spec import BY_PATH, EncoderError, EncoderSpec, channels, file_digest, weights_of

if TYPE_CHECKING:
    import torch


def resolve(name: str) -> EncoderSpec:
    """`timm:<name>` (hub) or `timm:<name>/<weight file>`. Feature: pooled, before the classifier.

    Raises EncoderError.
    """
    import timm

    model_name, _, where = name.removeprefix("timm:").partition("/")
    if not timm.is_model(model_name):
        raise EncoderError(
            f"Encoder {name}: timm knows no model {model_name!r}; python -c 'import timm; "
            'print(timm.list_models("*vit*"))\' lists names. Write timm:<name> or timm:<name>/<weight file>.'
        )
    net = timm.create_model(model_name, pretrained=False, num_classes=0)
    config = net.pretrained_cfg
    path = Path(where).expanduser() if where else _from_hub(name, config)
    if not path.is_file():
        raise EncoderError(f"Encoder {name}: there is no weight file {path}.")
    return EncoderSpec(
        name=name,
        label=f"timm:{model_name}/{BY_PATH}" if where else name,
        dim=int(net.head_hidden_size),
        size=int(config["input_size"][-1]),
        mean=channels(config["mean"]),
        std=channels(config["std"]),
        weights_digest=file_digest(path),
        location=str(path),
        reason=f"{name} was asked for.",
    )


def _from_hub(name: str, config: dict[str, Any]) -> Path:
    repo = config.get("hf_hub_id")
    if not repo:
        raise EncoderError(f"Encoder {name}: timm publishes no weights for it on the hub; write timm:<name>/<file>.")
    filename = config.get("hf_hub_filename")
    return hub.fetch(f"Encoder {name}", repo, (filename,) if filename else ("model.safetensors", "pytorch_model.bin"))


def tower(spec: EncoderSpec) -> torch.nn.Module:
    """images [n,3,S,S], normalised -> pooled features before the classifier [n,D]."""
    import timm

    model_name = spec.name.removeprefix("timm:").partition("/")[0]
    with weights_of(spec.name, spec.location):
        # Given the file this way, timm drops the classifier and converts foreign layouts itself.
        net: torch.nn.Module = timm.create_model(
            model_name, pretrained=True, num_classes=0, pretrained_cfg_overlay={"file": spec.location}
        )
    return net
