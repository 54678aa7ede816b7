"""Frozen image encoders, named by a string: `spec = resolve("auto")`, then `load(spec).encode(ink, rgb)`.

Names: auto, efficientnet-lite0, open_clip:<arch>/<tag, file or folder>, transformers:<folder or hub id>,
timm:<name>[/<file>], tuned:<run folder>. `resolve` is cheap and, for the packaged encoder, does not import torch.
`load` is slow.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from model.encoders.backends import EngineName, choose
from model.encoders.resolve import is_by_path, resolve
from model.encoders.spec import EncoderError, EncoderSpec, TunedOn

if TYPE_CHECKING:
    from model.encoders.encoder import Encoder

__all__ = [
    "EncoderError",
    "EncoderSpec",
    "EngineName",
    "TunedOn",
    "choose",
    "encode",
    "is_by_path",
    "load",
    "resolve",
]


@lru_cache(maxsize=1)
def load(spec: EncoderSpec, engine: EngineName = "auto") -> Encoder:
    """The encoder of a resolved spec, loaded once per process. Raises EncoderError if weights or engine do not fit."""
    from model.encoders.encoder import load as load_tower

    return load_tower(spec, engine)


def encode(
    spec: EncoderSpec, ink: NDArray[np.uint8], rgb: NDArray[np.uint8], engine: EngineName = "auto"
) -> NDArray[np.float16]:
    """Ink [n,H,W] in the colours rgb [n,3] -> embeddings [n,D]. Each process loads the encoder once."""
    return load(spec, engine).encode(ink, rgb)
