"""Frozen image encoders, named by a string: `spec = resolve("auto")`, then `load(spec).encode(ink, rgb)`.

Names: auto, efficientnet-lite0, open_clip:<arch>/<tag, file or folder>, transformers:<folder or hub id>,
timm:<name>[/<file>]. Resolving is cheap and, for the packaged encoder, free of torch; loading is not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from model.encoders.resolve import resolve
from model.encoders.spec import EncoderError, EncoderSpec

if TYPE_CHECKING:
    from model.encoders.encoder import Encoder

__all__ = ["EncoderError", "EncoderSpec", "load", "resolve"]


def load(spec: EncoderSpec, device: str = "cpu") -> Encoder:
    """The loaded encoder of a resolved spec. Raises EncoderError where its weights do not fit."""
    from model.encoders.encoder import load as load_tower

    return load_tower(spec, device)
